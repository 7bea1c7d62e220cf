"""Full models combined, from folder to folder. What the command prints is in cli/test_merge.py."""

import json
import tracemalloc

import numpy as np
import pytest
from checkpoints import copy_of
from commands import folder_bytes, make_base

import minilora as ml
from minilora.combining.models import METHODS, merge_models, shared_settings
from minilora.combining.ties import cutoff, paper_ties
from minilora.errors import ConfigError, FormatError, MissingFileError
from minilora.files.safetensors import read_tensors, write_tensors

KEEP = {"task_arithmetic": None, "ties": 0.3, "dare_linear": 0.5, "dare_ties": 0.5}


def weights_of(folder):
    return {name: p.data for name, p in ml.load_pretrained(folder).named_parameters()}


def tuned(base, folder, seed):
    """A model near that in `base`, as if tuned from it."""
    model, rng = ml.load_pretrained(base), np.random.default_rng(seed)
    for p in model.parameters():
        p.data = p.data + rng.standard_normal(p.shape).astype(np.float32) * 0.1
    model.save_pretrained(folder, tokenizer_from=base)
    return folder


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


@pytest.fixture
def models(base, tmp_path):
    return [tuned(base, tmp_path / name, seed) for seed, name in enumerate(("a", "b"), start=1)]


def test_task_arithmetic_adds_the_weighted_changes(base, models, tmp_path):
    report = merge_models(models, base, tmp_path / "out", "task_arithmetic", [0.7, -0.4])
    c, (a, b), found = weights_of(base), map(weights_of, models), weights_of(tmp_path / "out")
    for name in c:
        np.testing.assert_allclose(
            found[name], c[name] + 0.7 * (a[name] - c[name]) - 0.4 * (b[name] - c[name]), atol=1e-5
        )
    assert report.tensors == len(c) and report.numbers == sum(w.size for w in c.values())
    assert 0.99 * report.numbers < report.changed <= report.numbers
    assert report.bytes == sum(len(data) for data in folder_bytes(tmp_path / "out").values())


@pytest.mark.parametrize("method", METHODS)
def test_one_model_of_weight_1_with_density_1_is_itself(base, models, tmp_path, method):
    density = None if method == "task_arithmetic" else 1
    merge_models(models[:1], base, tmp_path / "out", method, density=density)
    a, found = weights_of(models[0]), weights_of(tmp_path / "out")
    for name in a:
        np.testing.assert_allclose(found[name], a[name], atol=1e-5)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "task_arithmetic"])
def test_with_density_0_the_base_is_left(base, models, tmp_path, method):
    assert merge_models(models, base, tmp_path / "out", method, density=0).changed == 0
    c, found = weights_of(base), weights_of(tmp_path / "out")
    assert all(np.array_equal(found[name], c[name]) for name in c)


def test_ties_trims_each_whole_task_vector_and_averages_what_agrees(base, models, tmp_path):
    merge_models(models, base, tmp_path / "out", "ties", [1, 2], density=0.3)
    c, found = weights_of(base), weights_of(tmp_path / "out")
    vectors = [{n: w * (m[n] - c[n]) for n in c} for m, w in zip(map(weights_of, models), (1, 2), strict=True)]
    cutoffs = [cutoff(v.values, 0.3) for v in vectors]
    everything = np.sort(abs(np.concatenate([t.ravel() for t in vectors[0].values()])))[::-1]
    assert cutoffs[0] == everything[int(0.3 * everything.size) - 1]
    for name in c:
        np.testing.assert_allclose(found[name], c[name] + paper_ties([v[name] for v in vectors], cutoffs), atol=1e-5)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_depends_on_the_seed_alone(base, models, tmp_path, method):
    for out, seed in (("one", 1), ("same", 1), ("other", 2)):
        merge_models(models, base, tmp_path / out, method, density=0.5, seed=seed)
    one, same, other = (read_tensors(tmp_path / out / "model.safetensors") for out in ("one", "same", "other"))
    assert all(np.array_equal(one[n], same[n]) for n in one) and any((one[n] != other[n]).any() for n in one)


def test_dare_keeps_about_so_many_and_divides_them_by_the_density(base, models, tmp_path):
    report = merge_models(models[:1], base, tmp_path / "out", "dare_linear", density=0.25)
    assert abs(report.changed / report.numbers - 0.25) < 0.03
    c, a, found = weights_of(base), weights_of(models[0]), weights_of(tmp_path / "out")
    for name in c:
        kept = found[name] != c[name]
        np.testing.assert_allclose((found[name] - c[name])[kept], 4 * (a[name] - c[name])[kept], atol=1e-5)


def test_what_one_model_loses_to_dare_does_not_depend_on_its_neighbours(base, models, tmp_path):
    merge_models(models[:1], base, tmp_path / "alone", "dare_linear", [1], density=0.5)
    merge_models(models, base, tmp_path / "both", "dare_linear", [1, 0], density=0.5)
    alone, both = weights_of(tmp_path / "alone"), weights_of(tmp_path / "both")
    assert all(np.array_equal(alone[name], both[name]) for name in alone)


@pytest.mark.parametrize("golden", ["llama3rope_tiny", "qwen2tied_tiny", "gpt2_tiny"])
@pytest.mark.parametrize("kind", ["base", "base_sharded", "base_bf16"])
def test_foreign_folders_in_shards_and_16_bits_are_merged(tmp_path, golden, kind):
    origin = copy_of(golden, tmp_path / "c", kind)
    model = tuned(origin, tmp_path / "a", 1)
    merge_models([model], origin, tmp_path / "out", "task_arithmetic", [-1])
    c, a, found = map(weights_of, (origin, model, tmp_path / "out"))
    for name in c:
        np.testing.assert_allclose(found[name], 2 * c[name] - a[name], atol=1e-5)


def test_the_result_can_be_in_shards(base, models, tmp_path, monkeypatch):
    merge_models(models, base, tmp_path / "one", "ties", density=0.5)
    monkeypatch.setattr("minilora.files.checkpoint.SHARD", 5000)
    merge_models(models, base, tmp_path / "many", "ties", density=0.5)
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 2
    one, many = weights_of(tmp_path / "one"), weights_of(tmp_path / "many")
    assert all(np.array_equal(one[name], many[name]) for name in one)


@pytest.mark.slow
def test_the_memory_is_that_of_a_few_tensors(tmp_path, monkeypatch):
    monkeypatch.setattr("minilora.files.checkpoint.SHARD", 2**20)
    base = make_base(tmp_path / "base", num_hidden_layers=12, hidden_size=256, intermediate_size=512)
    models = [tuned(base, tmp_path / name, seed) for seed, name in enumerate(("a", "b"), start=1)]
    size = (base / "model.safetensors").stat().st_size
    merge_models(models, base, tmp_path / "warm", "ties", density=0.2)
    tracemalloc.start()
    merge_models(models, base, tmp_path / "out", "ties", density=0.2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    largest = 4 * 256 * 512
    assert size > 20 * largest and peak < 2**20 + 14 * largest


# ---- the settings that go along


def note(folder, **settings):
    (folder / "history.json").write_text(json.dumps({"settings": settings}), encoding="utf-8")


def test_models_of_two_tasks_are_asked_as_both_were_trained(base, models, tmp_path):
    for folder, task in zip(models, ("sql", "reviews"), strict=True):
        note(folder, task=task, chat=False, lr=0.1)
    assert shared_settings(models) == {"chat": False, "lr": 0.1, "examples": True}
    merge_models(models, base, tmp_path / "out", "task_arithmetic")
    assert json.loads((tmp_path / "out" / "history.json").read_text(encoding="utf-8"))["settings"]["lr"] == 0.1


def test_models_of_one_task_are_asked_as_that_task(models):
    for folder, lr in zip(models, (1, 2), strict=True):
        note(folder, task="sql", lr=lr)
    assert shared_settings(models) == {"task": "sql"}


def test_models_that_were_trained_in_other_forms_leave_none(models):
    note(models[0], task="sql")
    note(models[1], text=["a.txt"])
    assert shared_settings(models) == {} == shared_settings([])


# ---- what is refused

OTHERS = {
    "another width": ({"hidden_size": 32}, "is no model tuned from .*: hidden_size 32 for 16"),
    "more layers": ({"num_hidden_layers": 3}, "num_hidden_layers 3 for 2"),
    "another context": ({"max_position_embeddings": 64}, "max_position_embeddings 64 for 2048"),
    "a tied head": ({"tie_word_embeddings": True}, "tie_word_embeddings True for False"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_of_another_architecture_is_refused_by_its_fields(base, models, tmp_path, name):
    sizes, says = OTHERS[name]
    other, before = make_base(tmp_path / "other", **sizes), folder_bytes(tmp_path)
    with pytest.raises(ConfigError, match=says):
        merge_models([models[0], other], base, tmp_path / "out", "task_arithmetic")
    assert folder_bytes(tmp_path) == before | {k: v for k, v in folder_bytes(tmp_path).items() if k.startswith("other")}
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_family_is_refused(base, tmp_path):
    other = copy_of("gpt2_tiny", tmp_path / "other")
    with pytest.raises(ConfigError, match="model_type gpt2 for llama$"):
        merge_models([other], base, tmp_path / "out", "task_arithmetic")


@pytest.mark.parametrize("name", ["base", "a"])
def test_a_model_in_4_bits_is_refused(base, models, tmp_path, name):
    config = json.loads((tmp_path / name / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{name} is stored in 4 or 8 bits; expected a model in 16 or 32 bits"):
        merge_models(models, base, tmp_path / "out", "task_arithmetic")


def test_another_vocabulary_is_refused_by_a_token(base, models, tmp_path):
    data = json.loads((models[1] / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (models[1] / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConfigError, match="has another vocabulary than .*: the token 'a' has 67 for 66"):
        merge_models(models, base, tmp_path / "out", "task_arithmetic")


def test_a_model_whose_numbers_are_not_finite_is_refused_by_name(base, models, tmp_path):
    file = models[0] / "model.safetensors"
    tensors = read_tensors(file)
    tensors["model.norm.weight"][3] = np.nan
    write_tensors(file, tensors)
    with pytest.raises(FormatError, match="model.norm.weight has numbers that are not finite"):
        merge_models(models, base, tmp_path / "out", "task_arithmetic")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_that_makes_the_numbers_overflow_is_refused(base, models, tmp_path, method):
    file = models[0] / "model.safetensors"
    write_tensors(file, {name: array * np.float32(1e15) for name, array in read_tensors(file).items()})
    with pytest.raises(ConfigError, match="the merge of .* has numbers that are not finite"):
        merge_models(models, base, tmp_path / "out", method, [1e29, 1], KEEP[method])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"method": "slerp"}, "no method 'slerp' for models; there are: "),
        ({"method": "svd"}, "no method 'svd'"),
        ({"method": "ties"}, "density = None: ties expects a number from 0"),
        ({"method": "ties", "density": 2}, "density = 2"),
        ({"method": "dare_linear", "density": float("nan")}, "density = nan"),
        ({"density": 0.5}, "density has no effect with task_arithmetic"),
        ({"weights": [1]}, r"weights = \[1\]: expected a list of 2, one for each"),
        ({"weights": [1, float("inf")]}, "inf is not a finite number"),
        ({"weights": [1, 1e39]}, r"1e\+39 is not a finite number below 1e30"),
        ({"seed": -1}, "seed = -1: expected a whole number of at least 0"),
        ({"models": []}, "no model to merge"),
        ({"models": ["a", "b/../a"]}, "a model is named twice"),
        ({"models": ["a", "base"]}, "is both the base and a model"),
        ({"out": "a"}, "is one of the inputs"),
    ],
)
def test_options_that_cannot_be_are_refused_and_nothing_is_written(base, models, tmp_path, change, says):
    before = folder_bytes(tmp_path)
    given = {"models": ["a", "b"], "out": "out", "method": "task_arithmetic"} | change
    given |= {"models": [tmp_path / name for name in given["models"]], "out": tmp_path / given["out"]}
    with pytest.raises(ConfigError, match=says):
        merge_models(base=base, **given)
    assert folder_bytes(tmp_path) == before


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(base, models, tmp_path, file):
    (models[1] / file).unlink()
    with pytest.raises(MissingFileError, match=file):
        merge_models(models, base, tmp_path / "out", "ties", density=0.5)
    assert not (tmp_path / "out").exists()
