"""The seam between methods and everything else. A method says everything about itself in its own file.

A method is three classes in one file: its configuration (a `PeftConfig`), its equation on one layer (a `Method`) and,
where something belongs to no layer, its life on the whole model (an `Adapter`). The constructor, the file reader and
writer and the counter ask these classes; none of them knows a method's name. `adapters/registry.py` has the tables in
which a new method is a new line. (`inspect` shows norms of updates for LoRA, and the tensors of every other method.)
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError
from ..nn import Parameter
from .fields import check_fields

# PEFT's default targets of LoRA and its relatives by model_type; None: for every other model
DEFAULT_TARGETS = {"gpt2": ("c_attn",), None: ("q_proj", "v_proj")}


class Place(NamedTuple):
    """A layer that an adapter is put on.

    path   its path in the model: "model.layers.0.self_attn.q_proj"
    kind   "linear", "embedding" or "conv" (which is counted only); where rows are trained instead, a kind of
           methods/trainable_tokens.py
    shape  of its weight: (out, in), however it is stored; (vocabulary, width) of an embedding; (out, in, window)
    bias   whether it adds a bias
    """

    path: str
    kind: str
    shape: tuple
    bias: bool = False

    @classmethod
    def of(cls, path, layer):
        """The place of `layer`, a Linear, Conv1D or Embedding."""
        return cls(path, layer.kind, layer.shape, layer.bias is not None)


class Product(NamedTuple):
    """An update s · B A x, and all of the output scaled by g."""

    A: Any  # (r, in)
    B: Any  # (out, r)
    s: float
    g: Any = None  # (out,), or None: 1


class Between(NamedTuple):
    """An update b ⊙ B (d ⊙ A x), where many adapters share A and B."""

    A: Any  # (r, in)
    B: Any  # (out, r)
    d: Any  # (r,)
    b: Any  # (out,)


class Scale(NamedTuple):
    """The layer's inputs or outputs scaled."""

    l: Any  # (in,) or (out,)
    on_input: bool


@dataclass
class PeftConfig:
    """The configuration of a method: its fields have PEFT's names, defaults and meaning.

    peft_type    PEFT's name of the method, in adapter_config.json
    rules        {field: (function that accepts good values, what is expected)}, see `fields.check_fields`
    required     fields without which a stored configuration has no defined meaning
    harmless     keys of PEFT's file that are no field here and change nothing in a saved adapter
    written_too  {key of PEFT's file that is no field here: the value that is written}
    """

    peft_type = ""
    rules = {}
    required = ()
    harmless = frozenset()
    written_too = {}

    def __post_init__(self):
        for f in fields(self):
            if isinstance(getattr(self, f.name), set | tuple):
                setattr(self, f.name, sorted(getattr(self, f.name), key=str))
        check_fields(self)

    def with_defaults(self, model_config):
        """The configuration with what PEFT takes from the model where it says nothing: here the targets."""
        if getattr(self, "target_modules", None) is not None:
            return self
        kind = getattr(model_config, "model_type", None)  # a single matrix has no configuration
        return replace(self, target_modules=list(DEFAULT_TARGETS.get(kind, DEFAULT_TARGETS[None])))

    @classmethod
    def from_file(cls, values):  # {field: value} of a saved adapter -> PeftConfig
        """The configuration of a saved adapter. Raises ConfigError for what cannot be honoured."""
        return cls(**values)


class Method:
    """One adapter on one layer: its parameters, its start and its equation.

    A subclass defines `names`, `shapes` and `start`; `update` or `input`; and `merged` if it can be merged.
    """

    borrowed = {}  # name -> Parameter of another method of the same adapter that this one reads too
    additive = True  # whether it adds to the output whatever other adapters do: then their order does not matter
    names = ()  # of its parameters, as in PEFT's file: "lora_A.weight"

    def __init__(self, place, config):
        self.parameters = {name: Parameter(shape) for name, shape in self.shapes(place, config).items()}
        self.frozen = {}  # name -> Parameter that never learns and is not saved, filled by `start`

    @classmethod
    def beside(cls, layer, config, seed=0, path="layer"):
        """The adapter for one layer alone, filled: how to try a method on a single matrix.

        Its values are float64, or float32 when the layer's are.
        """
        adapter = cls(Place.of(path, layer), config)
        for name, values in adapter.start(layer, np.random.default_rng(seed)).items():
            for parameters in (adapter.parameters, adapter.frozen):
                if name in parameters:
                    parameters[name].assign(values.astype(layer.dense().dtype))
        return adapter

    @staticmethod
    def shapes(place, config):  # -> {name: shape}
        """The parameters on a layer: `names`, in order, with their shapes."""
        raise NotImplementedError

    def start(self, base, generator):  # -> {name: float64 host array}
        """The values before the first step, of `parameters` and of `frozen` (a name in both has the same in both).

        base: the frozen layer, with its values; generator: NumPy's.
        """
        raise NotImplementedError

    def input(self, x, context):
        """What the frozen layer reads instead of x. Most methods leave x as it is."""
        return x

    def update(self, y, x, base, context):
        """The output of the adapted layer, given what the frozen layer `base` made of x. y may be written into."""
        return y

    def stacked(self, base) -> "Product | Between | Scale | None":
        """The numbers of the update in a form that a batch with an adapter for each row can stack.

        None: the method has no such form, and such a batch calls `input` and `update` for its rows.
        """
        return None

    def merged(self, weight, bias, base):  # arrays -> (weight, bias)
        """The weight and bias that do the adapter's work, given those so far. Raises ConfigError when none can.

        weight, bias: with earlier adapters merged into them; base: the frozen layer, unmerged. New arrays are returned.
        """
        raise ConfigError(f"{type(self).__name__} cannot be merged")


class Adapter:
    """One adapter on the whole model: a Method on each adapted layer, and what fits no layer.

    config      its PeftConfig
    methods     {path: Method}
    parameters  {full name: Parameter} of what fits no layer (`shared`)

    A subclass names its `config_class` and `kinds`, and overrides what it needs of the rest.
    """

    config_class = PeftConfig
    kinds = {}  # kind of a Place -> class of the Method there
    alone = True  # whether it can be active only by itself
    predicts_first = False  # whether something in front of a sequence predicts its first token
    virtual_tokens = 0  # places that it takes from the context of every sequence
    shared_names = ()  # of the parameters that fit no layer
    shared_prefix = ""  # of their names in PEFT's file
    shared_is_frozen = False  # whether they are drawn once and never trained: then they are not counted either
    adapts = ""  # the same as a sentence: "LoRA adapts linear layers and embeddings"

    def __init__(self, config, places, model_config):
        self.config = config
        self.methods: dict[str, Any] = {place.path: self.method_class(place)(place, config) for place in places}
        self.parameters = {name: Parameter(shape) for name, shape in self.shared(places, model_config, config).items()}

    # ---- known without making anything: used to read an adapter from a file, and to count it

    @classmethod
    def method_class(cls, place) -> type[Method]:
        """The Method for a place. Raises ConfigError where this adapter has none."""
        if place.kind not in cls.kinds:
            raise ConfigError(f"{place.path} ({place.kind}) cannot be adapted: {cls.adapts}")
        return cls.kinds[place.kind]

    @classmethod
    def shapes(cls, place, config):  # -> {name: shape}
        """The parameters on one layer."""
        return cls.method_class(place).shapes(place, config)

    @staticmethod
    def shared(places, model_config, config):  # -> {full name: shape}
        """The parameters that belong to no layer, or to all of them."""
        return {}

    @classmethod
    def tensor_names(cls):  # -> list of str
        """Every name that a parameter on a layer can have in PEFT's file, after the path of its layer."""
        return sorted({name for method in cls.kinds.values() for name in method.names})

    # ---- its life on a model

    def start(self, model, generator):  # -> {full name: float64 host array}
        """The values of the shared parameters before the first step. model: the frozen one."""
        return {}

    def check_mergeable(self):
        """Raises ConfigError when this adapter can never be merged."""

    def begin(self, context, batch_size):  # Context -> Context
        """Called once at the start of a sequence, before the first token is embedded."""
        return context

    def penalty(self):  # -> Tensor () or None
        """A term that is added to the loss."""
        return None

    def after_step(self, step):
        """Called after each step of the optimizer, while the gradients are still there."""

    def state(self):  # -> {name: array}
        """What a training must save to go on to the same bits, beside parameters and optimizer."""
        return {}

    def restore(self, state):
        """Take over what `state` returned."""

    def own_parameters(self):  # -> {(path, name): Parameter}
        """On its layers, and under (name, "") what fits no layer."""
        tensors = {(path, name): p for path, m in self.methods.items() for name, p in m.parameters.items()}
        return tensors | {(name, ""): p for name, p in self.parameters.items()}

    def exported(self):  # -> {(path, name): Parameter}, PeftConfig
        """What is written to a file."""
        return self.own_parameters(), self.config
