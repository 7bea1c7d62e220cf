"""Options that several commands share, with one meaning everywhere."""

import itertools
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from ..backend import device_index
from ..errors import ConfigError, printable
from ..files.hub import HUB_NAME, adapter_folder, name_of_folder
from ..quantization.config import QUANTIZE
from ..text.chat_template import find_template
from ..text.forms import form_trained_on
from ..training.run import settings_in_history

NEW_TOKENS = 128  # most tokens of an answer, unless said otherwise


def _device(ctx, param, value):  # before anything is read; whether the device is there is asked when it is used
    if value != "cpu":
        device_index(value)
    return value


device_option = click.option(
    "--device", default="cpu", show_default=True, metavar="DEVICE", callback=_device,
    help="Where to compute: cpu, cuda or cuda:N (CuPy).",
)  # fmt: skip
quantize_option = click.option(
    "--quantize", type=click.Choice(list(QUANTIZE)),
    help="Keep the base in fewer bits: 4 (nf4, with double quantization), 8, or 16.",
)  # fmt: skip
base_option = click.option(
    "--base", metavar="DIR",
    help="Folder of the base model, or its name on the hub.  [default: the adapter's base, or the shipped one]",
)  # fmt: skip


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
        return adapter_folder(part), 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not folder or not math.isfinite(number):
        raise ConfigError(f"--adapter {part!r}: no such folder, and {weight!r} is not a weight; expected as in DIR=0.7")
    return adapter_folder(folder), number


adapter_option = click.option(
    "--adapter", metavar="DIR[=W][,DIR]", callback=_folders,
    help="Folders in PEFT's format, or names on the hub. Several are added, each times its weight: a=0.7,b=0.3.",
)  # fmt: skip
system_option = click.option(
    "--system",
    metavar="TEXT",
    help="System message of the chat form.  [default: the one that the adapter was trained with]",
)
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
    help='Files with {"prompt": ..., "response": ...} or {"messages": [...]} on each line; - is standard input.',
)  # fmt: skip
framed_option = click.option(
    "--framed", is_flag=True, help="Ask with the prompt and a line break, as `train --jsonl` does without --chat."
)


def json_option(what: str):  # -> decorator of a command, which gets `as_json`
    return click.option("--json", "as_json", is_flag=True, help=what)


def show_json(report: dict | list) -> None:
    """Print the report for another program. A number that is not finite is null: JSON has no word for it."""
    click.echo(json.dumps(_finite(report), indent=2))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sampling_options(command):
    """The options of `generate` and `chat` that choose each token."""
    options = [
        click.option("--temperature", default=0.0, show_default=True,
                     help="0 takes the likeliest token; above 0, tokens are sampled."),
        click.option("--top-k", type=int, help="Sample only among the k likeliest tokens."),
        click.option("--top-p", type=float, help="Sample only among the likeliest tokens whose probabilities reach p."),
        seed_option,
        device_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    ignored = [name for name, value in (("--top-k", top_k), ("--top-p", top_p)) if value is not None]
    if ignored and temperature == 0:
        raise ConfigError(f"{ignored[0]} has no effect at temperature 0; add --temperature above 0")


class FilesCommand(click.Command):
    """A command where `--text a.txt b.txt` means `--text a.txt --text b.txt`: a shell turns `--text *.txt` into it."""

    def parse_args(self, ctx, args):
        spread, option, has_value = [], None, False
        for arg in args:
            if arg.startswith("-") and arg != "-":
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
        name = _adapter_name(folder)
        free = (f"{name}_{n}" for n in itertools.count(2))
        names.append(name if name not in names else next(n for n in free if n not in names))
        model.load_adapter(folder, names[-1])
        if weight != 1:
            config = model.peft_config[names[-1]]
            if (method := name_of(config)) != "lora":
                raise ConfigError(f"--adapter {folder}={weight:g}: only LoRA can have a weight, and this is {method}")
            if whole := config.modules_to_save or config.trainable_token_indices:
                raise ConfigError(f"--adapter {folder}={weight:g}: its trained copies ({whole}) cannot have a weight")
            model.set_scale(names[-1], weight)
    model.set_adapter(names, inference_mode=True)
    return model


def _adapter_name(folder: Path) -> str:
    """The folder's name with a _ for each character that an adapter's name cannot have; cut when it is very long."""
    name = name_of_folder(folder)[:100]
    return "".join(c if c.isprintable() and c not in "./\\{}" else "_" for c in name).strip() or "adapter"


def base_of(base: str | None, adapters: Collection[Path]) -> str | None:
    """The name of the base: --base, else the one that the first adapter notes, if it is a folder or a name on the hub.

    None: the shipped base. An adapter that does not fit the base found so is refused, or named in a note, as it loads.
    """
    from ..adapters.files import read_adapter_config

    if base is not None or not adapters:
        return base
    config: Any = read_adapter_config(next(iter(adapters)))
    noted = config.base_model_name_or_path
    return noted if noted and (Path(noted).is_dir() or HUB_NAME.fullmatch(noted)) else None


def only_one(**flags) -> str | None:
    """The name of the one option that is given; None without any. Raises ConfigError for several."""
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)}: use only one of them")
    return given[0] if given else None


def trained_form(adapters: Collection[Path], base: Path) -> str | None:
    """The form of prompts that the adapters were trained on, or the base when they note none; None: not known.

    An adapter of another tool that has a chat template in its folder was trained in it. Raises ConfigError when two
    adapters were trained on different forms.
    """
    form = agreed({folder: _form_of(folder) for folder in adapters}, "prompts", "choose a form, for example --framed")
    return form or form_trained_on(settings_in_history(base))


def _form_of(adapter):
    settings = settings_in_history(adapter)
    return form_trained_on(settings) or ("chat" if not settings and find_template(adapter) is not None else None)


def asked_system(form: str, system: str | None, adapters: Collection[Path], base: Path) -> str | None:
    """The system message: the one of the command line, else that of every example that the adapters were trained on.

    Raises ConfigError where the form has no place for it, or when two adapters were trained with different ones.
    """
    if form != "chat":
        if system:
            raise ConfigError(f"the {form} form has no place for a system message; only chat has one")
        return None
    found = {folder: settings_in_history(folder).get("system") for folder in adapters or [base]}
    return system or agreed(found, "as system message", "choose one with --system")


def agreed(found: dict, what: str, choose: str) -> str | None:  # {adapter: what it was trained on, or None}
    """The one value that is not None. what, choose: words of the ConfigError about two values."""
    first = {value: folder for folder, value in reversed(found.items()) if isinstance(value, str)}
    if len(first) > 1:
        trained = ", ".join(f"{folder} on {printable(value)[:60]} {what}" for value, folder in reversed(first.items()))
        raise ConfigError(f"the adapters were trained differently: {trained}; {choose}")
    return next(iter(first), None)
