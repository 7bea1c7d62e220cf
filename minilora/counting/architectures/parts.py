"""What a model is made of, as data: its linear layers, embeddings and norms by name, shape and count."""

import math
import re
from dataclasses import dataclass
from functools import cached_property

from ...methods.base import Place

LORA_KINDS = ("linear", "embedding", "conv")  # the modules that PEFT adapts by name


@dataclass(frozen=True)
class WeightSpec:
    """One module that holds weights.

    path    Hugging Face's name of it, "model.layers.0.self_attn.q_proj"
    kind    "linear" (out, in), "embedding" (rows, width), "conv" (out, in, window) or (out, in, height, width),
            "norm" (width,), "experts" (experts, out, in), "router" (experts, in), "parameter" of any shape
    shape   of its weight, as above
    bias    how many bias values it has
    reads   name, within its layer, of the activation that a linear layer multiplies; several may read the same one
    feeds   "attention" or "activation" when its output goes into one, whose backward needs that output again
    cached  how many of its outputs a key/value cache keeps for every token
    times   how many of its inputs a token brings: a norm of each head as many as heads; experts as many as a token is
            sent to; 0 when it acts on one token of a sequence alone, or reads what another norm keeps already
    head    it makes the logits: "all-linear" leaves it out
    tied    its weight is the embedding's: counted there
    names   how PEFT's `target_modules` names it where that is not the end of its path (see experts.py); two names: two
            matrices stored as one, adapted together with twice the rank
    inner   PEFT's wrapper of it is inside that of another parameter of the same module
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
    names: tuple = ()
    inner: bool = False

    @property
    def weights(self) -> int:
        """Numbers in the weight itself, tied or not: out x in, of all experts."""
        return math.prod(self.shape)

    @property
    def products(self) -> int:
        """Multiplications for one token."""
        if self.kind == "experts":
            return self.times * self.out * self.n_in
        return self.times * self.weights if self.kind in ("linear", "conv", "router") else 0

    @property
    def size(self) -> int:
        """Parameters that this part adds to the model."""
        return (0 if self.tied else self.weights) + self.bias

    @cached_property
    def block(self) -> str:
        """The layer it belongs to, "model.layers.0"; "" outside the layers."""
        found = re.match(r"(.*?\.\d+)\.", self.path)
        return found[1] if found else ""

    @property
    def module(self) -> str:
        """The path of the module that holds it: its own, but a bare parameter's is that of what it is part of."""
        return self.path.rpartition(".")[0] if self.kind in ("experts", "parameter") else self.path

    @property
    def out(self) -> int:
        """Width of the output; LoRA's B is (out, r)."""
        return self.shape[1] if self.kind in ("embedding", "experts") else self.shape[0]

    @property
    def n_in(self) -> int:
        """Width of what goes in (an embedding reads a one-hot row); LoRA's A is (r, in)."""
        if self.kind in ("embedding", "experts"):
            return self.shape[0 if self.kind == "embedding" else 2]
        return math.prod(self.shape[1:])

    def lora_rank(self, r: int) -> int:
        """The rows of A: r, or r for each expert, twice where two matrices are stored as one."""
        return r * self.shape[0] * len(self.names) if self.kind == "experts" else r

    def lora_size(self, r: int) -> int:
        """r (in + out): A is (r, in), B is (out, r). Hu et al. 2021, section 5.1."""
        return self.lora_rank(r) * (self.n_in + self.out)

    @property
    def place(self) -> Place:
        """Where an adapter would be put. Shapes as the methods see them: (out, in)."""
        if self.kind == "experts":
            return Place(self.module + (".base_layer" if self.inner else ""), "linear", (self.out, self.n_in))
        return Place(self.path, "linear" if self.kind == "router" else self.kind, self.shape, bool(self.bias))


def linear(path: str, n_in: int, out: int, bias: bool = False, **flow) -> WeightSpec:
    return WeightSpec(path, "linear", (out, n_in), out if bias else 0, **flow)


def embedding(path: str, rows: int, width: int) -> WeightSpec:
    return WeightSpec(path, "embedding", (rows, width))


def norm(path: str, width: int, bias: bool = True, times: int = 1) -> WeightSpec:
    """LayerNorm; an RMSNorm has no bias."""
    return WeightSpec(path, "norm", (width,), width if bias else 0, times=times)


def parameter(path: str, *shape: int) -> WeightSpec:
    """A tensor that no module of its own holds, and that PEFT does not adapt."""
    return WeightSpec(path, "parameter", shape)


def head(width: int, vocabulary: int, tied: bool, bias: bool = False, path: str = "lm_head") -> WeightSpec:
    return linear(path, width, vocabulary, bias, reads="final", head=True, tied=tied)


def layers(prefix: str, count: int) -> list:
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

    @cached_property
    def base(self) -> int:
        """Parameters of the model, tied ones once."""
        return sum(p.size for p in self.parts)

    @cached_property
    def linears(self) -> list:
        """What "all-linear" means: every linear layer but the head. Experts and routers are none: see experts.py."""
        return [p for p in self.parts if p.kind == "linear" and not p.head]

    @cached_property
    def modules(self) -> list:
        """The path of every module: those with weights, and those that only hold others ("model.layers.0.mlp")."""
        found = {}
        for part in self.parts:
            pieces = part.module.split(".")
            found |= dict.fromkeys(".".join(pieces[:n]) for n in range(1, len(pieces) + 1))
        return list(found)
