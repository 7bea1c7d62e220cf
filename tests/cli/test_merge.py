"""merge: a base with its adapters inside, as a folder that computes the same."""

import json

import numpy as np
import pytest
from commands import folder_bytes, make_adapter, make_base, refused

import minilora as ml
from minilora.adapters.inspect import read_adapter
from minilora.combining.checkpoint import MARK, fixed_prompt
from minilora.files.atomic import read_json
from minilora.files.safetensors import read_header, read_tensors, write_tensors


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path):
    return make_adapter(tmp_path / "adapter")


def test_a_merged_folder_computes_what_base_and_adapter_compute(minilora, base, adapter, tmp_path):
    result = minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    ids = fixed_prompt(model.config)
    apart, together = model(ids).numpy(), ml.load_pretrained(tmp_path / "out")(ids).numpy()
    moved = abs(apart - ml.load_pretrained(base)(ids).numpy()).max()
    assert result.code == 0 and abs(together - apart).max() < 1e-4 * moved


def test_the_printed_difference_is_that_of_the_files(minilora, base, adapter, tmp_path):
    out = minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out").out
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    ids = fixed_prompt(model.config)
    difference = abs(ml.load_pretrained(tmp_path / "out")(ids).numpy() - model(ids).numpy()).max()
    assert f"merged against apart: {difference:.2g} " in out and difference > 0


def test_the_chat_template_of_an_adapter_goes_before_that_of_the_base(minilora, base, adapter, tmp_path):
    (base / "chat_template.jinja").write_text("of the base", encoding="utf-8")
    asked = ("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    for template in ("of the base", "of the adapter"):
        minilora(*asked)
        assert (tmp_path / "out" / "chat_template.jinja").read_text(encoding="utf-8") == template
        (adapter / "chat_template.jinja").write_text("of the adapter", encoding="utf-8")


def test_two_adapters_are_merged_into_their_sum(minilora, base, adapter, tmp_path):
    other = make_adapter(tmp_path / "other", seed=2, targets=("q_proj", "v_proj"), r=2, alpha=7)
    minilora("merge", "--base", base, "--adapter", f"{adapter},{other}", "--out", tmp_path / "out")
    path = "model.layers.1.self_attn.q_proj"
    deltas = [next(u.scaling * u.B @ u.A for u in read_adapter(f).updates if u.path == path) for f in (adapter, other)]
    before, after = (read_tensors(f / "model.safetensors")[f"{path}.weight"] for f in (base, tmp_path / "out"))
    np.testing.assert_allclose(after, before + sum(deltas), rtol=1e-5, atol=1e-6)


def test_the_tokenizer_comes_along(minilora, base, adapter, tmp_path):
    (base / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()


def test_a_merged_model_is_asked_as_its_adapter_was_trained(minilora, base, adapter, tmp_path):
    settings = {"jsonl": ["a"], "chat": False}
    (adapter / "history.json").write_text(json.dumps({"loss": [1.0], "settings": settings}), encoding="utf-8")
    minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "history.json").read_text(encoding="utf-8")) == {"settings": settings}
    ask = ("generate", "--base", tmp_path / "out", "--prompt", "Good cake.", "--max-new-tokens", 9)
    assert minilora(*ask).out == minilora(*ask, "--framed").out != minilora(*ask, "--plain").out


def test_merging_again_replaces_what_merge_wrote_and_leaves_nothing_of_it(minilora, base, adapter, tmp_path):
    (base / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    command = ("merge", "--base", base, "--adapter", adapter, "--out")
    minilora(*command, tmp_path / "out")
    (base / "chat_template.jinja").unlink()
    make_adapter(adapter, seed=9)
    assert minilora(*command, tmp_path / "out").code == minilora(*command, tmp_path / "fresh").code == 0
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "fresh")


def test_a_folder_with_a_file_of_another_hand_is_refused_and_not_touched(minilora, base, adapter, tmp_path):
    command = ("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    minilora(*command)
    (tmp_path / "out" / "thesis.txt").write_text("years of work", encoding="utf-8")
    before = folder_bytes(tmp_path / "out")
    assert refused(minilora(*command), "not empty", "thesis.txt", "another --out")
    assert folder_bytes(tmp_path / "out") == before


def test_a_mark_that_names_files_elsewhere_deletes_nothing_there(minilora, base, adapter, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    (tmp_path / "out" / MARK).write_text(json.dumps({"files": ["../precious", MARK]}), encoding="utf-8")
    assert minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out").code == 0
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("exists", [False, True])
def test_what_goes_wrong_leaves_the_target_as_it_was(minilora, base, adapter, tmp_path, exists, monkeypatch):
    out = tmp_path / "out"
    if exists:
        minilora("merge", "--base", base, "--adapter", adapter, "--out", out)
    before = folder_bytes(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minilora.files.checkpoint.copy_tokenizer", full)  # late: the weights are written by then
    assert refused(minilora("merge", "--base", base, "--adapter", adapter, "--out", out), "No space left")
    assert folder_bytes(tmp_path) == before and out.exists() == exists


def test_an_adapted_head_that_was_tied_is_saved_beside_the_embedding(minilora, tmp_path):
    base = make_base(tmp_path / "tied", tie_word_embeddings=True)
    adapter = make_adapter(tmp_path / "head", targets=("lm_head",), tie_word_embeddings=True)
    result = minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / "out")
    weights = read_tensors(tmp_path / "out" / "model.safetensors")
    assert "both are saved" in result.out
    assert not np.array_equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"--out": "base"}, ["is one of the inputs"]),
        ({"--out": "adapter"}, ["is one of the inputs"]),
        ({"--out": "base/config.json"}, ["is a file"]),
        ({"--out": "base/config.json/out"}, ["cannot write"]),
        ({"--adapter": None}, ["nothing to merge", "--adapter DIR", "--models DIR"]),
        ({"--adapter": "adapter=0.7,adapter=0.3"}, ["names a folder twice"]),
        ({"--models": "a"}, ["--models and --adapter", "only one"]),
        ({"--method": "ties"}, ["--method goes with --models"]),
        ({"--weights": "1"}, ["--weights goes with --models", "--adapter DIR=0.7"]),
        ({"--density": "0.5"}, ["--density goes with --models"]),
        ({"--adapter": None, "--models": "base"}, ["--models needs --method", "task_arithmetic", "dare_ties"]),
        ({"--adapter": None, "--models": "base", "--method": "ties"}, ["density = None", "ties expects"]),
        ({"--adapter": None, "--models": "base,", "--method": "ties"}, ["--models 'base,'", "joined by commas"]),
        ({"--adapter": None, "--models": "nowhere", "--method": "ties"}, ["nowhere"]),
        ({"--adapter": None, "--models": "adapter", "--method": "task_arithmetic"}, ["config.json"]),
        ({"--adapter": None, "--models": "base", "--method": "task_arithmetic"}, ["both the base and a model"]),
        ({"--adapter": None, "--models": "base", "--method": "tie"}, ["no method 'tie'", "ties"]),
        ({"--adapter": None, "--models": "base", "--weights": "1;2"}, ["--weights '1;2'", "0.7,-1"]),
        ({"--adapter": None, "--models": "base", "--method": "ties", "--device": "cuda"}, ["--device cuda", "CPU"]),
        ({"--adapter": "base"}, ["adapter_config.json"]),
        ({"--base": "adapter"}, ["config.json"]),
        ({"--base": "nowhere/at/all"}, ["nowhere/at/all"]),
    ],
)
def test_merge_refuses_in_one_line(minilora, base, adapter, tmp_path, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    before = folder_bytes(tmp_path)
    options = {"--base": "base", "--adapter": "adapter", "--out": "out"} | change
    result = minilora("merge", *(word for name, value in options.items() if value for word in (name, value)))
    assert refused(result, *words), result
    assert folder_bytes(tmp_path) == before


def test_an_adapter_is_merged_with_its_weight(minilora, base, adapter, tmp_path):
    result = minilora("merge", "--base", base, "--adapter", f"{adapter}=-0.5", "--out", tmp_path / "out")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    model.set_scale("default", -0.5)
    ids = fixed_prompt(model.config)
    assert result.code == 0
    np.testing.assert_allclose(ml.load_pretrained(tmp_path / "out")(ids).numpy(), model(ids).numpy(), atol=1e-4)


# ---- full models


@pytest.fixture
def models(minilora, base, tmp_path):
    """Two models tuned from the base: adapters merged into it."""
    for name, seed in (("a", 1), ("b", 2)):
        adapter = make_adapter(tmp_path / f"adapter-{name}", seed)
        minilora("merge", "--base", base, "--adapter", adapter, "--out", tmp_path / name)
    return [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("stored", "asked", "written"),
    [("bfloat16", (), "bfloat16"), ("float16", (), "float16"), ("float32", (), "float32"),
     ("bfloat16", ("--dtype", "float32"), "float32"), ("float32", ("--dtype", "bfloat16"), "bfloat16")],
)  # fmt: skip
def test_a_merge_has_the_type_of_the_base_or_the_one_that_is_asked_for(minilora, tmp_path, stored, asked, written):
    base = make_base(tmp_path / "base")
    ml.load_pretrained(base).save_pretrained(base, dtype=stored)
    make_adapter(tmp_path / "adapter")
    result = minilora("merge", "--base", base, "--adapter", tmp_path / "adapter", "--out", tmp_path / "out", *asked)
    assert result.code == 0 and f", {written}: " in result.out
    kinds = {kind for kind, _ in read_header(tmp_path / "out/model.safetensors")[0].values()}
    assert kinds == {{"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[written]}
    assert read_json(tmp_path / "out/config.json")["torch_dtype"] == written
    exact = minilora(
        "merge", "--base", base, "--adapter", tmp_path / "adapter", "--out", tmp_path / "exact", "--dtype", "float32"
    )
    assert exact.code == 0
    found, expected = (read_tensors(tmp_path / name / "model.safetensors") for name in ("out", "exact"))
    for name in expected:
        np.testing.assert_allclose(found[name].astype(np.float32), expected[name], rtol=2**-8, atol=1e-7)


def test_a_number_that_float16_does_not_have_is_refused_and_nothing_is_written(minilora, base, tmp_path):
    tensors = read_tensors(base / "model.safetensors")
    tensors["model.norm.weight"][0] = 1e6
    write_tensors(base / "model.safetensors", tensors)
    make_adapter(tmp_path / "adapter")
    command = (
        "merge",
        "--base",
        base,
        "--adapter",
        tmp_path / "adapter",
        "--out",
        tmp_path / "out",
        "--dtype",
        "float16",
    )
    result = minilora(*command)
    assert result.code == 2 and "model.norm.weight has a number that float16 does not have" in result.err
    assert not (tmp_path / "out").exists()


def test_task_arithmetic_of_merged_models_is_the_merge_of_both_adapters(minilora, base, models, tmp_path):
    both = f"{models[0]},{models[1]}"
    command = ["merge", "--models", both, "--base", base, "--method", "task_arithmetic", "--weights", "0.7,-0.4"]
    result = minilora(*command, "--out", tmp_path / "out")
    adapters = f"{tmp_path / 'adapter-a'}=0.7,{tmp_path / 'adapter-b'}=-0.4"
    minilora("merge", "--base", base, "--adapter", adapters, "--out", tmp_path / "expected")
    found, expected = (read_tensors(tmp_path / name / "model.safetensors") for name in ("out", "expected"))
    assert result.code == 0 and found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_the_printed_counts_are_those_of_the_files(minilora, base, models, tmp_path):
    command = ["merge", "--models", f"{models[0]},{models[1]}", "--base", base, "--method", "ties", "--density", "0.05"]
    out = minilora(*command, "--out", tmp_path / "out").out
    before, after = (read_tensors(folder / "model.safetensors") for folder in (base, tmp_path / "out"))
    changed = sum(np.count_nonzero(after[name] != before[name]) for name in before)
    size = sum(len(data) for data in folder_bytes(tmp_path / "out").values())
    assert f": {changed:,} of {sum(a.size for a in before.values()):,} numbers" in out and 0 < changed
    assert f"float32: {size:,} bytes" in out
    mark = json.loads((tmp_path / "out" / MARK).read_text(encoding="utf-8"))
    assert mark["method"] == "ties" and mark["density"] == 0.05 and mark["weights"] == [1, 1]


def test_merging_models_again_replaces_the_result(minilora, base, models, tmp_path):
    command = ["merge", "--models", models[0], "--base", base, "--method", "dare_linear", "--density", "0.5", "--out"]
    for out in ("out", "out", "fresh"):
        assert minilora(*command, tmp_path / out).code == 0
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "fresh")
