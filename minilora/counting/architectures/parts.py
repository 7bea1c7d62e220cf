"""What a model is made of, as data: its linear layers, embeddings and norms by name, shape and count."""

import math
import re
from dataclasses import dataclass

from ...methods.base import Place

LORA_KINDS = ("linear", "embedding", "conv")  # what LoRA can stand beside


@dataclass(frozen=True)
class WeightSpec:
    """One module that holds weights.

    path    Hugging Face's name of it, "model.layers.0.self_attn.q_proj"
    kind    "linear" (out, in), "embedding" (rows, width), "conv" (out, in, window) or "norm" (width,)
    shape   of its weight, as above
    bias    how many bias values it has
    reads   name, within its layer, of the activation that a linear layer multiplies; several may read the same one
    feeds   "attention" or "activation" when its output goes into one, whose backward needs that output again
    cached  how many of its outputs a key/value cache keeps for every token
    times   how many of its inputs a token brings: a norm of each head as many as heads; 0 when it acts on one token
            of a sequence alone, or reads what another norm keeps already
    head    it makes the logits: "all-linear" leaves it out
    tied    its weight is the embedding's: counted there
    """

    path: str
    kind: str
    shape: tuple
    bias: int = 0
    reads: str = ""
    feeds: str = ""
    cached: int = 0
    times: int = 1
    head: bool = False
    tied: bool = False

    @property
    def weights(self):
        """Numbers in the weight itself, tied or not: out x in."""
        return math.prod(self.shape)

    @property
    def size(self):
        """Parameters that this part adds to the model."""
        return (0 if self.tied else self.weights) + self.bias

    @property
    def block(self):
        """The layer it belongs to, "model.layers.0"; "" outside the layers."""
        found = re.match(r"(.*?\.\d+)\.", self.path)
        return found[1] if found else ""

    @property
    def out(self):
        """Width of what comes out; LoRA's B is (out, r)."""
        return self.shape[1] if self.kind == "embedding" else self.shape[0]

    @property
    def n_in(self):
        """Width of what goes in (an embedding reads a one-hot row); LoRA's A is (r, in)."""
        return self.shape[0] if self.kind == "embedding" else math.prod(self.shape[1:])

    def lora_size(self, r):
        """r (in + out): A is (r, in), B is (out, r). Hu et al. 2021, section 5.1."""
        return r * (self.n_in + self.out)

    @property
    def place(self):
        """Where an adapter would be put. Shapes as the methods see them: (out, in)."""
        return Place(self.path, self.kind, self.shape, bool(self.bias))


def linear(path, n_in, out, bias=False, **flow):
    return WeightSpec(path, "linear", (out, n_in), out if bias else 0, **flow)


def embedding(path, rows, width):
    return WeightSpec(path, "embedding", (rows, width))


def norm(path, width, bias=True, times=1):
    """LayerNorm; an RMSNorm has no bias."""
    return WeightSpec(path, "norm", (width,), width if bias else 0, times=times)


def head(width, vocabulary, tied, bias=False):
    return linear("lm_head", width, vocabulary, bias, reads="final", head=True, tied=tied)


def layers(prefix, count):
    """The names of the layers: "model.layers.0", "model.layers.1", ..."""
    return [f"{prefix}.{i}" for i in range(count)]


@dataclass(frozen=True)
class Architecture:
    """A model to be counted. config: the config.json it came from, None for a single matrix."""

    name: str
    model_type: str
    model_class: str  # the class of transformers whose parameters these are
    parts: tuple
    config: dict | None = None

    @property
    def base(self):
        """Parameters of the model, tied ones once."""
        return sum(p.size for p in self.parts)

    @property
    def linears(self):
        """What "all-linear" means: every linear layer but the head."""
        return [p for p in self.parts if p.kind == "linear" and not p.head]
