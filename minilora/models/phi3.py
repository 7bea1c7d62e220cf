"""Phi-3 and Phi-4: Llama's decoder with q, k and v in one matrix, and gate and up in another.

Letters of shapes as in llama.py.
"""

from .. import ops
from ..nn import Linear, Module
from .llama import LlamaForCausalLM


class Phi3Attention(Module):
    """o_proj(attention(rotary(q), rotary(k), v)), q, k and v the parts of qkv_proj(x): H, K and K heads."""

    def __init__(self, config, layer_index):
        d, H, K, hd = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.qkv_proj, self.o_proj = Linear(d, (H + 2 * K) * hd), Linear(H * hd, d)
        self.heads, self.kv_heads, self.head_dim = H, K, hd
        self.layer_index, self.window = layer_index, config.window(layer_index)

    def forward(self, x, shared, context):  # (B, T, d) -> (B, T, d)
        B, T, _ = x.shape
        H, K, hd = self.heads, self.kv_heads, self.head_dim
        cos, sin, biases = shared
        qkv = self.qkv_proj(x, context).reshape(B, T, H + 2 * K, hd)
        q, k, v = qkv[:, :, :H], qkv[:, :, H : H + K], qkv[:, :, H + K :]
        q, k = ops.rotary(q, cos, sin), ops.rotary(k, cos, sin)
        if context.cache is not None:
            k, v = context.cache.extend(self.layer_index, k, v)  # (B, S, K, hd): earlier ones in front
        o = ops.attention(q, k, v, biases[self.window])  # (B, T, H, hd)
        return self.o_proj(o.reshape(B, T, H * hd), context)


class Phi3MLP(Module):
    """down(silu(gate) · up), gate and up the halves of gate_up_proj(x)"""

    def __init__(self, config):
        d, m = config.hidden_size, config.intermediate_size
        self.gate_up_proj, self.down_proj, self.width = Linear(d, 2 * m), Linear(m, d), m

    def forward(self, x, context):  # (B, T, d) -> (B, T, d)
        both = self.gate_up_proj(x, context)  # (B, T, 2m)
        return self.down_proj(ops.swiglu(both[..., : self.width], both[..., self.width :]), context)


class Phi3ForCausalLM(LlamaForCausalLM):
    """Llama with these two in every block."""

    def __init__(self, config):
        super().__init__(config)
        for i, layer in enumerate(self.model.layers):
            layer.set_submodule("self_attn", Phi3Attention(config, i))
            layer.set_submodule("mlp", Phi3MLP(config))
