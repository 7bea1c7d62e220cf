"""Options that several commands share, with one meaning everywhere."""

import itertools
import re
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


def _folders(ctx, param, value):  # "a,b" -> [Path("a"), Path("b")]; a comma may also be part of a folder's name
    parts = [] if value is None else [value] if Path(value).is_dir() else [p.strip() for p in value.split(",")]
    if not all(parts):
        raise ConfigError(f"--adapter {value!r}: expected one folder, or several joined by commas")
    return [Path(p) for p in parts]


adapter_option = click.option(
    "--adapter", metavar="DIR[,DIR]", callback=_folders,
    help="Adapter folders in PEFT's format. The updates of several are added.",
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


def with_adapters(model, folders: list[Path]):  # -> the model itself without folders, else a PeftModel
    """The model with the adapters in `folders` loaded, active and frozen. They are named after their folders."""
    from ..adapters.model import PeftModel

    if not folders:
        return model
    model, names = PeftModel(model), []
    for folder in folders:
        name = re.sub(r"[./\\{}]", "_", folder.resolve().name) or "adapter"
        free = (f"{name}_{n}" for n in itertools.count(2))
        names.append(name if name not in names else next(n for n in free if n not in names))
        model.load_adapter(folder, names[-1])
    model.set_adapter(names, inference_mode=True)
    return model


def only_one(**flags) -> str | None:
    """The name of the one option that is given; None without any. Raises ConfigError for several."""
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)}: use only one of them")
    return given[0] if given else None


def trained_form(adapters: list[Path], base: Path) -> str | None:
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
