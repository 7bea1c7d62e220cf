"""The Llama decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU. The lesson model is a small one.

Every module and weight has Hugging Face's name, so a checkpoint written here opens there.

Letters of shapes: B batch, T tokens of this forward, S keys (cached ones too), d width, H query heads, K key/value
heads, hd width of a head, m width inside the MLP, V vocabulary.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from .. import ops
from ..arguments import check_arguments
from ..errors import ConfigError
from ..nn import Embedding, Linear, Module, RMSNorm
from .causal_lm import CausalLM
from .places import angles, causal_bias


@dataclass
class LlamaConfig:
    """Sizes in Hugging Face's names. head_dim defaults to hidden_size / num_attention_heads."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int = 0  # 0: as many as query heads
    head_dim: int = 0
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_parameters: dict = field(default_factory=lambda: {"rope_type": "default", "rope_theta": 10000.0})
    tie_word_embeddings: bool = False
    attention_bias: bool = False  # on q, k, v and o
    qkv_bias: bool = False  # on q, k and v alone: Qwen2
    mlp_bias: bool = False
    qk_norm: bool = False  # RMS norm of every query and key head: Qwen3
    sliding_window: int | None = None  # a query sees this many keys, its own among them: Mistral
    layer_types: list | None = None  # which layers have the window ("sliding_attention"); None: all
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None
    pad_token_id: int | None = None
    model_type: str = "llama"

    def __post_init__(self):
        check_arguments(type(self), vars(self))
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        self.head_dim = self.head_dim or self.hidden_size // self.num_attention_heads
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"{self.num_attention_heads} query heads cannot share {self.num_key_value_heads} key/value heads evenly"
            )
        if self.head_dim < 2 or self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim}: rotary positions turn pairs, expected 2, 4, 6, ...")

    def window(self, layer_index):
        """How many keys a query of this layer sees; None: all before it."""
        types = self.layer_types
        return self.sliding_window if types is None or types[layer_index] == "sliding_attention" else None


def inverse_frequencies(config):  # -> (hd/2,) float32 host array
    """θ^(-2i/hd), one per pair of a head; `llama3` stretches the slow ones for a longer context (Llama 3.1)."""
    rope = config.rope_parameters
    hd = config.head_dim
    inv_freq = 1.0 / rope["rope_theta"] ** (np.arange(0, hd, 2, dtype=np.float32) / np.float32(hd))
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return inv_freq
    if kind == "linear":
        return inv_freq / np.float32(rope["factor"])
    if kind != "llama3":
        raise ConfigError(f"rope_type {kind!r} is not supported; known: default, linear, llama3")
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    trained = rope["original_max_position_embeddings"]
    wavelength = 2 * math.pi / inv_freq
    smooth = (trained / wavelength - low) / (high - low)  # 0 at the long end, 1 at the short end
    smooth = np.clip(smooth, 0, 1)
    return ((1 - smooth) * inv_freq / factor + smooth * inv_freq).astype(np.float32)


class LlamaAttention(Module):
    """o_proj(attention(rotary(q), rotary(k), v)); H / K query heads share a key/value head."""

    def __init__(self, config, layer_index):
        d, H, K, hd = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        bias = config.attention_bias or config.qkv_bias
        self.q_proj = Linear(d, H * hd, bias)
        self.k_proj = Linear(d, K * hd, bias)
        self.v_proj = Linear(d, K * hd, bias)
        self.o_proj = Linear(H * hd, d, config.attention_bias)
        if config.qk_norm:
            self.q_norm, self.k_norm = RMSNorm(hd, config.rms_norm_eps), RMSNorm(hd, config.rms_norm_eps)
        self.heads, self.kv_heads, self.head_dim, self.qk_norm = H, K, hd, config.qk_norm
        self.layer_index, self.window = layer_index, config.window(layer_index)

    def forward(self, x, shared, context):  # (B, T, d) -> (B, T, d)
        B, T, _ = x.shape
        cos, sin, biases = shared
        q = self.q_proj(x, context).reshape(B, T, self.heads, self.head_dim)  # (B, T, H, hd)
        k = self.k_proj(x, context).reshape(B, T, self.kv_heads, self.head_dim)  # (B, T, K, hd)
        v = self.v_proj(x, context).reshape(B, T, self.kv_heads, self.head_dim)  # (B, T, K, hd)
        if self.qk_norm:
            q, k = self.q_norm(q, context), self.k_norm(k, context)
        q, k = ops.rotary(q, cos, sin), ops.rotary(k, cos, sin)
        if context.cache is not None:
            k, v = context.cache.extend(self.layer_index, k, v)  # (B, S, K, hd): earlier ones in front
        o = ops.attention(q, k, v, biases[self.window])  # (B, T, H, hd)
        return self.o_proj(o.reshape(B, T, self.heads * self.head_dim), context)


class LlamaMLP(Module):
    """down(silu(gate(x)) · up(x))"""

    def __init__(self, config):
        d, m, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj, self.up_proj, self.down_proj = Linear(d, m, bias), Linear(d, m, bias), Linear(m, d, bias)

    def forward(self, x, context):  # (B, T, d) -> (B, T, d)
        return self.down_proj(ops.swiglu(self.gate_proj(x, context), self.up_proj(x, context)), context)


class LlamaBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config, layer_index):
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = LlamaAttention(config, layer_index)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = LlamaMLP(config)

    def forward(self, x, shared, context):  # (B, T, d) -> (B, T, d)
        x = x + self.self_attn(self.input_layernorm(x, context), shared, context)
        return x + self.mlp(self.post_attention_layernorm(x, context), context)


class LlamaModel(Module):
    """The modules below the head. `LlamaForCausalLM.hidden` runs them."""

    def __init__(self, config):
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = [LlamaBlock(config, i) for i in range(config.num_hidden_layers)]
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class LlamaForCausalLM(CausalLM):
    """Embedding, blocks, a last norm, and the head, which may share the embedding's weight."""

    def __init__(self, config):
        self.config = config
        self.model = LlamaModel(config)
        self.inv_freq = inverse_frequencies(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight  # one Parameter under two names

    def hidden(self, ids, context):  # (B, T) int -> (B, T, d)
        """The states that the head reads. Raises ShapeError for ids that are not (batch, tokens)."""
        x, positions, S, mask = self.embed(ids, context)
        shared = self.positions_and_masks(positions, S, mask, x.data)
        for layer in self.model.layers:
            x = self.run(layer, x, shared, context)
        return self.model.norm(x, context)

    def get_input_embeddings(self):
        """The module that embeds tokens."""
        return self.model.embed_tokens

    def head(self, h, context):  # (..., d) -> (..., V)
        return self.lm_head(h, context)

    def positions_and_masks(self, positions, S, mask, x):  # -> cos, sin, {window: bias or None}
        """What all layers share, made once a forward: the angles of the positions and the masks.

        cos, sin (B or 1, T, 1, hd); bias (B or 1, 1, T, S), None when every query sees every key.
        """
        cos, sin = angles(positions, self.inv_freq, x)
        windows = {layer.self_attn.window for layer in self.model.layers}
        return cos, sin, {w: causal_bias(positions.shape[1], S, mask, x, w) for w in windows}
