"""Adapters put into a model and taken out again: on which modules, under which names. PEFT calls this `base_model`."""

import copy
import math
import warnings
from dataclasses import replace

import numpy as np

from ..backend import to_device
from ..errors import ConfigError, nearest
from ..methods.base import Place
from ..methods.fields import within_memory
from ..methods.trainable_tokens import TokenRows
from ..nn import Embedding, Module, Parameter, fill_parameters, fingerprint_of
from .layer import AdaptedLayer, named_for
from .registry import method_of
from .targets import (
    HEAD,
    leaves,
    match_targets,
    row_places,
    spell_out,
    spell_out_all_linear,
    warn_of_settings_without_effect,
    warn_of_unmatched,
)


class SavedModule(Module):
    """A frozen module and, per adapter, a copy that is trained in full and used in its place (modules_to_save)."""

    def __init__(self, original_module, path):
        self.original_module = original_module
        self.path = path
        self.modules_to_save = {}  # adapter name -> copy

    def forward(self, x, context):
        if context.rows is not None:
            return context.rows.select(self, x, context)
        name = next((n for n in context.adapters if n in self.modules_to_save), None)
        return (self.original_module if name is None else self.modules_to_save[name])(x, context)


class AdaptedModel(Module):
    """`model` with adapters in it. A new one: `complete`, `add`, `start`; one from a file: `accept`, `add`, `fill`."""

    def __init__(self, model):
        self.model = model
        self._config = getattr(model, "config", None)  # a single matrix has none
        self.adapters = {}  # name -> Adapter
        self._modules = {path: m for path, m in model.named_modules() if path}  # as they were, without adapters
        self._linear = [p for p, m in self._modules.items() if can_adapt(m) and not isinstance(m, Embedding)]
        self._base = dict(model.named_parameters(remove_duplicate=False))  # the model's own parameters, by name
        self._layers, self._saved = {}, {}  # path -> AdaptedLayer, path -> SavedModule

    layers = property(lambda self: self._layers.values())
    base_parameters = property(lambda self: self._base)

    def children(self):
        yield "model", self.model
        for name, adapter in self.adapters.items():
            if not adapter.shared_is_frozen:
                yield from ((named_for(name, full), p) for full, p in adapter.parameters.items())

    # ---- the configuration, completed for this model

    def complete(self, config):
        """The config of a new adapter with its targets spelled out. Raises ConfigError for what cannot be right."""
        if not method_of(config).kinds:
            return config.with_defaults(self._config)
        config = spell_out(config, self._modules, self._linear, self._config)
        places = self._places(config)
        if note := self._rank_note(config, places):
            raise ConfigError(note)
        if getattr(config, "lora_bias", False) and (bare := [p.path for p in places if not p.bias]):
            warnings.warn(f"lora_bias: {bare[0]} has no bias, so this adapter cannot be merged", stacklevel=4)
        warn_of_settings_without_effect(config, [p.path for p in places], self._modules, stacklevel=5)
        return self._orient(config, places, warn=True)

    def accept(self, config):
        """The config of a saved adapter. Mistakes that only its author could make become warnings or are ignored.

        A rank that is too high is a warning; a name that matches no module is ignored when another one does.
        """
        if not method_of(config).kinds:
            return config.with_defaults(self._config)
        config = spell_out_all_linear(config, self._modules, self._linear)
        places = self._places(config)
        if note := self._rank_note(config, places):
            warnings.warn(note, stacklevel=4)
        warn_of_settings_without_effect(config, [p.path for p in places], self._modules, stacklevel=5)
        lost = dict.fromkeys(n for n in config.modules_to_save or () if not self._ending_with(n))
        warn_of_unmatched("modules_to_save", list(lost), "module", leaves(self._modules), stacklevel=5)
        kept = [n for n in config.modules_to_save or () if n not in lost] or None
        return self._orient(replace(config, modules_to_save=kept), places, warn=False)

    def _places(self, config):  # -> [Place]
        """Where `config` puts adapters. Raises ConfigError when a module cannot have one."""
        places, method = [], method_of(config)
        if not method.kinds:
            return places
        for path in match_targets(config, self._modules, self._linear):
            if not can_adapt(self._modules[path]):
                raise ConfigError(
                    f"target_modules {config.target_modules!r} matches {path}, a {type(self._modules[path]).__name__}; "
                    f"{method.adapts}: {nearest(path, leaves(self._linear))}"
                )
            place = Place.of(path, self._modules[path])
            method.method_class(place)  # raises where the method has none for this kind of layer
            places.append(place)
        return places

    def _row_places(self, config):
        """Where `config` trains single rows of an embedding or head."""
        if not getattr(config, "trainable_token_indices", None):
            return []
        embeddings = {p: m for p, m in self._modules.items() if getattr(m, "kind", "") == "embedding"}
        heads = {p: m for p, m in self._modules.items() if p == HEAD and can_adapt(m)}
        own = self.model.get_input_embeddings()
        own = getattr(own, "base_layer", getattr(own, "original_module", own))  # without what other adapters put on it
        places = {path: Place.of(path, module) for path, module in (embeddings | heads).items()}
        path = next(path for path, module in embeddings.items() if module is own)
        return row_places(config, places, path, getattr(self._config, "tie_word_embeddings", False))

    @staticmethod
    def _rank_note(config, places):  # -> str or None
        """A sentence when a rank is higher than a matrix can use."""
        if not hasattr(config, "rank"):
            return None
        high = [p for p in places if config.rank(p.path) > min(p.shape)]
        if not high:
            return None
        path, shape, others = high[0].path, high[0].shape, len(high) - 1
        note = f"rank {config.rank(path)} is above the smaller side of {path} {shape}"
        return note + (f" and of {others} more" if others else f": {min(shape)} already gives every update")

    def _orient(self, config, places, warn):
        """The config with fan_in_fan_out as the layers have it: whether they store (in, out), as Conv1D."""
        stored = any(getattr(self._modules[p.path], "fan_in_fan_out", False) for p in places)
        if stored == config.fan_in_fan_out:
            return config
        if warn:
            how = "(in, out)" if stored else "(out, in)"
            warnings.warn(
                f"fan_in_fan_out set to {stored} to match this model's layers, which store weights as {how}",
                stacklevel=5,
            )
        return replace(config, fan_in_fan_out=stored)

    # ---- adapters

    def add(self, name, config):  # -> {(path, tensor name): Parameter}
        """Put adapter `name`, not yet filled and frozen, on every module that `config` names.

        Nothing is touched when that is not possible. Raises ConfigError.
        """
        adapter = self.make(config)
        copies = {path: self._duplicate(path) for path in self._paths_to_save(config)}
        adapted = set(adapter.methods)
        if both := sorted(set(copies) & {*adapted, *self._layers} | adapted & set(self._saved)):
            raise ConfigError(f"{both[0]} cannot be both adapted and in modules_to_save")

        self.adapters[name] = adapter
        for path, method in adapter.methods.items():
            self._wrapper(path, self._layers, AdaptedLayer).adapters[name] = method
        for path, module in copies.items():
            self._wrapper(path, self._saved, SavedModule).modules_to_save[name] = module
        self.set_trainable(name, False)
        return self.parameters_of(name)

    def make(self, config):  # -> Adapter
        """An adapter with its places in this model, which is not put there and not filled."""
        places, rows = self._places(config), self._row_places(config)
        if twice := {p.path for p in places} & {p.path for p in rows}:
            raise ConfigError(f"{min(twice)} cannot be both in target_modules and in trainable_token_indices")
        return method_of(config)(config, places + rows, self._config)

    def wrap(self, path):  # -> AdaptedLayer
        """The layer at `path`, ready for adapters."""
        return self._wrapper(path, self._layers, AdaptedLayer)

    def start(self, name, generator):
        """Fill adapter `name` as its method starts; copies of modules get their values. Needs a filled base.

        Raises ConfigError when the adapter does not fit into memory.
        """
        numbers = sum(math.prod(p.shape) for p in self.parameters_of(name).values())
        with within_memory(self.adapters[name].config, numbers):
            values = {(full, ""): array for full, array in self.adapters[name].start(self.model, generator).items()}
            for path, method in self.adapters[name].methods.items():
                start = method.start(self._modules[path], generator)
                values |= {(path, tensor): array for tensor, array in start.items()}
                for tensor, parameter in method.frozen.items():
                    parameter.assign(self._converted(start[tensor]))
            for path, tensor in self._copied_parameters(name):
                values[path, tensor] = getattr(self._modules[path], tensor).numpy()
            self.fill(name, values)

    def fill(self, name, values):  # {(path, tensor name): host array}
        """Give the parameters of adapter `name` their values.

        Trained in float32 whatever the base's type, in float64 when the base is float64 (gradient checks).
        """
        self.assign(self.parameters_of(name), values)

    def assign(self, parameters, values):  # {place: Parameter}, {place: host array}
        """Give parameters their values, in the type and on the device of an adapter of this model."""
        for place, parameter in parameters.items():
            parameter.assign(self._converted(values[place]))

    def _converted(self, array):  # host array -> array in the type and on the device of an adapter
        base = next(p for p in self._base.values() if p.is_filled)
        dtype = np.float64 if base.dtype == np.float64 else np.float32
        return to_device(array.astype(dtype, copy=base.device == "cpu"), base.device)  # an upload is a copy already

    def init(self, seed, dtype=np.float32):
        """Fill what is not filled: the base, then the adapters as their methods start. Returns self."""
        unfilled = [n for n in self.adapters if not all(p.is_filled for p in self.parameters_of(n).values())]
        generator = np.random.default_rng(seed)
        fill_parameters(self._base.values(), generator, dtype)
        for name in unfilled:
            self.start(name, generator)
        return self

    def remove(self, name):
        """Take adapter `name` out; a module that has no adapter left is put back as it was."""
        del self.adapters[name]
        for path, layer in list(self._layers.items()):
            layer.adapters.pop(name, None)
            if not layer.adapters:
                self.model.set_submodule(path, self._layers.pop(path).base_layer)
        for path, saved in list(self._saved.items()):
            saved.modules_to_save.pop(name, None)
            if not saved.modules_to_save:
                self.model.set_submodule(path, self._saved.pop(path).original_module)

    def install_trained_copies(self, names):
        """Replace every module that one of the adapters `names` has a trained copy of by that copy, for good."""
        for path, saved in list(self._saved.items()):
            for name in names:
                if name in saved.modules_to_save:
                    self.model.set_submodule(path, saved.modules_to_save[name])
                    del self._saved[path]

    def parameters_of(self, name):  # -> {(path, tensor name): Parameter}
        """All that belongs to adapter `name`: "lora_A.weight" of each adapted module, "weight" of each copy."""
        return self.adapters[name].own_parameters() | self._copied_parameters(name)

    def exported(self, name):  # -> {(path, tensor name): Parameter}, config
        """What is written to a file for adapter `name`."""
        tensors, config = self.adapters[name].exported()
        return tensors | self._copied_parameters(name), config

    def fingerprint(self) -> str:
        """Tells this base from another of the same shapes: a digest of some values of each weight; "" if unfilled."""
        if not all(p.is_filled for p in self._base.values()):
            return ""
        return fingerprint_of({name: (p.shape_in_file, p.some_values()) for name, p in self._base.items()})

    def freeze_base(self):
        """No parameter of the model itself gets a gradient from now on."""
        for parameter in self._base.values():
            parameter.requires_grad = False

    def set_trainable(self, name, trainable):
        """Whether the parameters of adapter `name` get gradients."""
        adapter = self.adapters[name]
        for (path, tensor), parameter in self.parameters_of(name).items():
            is_shared = path in adapter.parameters and not tensor
            parameter.requires_grad = trainable and not (is_shared and adapter.shared_is_frozen)

    def check_together(self, names):
        """Raises ConfigError when one of several adapters can be active only by itself."""
        alone = [n for n in names if self.adapters[n].alone]
        if alone and len(names) > 1:
            kind = self.adapters[alone[0]].config.peft_type
            raise ConfigError(f"adapter {alone[0]!r} ({kind}) can be active only by itself; LoRA and DoRA add up")
        for layer in self.layers:
            acting = [n for n in names if n in layer.adapters]
            if len(acting) > 1 and any(isinstance(layer.adapters[n], TokenRows) for n in acting):
                both = f"adapters {', '.join(acting)} act on {layer.path}"
                raise ConfigError(f"{both}, where trainable_token_indices replaces rows: only one can be active")

    def move_frozen(self, device):
        """Move what belongs to adapters and is no parameter of the model."""
        for adapter in self.adapters.values():
            frozen = [p for m in adapter.methods.values() for p in m.frozen.values()]
            frozen += adapter.parameters.values() if adapter.shared_is_frozen else []
            for parameter in frozen:
                parameter.data = to_device(parameter.data, device)

    def is_additive(self, names) -> bool:
        """Whether the updates of these adapters are sums, so that their order does not matter."""
        return all(m.additive for name in names for m in self.adapters[name].methods.values())

    def saved_by(self, names):  # -> {path: names that have a copy of it}
        """Which of the adapters `names` have a trained copy of which module."""
        return {path: [n for n in names if n in s.modules_to_save] for path, s in self._saved.items()}

    def _copied_parameters(self, name):  # -> {(path, tensor name): Parameter}
        copies = {path: s.modules_to_save[name] for path, s in self._saved.items() if name in s.modules_to_save}
        return {(path, tensor): p for path, copied in copies.items() for tensor, p in copied.children()}

    def _paths_to_save(self, config):
        """The modules that modules_to_save names: as in PEFT, every path that ends with the name."""
        matches = []
        for name in config.modules_to_save or ():
            paths = self._ending_with(name)
            if not paths:
                near = nearest(name, leaves(self._modules))
                raise ConfigError(f"no module matches modules_to_save {name!r}; the model has: {near}")
            matches += paths
        return list(dict.fromkeys(matches))

    def _ending_with(self, name):  # -> [path]
        return [path for path in self._modules if path.endswith(name)]

    def _duplicate(self, path):
        """A copy of the module at `path` with parameters of its own, not filled."""
        original = self._modules[path]
        twin = copy.copy(original)
        for name, p in original.children():
            if isinstance(p, Module):
                raise ConfigError(f"modules_to_save: {path} holds other modules ({name}, ...); name those instead")
            setattr(twin, name, Parameter(p.shape))
        return twin

    def _wrapper(self, path, wrapped, kind):
        """The wrapper at `path`; a new one for the first adapter there."""
        if path not in wrapped:
            wrapped[path] = kind(self._modules[path], path)
            self.model.set_submodule(path, wrapped[path])
        return wrapped[path]


def can_adapt(module) -> bool:
    """Whether an adapter can be put on a module: a linear layer or an embedding, which has `replace_weight`."""
    return hasattr(module, "replace_weight")
