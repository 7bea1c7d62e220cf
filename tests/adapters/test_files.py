"""Adapters in PEFT's format: what is written, and what is read back; real ones give what PyTorch + PEFT computed."""

import json
import warnings

import numpy as np
import pytest
from checkpoints import read_npz
from peft_cases import EXAMPLES, GOLDEN, Q0, ROOT, base, edit_config, edit_tensors, load, saved, write_bfloat16
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora import LoraConfig, PeftModel
from minilora.adapters.files import read_adapter_config, read_adapter_tensors
from minilora.errors import FormatError, MiniloraError
from minilora.files.safetensors import read_header, read_tensors, write_tensors

IDS = random_ids()
MODELS = ["llama3rope_tiny", "gpt2_tiny"]


@pytest.fixture(scope="module", params=MODELS)
def golden(request):
    """A model with PEFT's adapter, and what PyTorch + PEFT computed with it."""
    model = PeftModel.from_pretrained(base(request.param), GOLDEN / request.param / "adapter", is_trainable=True)
    return model, read_npz(GOLDEN / request.param / "expected.npz")


def test_an_adapter_from_peft_gives_pefts_logits_and_loss(golden):
    model, expected = golden
    assert abs(model(expected["input_ids"]).numpy() - expected["adapter_logits"]).max() < 1e-4
    loss = model.loss(expected["input_ids"], expected["input_ids"]).item()
    assert abs(loss - expected["loss"]) < 1e-4


def test_an_adapter_from_peft_gives_pytorchs_gradients(golden):
    model, expected = golden
    for p in model.parameters():
        p.grad = None
    model.loss(expected["input_ids"], expected["input_ids"]).backward()
    grads = {f"grad/{n}": p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert grads
    assert set(grads) == {key for key in expected if key.startswith("grad/")}
    for name, grad in grads.items():
        assert abs(grad - expected[name]).max() <= 1e-4 * abs(expected[name]).max(), name


def test_an_adapter_from_peft_merges_to_pefts_merged_logits(golden):
    model, expected = golden
    model.merge_adapter()
    assert abs(model(expected["input_ids"]).numpy() - expected["merged_logits"]).max() < 1e-4
    model.unmerge_adapter()


def test_a_loaded_adapter_is_frozen_and_active_unless_it_is_to_be_trained():
    folder = GOLDEN / "gpt2_tiny" / "adapter"
    model = PeftModel.from_pretrained(base("gpt2_tiny"), folder)
    assert model.active_adapter == "default" and not model.training
    assert not any(p.requires_grad for p in model.parameters())
    model = PeftModel.from_pretrained(base("gpt2_tiny"), folder, "mine", is_trainable=True)
    assert model.active_adapter == "mine"
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, _ in model.named_parameters() if ".mine." in n
    }


# ---- there and back


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"targets": ["embed_tokens", "lm_head", "down_proj"]},
        {"modules_to_save": ["lm_head", "norm"]},
        {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"q_proj": 9}},
        {"use_rslora": True, "lora_alpha": 2.5, "lora_dropout": 0.25},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"exclude_modules": ["layers.0.self_attn.q_proj"], "task_type": "CAUSAL_LM"},
        {"base_model_name_or_path": "a/b"},
    ],
)
def test_what_is_saved_loads_to_the_same_bits_and_the_same_config(options, tmp_path):
    model = saved(tmp_path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert np.array_equal(again(IDS).numpy(), model(IDS).numpy())
    assert again.peft_config == model.peft_config


def test_a_regular_expression_and_all_linear_survive_saving(tmp_path):
    for targets in (r".*\.1\..*_proj", "all-linear"):
        config = LoraConfig(r=3, lora_alpha=5, target_modules=targets, init_lora_weights=False)
        model = ml.get_peft_model(tiny_llama(), config)
        model.save_pretrained(tmp_path)
        again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
        assert np.array_equal(again(IDS).numpy(), model(IDS).numpy())


def test_patterns_keep_their_order_in_the_file_because_the_first_match_wins(tmp_path):
    saved(tmp_path, rank_pattern={"q_proj": 2, "layers.0.self_attn.q_proj": 4})
    text = (tmp_path / "adapter_config.json").read_text(encoding="utf-8")
    assert list(json.loads(text)["rank_pattern"]) == ["q_proj", "layers.0.self_attn.q_proj"]
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_files_are_named_and_marked_as_pefts(tmp_path):
    saved(tmp_path, ["q_proj", "embed_tokens"], modules_to_save=["lm_head"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    tensors, metadata = read_header(tmp_path / "adapter_model.safetensors")
    assert metadata.pop("minilora_base")  # beside PEFT's own
    assert metadata == {"format": "pt"}
    layer = ROOT + "model.layers.{}.self_attn.q_proj.lora_{}.weight"
    assert tensors == {
        **{layer.format(i, "A"): ("F32", (3, 16)) for i in range(2)},
        **{layer.format(i, "B"): ("F32", (24, 3)) for i in range(2)},
        ROOT + "model.embed_tokens.lora_embedding_A": ("F32", (3, 29)),
        ROOT + "model.embed_tokens.lora_embedding_B": ("F32", (16, 3)),
        ROOT + "lm_head.weight": ("F32", (29, 16)),
    }


def test_the_config_has_pefts_keys_with_pefts_defaults(tmp_path):
    saved(tmp_path, r=8, lora_alpha=8, targets=["q_proj", "v_proj"], init_lora_weights=True, task_type="CAUSAL_LM")
    ours = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    pefts = EXAMPLES["llama_default"]["config"]
    ours["target_modules"], pefts["target_modules"] = sorted(ours["target_modules"]), sorted(pefts["target_modules"])
    assert ours == {key: pefts[key] for key in ours}
    assert set(ours) >= {"peft_type", "task_type", "r", "lora_alpha", "target_modules", "inference_mode", "bias"}


def test_a_new_adapter_notes_where_its_base_was_loaded_from(tmp_path):
    tiny_llama().save_pretrained(tmp_path / "base")
    loaded = ml.load_pretrained(tmp_path / "base")
    ml.get_peft_model(loaded, LoraConfig(r=3, target_modules=["q_proj"])).save_pretrained(tmp_path / "a")
    assert read_adapter_config(tmp_path / "a").base_model_name_or_path == str(tmp_path / "base")
    own = LoraConfig(r=3, target_modules=["q_proj"], base_model_name_or_path="org/name")
    ml.get_peft_model(ml.load_pretrained(tmp_path / "base"), own).save_pretrained(tmp_path / "b")
    assert read_adapter_config(tmp_path / "b").base_model_name_or_path == "org/name"
    saved(tmp_path / "c")
    assert read_adapter_config(tmp_path / "c").base_model_name_or_path is None


def test_an_adapter_that_is_not_the_default_goes_into_a_folder_of_its_name(tmp_path):
    model = saved(tmp_path / "first")
    model.add_adapter("b", LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights=False))
    model.save_pretrained(tmp_path / "all")
    model.save_pretrained(tmp_path / "some", selected_adapters=["b"])
    assert (tmp_path / "all" / "adapter_config.json").is_file()
    assert (tmp_path / "all" / "b" / "adapter_config.json").is_file()
    assert [p.name for p in (tmp_path / "some").iterdir()] == ["b"]
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path / "all")
    again.load_adapter(tmp_path / "all" / "b", "b")
    for names in ("default", "b", ["default", "b"]):
        model.set_adapter(names)
        again.set_adapter(names)
        assert np.array_equal(again(IDS).numpy(), model(IDS).numpy())


def test_saving_a_merged_model_saves_the_adapter_and_leaves_it_merged(tmp_path):
    model = saved(tmp_path)
    model.merge_adapter()
    before = (tmp_path / "adapter_model.safetensors").read_bytes()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == before and model.merged_adapters


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MiniloraError, match="cannot write"):
        saved(tmp_path / "file")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, "bfloat16"])
def test_tensors_of_any_float_type_become_float32(dtype, tmp_path):
    model = saved(tmp_path)
    tensors = read_tensors(tmp_path / "adapter_model.safetensors")
    if dtype == "bfloat16":
        write_bfloat16(tmp_path / "adapter_model.safetensors", tensors)
    else:
        write_tensors(tmp_path / "adapter_model.safetensors", {k: v.astype(dtype) for k, v in tensors.items()})
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    loaded = {n: p.data for n, p in again.named_parameters() if ".lora_" in n}
    assert loaded and all(v.dtype == np.float32 for v in loaded.values())
    assert abs(again(IDS).numpy() - model(IDS).numpy()).max() < (1e-6 if dtype == np.float64 else 0.3)


# ---- reading what differs from our own files


@pytest.fixture
def folder(tmp_path):
    """A saved adapter with r 3, alpha 5 on q_proj."""
    saved(tmp_path)
    return tmp_path


def test_the_four_keys_that_say_everything_are_enough(folder):
    expected = load(folder)(IDS).numpy()
    kept = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"], "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(kept), encoding="utf-8")
    assert np.array_equal(load(folder)(IDS).numpy(), expected)


@pytest.mark.parametrize("infix", [".default", ".weight_of_another_name"])
def test_keys_with_the_adapters_name_load_too(folder, infix):
    expected = load(folder)(IDS).numpy()
    edit_tensors(
        folder, lambda t: {k.replace("_A.", f"_A{infix}.").replace("_B.", f"_B{infix}."): v for k, v in t.items()}
    )
    assert np.array_equal(load(folder)(IDS).numpy(), expected)


def test_keys_as_they_are_in_memory_load_too(tmp_path):
    expected = saved(tmp_path, ["embed_tokens", "q_proj"], modules_to_save=["lm_head"])(IDS).numpy()

    def rename(tensors):
        for old in list(tensors):
            new = old.replace("_A", "_A.x").replace("_B", "_B.x").replace("lm_head.", "lm_head.modules_to_save.x.")
            tensors[new] = tensors.pop(old)

    edit_tensors(tmp_path, rename)
    assert np.array_equal(load(tmp_path)(IDS).numpy(), expected)


def test_metadata_is_not_needed(folder):
    tensors = read_tensors(folder / "adapter_model.safetensors")
    write_tensors(folder / "adapter_model.safetensors", tensors, metadata={})
    load(folder)


def test_an_adapter_of_a_rank_above_the_smaller_side_loads_with_a_note(folder):
    edit_config(folder, r=20)
    rng = np.random.default_rng(0)
    shapes = {"A": (20, 16), "B": (24, 20)}
    edit_tensors(folder, lambda t: {k: rng.standard_normal(shapes[k[-8]]).astype(np.float32) for k in t})
    with pytest.warns(
        UserWarning, match=r"rank 20 is above the smaller side of .*q_proj \(24, 16\) and of 1 more"
    ) as said:
        model = load(folder)
    assert len(said) == 1
    assert np.any(model(IDS).numpy() != tiny_llama()(IDS).numpy())


def test_a_name_that_matches_nothing_here_is_no_matter_when_every_tensor_finds_its_place(folder):
    expected = load(folder)(IDS).numpy()
    edit_config(folder, target_modules=["q_proj", "query_key_value"])
    assert np.array_equal(load(folder)(IDS).numpy(), expected)


def test_an_embedding_that_is_saved_along_must_equal_the_bases(tmp_path):
    expected = saved(tmp_path, ["embed_tokens", "lm_head"])(IDS).numpy()
    model = tiny_llama()
    along = {
        ROOT + "model.embed_tokens.base_layer.weight": model.model.embed_tokens.weight.data,
        ROOT + "lm_head.base_layer.weight": model.lm_head.weight.data,
    }
    edit_tensors(tmp_path, lambda t: t | along)
    assert np.array_equal(load(tmp_path)(IDS).numpy(), expected)
    edit_tensors(tmp_path, lambda t: t | {k: v + np.float32(1e-3) for k, v in along.items()})
    with pytest.raises(FormatError, match="2 base weights that differ from this model's: .*base_layer.weight"):
        load(tmp_path)


@pytest.mark.parametrize("init", ["eva", "orthogonal", "gaussian", "Gaussian", False])
def test_an_initialisation_that_only_chose_the_starting_values_is_no_matter(folder, init):
    expected = load(folder)(IDS).numpy()
    edit_config(folder, init_lora_weights=init, eva_config={"rho": 1.0} if init == "eva" else None)
    assert np.array_equal(load(folder)(IDS).numpy(), expected)


def test_a_folder_can_be_read_without_a_model(folder):
    config = read_adapter_config(folder)
    assert (config.r, config.lora_alpha, config.target_modules) == (3, 5, ["q_proj"])
    tensors, _ = read_adapter_tensors(folder, config)
    assert tensors[Q0, "lora_A.weight"].shape == (3, 16) and len(tensors) == 4
