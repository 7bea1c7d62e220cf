"""Files are written whole or not at all; a file that cannot be read is one line."""

import io
import os
import stat
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.errors import FormatError, MiniloraError, MissingFileError
from minilora.files.atomic import (
    atomic_write,
    check_writable,
    is_taken,
    read_json,
    read_utf8,
    same_place,
    write_json,
    write_text,
)


def test_what_is_written_is_there_and_nothing_else(tmp_path):
    write_text(tmp_path / "new" / "deep" / "a.txt", "ü\n")
    assert (tmp_path / "new" / "deep" / "a.txt").read_bytes() == "ü\n".encode()
    assert os.listdir(tmp_path / "new" / "deep") == ["a.txt"]


def test_line_ends_are_the_same_on_every_system(tmp_path):
    write_text(tmp_path / "a.txt", "one\ntwo\n")
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("error", "raised", "line"),
    [
        (RuntimeError("broken"), RuntimeError, "^broken$"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (MemoryError(), MemoryError, "^$"),
        (OSError(28, "No space left"), MiniloraError, "^cannot write .*a.txt: No space left$"),
    ],
)
def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path, error, raised, line):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(raised, match=line), atomic_write(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_of_ours_inside_the_block_keeps_its_own_line(tmp_path):
    with pytest.raises(MissingFileError, match="^no such file: b$"), atomic_write(tmp_path / "a.txt"):
        raise MissingFileError("no such file: b")


def test_until_the_block_ends_the_old_file_stands(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
        assert temporary.parent == tmp_path
    assert path.read_text(encoding="utf-8") == "new"


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(MiniloraError, match=r"cannot write .*a\.txt: No space left") as error:
        with atomic_write(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")
    assert "\n" not in str(error.value)


def test_an_error_of_ones_own_inside_the_block_keeps_its_message(tmp_path):
    with pytest.raises(MissingFileError, match=r"^no such file: other$"), atomic_write(tmp_path / "a.txt"):
        raise MissingFileError("no such file: other")


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    write_text(tmp_path / "a", "x")
    with pytest.raises(MiniloraError, match="cannot write"):
        write_text(tmp_path / "a" / "b.txt", "y")


def test_a_path_that_is_a_folder_is_one_line(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(MiniloraError, match="cannot write"):
        write_text(tmp_path / "a", "y")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permission on Windows")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(MiniloraError, match="cannot write .*Permission denied"):
            write_text(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o755)


def test_a_folder_in_which_no_file_can_be_made_is_one_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(MiniloraError, match="cannot write .*: Permission denied") as error:
        write_text(tmp_path / "a.txt", "x")
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_the_file_has_the_permissions_that_new_files_have(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a.txt", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.txt")]
    assert modes[0] == modes[1]


def test_a_text_that_utf8_cannot_hold_is_refused_in_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(MiniloraError, match=r"cannot write .*'\\udcff' in it is not valid text") as error:
        write_text(path, "caf\udcff")
    assert "\n" not in str(error.value)
    assert path.read_text(encoding="utf-8") == "old" and os.listdir(tmp_path) == ["a.txt"]


# ---- JSON


def test_json_holds_a_file_name_that_is_not_utf8_as_an_escape(tmp_path):
    write_json(tmp_path / "a.json", {"base": "é caf\udcff"})  # how Python reads such a name
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "base": "é caf\\udcff"\n}\n'
    assert read_json(tmp_path / "a.json") == {"base": "é caf\udcff"}


def test_json_comes_back_and_is_laid_out_as_peft_does(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": "ü"})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None], "a": "ü"}
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "a": "ü",\n  "b": [')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        (b"[1, 2]", "expected a JSON object, found list"),
        (b'{"a": "\xff"}', "not UTF-8 text .* at byte 7"),
        ('{"a": 1}'.encode("utf-16-le"), "not UTF-8 text .8 of its 16 characters are null"),
        (bytes(5000), "not UTF-8 text .5,000 of its 5,000 characters are null"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
    ],
)
def test_json_that_cannot_be_read_is_one_line_that_says_where(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said) as error:
        read_json(path)
    assert "a.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_json_that_is_missing_a_folder_or_too_large_is_one_line(tmp_path):
    with pytest.raises(MissingFileError, match="no such file: .*a.json"):
        read_json(tmp_path / "a.json")
    with pytest.raises(MissingFileError, match="is a folder, expected a file"):
        read_json(tmp_path)
    write_json(tmp_path / "a.json", {"a": 1})
    size = (tmp_path / "a.json").stat().st_size
    assert read_json(tmp_path / "a.json", limit=size) == {"a": 1}
    with pytest.raises(FormatError, match=f"{size} bytes of JSON, expected at most {size - 1}"):
        read_json(tmp_path / "a.json", limit=size - 1)


@given(content=st.binary(max_size=40) | st.text('{}[]":,0eE-. \\u\n', max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(content)
    try:
        assert isinstance(read_json(path), dict)
    except FormatError as error:
        assert "\n" not in str(error)


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    check_writable(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MiniloraError, match="cannot write in .*file"):
        check_writable(tmp_path / place)


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")


def test_a_way_through_folders_that_are_not_there_is_checked_and_nothing_is_left_or_removed(tmp_path):
    (tmp_path / "empty").mkdir()
    for way in ("a/../empty", "a/../b", "empty/a/../../empty/c"):
        check_writable(tmp_path / way)
        assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@needs_pipes
def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MiniloraError, match="cannot write .*pipe: it is a device, not a file"):
        write_text(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]


@needs_pipes
def test_a_pipe_is_read_only_where_that_is_asked_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingFileError, match="no such file"):
        read_utf8(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("ü", encoding="utf-8"))
    writer.start()
    assert read_utf8(tmp_path / "pipe", pipes=True) == "ü"
    writer.join()


def test_a_minus_is_standard_input_where_pipes_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffü\r\n".encode())))
    with pytest.raises(MissingFileError, match="no such file: -"):
        read_utf8("-")
    assert read_utf8("-", pipes=True) == "ü\n"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(MissingFileError, match="standard input .-. is closed"):
        read_utf8("-", pipes=True)


def test_two_paths_to_one_place_are_found_and_a_loop_leads_nowhere(tmp_path):
    (tmp_path / "a").mkdir()
    assert same_place(tmp_path / "a", tmp_path / "a" / ".." / "a")
    assert not same_place(tmp_path, tmp_path / "a")
    if hasattr(os, "mkfifo"):  # on Windows not everybody may make links
        (tmp_path / "loop").symlink_to("loop")
        assert not same_place(tmp_path / "loop", tmp_path / "a")


def test_a_name_is_taken_by_a_file_a_folder_and_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    assert all(is_taken(tmp_path / name) for name in ("file", "loop", "nowhere", ".")) and not is_taken(tmp_path / "no")
