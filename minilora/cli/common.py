"""Options that several commands share, with one meaning everywhere."""

import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path

import click

from ..errors import ConfigError
from ..text.forms import form_trained_on
from ..training.run import settings_in_history

device_option = click.option(
    "--device", default="cpu", show_default=True, metavar="DEVICE", help="Where to compute: cpu, cuda or cuda:N (CuPy)."
)
base_option = click.option(
    "--base", metavar="DIR", help="Folder of the base model, or its name on the hub.  [default: the shipped base]"
)


def _folders(ctx, param, value):  # "a=0.7,b" -> {Path("a"): 0.7, Path("b"): 1.0}; a folder's name may have , and =
    parts = [] if value is None else [value] if Path(value).is_dir() else [p.strip() for p in value.split(",")]
    if not all(parts):
        raise ConfigError(f"--adapter {value!r}: expected one folder, or several joined by commas")
    weighted = [_weighted(part) for part in parts]
    if len(folders := dict(weighted)) < len(weighted):
        raise ConfigError(f"--adapter {value!r} names a folder twice; give it one weight, as in DIR=2")
    return folders


def _weighted(part):  # "a=0.7" -> (Path("a"), 0.7)
    folder, equals, weight = part.rpartition("=")
    if not equals or Path(part).is_dir():
        return Path(part), 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not folder or not math.isfinite(number):
        raise ConfigError(f"--adapter {part!r}: no such folder, and {weight!r} is not a weight; expected as in DIR=0.7")
    return Path(folder), number


adapter_option = click.option(
    "--adapter", metavar="DIR[=W][,DIR]", callback=_folders,
    help="Adapter folders in PEFT's format. The updates of several are added, each times its weight: a=0.7,b=0.3.",
)  # fmt: skip
seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
text_option = click.option(
    "--text",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE...",
    help="Plain text: one file or more.",
)
jsonl_option = click.option(
    "--jsonl", multiple=True, type=click.Path(path_type=Path), metavar="FILE...",
    help='Files with {"prompt": ..., "response": ...} or {"messages": [...]} on each line.',
)  # fmt: skip
framed_option = click.option(
    "--framed", is_flag=True, help="Ask with the prompt and a line break, as `train --jsonl` does without --chat."
)


class FilesCommand(click.Command):
    """A command where `--text a.txt b.txt` means `--text a.txt --text b.txt`: a shell turns `--text *.txt` into it."""

    def parse_args(self, ctx, args):
        spread, option, has_value = [], None, False
        for arg in args:
            if arg.startswith("-"):
                option, _, value = arg.partition("=")
                has_value = bool(value)
            elif option in ("--text", "--jsonl", "--valid"):
                spread += [option] if has_value else []
                has_value = True
            spread.append(arg)
        return super().parse_args(ctx, spread)


def with_adapters(model, folders: dict[Path, float]):  # -> the model itself without folders, else a PeftModel
    """The model with the adapters in `folders` ({folder: weight}) loaded, active and frozen, named after them."""
    from ..adapters.model import PeftModel
    from ..adapters.registry import name_of

    if not folders:
        return model
    model, names = PeftModel(model), []
    for folder, weight in folders.items():
        name = re.sub(r"[./\\{}]", "_", folder.resolve().name) or "adapter"
        free = (f"{name}_{n}" for n in itertools.count(2))
        names.append(name if name not in names else next(n for n in free if n not in names))
        model.load_adapter(folder, names[-1])
        if weight != 1:
            if (method := name_of(model.peft_config[names[-1]])) != "lora":
                raise ConfigError(f"--adapter {folder}={weight:g}: only LoRA can have a weight, and this is {method}")
            model.set_scale(names[-1], weight)
    model.set_adapter(names, inference_mode=True)
    return model


def only_one(**flags) -> str | None:
    """The name of the one option that is given; None without any. Raises ConfigError for several."""
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)}: use only one of them")
    return given[0] if given else None


def trained_form(adapters: Iterable[Path], base: Path) -> str | None:
    """The form of prompts that the adapters were trained on, or the base when they note none; None: not known.

    Raises ConfigError when two adapters were trained on different forms.
    """
    forms = {}  # form -> the first adapter with it
    for folder in adapters:
        if form := form_trained_on(settings_in_history(folder)):
            forms.setdefault(form, folder)
    if len(forms) > 1:
        trained = ", ".join(f"{folder} on {form} prompts" for form, folder in forms.items())
        raise ConfigError(f"the adapters were trained differently: {trained}; choose a form, for example --framed")
    return next(iter(forms), None) or form_trained_on(settings_in_history(base))
