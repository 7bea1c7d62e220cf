"""The weight files of a base: one file or shards with an index, and what is refused before a weight is read."""

import json
import re

import numpy as np
import pytest
from checkpoints import copy_of, edit_json

import minilora as ml
from minilora.errors import FormatError, MissingFileError
from minilora.files.checkpoint import read_headers, save_shards, weight_files
from minilora.files.safetensors import read_header, read_tensors, write_tensors

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    """A copy of the golden Llama that a test may damage."""
    return copy_of("llama3rope_tiny", tmp_path / "model")


@pytest.fixture
def shards(tmp_path):
    return copy_of("llama3rope_tiny", tmp_path / "model", "base_sharded")


def refusal(folder, error=FormatError):
    with pytest.raises(error, match=re.escape(str(folder))) as caught:
        read_headers(folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_one_file_and_shards_hold_the_same_tensors(folder, tmp_path):
    shards = copy_of("llama3rope_tiny", tmp_path / "shards", "base_sharded")
    assert [f.name for f in weight_files(folder)] == ["model.safetensors"]
    assert [f.name for f in weight_files(shards)] == [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    (whole,) = read_headers(folder).values()
    parts = [entry for header in read_headers(shards).values() for entry in header.items()]
    assert len(parts) == len(whole) and dict(parts) == whole


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"])
def test_a_folder_with_a_pickle_alone_says_how_to_convert(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    assert "pickle" in refusal(folder) and "save_pretrained" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "..\\x.safetensors", "C:\\x.safetensors", "..",
     "", "model.bin", ".hidden.safetensors", "x\n.safetensors"],
)  # fmt: skip
def test_an_index_that_points_out_of_its_folder_is_refused(shards, name):
    index = json.loads((shards / INDEX).read_text(encoding="utf-8"))
    index["weight_map"]["lm_head.weight"] = name
    (shards / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert "not the name of a safetensors file" in refusal(shards)


@pytest.mark.parametrize("weight_map", [..., None, [], {}, {"lm_head.weight": 3}, {"lm_head.weight": None}])
def test_an_index_without_a_map_from_names_to_files_is_refused(shards, weight_map):
    edit_json(shards / INDEX, weight_map=weight_map)
    assert "weight_map" in refusal(shards)


def test_a_missing_shard_is_named(shards):
    (shards / "model-00002-of-00004.safetensors").unlink()
    assert "model-00002-of-00004" in refusal(shards, MissingFileError)


def test_a_shard_with_a_tensor_that_the_index_gives_to_another_is_refused(shards):
    index = json.loads((shards / INDEX).read_text(encoding="utf-8"))
    index["weight_map"]["model.norm.weight"] = "model-00001-of-00004.safetensors"
    (shards / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert "model.norm.weight" in refusal(shards)


def test_a_tensor_in_two_shards_is_refused(shards):
    first, last = (shards / f"model-0000{i}-of-00004.safetensors" for i in (1, 4))
    write_tensors(first, read_tensors(first) | {"lm_head.weight": read_tensors(last)["lm_head.weight"] * 2})
    assert "lm_head.weight" in refusal(shards)


def test_tokenizer_files_are_copied_along_and_nothing_else(tmp_path, folder):
    files = {"tokenizer.json": "{}", "tokenizer_config.json": "{}", "chat_template.jinja": "é", "notes.txt": "private"}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ml.load_pretrained(folder).save_pretrained(tmp_path / "out", tokenizer_from=folder)
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert {f.name for f in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "out" / "chat_template.jinja").read_text(encoding="utf-8") == "é"


SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 2), "d": (30,)}  # 48, 20, 16 and 120 bytes


@pytest.mark.parametrize(
    "room, names",
    [
        (10**6, {"model.safetensors": "abcd"}),
        (70, {"model-00001-of-00003.safetensors": "ab", "model-00002-of-00003.safetensors": "c",
              "model-00003-of-00003.safetensors": "d"}),
    ],
)  # fmt: skip
def test_shards_hold_what_fits_and_are_read_as_one_model(tmp_path, monkeypatch, room, names):
    monkeypatch.setattr("minilora.files.checkpoint.SHARD", room)
    arrays = {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(SHAPES.items())}
    save_shards(tmp_path, SHAPES, iter(arrays.items()))
    assert {file.name: "".join(read_header(file)[0]) for file in weight_files(tmp_path)} == names
    found = {name: array for file in weight_files(tmp_path) for name, array in read_tensors(file).items()}
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    if len(names) > 1:
        assert json.loads((tmp_path / INDEX).read_text(encoding="utf-8"))["metadata"] == {"total_size": 204}


def test_no_more_than_a_shard_is_taken_from_the_tensors_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.files.checkpoint.SHARD", 70)
    asked = []

    def tensors():
        for name, shape in SHAPES.items():
            asked.append((name, len(list(tmp_path.glob("*.safetensors")))))  # how many shards are written by then
            yield name, np.zeros(shape, np.float32)

    save_shards(tmp_path, SHAPES, tensors())
    assert asked == [("a", 0), ("b", 0), ("c", 1), ("d", 2)]
