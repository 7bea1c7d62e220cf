"""GPT-2: LayerNorm, learned positions, one fused matrix for queries, keys and values. Hugging Face's names.

Its linear layers are `Conv1D`, which store the weight transposed, (in, out). Only that class knows it: everything above
sees `shape` (out, in), `dense()` (out, in), `replace_weight` and `restore_weight`, as for nn.Linear.

Letters of shapes: B batch, T tokens of this forward, S keys (cached ones too), d width, H heads, hd width of a head,
V vocabulary.
"""

from dataclasses import dataclass

from .. import ops
from ..arguments import check_arguments
from ..errors import ConfigError, ShapeError
from ..nn import Embedding, LayerNorm, Linear, Module, Parameter, zeros
from .causal_lm import CausalLM
from .places import causal_bias


@dataclass
class GPT2Config:
    """Sizes in Hugging Face's names; the names that the Llama family uses for the same are properties."""

    vocab_size: int
    n_embd: int
    n_layer: int
    n_head: int
    n_positions: int = 1024
    n_inner: int = 0  # width of the MLP; 0: four times n_embd
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None
    pad_token_id: int | None = None
    model_type: str = "gpt2"

    hidden_size = property(lambda self: self.n_embd)
    intermediate_size = property(lambda self: self.n_inner)
    num_hidden_layers = property(lambda self: self.n_layer)
    num_attention_heads = property(lambda self: self.n_head)
    max_position_embeddings = property(lambda self: self.n_positions)

    def __post_init__(self):
        check_arguments(type(self), vars(self))
        self.n_inner = self.n_inner or 4 * self.n_embd
        if self.n_embd % self.n_head:
            raise ConfigError(f"n_embd {self.n_embd} does not divide into {self.n_head} heads")


class Conv1D(Linear):
    """y = x W + b with `weight` stored (in, out)."""

    fan_in_fan_out = True  # PEFT's name for a base that stores (in, out)

    def __init__(self, n_in, n_out):
        self.weight = Parameter((n_in, n_out))
        self.bias = Parameter((n_out,), zeros)

    shape = property(lambda self: self.weight.shape[::-1])  # (out, in)

    def forward(self, x, context=None):  # (..., in) -> (..., out)
        return ops.linear(x, self.weight, self.bias, self.fan_in_fan_out)

    def dense(self):  # -> array (out, in), a view
        return self.weight.data.T

    def replace_weight(self, weight, bias=None):  # (out, in), (out,) or None -> what `restore_weight` takes
        """As Linear's: the weight is given (out, in) and stored (in, out)."""
        return super().replace_weight(weight.T, bias)


class GPT2Attention(Module):
    """c_proj(attention(q, k, v)), with q, k, v side by side in the output of c_attn."""

    def __init__(self, config, layer_index):
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.heads, self.layer_index = config.n_head, layer_index

    def forward(self, x, bias, context):  # (B, T, d) -> (B, T, d)
        B, T, d = x.shape
        qkv = self.c_attn(x, context).reshape(B, T, 3, self.heads, d // self.heads)  # q, k, v side by side
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # (B, T, H, hd) each
        if context.cache is not None:
            k, v = context.cache.extend(self.layer_index, k, v)  # (B, S, H, hd): earlier ones in front
        return self.c_proj(ops.attention(q, k, v, bias).reshape(B, T, d), context)


class GPT2MLP(Module):
    """c_proj(gelu(c_fc(x)))"""

    def __init__(self, config):
        self.c_fc = Conv1D(config.n_embd, config.n_inner)
        self.c_proj = Conv1D(config.n_inner, config.n_embd)

    def forward(self, x, context):  # (B, T, d) -> (B, T, d)
        return self.c_proj(ops.gelu(self.c_fc(x, context)), context)


class GPT2Block(Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config, layer_index):
        self.ln_1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer_index)
        self.ln_2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(self, x, bias, context):  # (B, T, d) -> (B, T, d)
        x = x + self.attn(self.ln_1(x, context), bias, context)
        return x + self.mlp(self.ln_2(x, context), context)


class GPT2Model(Module):
    """The modules below the head. `GPT2LMHeadModel.hidden` runs them."""

    def __init__(self, config):
        self.wte = Embedding(config.vocab_size, config.n_embd)  # tokens
        self.wpe = Embedding(config.n_positions, config.n_embd)  # positions
        self.h = [GPT2Block(config, i) for i in range(config.n_layer)]
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)


class GPT2LMHeadModel(CausalLM):
    """Token and position embeddings, blocks, a last norm, and the head, which may share the embedding's weight."""

    def __init__(self, config):
        self.config = config
        self.transformer = GPT2Model(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight  # one Parameter under two names

    def hidden(self, ids, context):  # (B, T) int -> (B, T, d)
        """The states that the head reads. Raises ShapeError for ids that are not (batch, tokens), or too long."""
        x, positions, S, mask = self.embed(ids, context)
        if positions.size and positions.max() >= self.config.n_positions:
            raise ShapeError(f"{positions.max() + 1} tokens: this model has {self.config.n_positions} positions")
        x = x + self.transformer.wpe(positions, context)
        bias = causal_bias(x.shape[1], S, mask, x.data)
        for block in self.transformer.h:
            x = self.run(block, x, bias, context)
        return self.transformer.ln_f(x, context)

    def get_input_embeddings(self):
        """The module that embeds tokens."""
        return self.transformer.wte

    def head(self, h, context):  # (..., d) -> (..., V)
        return self.lm_head(h, context)
