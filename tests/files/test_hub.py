"""A base model by its name on the hub: a folder wins, the cache is the hub's own, offline one line says what to get."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import GOLDEN, copy_of

import minilora as ml
from minilora.errors import ConfigError, MissingFileError
from minilora.files.hub import model_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_of_that_name_wins_and_the_hub_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # importing it would fail
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    copy_of("gpt2_tiny", tmp_path / "org" / "name")
    assert ml.load_pretrained("org/name").config.n_embd == 32


def test_without_the_hubs_library_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"no such folder: org/name.*minilora\[hf\]"):
        model_folder("org/name")


@pytest.mark.parametrize("path", ["/no/such/folder", "../org/name", "a/b/c", "", "org/na me", "-x/y", "org/"])
def test_what_cannot_be_a_name_on_the_hub_is_not_asked_for(path, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    if path == "":
        assert model_folder(path).samefile(tmp_path)  # the folder we are in
    elif path == "org/":
        with pytest.raises(ConfigError, match="no such folder: org;"):
            model_folder(path)
    else:
        with pytest.raises(MissingFileError, match="no such folder"):
            model_folder(path)


def run_offline(cache, name):
    """Load `name` in a fresh interpreter that has this cache and no network."""
    pytest.importorskip("huggingface_hub")
    code = (
        "import sys, numpy, minilora as ml\n"
        "try: print(float(ml.load_pretrained(sys.argv[1])(numpy.arange(6)[None]).numpy().sum()))\n"
        "except ml.errors.MissingFileError as error: print('refused:', error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "HF_HOME": str(cache)}
    command = [sys.executable, "-c", code, name]
    return subprocess.run(command, env=environment, cwd=cache, capture_output=True, text=True, check=True).stdout


def test_a_model_in_the_hubs_own_cache_loads_by_its_name(tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / COMMIT
    shutil.copytree(GOLDEN / "gpt2_tiny" / "base", snapshot)
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    expected = ml.load_pretrained(GOLDEN / "gpt2_tiny" / "base")(np.arange(6)[None]).numpy().sum()
    assert float(run_offline(tmp_path, "org/name")) == pytest.approx(float(expected), rel=1e-5)


def test_offline_one_line_says_what_to_download_and_from_where(tmp_path):
    lines = run_offline(tmp_path, "org/name").strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("refused: no such folder: org/name")
    assert "config.json" in lines[0] and "https://huggingface.co/org/name" in lines[0]
