"""The life of adapters on a model: add, load, switch, disable, merge, save. PEFT's names and meaning.

Off the reading path: a method's equation is in methods/, the choice of modules in targets.py. Merging is an explicit
act, never a side effect of train() or eval(); whatever changes the set of adapters unmerges first and says so.
"""

import contextlib
import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..errors import ConfigError, FormatError, UnknownNameError, nearest
from ..models.recompute import Checkpointing
from . import merging, mixed, weighting
from .inject import AdaptedModel, SavedModule
from .layer import AdaptedLayer

LONGEST_NAME = 200  # of an adapter: it names a folder


def get_peft_model(model, config, adapter_name: str = "default", seed: int = 0) -> "PeftModel":
    """`model` frozen, with a new trainable adapter in it. The model is changed in place, as in PEFT.

    model: a CausalLM; config: LoraConfig; seed: fills the adapter. Returns a PeftModel.
    Raises ConfigError when the config cannot be applied to this model.
    """
    wrapped = PeftModel(model)
    wrapped.add_adapter(adapter_name, config, seed)
    wrapped.set_adapter(adapter_name)
    return wrapped


class PeftModel(Checkpointing):
    """A CausalLM with adapters: forward, loss and generate as before, with the active adapters added. It makes the
    Context of a forward, which names them; the rest happens in the model.

    peft_config      {adapter name: LoraConfig}
    active_adapters  names of the adapters that act, in order; their updates add up
    base_model       the AdaptedModel that holds the adapters; base_model.model is the model itself
    """

    def __init__(self, model):
        if any(isinstance(m, AdaptedModel | AdaptedLayer | SavedModule) for _, m in model.named_modules()):
            raise ConfigError("the model has adapters already: use its add_adapter() or load_adapter()")
        self.base_model = AdaptedModel(model)
        self.peft_config = {}
        self.training = model.training
        self._active = ()
        self._disabled = 0  # how many disable_adapter() blocks we are in

    config = property(lambda self: self.base_model.model.config)

    @property
    def context_length(self) -> int:
        """Most tokens of a sequence: those of the model, less what the active adapters put in front."""
        taken = sum(self.base_model.adapters[name].virtual_tokens for name in self._active)
        return self.get_base_model().context_length - taken

    predicts_first = property(lambda self: any(self.base_model.adapters[n].predicts_first for n in self._active))
    active_adapters = property(lambda self: list(self._active))

    @property
    def active_adapter(self):
        """The name of the one active adapter; a list when there are several."""
        return self._active[0] if len(self._active) == 1 else list(self._active)

    def get_base_model(self):
        """The model that was wrapped. Called directly, it ignores adapters except those merged into its weights."""
        return self.base_model.model

    # ---- running

    def forward(self, ids, **fields):  # (B, T) int -> (B, T, V)
        """Logits of every position. fields: as for a CausalLM, and adapters=("b",) instead of the active ones."""
        return self.base_model.model(ids, self._begin(ids, fields))

    def loss(self, ids, labels, **fields):  # (B, T) int, (B, T) int -> ()
        """See `CausalLM.loss`."""
        return self.base_model.model.loss(ids, labels, self._begin(ids, fields))

    def penalty(self):  # -> Tensor () or None
        """What the active adapters add to the loss of a step: AdaLoRA's orthogonality. Call backward() on it once."""
        return next((p for n in self._active if (p := self.base_model.adapters[n].penalty()) is not None), None)

    def generate(self, ids, max_new_tokens: int, **options) -> list:
        """See `generation.generate`."""
        context = self.new_context(adapter_names=options.pop("adapter_names", None))
        return self.base_model.model.generate(ids, max_new_tokens, context=context, begin=self._start, **options)

    def new_context(self, **fields):  # -> Context
        """The Context of one forward: the active adapters, those that `adapters=("b",)` names, or one for each row of
        the batch: `adapter_names=["a", "__base__"]`, in inference."""
        if (names := fields.pop("adapter_names", None)) is not None:
            return self.base_model.model.new_context(training=False, rows=mixed.new_rows(self, names), **fields)
        if "adapters" in fields:
            fields["adapters"] = tuple(self.known_names(fields["adapters"]))
            self._check_copies(fields["adapters"])
            if left := [n for n in self.merged_adapters if n not in fields["adapters"]]:
                raise ConfigError(f"adapter {left[0]!r} is merged: unmerge_adapter() before a call without it")
        defaults = {"training": self.training, "adapters": () if self._disabled else self._active}
        return self.base_model.model.new_context(**defaults | fields)

    def _begin(self, ids, fields):
        """The Context of one forward over `ids`, as the active adapters begin a sequence."""
        return self._start(self.new_context(**fields), len(ids))

    def _start(self, context, batch_size):
        for name in context.adapters:
            context = self.base_model.adapters[name].begin(context, batch_size)
        return context

    def after_step(self, step):
        """What the active adapters do after each step of the optimizer."""
        for name in self._active:
            self.base_model.adapters[name].after_step(step)

    def state(self):  # -> {name: array}
        """What a training must save beside parameters and optimizer: AdaLoRA's scores."""
        kept = {name: self.base_model.adapters[name].state() for name in self._active}
        return {f"{name}/{key}": array for name, state in kept.items() for key, array in state.items()}

    def restore(self, state):
        """Take over what `state` returned."""
        for name in self._active:
            own = {key.removeprefix(f"{name}/"): a for key, a in state.items() if key.startswith(f"{name}/")}
            if own:
                self.base_model.adapters[name].restore(own)

    update_and_allocate = after_step  # PEFT's name, for AdaLoRA

    def init(self, seed, dtype=np.float32):
        """Fill what is not filled: the base, then the adapters as their methods start. Returns self."""
        self.base_model.init(seed, dtype)
        return self

    def to(self, device):
        """Move everything to "cpu", "cuda" or "cuda:n", the weights kept for unmerging too. Returns self."""
        for layer in self.base_model.layers:
            layer.move_original(device)
        self.base_model.move_frozen(device)
        return super().to(device)

    # ---- which adapters there are

    def add_adapter(self, name, config, seed=0):
        """Add a new adapter, filled from `seed`; it acts after `set_adapter`. Raises ConfigError.

        As in PEFT it notes where its base came from, unless its config says that already.
        """
        self.check_new_name(name)
        made_for = config.base_model_name_or_path or getattr(self.get_base_model(), "name_or_path", None)
        config = self.base_model.complete(replace(config, base_model_name_or_path=made_for))
        with merging.as_before_on_failure(self.base_model, name, self.unmerge_first("add_adapter")):
            self.base_model.add(name, config)
            if any(p.is_filled for p in self.get_base_model().parameters()):  # not when counting by shape
                self.base_model.start(name, np.random.default_rng(seed))
        self.peft_config[name] = config
        self.base_model.freeze_base()

    def delete_adapter(self, name):
        """Remove an adapter. When it was the only active one, the first that is left becomes active, as in PEFT."""
        self.known_names([name])
        self.unmerge_first("delete_adapter")
        self.base_model.remove(name)
        del self.peft_config[name]
        if name in self._active:
            rest = [n for n in self._active if n != name] or sorted(self.peft_config)[:1]
            self.set_adapter(rest)

    def set_adapter(self, names, inference_mode=False):
        """Make exactly these adapters active (a name or a list). No weights are touched.

        They become trainable, all others frozen; with `inference_mode` these are frozen too.
        Raises UnknownNameError, ConfigError when two of them have a copy of the same module.
        """
        names = self.known_names([None] if names is None else names)
        self._check_copies(names)
        self.unmerge_first("set_adapter")
        self._active = tuple(names)
        for name in self.peft_config:
            self.base_model.set_trainable(name, name in names and not inference_mode)

    @contextlib.contextmanager
    def disable_adapter(self):
        """Inside this block the model is the base alone."""
        self.unmerge_first("disable_adapter")
        self._disabled += 1
        try:
            yield
        finally:
            self._disabled -= 1

    # ---- merging

    @property
    def merged_adapters(self):
        """Names of the adapters that are in the base's weights now, in the order they were merged."""
        return list(dict.fromkeys(name for layer in self.base_model.layers for name in layer.merged))

    def merge_adapter(self, adapter_names=None):
        """W <- W + ΔW for the active adapters, or those named; the other active ones go on adding.

        The model computes the same function as before (up to rounding), so an adapter that is not active is refused.
        Raises ConfigError, UnknownNameError; nothing is merged then.
        """
        names = self.known_names(adapter_names, self._active)
        if self._disabled:
            raise ConfigError("merge_adapter inside disable_adapter(): the adapters do not act here")
        names = merging.in_order(self.base_model, names, self._active, self.merged_adapters)
        merging.merge(self.base_model, names)

    def unmerge_adapter(self):
        """Restore the original weights: the same array objects, bit for bit."""
        merging.unmerge(self.base_model)

    def merge_and_unload(self, adapter_names=None):
        """The plain base model with the active adapters, or those named, in its weights.

        Do not use this PeftModel afterwards.

        If an adapter changed a tied embedding or head, the tie is broken: the changed one becomes its own matrix, the
        other keeps the old one.
        """
        names = self.known_names(adapter_names, self._active)
        merging.check_mergeable(self.base_model, names)
        self.set_adapter(names, inference_mode=True)  # unmerges first; refuses two copies of one module
        merging.merge(self.base_model, names)
        self.base_model.install_trained_copies(names)
        return self._unwrap()

    def unload(self):
        """The base model without adapters; its weights stay frozen, as in PEFT.

        Do not use this PeftModel afterwards.
        """
        self.unmerge_first("unload")
        return self._unwrap()

    # ---- weighting

    set_scale, scale_layer, unscale_layer = weighting.set_scale, weighting.scale_layer, weighting.unscale_layer
    get_delta_weight = weighting.get_delta_weight
    add_weighted_adapter = weighting.add_weighted_adapter

    # ---- counting

    def get_nb_trainable_parameters(self):  # -> (trainable, all)
        """Numbers of parameters, adapters and copies included; a tied weight counts once."""
        sizes = [(p.size, p.requires_grad) for p in self.parameters()]
        return sum(n for n, trainable in sizes if trainable), sum(n for n, _ in sizes)

    def print_trainable_parameters(self):
        """PEFT's line."""
        trainable, total = self.get_nb_trainable_parameters()
        share = 100 * trainable / total
        print(f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {share:.4f}")

    # ---- files

    @classmethod
    def from_pretrained(cls, model, path, adapter_name="default", is_trainable=False):
        """`model` with the adapter in the folder `path` (PEFT's format) active. See `load_adapter`."""
        wrapped = cls(model)
        wrapped.load_adapter(path, adapter_name, is_trainable)
        wrapped.set_adapter(adapter_name, inference_mode=not is_trainable)
        return wrapped.train(model.training and is_trainable)

    def load_adapter(self, path, adapter_name: str, is_trainable: bool = False) -> None:
        """Add the adapter in the folder `path` (PEFT's format), or of that name on the hub; `set_adapter` lets it act.

        Raises MissingFileError, FormatError or ConfigError; the model is as before then.
        """
        from ..files.hub import adapter_folder  # here, as files: they load more than all the rest
        from . import files

        self.check_new_name(adapter_name)
        path = adapter_folder(path)
        config, tensors = files.read(path)
        with merging.as_before_on_failure(self.base_model, adapter_name, self.unmerge_first("load_adapter")):
            try:
                config = self.base_model.accept(config)
                places = self.base_model.add(adapter_name, config)
            except ConfigError as error:
                raise ConfigError(f"{path / files.CONFIG}: {error}{self._made_for(config)}") from error
            try:
                files.match(tensors, places, self.base_model.base_parameters, path)
                self.base_model.fill(adapter_name, tensors)
            except FormatError as error:
                raise FormatError(f"{error}{self._made_for(config)}") from error
        self.peft_config[adapter_name] = config
        self.base_model.freeze_base()
        self.base_model.set_trainable(adapter_name, is_trainable)
        if (trained_on := files.base_fingerprint(path)) and trained_on != self.base_model.fingerprint():
            warnings.warn(
                f"{path} was trained on another base than this one, with the same shapes{self._made_for(config)}",
                stacklevel=3,
            )

    def save_pretrained(self, path, selected_adapters=None) -> None:
        """Write adapters in PEFT's format: "default" into `path`, every other into a subfolder of its name."""
        from pathlib import Path

        from . import files

        for name in self.known_names(selected_adapters, self.peft_config):
            tensors, config = self.base_model.exported(name)
            folder = Path(path) if name == "default" else Path(path) / name
            files.write(folder, config, tensors, self.base_model.fingerprint())

    def known_names(self, given, otherwise=()):  # name, names or None -> [name]
        """Names of adapters, each once; None: `otherwise`. Raises UnknownNameError for one that is not loaded."""
        given = otherwise if given is None else given
        given = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
        if unknown := [n for n in given if n not in list(self.peft_config)]:  # a list: some values can be no key
            raise UnknownNameError(f"no adapter {unknown[0]!r}; loaded: {nearest(str(unknown[0]), self.peft_config)}")
        return list(dict.fromkeys(given))

    # ---- inside

    def _made_for(self, config):
        """The end of a message about an adapter that does not fit: which base it was made for, when that is another."""
        source, own = config.base_model_name_or_path, getattr(self.get_base_model(), "name_or_path", None)
        return f"; it was made for {source}" if source and source != own else ""

    def _check_copies(self, names):
        self.base_model.check_together(names)
        for path, having in self.base_model.saved_by(names).items():
            if len(having) > 1:
                raise ConfigError(f"adapters {', '.join(having)} each have a copy of {path}: only one can be active")

    def check_new_name(self, name):
        is_word = isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= LONGEST_NAME
        if not is_word or any(c in name for c in "./\\{}"):
            raise ConfigError(f"{name!r} cannot be an adapter's name: it is part of parameter and folder names")
        if name in self.peft_config:
            raise ConfigError(f"an adapter {name!r} exists already; delete_adapter() it first or choose another name")

    def unmerge_first(self, why):  # -> names of the adapters that were merged
        if merged := self.merged_adapters:
            warnings.warn(f"{why}: adapters {', '.join(merged)} were merged and are unmerged first", stacklevel=3)
            self.unmerge_adapter()
        return merged

    def _unwrap(self):
        for name in list(self.peft_config):
            self.base_model.remove(name)
        self.peft_config, self._active = {}, ()
        return self.base_model.model
