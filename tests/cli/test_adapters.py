"""`minilora adapters` and `inspect`: what is shown, what is refused."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import GOLDEN, edit_json
from commands import base_model, folder_bytes, make_adapter, make_base, refused

import minilora as ml
from minilora.adapters.inspect import read_adapter
from minilora.adapters.registry import NAMES, config_named
from minilora.files.safetensors import read_tensors, write_tensors


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path):
    return make_adapter(tmp_path / "adapter")


def rows(out):  # the lines of a table below its rule -> list of lists of words
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() and not re.search(r"\w", line)) + 1
    return [line.split() for line in lines[start:] if line.strip() and line.startswith(" ")]


def facts(out):  # "name   value" lines -> dict
    split = (re.split(r"\s{3,}", line.strip(), maxsplit=1) for line in out.splitlines() if not line.startswith(" "))
    return dict(words for words in split if len(words) == 2)


# ---- merge


# ---- adapters


def test_the_list_has_counts_scale_and_bytes_of_each_adapter(minilora, tmp_path):
    make_adapter(tmp_path / "all" / "one", targets=("q_proj",), r=3, alpha=5)
    make_adapter(tmp_path / "all" / "two", targets=("q_proj", "down_proj"), r=2, alpha=7)
    size = sum(len(data) for data in folder_bytes(tmp_path / "all" / "two").values())
    first, second = rows(minilora("adapters", tmp_path / "all").out)
    assert first[1:7] == ["lora", "q_proj", "3", "5", f"{5 / 3:g}", str(2 * 3 * (16 + 24))]
    assert second[0] == str(tmp_path / "all" / "two")
    assert second[1:] == [
        "lora",
        "q_proj,",
        "down_proj",
        "2",
        "7",
        "3.5",
        str(2 * 2 * (16 + 24 + 20 + 16)),
        f"{size:,}",
    ]


@pytest.mark.parametrize("method", [name for name in NAMES if name not in ("pissa", "olora", "lora_plus")])
def test_every_method_is_listed_and_inspected_with_its_name_and_its_parameters(minilora, tmp_path, method):
    settings = {"target_modules": ["q_proj"], "num_virtual_tokens": 3, "total_step": 9, "r": 3}
    model = ml.get_peft_model(base_model(), config_named(method, **settings))
    model.save_pretrained(tmp_path / "one")
    (row,) = rows(minilora("adapters", tmp_path / "one").out)
    assert row[1] == method and row[-2] == f"{model.get_nb_trainable_parameters()[0]:,}"
    assert row[-5] == {"vera": "3", "ia3": "-", "prefix_tuning": "-", "prompt_tuning": "-"}.get(method, row[-5])
    shown = minilora("inspect", tmp_path / "one").out
    assert f"method {method}" in " ".join(shown.split()) and "parameters" in shown


@pytest.mark.parametrize("method", ["lora", "vera", "prompt_tuning"])
def test_control_characters_of_a_file_do_not_reach_the_terminal(minilora, tmp_path, method):
    config = config_named(method, target_modules=["q_proj"], num_virtual_tokens=3)
    ml.get_peft_model(base_model(), config).save_pretrained(tmp_path / "one")
    edit_json(tmp_path / "one/adapter_config.json", base_model_name_or_path="sea\x1b[31m\nforged 9")
    for command in ("inspect", "adapters"):
        out = minilora(command, tmp_path / "one").out
        assert all(line.isprintable() and not line.startswith("forged") for line in out.splitlines())
    assert "sea\\x1b[31m\\nforged 9" in minilora("inspect", tmp_path / "one").out


def test_of_very_many_and_long_names_a_part_is_shown(minilora, adapter):
    names = [f"m{n}" for n in range(100_000)] + ["q_proj", "down_proj"]
    edit_json(adapter / "adapter_config.json", target_modules=["x" * 1000, *names])
    for command in ("adapters", "inspect"):
        out = minilora(command, adapter).out
        assert "m18and99983more" in "".join(out.split()) and len(out) < 10_000


def test_ranks_that_differ_are_shown_as_a_range(minilora, adapter, tmp_path):
    model = base_model()
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj"], rank_pattern={"k_proj": 5})
    ml.get_peft_model(model, config).save_pretrained(tmp_path / "mixed")
    assert "3 .. 5" in minilora("adapters", tmp_path / "mixed").out


def test_one_that_cannot_be_read_does_not_hide_the_others(minilora, tmp_path):
    for name in ("a", "b", "c"):
        make_adapter(tmp_path / name)
    for name in ("b", "c"):
        edit_json(tmp_path / name / "adapter_config.json", use_qalora=True)
    result = minilora("adapters", tmp_path)
    assert result.code == 2 and [row[0] for row in rows(result.out)] == [str(tmp_path / "a")]
    error = f"error: {tmp_path / 'b' / 'adapter_config.json'}: use_qalora = True is not supported (and 1 more)\n"
    assert result.err == error


def test_a_folder_without_adapters_is_refused(minilora, base, adapter):
    assert refused(minilora("adapters", adapter, base), "no adapter", str(base), "adapter_config.json")


# ---- inspect


def test_every_update_is_shown_with_its_norm_and_its_share_of_the_weight(minilora, base, adapter):
    shown = {row[0]: row[1:] for row in rows(minilora("inspect", adapter, "--base", base).out)}
    weights = read_tensors(base / "model.safetensors")
    updates = read_adapter(adapter).updates
    assert len(shown) == len(updates) == 4
    for u in updates:
        W = np.linalg.norm(weights[f"{u.path}.weight"].astype(np.float64))
        norm = np.linalg.norm(u.scaling * u.B.astype(np.float64) @ u.A)
        out, n_in = u.shape
        assert shown[u.path] == [
            str(out), "x", str(n_in), "3", f"{5 / 3:g}", f"{norm:.4g}", f"{W:.4g}", f"{norm / W:.2%}"
        ]  # fmt: skip


def test_layers_are_shown_in_their_order(minilora, tmp_path):
    make_adapter(tmp_path / "deep", targets=("q_proj",), num_hidden_layers=11)
    shown = [row[0] for row in rows(minilora("inspect", tmp_path / "deep").out)]
    assert shown == [f"model.layers.{i}.self_attn.q_proj" for i in range(11)]


def test_facts_of_an_adapter_are_those_of_its_config(minilora, adapter):
    shown = facts(minilora("inspect", adapter).out)
    assert (shown["targets"], shown["r"], shown["alpha"]) == ("q_proj, down_proj", "3", "5")
    assert shown["scale"] == f"{5 / 3:g} = alpha / r"
    assert shown["parameters"] == f"{2 * 3 * (16 + 24 + 20 + 16)} in 4 modules"


def test_an_adapter_of_another_base_is_refused_with_names_and_shapes(minilora, base, tmp_path):
    wide = make_adapter(tmp_path / "wide", hidden_size=32)
    result = minilora("inspect", wide, "--base", base)
    assert refused(result, "of the wrong shape", "down_proj.lora_B", "(32, 3)", "(16, 3)"), result


@pytest.mark.parametrize(
    "seed, trained_on_it, words",
    [(0, True, "it was trained on this base"), (7, False, "but it was trained on another base")],
)
def test_the_base_that_an_adapter_was_trained_on_is_told_from_one_of_the_same_shapes(
    minilora, adapter, tmp_path, seed, trained_on_it, words
):
    other = make_base(tmp_path / "other", seed)
    assert minilora("inspect", adapter, "--base", other).out.splitlines()[-1].endswith(words)
    assert json.loads(minilora("inspect", adapter, "--base", other, "--json").out)["trained_on_it"] is trained_on_it


@pytest.mark.parametrize("name", ["gpt2_tiny", "qwen2tied_tiny"])
def test_a_tied_and_a_transposed_base_are_known_again(minilora, tmp_path, name):
    config = ml.LoraConfig(r=2, lora_alpha=3, fan_in_fan_out=name == "gpt2_tiny")
    model = ml.get_peft_model(ml.load_pretrained(GOLDEN / name / "base"), config)
    model.save_pretrained(tmp_path / "one")
    found = json.loads(minilora("inspect", tmp_path / "one", "--base", GOLDEN / name / "base", "--json").out)
    assert found["trained_on_it"] is True


def test_an_adapter_of_another_tool_does_not_say_its_base(minilora, base, adapter):
    spoil(adapter, lambda tensors, name: None)  # written again without metadata
    shown = minilora("inspect", adapter, "--base", base).out.splitlines()[-1]
    assert shown == f"fits {base}: the shapes agree (no file says which base the adapter was trained on)"


def test_a_head_tied_to_the_embedding_is_compared_with_the_one_weight(minilora, tmp_path):
    base = make_base(tmp_path / "tied", tie_word_embeddings=True)
    adapter = make_adapter(tmp_path / "both", targets=("lm_head", "embed_tokens"), tie_word_embeddings=True)
    shown = {row[0]: row for row in rows(minilora("inspect", adapter, "--base", base).out)}
    weight = read_tensors(base / "model.safetensors")["model.embed_tokens.weight"].astype(np.float64)
    assert shown["lm_head"][-2] == shown["model.embed_tokens"][-2] == f"{np.linalg.norm(weight):.4g}"


def test_a_base_is_shown_with_sizes_count_and_tie(minilora, tmp_path):
    base = make_base(tmp_path / "tied", tie_word_embeddings=True)
    shown = facts(minilora("inspect", base).out)
    assert shown["parameters"] == f"{sum(p.size for p in base_model(tie_word_embeddings=True).parameters()):,}"
    assert (shown["model type"], shown["hidden size"], shown["num key value heads"]) == ("llama", "16", "2")
    assert shown["head"].startswith("tied") and shown["stored as"] == "F32"


@pytest.mark.parametrize("kind, stored, files", [("base_bf16", "BF16", 1), ("base_sharded", "F32", 6)])
def test_a_base_of_other_hands_is_shown_as_it_is_stored(minilora, kind, stored, files):
    folder = GOLDEN / "gpt2_tiny" / kind
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    shown = facts(minilora("inspect", folder).out)
    assert (shown["model type"], shown["stored as"]) == ("gpt2", stored)
    assert shown["weights on disk"] == f"{size:,} bytes in {files} file(s)"


def spoil(adapter, change):
    tensors = read_tensors(adapter / "adapter_model.safetensors")
    change(tensors, next(name for name in tensors if "lora_B" in name))
    write_tensors(adapter / "adapter_model.safetensors", tensors)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda tensors, name: tensors.pop(name), ["has no lora_B"]),
        (lambda tensors, name: tensors.update({name: tensors[name][:, :2]}), ["lora_B", "not of rank 3"]),
        (lambda tensors, name: tensors.update({name: tensors[name] * np.float32("nan")}), ["not finite"]),
        (lambda tensors, name: tensors.clear(), ["no tensor of LoRA"]),
        (lambda tensors, name: tensors.update({"base_model.model.x.lora_magnitude_vector": np.ones(3)}), ["magnitude"]),
    ],
)
def test_a_broken_adapter_is_refused_by_name(minilora, adapter, change, words):
    spoil(adapter, change)
    for command in ("inspect", "adapters"):
        assert refused(minilora(command, adapter), str(adapter), *words)


def test_a_base_whose_weights_are_not_those_of_its_config_is_refused(minilora, base):
    edit_json(base / "config.json", intermediate_size=21)
    assert refused(minilora("inspect", base), "down_proj.weight", "(16, 20)", "(16, 21)")


@pytest.mark.parametrize("folder, words", [("nowhere", ["no such folder"]), (".", ["neither"])])
def test_inspect_refuses_what_is_neither(minilora, base, tmp_path, monkeypatch, folder, words):
    monkeypatch.chdir(tmp_path)
    assert refused(minilora("inspect", folder), *words)


def test_tables_can_be_shown_on_a_console_that_knows_ascii_only(adapter, base):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for words in (["adapters", adapter], ["inspect", adapter, "--base", base], ["inspect", base]):
        command = [sys.executable, "-m", "minilora", *map(str, words)]
        done = subprocess.run(command, capture_output=True, env=environment)
        assert done.returncode == 0 and "?" not in done.stdout.decode("ascii")


def test_the_ranks_that_adalora_left_are_drawn_into_a_new_file(minilora, tmp_path):
    config = config_named("adalora", init_r=4, target_r=2, total_step=9, target_modules=["q_proj", "down_proj"])
    ml.get_peft_model(base_model(), config).save_pretrained(tmp_path / "a")
    minilora("inspect", tmp_path / "a", "--plot", tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").read_bytes().startswith(b"\x89PNG")
    again = minilora("inspect", tmp_path / "a", "--plot", tmp_path / "ranks.png")
    assert refused(again, "expected a new file whose name ends in .png")


def test_only_adalora_has_ranks_to_draw(minilora, adapter, tmp_path):
    said = minilora("inspect", adapter, "--plot", tmp_path / "p.png")
    assert refused(said, "--plot draws the ranks of AdaLoRA") and not (tmp_path / "p.png").exists()


# ---- --json


def test_the_json_of_the_list_has_the_numbers_of_the_table_in_full(minilora, tmp_path):
    make_adapter(tmp_path / "all" / "one", targets=("q_proj",), r=3, alpha=5)
    ml.get_peft_model(base_model(), config_named("prompt_tuning", num_virtual_tokens=3)).save_pretrained(
        tmp_path / "all" / "two"
    )
    table, found = rows(minilora("adapters", tmp_path / "all").out), minilora("adapters", tmp_path / "all", "--json")
    one, two = json.loads(found.out)
    assert (found.code, found.err) == (0, "")
    assert (one["folder"], one["method"], one["targets"]) == (table[0][0], "lora", ["q_proj"])
    assert (one["r"], one["alpha"], one["scale"]) == ([3], [5], [5 / 3])
    assert (f"{one['parameters']:,}", f"{one['bytes_on_disk']:,}") == tuple(table[0][-2:])
    assert (two["method"], two["targets"], two["r"], two["alpha"]) == ("prompt_tuning", None, [], [])
    assert f"{two['parameters']:,}" == table[1][-2]


def test_the_json_of_the_list_has_every_rank_and_names_no_adapter_that_cannot_be_read(minilora, tmp_path):
    config = ml.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj"], rank_pattern={"k_proj": 5})
    ml.get_peft_model(base_model(), config).save_pretrained(tmp_path / "mixed")
    make_adapter(tmp_path / "other")
    edit_json(tmp_path / "other" / "adapter_config.json", use_qalora=True)
    code, out, err = minilora("adapters", tmp_path, "--json")
    (found,) = json.loads(out)
    assert (found["r"], found["scale"]) == ([3, 5], [1, 5 / 3])
    assert code == 2 and err.startswith("error: ") and "use_qalora" in err


def test_the_json_of_an_adapter_has_every_update_in_full(minilora, base, adapter):
    shown = rows(minilora("inspect", adapter, "--base", base).out)
    found = json.loads(minilora("inspect", adapter, "--base", base, "--json").out)
    assert (found["kind"], found["fits"], found["stored_as"]) == ("adapter", str(base), ["float32"])
    updates = {u.path: u for u in read_adapter(adapter).updates}
    for row, module in zip(shown, found["modules"], strict=True):
        u = updates[module["path"]]
        assert (module["norm"], module["scale"], module["alpha"]) == (u.norm(), 5 / 3, 5)
        assert row[:4] == [module["path"], str(module["out"]), "x", str(module["in"])]
        assert row[-2:] == [f"{module['base_norm']:.4g}", f"{module['norm'] / module['base_norm']:.2%}"]


def test_the_json_of_another_method_has_its_tensors_and_null_for_what_is_no_number(minilora, tmp_path):
    ml.get_peft_model(base_model(), config_named("ia3", target_modules=["k_proj"])).save_pretrained(tmp_path)
    tensors = read_tensors(tmp_path / "adapter_model.safetensors")
    first, second = sorted(tensors)
    write_tensors(tmp_path / "adapter_model.safetensors", tensors | {first: tensors[first] * np.float32("nan")})
    found = json.loads(minilora("inspect", tmp_path, "--json").out)
    assert [t["norm"] for t in found["tensors"]] == [None, float(np.linalg.norm(tensors[second].astype(np.float64)))]
    assert found["method"] == "ia3" and found["tensors"][0]["shape"] == list(tensors[first].shape)


def test_the_json_of_a_base_has_the_facts_of_the_text(minilora, base):
    shown, found = facts(minilora("inspect", base).out), json.loads(minilora("inspect", base, "--json").out)
    assert (found["kind"], found["folder"], found["tied"], found["tokenizer"]) == ("base", str(base), False, True)
    assert (shown["parameters"], shown["vocabulary"]) == (f"{found['parameters']:,}", f"{found['vocab_size']:,}")
    assert shown["hidden size"] == str(found["sizes"]["hidden_size"]) and shown["stored as"] == found["stored_as"][0]
    assert shown["weights on disk"] == f"{found['bytes_on_disk']:,} bytes in {found['files']} file(s)"
