"""Adapters put into a model and taken out again: which modules, under which names. PEFT calls this `base_model`."""

import copy
import warnings
from dataclasses import replace

import numpy as np

from ..backend import device_of, to_device, to_host
from ..errors import ConfigError, nearest
from ..nn import Embedding, Module, Parameter
from .layer import LoraLayer
from .targets import chosen_modules, leaves, names_match

HEAD = "lm_head"  # the one linear layer that "all-linear" leaves out
DEFAULT_TARGETS = {"gpt2": ("c_attn",)}  # what PEFT adapts when nothing is said; q_proj and v_proj in other models


class SavedModule(Module):
    """A frozen module and, per adapter, a copy of it that is trained in full and stands in for it (modules_to_save)."""

    def __init__(self, original_module, path):
        self.original_module = original_module
        self.path = path
        self.modules_to_save = {}  # adapter name -> copy

    def forward(self, x, context):
        name = next((n for n in context.adapters if n in self.modules_to_save), None)
        return (self.original_module if name is None else self.modules_to_save[name])(x, context)


class LoraModel(Module):
    """`model` with adapters in it; they come with `add`."""

    def __init__(self, model):
        self.model = model
        self._modules = {path: m for path, m in model.named_modules() if path}  # as they were, without adapters
        self._linear = [p for p, m in self._modules.items() if can_adapt(m) and not isinstance(m, Embedding)]
        self._base = model.parameters()
        self._layers, self._saved = {}, {}  # path -> LoraLayer, path -> SavedModule

    layers = property(lambda self: self._layers.values())

    def add(self, name, config, seed, loading=False):
        """Put adapter `name` beside every module that `config` chooses; nothing is touched when that cannot be.

        Returns the config as it came to be (targets written out). Without a seed the adapter stays unfilled. `loading`
        an existing adapter is lenient where only its maker could err: a rank above the smaller side is a warning, a
        name that matches nothing is not looked at. Raises ConfigError.
        """
        config = self._expand_targets(config, loading)
        chosen = chosen_modules(config, self._modules, self._linear)
        self._check(chosen, config, loading)
        config = self._read_orientation(config, chosen, loading)
        copies = {path: self._duplicate(path) for path in self._paths_to_save(config)}
        if both := sorted(set(copies) & {*chosen, *self._layers} | set(chosen) & set(self._saved)):
            raise ConfigError(f"{both[0]} cannot be both adapted and in modules_to_save")

        for path in chosen:
            layer = self._wrapper(path, self._layers, LoraLayer)
            layer.add(name, config.rank(path), config.scaling(path), config.lora_dropout, config.init_lora_weights)
        for path, module in copies.items():
            self._wrapper(path, self._saved, SavedModule).modules_to_save[name] = module
        self.set_trainable(name, False)
        if seed is not None and any(p.is_filled for p in self.model.parameters()):  # not when counting by shape
            rng = np.random.default_rng(seed)
            self.fill(name, lambda place, parameter: parameter.fill(rng, parameter.shape))
        return config

    def remove(self, name):
        """Take adapter `name` out; a module that no adapter is left for is put back as it was."""
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
        """All that belongs to adapter `name`: "lora_A.{}.weight" of each adapted module, "weight" of each copy."""
        found = {}
        for path, layer in self._layers.items():
            if name in layer.adapters:
                found |= {(path, place): p for place, p in layer.adapters[name].tensors().items()}
        for path, saved in self._saved.items():
            if name in saved.modules_to_save:
                found |= {(path, place): p for place, p in saved.modules_to_save[name].children()}
        return found

    def fill(self, name, values):
        """Give the parameters of adapter `name` their values: values((path, tensor name), Parameter) -> host array.

        Trained in float32 whatever the base's type, in float64 when the base is float64 (gradcheck).
        """
        base = next(p.data for p in self.model.parameters() if p.is_filled)
        dtype = np.float64 if base.dtype == np.float64 else np.float32
        for place, parameter in self.parameters_of(name).items():
            parameter.data = to_device(values(place, parameter).astype(dtype), device_of(base))

    def base_parameter(self, path):  # "model.norm.weight" -> Parameter or None
        """The parameter of the model as it was before any adapter."""
        path, _, name = path.rpartition(".")
        found = getattr(self._modules.get(path), name, None)
        return found if isinstance(found, Parameter) else None

    def freeze_base(self):
        for parameter in self._base:
            parameter.requires_grad = False

    def set_trainable(self, name, trainable):
        for parameter in self.parameters_of(name).values():
            parameter.requires_grad = trainable

    def saved_by(self, names):  # -> {path: names that have a copy of it}
        return {path: [n for n in names if n in s.modules_to_save] for path, s in self._saved.items()}

    def _expand_targets(self, config, loading):
        """The config with "all-linear" spelled out, as PEFT stores it: every linear layer but the head."""
        targets = config.target_modules
        if targets is None and not loading:
            targets = list(DEFAULT_TARGETS.get(self.model.config.model_type, ("q_proj", "v_proj")))
        if not targets:
            raise ConfigError(f"target_modules is empty; this model has: {nearest('', leaves(self._linear))}")
        if isinstance(targets, str) and targets.lower() == "all-linear":
            everything = [p for p in self._linear if p != HEAD and not p.endswith("." + HEAD)]
            short = leaves(everything)  # the names alone, when they choose the same
            targets = short if [p for p in self._modules if names_match(short, p)] == everything else everything
        elif isinstance(targets, list) and not loading:
            for target in targets:
                if not any(names_match([target], p) for p in self._modules):
                    near = nearest(target, leaves(self._linear))
                    raise ConfigError(f"no module matches target {target!r}; the model has: {near}")
        return replace(config, target_modules=targets)

    def _read_orientation(self, config, chosen, loading):
        """The config with fan_in_fan_out as the chosen layers have it: whether they store (in, out), as Conv1D."""
        stored = any(getattr(self._modules[path], "fan_in_fan_out", False) for path in chosen)
        if stored == config.fan_in_fan_out:
            return config
        if not loading:
            warnings.warn(f"fan_in_fan_out is set to {stored}: the weights are stored so here", stacklevel=5)
        return replace(config, fan_in_fan_out=stored)

    def _check(self, chosen, config, loading):
        """Whether the chosen modules can have the adapters that `config` says."""
        for path in chosen:
            if not can_adapt(self._modules[path]):
                raise ConfigError(
                    f"target_modules {config.target_modules!r} matches {path}, a {type(self._modules[path]).__name__}; "
                    f"LoRA adapts linear layers and embeddings: {nearest(path, leaves(self._linear))}"
                )
        if high := [path for path in chosen if config.rank(path) > min(self._modules[path].shape)]:
            path, shape, others = high[0], self._modules[high[0]].shape, len(high) - 1
            note = f"rank {config.rank(path)} is above the smaller side of {path} {shape}"
            note += f" and of {others} more" if others else f": {min(shape)} already gives every update"
            if not loading:
                raise ConfigError(note)
            warnings.warn(note, stacklevel=5)

    def _paths_to_save(self, config):
        """The modules that modules_to_save names: as in PEFT, every path that ends with the name."""
        found = []
        for name in config.modules_to_save or ():
            paths = [p for p in self._modules if p.endswith(name)]
            if not paths:
                near = nearest(name, leaves(self._modules))
                raise ConfigError(f"no module matches modules_to_save {name!r}; the model has: {near}")
            found += paths
        return list(dict.fromkeys(found))

    def _duplicate(self, path):
        """A copy of the module at `path` with parameters of its own, filled from it."""
        original = self._modules[path]
        twin = copy.copy(original)
        for name, p in original.children():
            if isinstance(p, Module):
                raise ConfigError(f"modules_to_save: {path} holds other modules ({name}, ...); name those instead")
            setattr(twin, name, Parameter(p.shape, lambda rng, shape, p=p: to_host(p.data)))
        return twin

    def _wrapper(self, path, wrapped, kind):
        """The wrapper at `path`, made when this is the first adapter there."""
        if path not in wrapped:
            wrapped[path] = kind(self._modules[path], path)
            self.model.set_submodule(path, wrapped[path])
        return wrapped[path]


def can_adapt(module):
    """Whether LoRA can adapt this module: a linear layer or an embedding, which has `replace_weight`."""
    return hasattr(module, "replace_weight")
