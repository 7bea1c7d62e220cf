"""Gemma 2 and the text of Gemma 3. Letters of shapes as in llama.py; G = H/K query heads per key/value head."""

import math
from dataclasses import dataclass, replace

from .. import ops
from ..nn import Embedding, Linear, Parameter, RMSNorm, zeros
from .llama import LlamaAttention, LlamaBlock, LlamaConfig, LlamaForCausalLM, LlamaMLP, inverse_frequencies
from .places import angles


@dataclass
class GemmaConfig(LlamaConfig):
    query_pre_attn_scalar: float = 256.0  # the scores are q kᵀ / √ of it
    attn_logit_softcapping: float | None = None
    final_logit_softcapping: float | None = None
    local_rope_theta: float | None = None  # θ in the layers that have a window; None: as in the others


class GemmaNorm(RMSNorm):
    """x / √(mean(x²) + eps) · (1 + w)"""

    def __init__(self, width, eps):
        super().__init__(width, eps)
        self.weight = Parameter((width,), zeros)

    def forward(self, x, context=None):  # (..., d) -> (..., d)
        return ops.rms_norm(x, self.weight + 1, self.eps)


class GemmaEmbedding(Embedding):
    """y = √d W[ids]"""

    scale = property(lambda self: math.sqrt(self.shape[1]))

    def forward(self, ids, context=None):  # (...) int -> (..., d)
        return super().forward(ids) * self.scale


class GemmaHead(Linear):
    """A class of its own, so that the loss asks `head` for the logits, which caps them."""


class GemmaAttention(LlamaAttention):
    """Llama's, with scores q kᵀ / √query_pre_attn_scalar (`attention` divides by √hd), which may be capped."""

    def __init__(self, config, layer_index):
        super().__init__(config, layer_index)
        self.scale, self.cap = math.sqrt(self.head_dim / config.query_pre_attn_scalar), config.attn_logit_softcapping
        if self.qk_norm:
            self.q_norm, self.k_norm = (GemmaNorm(self.head_dim, config.rms_norm_eps) for _ in range(2))

    def forward(self, x, shared, context):  # (B, T, d) -> (B, T, d)
        (B, T, _), (cos, sin, bias) = x.shape, shared[self.window]
        q, k, v = (p(x, context).reshape(B, T, -1, self.head_dim) for p in (self.q_proj, self.k_proj, self.v_proj))
        if self.qk_norm:
            q, k = self.q_norm(q, context), self.k_norm(k, context)
        q, k = ops.rotary(q * self.scale, cos, sin), ops.rotary(k, cos, sin)
        if context.cache is not None:
            k, v = context.cache.extend(self.layer_index, k, v)  # (B, S, K, hd): earlier ones in front
        o = capped_attention(q, k, v, bias, self.cap) if self.cap else ops.attention(q, k, v, bias)  # (B, T, H, hd)
        return self.o_proj(o.reshape(B, T, self.heads * self.head_dim), context)


def capped_attention(q, k, v, bias, cap):  # (B, T, H, hd), (B, S, K, hd), (B, S, K, hd) -> (B, T, H, hd)
    """P = softmax(c tanh(q kᵀ / √hd / c) + bias),   o = P v        bias as in `ops.attention`"""
    (B, T, H, hd), K = q.shape, k.shape[2]
    q = q.reshape(B, T, K, H // K, hd).transpose(0, 2, 3, 1, 4)  # (B, K, G, T, hd)
    k, v = (x.transpose(0, 2, 1, 3).reshape(B, K, 1, -1, hd) for x in (k, v))  # (B, K, 1, S, hd)
    scores = ops.softcap((q @ k.transpose(0, 1, 2, 4, 3)) / math.sqrt(hd), cap)  # (B, K, G, T, S)
    o = ops.softmax(scores if bias is None else scores + bias[:, :, None]) @ v  # (B, K, G, T, hd)
    return o.transpose(0, 3, 1, 2, 4).reshape(B, T, H, hd)


class GemmaMLP(LlamaMLP):
    """down(gelu(gate(x)) · up(x))"""

    def forward(self, x, context):  # (B, T, d) -> (B, T, d)
        return self.down_proj(ops.gelu(self.gate_proj(x, context)) * self.up_proj(x, context), context)


class GemmaBlock(LlamaBlock):
    """x + norm(attention(norm(x))), then x + norm(mlp(norm(x)))."""

    def __init__(self, config, layer_index):
        d, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn, self.mlp = GemmaAttention(config, layer_index), GemmaMLP(config)
        self.input_layernorm, self.post_attention_layernorm = GemmaNorm(d, eps), GemmaNorm(d, eps)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = GemmaNorm(d, eps), GemmaNorm(d, eps)

    def forward(self, x, shared, context):  # (B, T, d) -> (B, T, d)
        y = self.self_attn(self.input_layernorm(x, context), shared, context)
        x = x + self.post_attention_layernorm(y, context)
        y = self.mlp(self.pre_feedforward_layernorm(x, context), context)
        return x + self.post_feedforward_layernorm(y, context)


class GemmaForCausalLM(LlamaForCausalLM):
    """Llama's, of these blocks; layers with a window may have another θ."""

    def __init__(self, config):
        super().__init__(config)
        V, d = config.vocab_size, config.hidden_size
        self.model.embed_tokens, self.lm_head = GemmaEmbedding(V, d), GemmaHead(d, V)
        self.model.layers[:] = [GemmaBlock(config, i) for i in range(config.num_hidden_layers)]
        self.model.norm = GemmaNorm(d, config.rms_norm_eps)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight  # one Parameter under two names
        local = config.local_rope_theta and {"rope_type": "default", "rope_theta": config.local_rope_theta}
        self.near_inv_freq = inverse_frequencies(replace(config, rope_parameters=local or config.rope_parameters))

    def head(self, h, context):  # (..., d) -> (..., V)
        return ops.softcap(self.lm_head(h, context), self.config.final_logit_softcapping)

    def positions_and_masks(self, positions, S, mask, x):  # -> {window: (cos, sin, bias or None)}
        """What the layers of each window share. Shapes as in Llama's."""
        cos, sin, biases = super().positions_and_masks(positions, S, mask, x)
        near = angles(positions, self.near_inv_freq, x)
        return {w: (cos, sin, bias) if w is None else (*near, bias) for w, bias in biases.items()}
