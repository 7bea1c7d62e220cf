"""The same model, adapter and batch here and in transformers + PEFT, so that equal work is compared."""

import tempfile
from dataclasses import dataclass

import numpy as np

import minilora as ml
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.ops.loss import IGNORE

QV = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]}


@dataclass(frozen=True)
class Size:
    """width, layers, heads, key/value heads, vocabulary, batch, tokens per row"""

    width: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    batch: int
    tokens: int


SIZES = {
    "lesson": Size(128, 4, 4, 2, 1024, 16, 128),
    "256": Size(256, 4, 8, 4, 4096, 8, 128),
    "768": Size(768, 4, 12, 12, 8192, 4, 256),
}


def build(kind, size):
    """An untrained base with random weights: "llama" or "gpt2"."""
    return (GPT2LMHeadModel if kind == "gpt2" else LlamaForCausalLM)(config_of(kind, size)).init(0)


def config_of(kind, size):
    """Its configuration."""
    if kind == "gpt2":
        return GPT2Config(
            vocab_size=size.vocab, n_embd=size.width, n_layer=size.layers, n_head=size.heads, n_positions=512
        )
    return LlamaConfig(
        vocab_size=size.vocab, hidden_size=size.width, intermediate_size=size.width * 11 // 4,
        num_hidden_layers=size.layers, num_attention_heads=size.heads, num_key_value_heads=size.kv_heads,
        max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip


def adapted(kind, size, targets, r=8):
    """(PeftModel here, the same in PEFT): one base, one LoRA adapter with B != 0."""
    return in_both(kind, size, ml.LoraConfig(r=r, lora_alpha=2 * r, target_modules=targets, task_type="CAUSAL_LM"))


def in_both(kind, size, config):
    """(PeftModel here, the same in PEFT): the values are handed over as files."""
    import torch
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        model = build(kind, size)
        model.save_pretrained(folder)
        no_dropout = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0} if kind == "gpt2" else {}
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **no_dropout)
    return with_adapter(model, theirs, config)


def with_adapter(model, theirs, config):
    """(PeftModel here, the same in PEFT) of two equal bases. A B that starts at zero is made random.

    PiSSA and OLoRA start in PEFT anew, because their files hold the finished update as a plain LoRA.
    """
    import peft

    model = ml.get_peft_model(model, config)
    rng = np.random.default_rng(1)
    for name, p in model.named_parameters():
        if ".lora_B." in name and not p.data.any():
            p.data = (rng.standard_normal(p.shape) * 0.01).astype(np.float32)
    fields = vars(model.peft_config["default"])
    theirs = peft.get_peft_model(theirs, getattr(peft, type(config).__name__)(**fields))
    if fields.get("init_lora_weights") not in ("pissa", "olora"):
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            peft.set_peft_model_state_dict(theirs, peft.load_peft_weights(folder))
    return model.train(), theirs.train()


def batch(size, masked=0.0):  # -> ids, labels (B, T) int64
    """Random tokens; the first `masked` part of every row is a prompt without labels."""
    ids = np.random.default_rng(2).integers(0, size.vocab, (size.batch, size.tokens))
    labels = ids.copy()
    labels[:, : int(size.tokens * masked)] = IGNORE
    return ids, labels
