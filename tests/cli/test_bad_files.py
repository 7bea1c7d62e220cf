"""Files that are not what they claim to be, given to every command that reads them: one line, exit code 2, no trace."""

import json
from collections import Counter

import numpy as np
import pytest
from checkpoints import copy_of, edit_json, safetensors_bytes
from commands import folder_bytes, make_adapter, make_base, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.files.safetensors import read_header, read_tensors, write_tensors

WEIGHTS, TENSORS = "model.safetensors", "adapter_model.safetensors"
HUGE = (10 * 2**30).to_bytes(8, "little")  # a header of 10 GB


def truncated(path):
    path.write_bytes(path.read_bytes()[:-7])


def half_a_header(path):
    path.write_bytes(path.read_bytes()[:40])


def header_of_10_gb(path):
    path.write_bytes(HUGE + path.read_bytes()[8:])


def header_is_a_list(path):
    path.write_bytes(safetensors_bytes([1, 2]))


def relabelled(**changes):
    """The header says something else of the first tensor than its bytes do."""

    def change(path):
        raw = path.read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:end])
        name = next(n for n in header if n != "__metadata__")
        header[name] |= changes
        path.write_bytes(safetensors_bytes(header, raw[end:]))

    return change


def with_tensors(change):
    def rewrite(path):
        tensors = read_tensors(path)
        change(tensors, next(n for n in sorted(tensors) if n.endswith(("lora_B.weight", "down_proj.weight"))))
        write_tensors(path, tensors)

    return rewrite


def with_bytes(raw):
    return lambda path: path.write_bytes(raw)


def renamed_to(name):
    return lambda path: path.rename(path.with_name(name))


FILES = {  # for a file of weights, a base's or an adapter's
    "truncated": (truncated, ["truncated"]),
    "half a header": (half_a_header, ["not a safetensors file, or truncated"]),
    "empty": (with_bytes(b""), ["truncated", "0 bytes"]),
    "a header of 10 GB": (header_of_10_gb, ["header too large"]),
    "a header that is a list": (header_is_a_list, ["invalid JSON in header"]),
    "a shape that lies": (relabelled(shape=[2, 2]), ["damaged", "invalid shape"]),
    "offsets that lie": (relabelled(data_offsets=[0, 10**12]), ["damaged", "invalid"]),
    "a dtype that lies": (relabelled(dtype="F64"), ["damaged", "invalid shape, data type"]),
    "a dtype unknown here": (relabelled(dtype="F7"), ["unknown variant `F7`", "expected one of"]),
    "a pickle under this name": (with_bytes(b"\x80\x02}q\x00."), ["pickle", "convert with"]),
    "whole numbers": (with_tensors(lambda t, n: t.update({n: t[n].astype(np.int32)})), ["proj"]),
    "a tensor missing": (with_tensors(lambda t, n: t.pop(n)), ["proj"]),
    "a tensor too many": (with_tensors(lambda t, n: t.update({f"{n}.x": t[n]})), ["weight.x"]),
    "a tensor of another shape": (with_tensors(lambda t, n: t.update({n: t[n][1:]})), ["proj", "shape"]),
}
BASES = {name: (WEIGHTS, *case) for name, case in FILES.items()} | {
    "a config that is no object": ("config.json", with_bytes(b"[1]"), ["expected a JSON object"]),
    "a config that is cut": ("config.json", with_bytes(b'{"model_type": '), ["not JSON"]),
    "a config without a size": ("config.json", lambda path: edit_json(path, hidden_size=...), ["hidden_size"]),
    "a config of another model": ("config.json", lambda path: edit_json(path, model_type="bert"), ["bert", "known"]),
    "a config with a cap": ("config.json", lambda path: edit_json(path, final_logit_softcapping=30.0), ["softcapping"]),
    "no weights but a pickle": (WEIGHTS, renamed_to("pytorch_model.bin"), ["pytorch_model.bin", "convert with"]),
    "no weights": (WEIGHTS, lambda path: path.unlink(), ["no model.safetensors"]),
}
ADAPTERS = {name: (TENSORS, *case) for name, case in FILES.items()} | {
    "a number that is none": (TENSORS, with_tensors(lambda t, n: t.update({n: t[n] * np.nan})), ["not finite"]),
    "the same tensor twice": (
        TENSORS, with_tensors(lambda t, n: t.update({n.replace("_B.", "_B.default."): t[n]})), ["twice"],
    ),
    "a config that is no object": ("adapter_config.json", with_bytes(b'"LORA"'), ["a JSON object"]),
    "a config without a scale": (
        "adapter_config.json", lambda path: edit_json(path, lora_alpha=...), ["lora_alpha missing"],
    ),
    "a feature that is not here": ("adapter_config.json", lambda path: edit_json(path, bias="all"), ["bias"]),
    "another kind of adapter": ("adapter_config.json", lambda path: edit_json(path, peft_type="LOHA"), ["LOHA"]),
    "no tensors but a pickle": (TENSORS, renamed_to("adapter_model.bin"), ["adapter_model.bin", "convert with"]),
}  # fmt: skip


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a base, an adapter for it and a text."""
    make_base(tmp_path / "base")
    make_adapter(tmp_path / "adapter")
    (tmp_path / "text").write_text("The Blue Bell serves apple cake near the harbour.\n" * 20, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


BOTH = ["--base", "base", "--adapter", "adapter"]
ON_BASES = {
    "generate": ["generate", "--base", "base", "--prompt", "a"],
    "merge": ["merge", *BOTH, "--out", "out"],
    "train": ["train", "--base", "base", "--text", "text", "--out", "out"],
    "eval": ["eval", "--base", "base", "--text", "text"],
    "inspect": ["inspect", "base"],
    "inspect --base": ["inspect", "adapter", "--base", "base"],
}
ON_ADAPTERS = {
    "generate": ["generate", *BOTH, "--prompt", "a"],
    "merge": ["merge", *BOTH, "--out", "out"],
    "eval": ["eval", *BOTH, "--text", "text"],
    "inspect --base": ["inspect", "adapter", "--base", "base"],
}


def assert_refused(minilora, work, command, words):
    before = folder_bytes(work)
    result = minilora(*command)
    assert refused(result, *words), result
    assert folder_bytes(work) == before and not (work / "out").exists()


@pytest.mark.parametrize("command", ON_BASES)
@pytest.mark.parametrize("fault", BASES)
def test_a_base_that_is_not_what_it_claims_is_one_line_and_leaves_nothing(minilora, work, fault, command):
    file, change, words = BASES[fault]
    change(work / "base" / file)
    assert_refused(minilora, work, ON_BASES[command], words)


@pytest.mark.parametrize("command", ON_ADAPTERS)
@pytest.mark.parametrize("fault", ADAPTERS)
def test_an_adapter_that_is_not_what_it_claims_is_one_line_and_leaves_nothing(minilora, work, fault, command):
    file, change, words = ADAPTERS[fault]
    change(work / "adapter" / file)
    assert_refused(minilora, work, ON_ADAPTERS[command], words)


@pytest.mark.parametrize("command", ON_BASES)
@pytest.mark.parametrize("name", ["../adapter/adapter_model.safetensors", "/etc/x.safetensors", "..\\x.safetensors"])
def test_an_index_that_points_out_of_its_folder_is_one_line(minilora, work, name, command):
    (work / "base" / WEIGHTS).rename(work / "base" / "model-00001-of-00001.safetensors")
    found = read_header(work / "base" / "model-00001-of-00001.safetensors")[0]
    index = {"weight_map": dict.fromkeys(found, "model-00001-of-00001.safetensors") | {sorted(found)[0]: name}}
    (work / "base" / f"{WEIGHTS}.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert_refused(minilora, work, ON_BASES[command], ["not the name of a safetensors file in the same folder"])


@pytest.mark.parametrize("command", ON_ADAPTERS)
def test_an_adapter_for_another_architecture_is_one_line(minilora, work, command):
    for file in (work / "adapter").iterdir():
        file.unlink()
    copy_of("gpt2_tiny", work / "gpt2", "adapter")
    for file in (work / "gpt2").iterdir():
        file.rename(work / "adapter" / file.name)
    assert_refused(minilora, work, ON_ADAPTERS[command], ["c_attn", "the model has", "q_proj"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Every file of a base and an adapter, as bytes."""
    folder = tmp_path_factory.mktemp("sound")
    make_base(folder / "base")
    make_adapter(folder / "adapter")
    (folder / "base" / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}', encoding="utf-8")
    (folder / "base" / "generation_config.json").write_text('{"eos_token_id": [0]}', encoding="utf-8")
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (folder / "base" / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


PIECES = [b"-1", b"1e999", b"null", b"[]", b"{}", b"true", b'"x"', b"9" * 20, b"0", b'"', b"\xff", b"}", b",", b"NaN"]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 2**31), st.sampled_from([0, 1, 2, 3, 8, 10**6]),
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@pytest.mark.slow
def test_any_file_changed_at_random_gives_a_text_or_one_line(minilora, sound):
    seen = Counter()

    @settings(max_examples=150)
    @given(st.sampled_from(["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja",
                            "config.json", WEIGHTS, "adapter_config.json", TENSORS]), EDITS)  # fmt: skip
    def check(name, edits):
        path = sound / ("adapter" if name.startswith("adapter") else "base") / name
        raw = kept = path.read_bytes()
        for at, cut, piece in edits:
            at %= min(len(raw), 3000) + 1  # where the headers are
            raw = raw[:at] + piece + raw[at + cut :]
        path.write_bytes(raw)
        given = ["--base", sound / "base", "--adapter", sound / "adapter", "--chat", "--prompt", "a cake"]
        try:
            with np.errstate(all="ignore"):
                result = minilora("generate", *given, "--max-new-tokens", 2)
        finally:
            path.write_bytes(kept)
        seen[result.code] += 1
        if result.code != 0:
            assert refused(result), result

    check()
    assert set(seen) == {0, 2} and min(seen.values()) > 5, seen  # both happen; how often depends on the library
