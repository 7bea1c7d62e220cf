"""The models beside transformers: random ones of every supported kind, in every file form."""

import json
import logging

import numpy as np
import pytest
from checkpoints import GOLDEN, edit_json
from tiny import SIZES, empty_llama, random_ids, tiny_llama

import minilora as ml
from minilora.models.pretrained import config_from_json

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

COMMON = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2,
    "initializer_range": 0.2,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
GPT2 = {"vocab_size": 61, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64, "bos_token_id": 1,
        "eos_token_id": 2, "initializer_range": 0.2, "resid_pdrop": 0.3, "attn_pdrop": 0.3}  # fmt: skip
KINDS = {
    "llama2": ("llama", {"num_key_value_heads": 4}),
    "llama3.1": ("llama", {"rope_parameters": LLAMA3, "head_dim": 10, "rms_norm_eps": 1e-5}),
    "llama3.2 tied": ("llama", {"rope_parameters": LLAMA3 | {"factor": 32.0}, "tie_word_embeddings": True}),
    "llama linear rope, biases": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 7e3, "factor": 2.5},
         "attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1},
    ),
    "mistral window 5": ("mistral", {"sliding_window": 5, "head_dim": 8}),
    "mistral no window": ("mistral", {"sliding_window": None}),
    "qwen2 tied": (
        "qwen2",
        {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    ),
    "qwen2 window in layers 1 and 2": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {"head_dim": 12}),
    "qwen3 biases, window in layer 0": (
        "qwen3",
        {"head_dim": 6, "attention_bias": True, "use_sliding_window": True, "sliding_window": 4,
         "layer_types": ["sliding_attention", "full_attention", "full_attention"]},
    ),
    "phi3": ("phi3", {"pad_token_id": 0}),
    "phi3 tied, window 5": ("phi3", {"pad_token_id": 0, "tie_word_embeddings": True, "sliding_window": 5}),
    "gemma2": ("gemma2", {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 8}),
    "gemma2, caps that bite, untied": (
        "gemma2",
        {"head_dim": 6, "sliding_window": 5, "query_pre_attn_scalar": 3, "attn_logit_softcapping": 0.7,
         "final_logit_softcapping": 1.5, "tie_word_embeddings": False, "num_key_value_heads": 1},
    ),
    "gemma2 without caps": (
        "gemma2",
        {"head_dim": 8, "sliding_window": 4, "attn_logit_softcapping": None, "final_logit_softcapping": None,
         "attention_bias": True, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    ),
    "gemma3": ("gemma3_text", {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 16}),
    "gemma3, full layers, linear rope, cap": (
        "gemma3_text",
        {"head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "full_attention"],
         "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e4},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}},
         "final_logit_softcapping": 2.0},
    ),
    "gpt2": ("gpt2", {}),
    "gpt2 narrow, untied": ("gpt2", {"n_inner": 40, "tie_word_embeddings": False, "layer_norm_epsilon": 1e-4}),
}  # fmt: skip


def reference_model(kind, seed=3):
    """A transformers model in which no weight has a special value: norms are not 1, biases not 0."""
    family, options = KINDS[kind]
    config = transformers.AutoConfig.for_model(family, **(GPT2 if family == "gpt2" else COMMON) | options)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model


def reference_load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """(our model, theirs, folder) of one kind."""
    theirs = reference_model(request.param)
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    return ml.load_pretrained(folder), theirs, folder


def ids_of(shape=(3, 17), seed=5):
    return np.random.default_rng(seed).integers(3, 61, shape, dtype=np.int64)


def assert_close(ours, theirs, tolerance=1e-5):
    theirs = theirs.detach().numpy()
    scale = abs(theirs).max()
    assert scale > 1e-3  # a comparison of zeros would prove nothing
    assert abs(ours - theirs).max() <= tolerance * max(1, scale)


def to_old_spelling(folder):
    """config.json as transformers 4 and the files on the hub have it."""
    path = folder / "config.json"
    rope = json.loads(path.read_text(encoding="utf-8")).get("rope_parameters")
    if rope and "full_attention" in rope:
        edit_json(path, rope_local_base_freq=rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    if rope:
        kind = rope.pop("rope_type")
        scaling = None if kind == "default" else {"type": kind} | {k: v for k, v in rope.items() if k != "rope_theta"}
        edit_json(path, rope_parameters=..., rope_theta=rope["rope_theta"], rope_scaling=scaling)
    edit_json(path, dtype=..., torch_dtype="float32")


def test_logits_are_those_of_transformers(pair):
    ours, theirs, _ = pair
    assert_close(ours(ids_of()).numpy(), theirs(torch.tensor(ids_of())).logits)


def test_the_loss_and_its_gradient_for_every_weight_are_those_of_transformers(pair):
    ours, theirs, _ = pair
    ids = ids_of()
    labels = ids.copy()
    labels[0, :9] = -100
    for p in (*ours.parameters(), *theirs.parameters()):
        p.grad = None
    loss, reference = ours.loss(ids, labels), theirs(torch.tensor(ids), labels=torch.tensor(labels)).loss
    loss.backward()
    reference.backward()
    assert abs(loss.item() - reference.item()) <= 1e-5
    expected = {n: p.grad for n, p in theirs.named_parameters()}
    assert expected.keys() == dict(ours.named_parameters()).keys()
    for name, p in ours.named_parameters():
        gradient = expected[name].numpy()
        assert np.linalg.norm(p.grad - gradient) <= 1e-4 * np.linalg.norm(gradient), name


def test_greedy_tokens_are_those_of_transformers(pair):
    ours, theirs, _ = pair
    prompt = ids_of((1, 7))
    reference = theirs.generate(torch.tensor(prompt), max_new_tokens=14, do_sample=False, eos_token_id=None)[0].numpy()
    made = ours.generate(prompt, 14)[0]
    np.testing.assert_array_equal(made, reference)


def test_prompts_of_different_length_in_one_batch_continue_as_transformers_continues_each_alone(pair):
    ours, theirs, _ = pair
    prompts = [ids_of((n,), seed=n) for n in (3, 11, 6)]
    for prompt, made in zip(prompts, ours.generate(prompts, 9), strict=True):
        alone = theirs.generate(torch.tensor(prompt[None]), max_new_tokens=9, do_sample=False, eos_token_id=None)
        np.testing.assert_array_equal(made, alone[0].numpy())


def test_old_and_new_spellings_of_config_json_mean_the_same(pair, tmp_path):
    _, theirs, folder = pair
    theirs.save_pretrained(tmp_path)
    to_old_spelling(tmp_path)
    old, new = (config_from_json(json.loads((f / "config.json").read_text())) for f in (tmp_path, folder))
    assert old == new
    assert_close(ml.load_pretrained(tmp_path)(ids_of()).numpy(), theirs(torch.tensor(ids_of())).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shard", ["20KB", "1GB"])
@pytest.mark.parametrize("kind", ["llama3.2 tied", "qwen3", "gpt2"])
def test_files_of_every_precision_and_in_shards_load_to_the_same_logits(kind, shard, dtype, tmp_path):
    reference_model(kind, seed=8).to(dtype).save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").is_file() == (shard == "20KB")
    theirs = reference_load(tmp_path)
    assert_close(ml.load_pretrained(tmp_path)(ids_of()).numpy(), theirs(torch.tensor(ids_of())).logits)


def test_what_is_saved_here_opens_in_transformers_without_a_warning_and_to_the_same_logits(pair, tmp_path, caplog):
    ours, _, _ = pair
    ours.save_pretrained(tmp_path)
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path,
            output_loading_info=True,
            attn_implementation="eager",  # "sdpa" of 5.17 drops Gemma 2's soft cap
        )
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert not any(info.values()), info
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert_close(ours(ids_of()).numpy(), theirs(torch.tensor(ids_of())).logits)


def test_a_model_made_here_opens_in_transformers_to_the_same_logits(tmp_path):

    ours = tiny_llama(seed=4, tie_word_embeddings=True)
    ours.save_pretrained(tmp_path)
    assert_close(ours(random_ids()).numpy(), reference_load(tmp_path)(torch.tensor(random_ids())).logits)


def test_weights_saved_here_and_there_are_the_same_bits(pair, tmp_path):
    ours, theirs, folder = pair
    ours.save_pretrained(tmp_path)
    load = pytest.importorskip("safetensors.numpy").load_file
    here, there = load(tmp_path / "model.safetensors"), load(folder / "model.safetensors")
    assert there and here.keys() == there.keys()
    assert all(here[n].tobytes() == there[n].tobytes() for n in there)


def test_gpt2_as_the_hub_has_it_without_prefix_and_with_masks_loads_to_the_same_logits(tmp_path):
    from safetensors.torch import save_file

    theirs = reference_model("gpt2", seed=6)
    theirs.config.save_pretrained(tmp_path)
    weights = {n.removeprefix("transformer."): p.detach() for n, p in theirs.named_parameters()}
    mask = torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64)
    weights |= {f"h.{i}.attn.bias": mask.clone() for i in range(3)}
    weights |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(3)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_close(ml.load_pretrained(tmp_path)(ids_of()).numpy(), theirs(torch.tensor(ids_of())).logits)


def test_bfloat16_golden_models_have_the_logits_that_transformers_gives_them():
    for name in ("llama3rope_tiny", "qwen2tied_tiny", "gpt2_tiny"):
        folder = GOLDEN / name / "base_bf16"
        theirs = reference_load(folder)(torch.tensor(ids_of())).logits
        assert_close(ml.load_pretrained(folder)(ids_of()).numpy(), theirs)


@pytest.mark.parametrize("options", [{}, {"tie_word_embeddings": True}, {"attention_bias": True, "mlp_bias": True}])
def test_names_and_shapes_are_those_of_transformers(options):
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **options))
    ours = empty_llama(**options)
    assert {n: p.shape for n, p in ours.named_parameters()} == {n: tuple(p.shape) for n, p in theirs.named_parameters()}
