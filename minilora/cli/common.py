"""What several commands share: options with one meaning everywhere, the default base, reading a person's own files."""

import re
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from ..errors import ConfigError, DataError, MiniloraError

WINDOW = 128  # tokens of one training example cut from plain text; less when the context or the text is shorter
HELD_OUT = 0.05  # share of a person's own data that is kept for validation

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


def load_base(path, device):  # -> model, TextTokenizer, folder
    """The base at `path` (a folder, or a name on the hub); the shipped base when it is None."""
    from ..checkpoint import load_pretrained
    from ..data import load_tokenizer
    from ..hub import model_folder
    from ..shipped import shipped

    folder = shipped("base") if path is None else model_folder(path)
    return load_pretrained(folder, device=device), load_tokenizer(folder), folder


def with_adapters(model, folders):  # -> the model itself when there are none, else a PeftModel
    """The adapters in `folders` loaded and active, frozen; their updates add up. Named after their folders."""
    from ..lora.model import PeftModel

    if not folders:
        return model
    model, names = PeftModel(model), []
    for folder in folders:
        name = re.sub(r"[./\\{}]", "_", folder.resolve().name) or "adapter"
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
        model.load_adapter(folder, names[-1])
    model.set_adapter(names, inference_mode=True)
    return model


def console(width=400):
    """Where tables go: text as it is. `width` counts when no terminal reads it: by default no line is folded then."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else width)


def new_table(*columns, text=None):
    """A table for `console()`. The first `text` columns are text, the others numbers; None: all are text."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if text is None or i < text else "right", overflow="fold")
    return table


def show_facts(*facts):  # (name, value)
    """Names on the left, values on the right."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    for name, value in facts:
        table.add_row(name, str(value))
    console().print(table)


def the_source(settings):
    """Raises ConfigError unless exactly one of --task, --text and --jsonl is given."""
    given = [f"--{name}" for name in ("task", "text", "jsonl") if settings[name]]
    if len(given) != 1:
        raise ConfigError(f"expected one of --task, --text and --jsonl; given: {' and '.join(given) or 'none'}")


def pair_encoder(settings, folder):  # -> function: example, tokenizer -> (prompt ids, response ids)
    """How an example becomes tokens: in the frame of the tasks, or with --chat in the template of the base in `folder`.

    Raises ConfigError when --chat is given without --jsonl, or the base has no template.
    """
    from ..data import encode_pair

    if not settings["chat"]:
        return encode_pair
    if not settings["jsonl"]:
        raise ConfigError("--chat goes with --jsonl: plain text and the shipped tasks have a form of their own")
    from ..chat import ChatTemplate

    return ChatTemplate.from_folder(folder).encode_pair


def encode_pairs(examples, tokenizer, encode, context):  # -> list of (prompt ids, response ids)
    """Every example as tokens. Raises DataError naming those that cannot be written, or are longer than the context."""
    from ..data import check_lengths

    pairs = []
    for number, example in enumerate(examples, start=1):
        try:
            pairs.append(encode(example, tokenizer))
        except DataError as error:
            raise DataError(f"example {number}: {error}") from error
    check_lengths(pairs, context)
    return pairs


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


def split_text(ids, share=HELD_OUT):  # (N,) -> training part, validation part: the end of the text
    cut = len(ids) - int(len(ids) * share)
    return ids[:cut], ids[cut:]


def split_pairs(examples, share=HELD_OUT, most=200, seed=0):  # list -> training list, validation list
    """Hold out whole prompts, so that no validation prompt is trained on with another response."""
    prompts = list(dict.fromkeys(e["prompt"] for e in examples))
    order = np.random.default_rng(seed).permutation(len(prompts))
    held, count = set(), 0
    per_prompt = {}
    for e in examples:
        per_prompt[e["prompt"]] = per_prompt.get(e["prompt"], 0) + 1
    for i in order[: len(prompts) // 2]:
        if count >= min(most, max(1, share * len(examples))):
            break
        held.add(prompts[i])
        count += per_prompt[prompts[i]]
    return [e for e in examples if e["prompt"] not in held], [e for e in examples if e["prompt"] in held]


def text_windows(ids, length, batch_size, most=200):  # (N,) -> list of (ids, labels), each (B, length)
    """The text as windows side by side, `most` at most and spread over it; a rest shorter than a window is left out."""
    length = min(length, len(ids))
    if length < 2:
        return []
    windows = ids[: len(ids) // length * length].reshape(-1, length)
    windows = windows[:: max(1, -(-len(windows) // most))]
    return [(w, w) for w in np.array_split(windows, -(-len(windows) // batch_size))]


def pair_batches(pairs, batch_size, pad_id):  # list of (prompt ids, response ids) -> list of (ids, labels)
    """Every pair once, in order of length: little padding."""
    from ..data import pad_pairs

    pairs = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    return [pad_pairs(pairs[i : i + batch_size], pad_id) for i in range(0, len(pairs), batch_size)]


def training_window(ids, context, length=WINDOW):  # -> int
    """The length of a training window: `length`, or less when the context or the text is shorter.

    Raises DataError when the text is too short to learn from.
    """
    if len(ids) < 16:
        raise DataError(f"the text has {len(ids)} tokens, expected at least 16")
    return min(length, context, len(ids))
