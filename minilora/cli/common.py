"""What several commands share: options with one meaning everywhere, the default base, reading a person's own files."""

import re
import tempfile
from pathlib import Path

import click

from ..errors import ConfigError, MiniloraError

device_option = click.option(
    "--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda or cuda:N (CuPy)."
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
    "--adapter", metavar="DIR[,DIR]", callback=_folders, help="Adapter folders in PEFT's format; several add up."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the run that was saved in --out.")
seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random.")


text_option = click.option(
    "--text", multiple=True, type=click.Path(path_type=Path), metavar="FILE...", help="Plain text, one file or several."
)
jsonl_option = click.option(
    "--jsonl", multiple=True, type=click.Path(path_type=Path), metavar="FILE...",
    help='Lines of {"prompt": ..., "response": ...} or {"messages": [...]}.',
)  # fmt: skip
chat_option = click.option(
    "--chat", is_flag=True, help="With --jsonl: in the base's chat template, as generate --chat asks."
)


class FilesCommand(click.Command):
    """A command where `--text a.txt b.txt` means `--text a.txt --text b.txt`: what a shell makes of `--text *.txt`."""

    def parse_args(self, ctx, args):
        spread, option, has_value = [], None, False
        for arg in args:
            if arg.startswith("-"):
                option, _, value = arg.partition("=")
                has_value = bool(value)
            elif option in ("--text", "--jsonl"):
                spread += [option] if has_value else []
                has_value = True
            spread.append(arg)
        return super().parse_args(ctx, spread)


def with_adapters(model, folders):  # -> the model itself when there are none, else a PeftModel
    """The adapters in `folders` loaded and active, frozen; their updates add up. Named after their folders."""
    from ..adapters.model import PeftModel

    if not folders:
        return model
    model, names = PeftModel(model), []
    for folder in folders:
        name = re.sub(r"[./\\{}]", "_", folder.resolve().name) or "adapter"
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
        model.load_adapter(folder, names[-1])
    model.set_adapter(names, inference_mode=True)
    return model


def check_source(settings):
    """Raises ConfigError unless exactly one of --task, --text and --jsonl is given."""
    given = [f"--{name}" for name in ("task", "text", "jsonl") if settings[name]]
    if len(given) != 1:
        raise ConfigError(f"expected one of --task, --text and --jsonl; given: {' and '.join(given) or 'none'}")


def pair_encoder(settings, folder):  # -> function: example, tokenizer -> (prompt ids, response ids)
    """How an example becomes tokens: in the frame of the tasks, or with --chat in the template of the base in `folder`.

    Raises ConfigError when --chat is given without --jsonl, or the base has no template.
    """
    from ..text.encoding import encode_pair

    if not settings["chat"]:
        return encode_pair
    if not settings["jsonl"]:
        raise ConfigError("--chat goes with --jsonl: plain text and the shipped tasks have a form of their own")
    from ..text.chat_template import ChatTemplate

    return ChatTemplate.from_folder(folder).encode_pair


def check_out(folder):
    """Find out now, not after the training, whether `folder` can be written. Leaves nothing behind."""
    if folder.exists() and not folder.is_dir():
        raise MiniloraError(f"cannot write in {folder}: it is a file, expected a folder")
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**16))
    except OSError as error:
        raise MiniloraError(f"cannot write in {folder}: {error.strerror or error}") from error
    finally:
        for place in missing:  # nothing is there until there is something to keep
            if place.is_dir():
                place.rmdir()
