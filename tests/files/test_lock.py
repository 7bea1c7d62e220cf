"""One process writes into a folder; a dead one holds nothing and leaves nothing."""

import os
import signal
import subprocess
import sys

import pytest

from minilora.errors import MiniloraError
from minilora.files import lock
from minilora.files.lock import FILE, is_left_over, only_writer

HOLD = """
import sys
from minilora.files import lock
from minilora.files.lock import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes into the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "out"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline().strip() == b"held"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_in_one_line(holder, tmp_path):
    with pytest.raises(MiniloraError, match="^another process is writing into .*out; wait for it, or choose another"):
        with only_writer(tmp_path / "out"):
            pass


def test_a_process_that_was_killed_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    with only_writer(tmp_path / "out"):
        assert (tmp_path / "out" / FILE).exists()
    assert not (tmp_path / "out" / FILE).exists()


def test_the_second_of_two_blocks_in_one_process_is_refused(tmp_path):
    with only_writer(tmp_path), pytest.raises(MiniloraError, match="another process"), only_writer(tmp_path):
        pass


def test_a_folder_in_which_nothing_was_written_is_gone(tmp_path):
    with only_writer(tmp_path / "a" / "b"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_in_which_something_was_written_is_kept(tmp_path):
    with only_writer(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["file"]


def test_temporary_files_of_a_killed_process_are_removed_and_no_others(tmp_path):
    (tmp_path / ".merging.abcd_123").mkdir()
    (tmp_path / ".merging.abcd_123" / "model.safetensors").touch()
    for name in (".history.json.abcd_123.part", ".mine.part", "film.part"):
        (tmp_path / name).touch()
    with only_writer(tmp_path):
        assert sorted(os.listdir(tmp_path)) == sorted([FILE, ".mine.part", "film.part"])


def test_the_names_of_left_overs_are_known():
    assert is_left_over(FILE) and is_left_over(".merging.abcd_123") and not is_left_over(".gitignore")


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(MiniloraError, match="cannot write in .*a"), only_writer(tmp_path / "a"):
        pass


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows cannot hold signals back")
def test_a_signal_that_arrives_while_the_lock_is_taken_leaves_no_lock(tmp_path, monkeypatch):
    taken = lock._locked

    def pressed(path):
        handle = taken(path)
        signal.raise_signal(signal.SIGINT)
        return handle

    monkeypatch.setattr(lock, "_locked", pressed)
    with pytest.raises(KeyboardInterrupt), only_writer(tmp_path / "out"):
        raise AssertionError("the block must not begin")
    assert os.listdir(tmp_path) == []
