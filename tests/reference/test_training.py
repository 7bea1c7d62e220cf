"""Training here and in PyTorch + PEFT: the same base, adapter, data and settings give the same losses and adapters."""

import numpy as np
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_reference import ours, peft, quietly, torch, transformers  # noqa: E402

from minilora import AdamW, LoraConfig, PeftModel, get_peft_model  # noqa: E402
from minilora.training.callbacks import History  # noqa: E402
from minilora.training.loop import train  # noqa: E402
from minilora.training.optim import constant, cosine  # noqa: E402

STEPS, VOCAB = 20, 61
LLAMA = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "head_dim": 10,
    "num_key_value_heads": 2,
}  # q 24 -> 40, k and v 24 -> 20
BASES = {
    "llama": ("llama", LLAMA),
    "tied": ("llama", LLAMA | {"tie_word_embeddings": True}),
    "qwen2": ("qwen2", LLAMA),
    "gpt2": ("gpt2", {"n_embd": 24, "n_layer": 3, "n_head": 3, "n_positions": 20, "n_inner": 40}),
}  # fmt: skip
CASES = {
    "llama, q and v": ("llama", ["q_proj", "v_proj"], {}),
    "llama, all-linear": ("llama", "all-linear", {}),
    "llama, tied, embedding and head": ("tied", ["embed_tokens", "lm_head", "o_proj"], {}),
    "qwen2, rslora": ("qwen2", "all-linear", {"use_rslora": True}),
    "gpt2, q, k and v": ("gpt2", ["c_attn"], {"fan_in_fan_out": True}),
    "gpt2, all-linear": ("gpt2", "all-linear", {"fan_in_fan_out": True}),
    "llama, copies": ("llama", ["q_proj", "down_proj"], {"modules_to_save": ["norm", "lm_head"]}),
}
ADAM = {"lr": 4e-3, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.05}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # GPT-2's own


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """One folder for each kind of base, made by transformers."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in BASES}
    torch.manual_seed(17)
    for kind, folder in folders.items():
        family, sizes = BASES[kind]
        config = transformers.AutoConfig.for_model(family, vocab_size=VOCAB, **sizes, initializer_range=0.1)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folders


def batches(steps=STEPS):
    """(ids, labels) of every step; the first tokens of every row are a prompt, which is not learned."""
    rng = np.random.default_rng(21)
    for _ in range(steps):
        ids = rng.integers(0, VOCAB, (4, 12), dtype=np.int64)
        labels = ids.copy()
        for row, prompt in enumerate(rng.integers(0, 6, 4)):
            labels[row, :prompt] = -100
        yield ids, labels


def theirs(kind, folder):
    options = NO_DROPOUT if kind == "gpt2" else {}
    load = transformers.AutoModelForCausalLM.from_pretrained
    return quietly(load, folder, dtype=torch.float32, **options)[0]


def train_there(model, schedule, max_norm):  # -> losses, {name: array}
    """The loop that everybody writes in PyTorch."""
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), **ADAM)
    losses = []
    model.train()
    for step, (ids, labels) in enumerate(batches(), start=1):
        for group in optimizer.param_groups:
            group["lr"] = ADAM["lr"] * schedule(step)
        loss = model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), max_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {n: p.detach().numpy() for n, p in trained.items()}


def train_here(model, schedule, max_norm):  # -> losses, {name: array}
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    history = History()
    optimizer = AdamW(trained.values(), **ADAM)
    train(model, batches(), optimizer, STEPS, schedule=schedule, max_norm=max_norm, callbacks=[history])
    return history.loss, {n: p.data for n, p in trained.items()}


def assert_same_training(here, there, start):
    (our_losses, our_weights), (losses, weights) = here, there
    np.testing.assert_allclose(our_losses, losses, rtol=0, atol=1e-4)
    assert weights and our_weights.keys() == weights.keys()
    for name, reference in weights.items():
        assert np.linalg.norm(our_weights[name] - reference) <= 1e-4 * np.linalg.norm(reference), name
        assert np.linalg.norm(reference - start[name]) > 1e-2 * np.linalg.norm(reference), f"{name} did not learn"


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_of_adamw_from_pefts_initialisation_give_pytorchs_losses_and_weights(case, bases, tmp_path):
    kind, targets, options = CASES[case]
    torch.manual_seed(3)
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, lora_dropout=0.0, **options)
    there, _ = quietly(peft.get_peft_model, theirs(kind, bases[kind]), config)
    quietly(there.save_pretrained, str(tmp_path))
    here = PeftModel.from_pretrained(ours(bases[kind]), tmp_path, is_trainable=True)
    start = {n: p.detach().numpy().copy() for n, p in there.named_parameters() if p.requires_grad}
    assert_same_training(train_here(here, constant(), 1e9), train_there(there, constant(), 1e9), start)


@pytest.mark.parametrize("kind, targets", [("llama", "all-linear"), ("gpt2", ["c_attn", "c_proj"])])
def test_twenty_steps_as_the_commands_take_them_from_our_initialisation_give_the_same_there(
    kind, targets, bases, tmp_path
):
    """Warm-up, half a cosine, gradients clipped: every step is clipped here, so the order of things shows."""
    config = LoraConfig(r=3, lora_alpha=7, target_modules=targets, fan_in_fan_out=kind == "gpt2")
    here = get_peft_model(ours(bases[kind]), config, seed=8)
    here.save_pretrained(tmp_path)
    there = quietly(peft.PeftModel.from_pretrained, theirs(kind, bases[kind]), tmp_path, is_trainable=True)[0]
    start = {n: p.data.copy() for n, p in here.named_parameters() if p.requires_grad}
    schedule, max_norm = cosine(STEPS, 5), 0.05
    assert_same_training(train_here(here, schedule, max_norm), train_there(there, schedule, max_norm), start)
