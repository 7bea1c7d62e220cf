"""Bases with random weights that are made on the device, and batches that decode as the server's engine does.

A few rows of each weight are drawn, stored in its format, and repeated: a model of 8 billion parameters takes seconds,
and no copy of it is ever in float32.
"""

import math

import numpy as np

from minilora.adapters.mixed import BASE, Rows
from minilora.autograd import Tensor, no_grad
from minilora.backend import to_host
from minilora.models.context import Context
from minilora.models.llama import LlamaConfig, LlamaForCausalLM
from minilora.models.row_cache import RowCache
from minilora.quantization.apply import store_weights
from minilora.quantization.config import BitsAndBytesConfig
from minilora.quantization.linear import StoredParameter
from minilora.quantization.sixteen_bit import KINDS

SHAPE_8B = {  # Llama 3 8B
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192,
}  # fmt: skip
FEW_LAYERS_8B = SHAPE_8B | {"num_hidden_layers": 4, "vocab_size": 8192}
SMALL = {
    "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512,
}  # fmt: skip


def in_nf4(compute: str) -> BitsAndBytesConfig:
    """NF4 with double quantization, multiplied in `compute`."""
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def random_base(shape: dict, quantization: BitsAndBytesConfig | None = None, dtype: str = "float32"):
    """A Llama of this shape on the device. quantization, dtype: as in `load_pretrained`."""
    import cupy

    model, rng = LlamaForCausalLM(LlamaConfig(**shape)), np.random.default_rng(0)
    if quantization is not None or dtype in KINDS:
        store_weights(model, quantization, dtype)
    for p in model.parameters():
        if len(p.shape) == 1:
            p.data = cupy.ones(p.shape, np.float32)
            continue
        rows = math.gcd(p.shape[0], 128)
        drawn = cupy.asarray(rng.standard_normal((rows, p.shape[1]), dtype=np.float32) * np.float32(0.02))
        if isinstance(p, StoredParameter):
            p.data = repeated(p.store(drawn), p.shape)
            p.original = np.zeros(1, np.float32)  # else the fingerprint of the base would read the whole weight
        else:
            p.data = cupy.tile(drawn, (p.shape[0] // rows, 1))
    return model.eval()


def repeated(stored, shape):  # a Stored of a few rows -> the same for `shape`
    """The rows again and again. With double quantization they must fill whole blocks of 256 absmaxes."""
    import cupy

    times = shape[0] // stored.shape[0]
    if getattr(stored, "absmax2", None) is not None:
        assert math.prod(stored.shape) % (256 * stored.size) == 0, f"rows of {shape} end inside a block of absmaxes"
    for name in stored.arrays:
        array = getattr(stored, name)
        if array.ndim:  # not: the offset of double quantization
            setattr(stored, name, cupy.tile(array, (times,) + (1,) * (array.ndim - 1)))
    stored.shape = tuple(shape)
    return stored


def bytes_of(parameters) -> int:
    """Of all arrays of parameters that are filled."""
    return sum(p.data.nbytes for p in parameters)


class Batch:
    """Rows of one length that are answered together, on the device.

    model     a LlamaForCausalLM, with adapters in its layers
    resident  a Resident, or None: the adapters are added one after another
    names     of the adapter of each row, or BASE
    places    most tokens of a row
    """

    def __init__(self, model, resident, names, places):
        self.model, self.resident, self.names = model, resident, names
        self.cache = RowCache(len(names), places)

    def read(self, tokens):
        """Read prompts of so many tokens from the beginning. Returns the next token of each row, (rows,)."""
        self.cache.clear(slice(None))
        found = self._next_tokens(tokens)
        self.cache.advance(slice(None), tokens)
        return found

    def decode(self):
        """The token behind a new one of each row. The row is as long as before: each call does the same."""
        return self._next_tokens(1)

    def _next_tokens(self, tokens):  # -> (rows,) host array
        ids = np.random.default_rng(1).integers(0, self.model.config.vocab_size, (len(self.names), tokens))
        rows = self.cache.of(slice(0, len(self.names)))
        mixed = None if set(self.names) == {BASE} else Rows(self.names, self.resident)
        positions = rows.starts[:, None] + np.arange(tokens, dtype=np.int64)
        context = Context(rows=mixed, memo={}, cache=rows, positions=positions, mask=rows.mask(tokens))
        with no_grad():
            h = self.model.hidden(ids, context)  # (B, T, d)
            logits = self.model.head(Tensor(h.data[:, -1]), context)  # (B, V)
            return to_host(logits.data.argmax(axis=-1))
