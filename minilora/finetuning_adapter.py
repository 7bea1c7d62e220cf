"""The new adapter of a fine-tuning: from settings to a configuration, and to a model that has it."""

import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

from .adapters.inject import can_adapt
from .adapters.model import get_peft_model
from .adapters.parts import parts_of
from .adapters.registry import NAMES, config_named
from .adapters.targets import HEAD, as_target_modules, leaves
from .errors import ConfigError
from .files.atomic import write_text
from .methods.base import PeftConfig
from .nn import Embedding
from .text.chat_template import first_template
from .text.forms import form_trained_on
from .training.run import settings_in_history

FIELDS = {  # a setting that only some methods have -> the field of their configurations
    "rslora": "use_rslora",
    "init": "init_lora_weights",
    "exclude": "exclude_modules",
    "layers": "layers_to_transform",
    "modules_to_save": "modules_to_save",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
    "lora_bias": "lora_bias",
    "trainable_tokens": "trainable_token_indices",
}

USED_AS = {  # a setting -> the fields that it fills; a method has one of them, or no use for the setting
    "rank": ("r", "init_r"),
    "alpha": ("lora_alpha",),
    "targets": ("target_modules",),
    "dropout": ("lora_dropout", "vera_dropout"),
    "virtual_tokens": ("num_virtual_tokens",),
}


def unused_settings(method: str) -> list[str]:
    """The settings that this method has no use for."""
    own = {field.name for field in fields(NAMES[method][0])}
    unused = [name for name, names in USED_AS.items() if own.isdisjoint(names)]
    return unused + ([] if method == "lora_plus" else ["lr_ratio"])


def add_adapter(model, settings: dict):  # -> PeftModel
    """The model with a new adapter. Raises ConfigError for a setting that the method does not have."""
    return get_peft_model(model, new_config(model, settings), seed=settings["seed"])


def parts_for(settings: dict, model) -> dict:
    """What the new adapter takes out of an unfilled base that is quantized: see `adapters.parts.parts_of`."""
    return parts_of(new_config(model, settings))(model)


def new_config(model, settings: dict) -> PeftConfig:
    """The configuration of the new adapter. It notes the base by the name that the user gave, maybe one on the hub."""
    targets, rank, steps = settings["targets"], settings["rank"], settings["steps"]
    targets = as_target_modules(targets) if isinstance(targets, str) else targets
    if settings["layers"] and targets == "all-linear":
        targets = linear_names(model)  # PEFT wants names then
    if settings["method"] == "ia3" and targets == "all-linear":
        targets = None  # IA3's own default: which modules are scaled on their input depends on it
    exclude = settings["exclude"]
    special = {field: settings[name] for name, field in FIELDS.items() if settings[name]}
    if isinstance(exclude, str):
        special["exclude_modules"] = as_target_modules(exclude)
    config = config_named(
        settings["method"],
        r=rank,
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        vera_dropout=settings["dropout"],
        target_modules=targets,
        target_r=rank,
        init_r=rank and 3 * rank // 2,
        total_step=steps,
        tinit=steps // 10,
        tfinal=steps // 4,
        num_virtual_tokens=settings["virtual_tokens"],
        prompt_tuning_init="SAMPLE_VOCAB",
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings["base"],
        **special,
    )
    for name, field in FIELDS.items():
        if field in special and getattr(config, field, None) != special[field]:
            raise ConfigError(f"the method {settings['method']} has no choice of {name}; leave it out")
    return config


def note_other_form(adapter: Path, settings: dict) -> None:
    """Warn when an adapter goes on in another form than it was trained in: it will be asked in the new one."""
    before, now = form_trained_on(settings_in_history(adapter)), form_trained_on(settings)
    if before and now != before:
        warnings.warn(f"{adapter} was trained on {before} prompts, and goes on with {now} ones", stacklevel=3)


def saver(model, method: str, chat: bool, *folders: Path) -> Callable:
    """The function that saves the trained model in a folder, with what tells how it is asked.

    An adapter that is trained in chat takes the template along: the base may get another one, or have none.
    folders: of the adapter that the training began with, then of the base; the first with a template is used.
    """
    if method == "full":
        return partial(model.save_pretrained, tokenizer_from=folders[-1])
    template = first_template(*folders) if chat else None

    def save(path):
        model.save_pretrained(path)
        if template is not None:
            write_text(Path(path) / "chat_template.jinja", template)

    return save


def linear_names(model) -> list[str]:
    """The names of all linear layers but the head."""
    linear = (path for path, m in model.named_modules() if can_adapt(m) and not isinstance(m, Embedding))
    return [name for name in leaves(linear) if name != HEAD]
