"""The same random model here and in transformers + PEFT, for the parity tests. Importing this skips without them."""

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

import minilora as ml  # noqa: E402
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel  # noqa: E402
from minilora.models.llama import LlamaConfig, LlamaForCausalLM  # noqa: E402

VOCAB = 61
IDS = np.random.default_rng(5).integers(0, VOCAB, (3, 11), dtype=np.int64)


def build(kind, folder):
    """A random model of `kind` ("llama", "tied", "qwen2", "gpt2"), saved in `folder`; wide weights, no near ties."""
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(VOCAB, n_embd=24, n_layer=3, n_head=3, n_positions=20, n_inner=40))
    else:
        options = {"tie_word_embeddings": kind == "tied"}
        if kind == "qwen2":
            options |= {"model_type": "qwen2", "qkv_bias": True}
        # q 24 -> 40, k and v 24 -> 20, o 40 -> 24, mlp 24 <-> 28
        model = LlamaForCausalLM(LlamaConfig(VOCAB, 24, 28, 3, 4, 2, head_dim=10, **options))
    model.init(11)
    rng = np.random.default_rng(12)
    for p in model.parameters():
        p.data = p.data * np.float32(5) if p.ndim == 2 else rng.uniform(0.5, 1.5, p.shape).astype(np.float32)
    model.save_pretrained(folder)


def ours(folder):
    return ml.load_pretrained(folder)


def theirs(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def randomize(model, seed=0):
    """Values for every adapter tensor and copy of a PEFT model, so that B != 0 and copies differ from originals."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape, generator=generator) * 0.2
        elif "modules_to_save" in name or "trainable_tokens_delta" in name:
            p.data = p.data + torch.randn(p.shape, generator=generator) * 0.1
    return model


def quietly(act, *args, **options):
    """The result of a call and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = act(*args, **options)
    return result, sorted(str(w.message) for w in said)


def logits(model, ids=IDS):
    """(B, T, V) of either kind of model."""
    if isinstance(model, torch.nn.Module):
        with torch.no_grad():
            return model(input_ids=torch.tensor(ids)).logits.numpy()
    with ml.no_grad():
        return model(ids).numpy()


def gradients(model, ids=IDS):
    """{PEFT's name: gradient} of the loss of predicting every next token, for what is trainable; and the loss."""
    if isinstance(model, torch.nn.Module):
        model.zero_grad()
        loss = model(input_ids=torch.tensor(ids), labels=torch.tensor(ids)).loss
        loss.backward()
        found = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    else:
        for p in model.parameters():
            p.grad = None
        loss = model.loss(ids, ids)
        loss.backward()
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found, loss.item()


def close(a, b, tolerance=1e-4):
    """Whether arrays agree within `tolerance` of the larger one's largest value."""
    return a.shape == b.shape and abs(a - b).max() <= tolerance * max(abs(b).max(), 1.0)


GOLDEN = Path(__file__).parents[1] / "golden"
