"""What several commands share: options with one meaning everywhere, the default base, reading a person's own files."""

from pathlib import Path

import click
import numpy as np

from ..errors import DataError, MiniloraError, MissingFileError
from ..files import atomic_write

WINDOW = 128  # tokens of one training example cut from plain text; less when the context or the text is shorter
HELD_OUT = 0.05  # share of a person's own data that is kept for validation

device_option = click.option(
    "--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda or cuda:N (CuPy)."
)
base_option = click.option(
    "--base", type=click.Path(path_type=Path), metavar="DIR", help="The base model.  [default: the shipped one]"
)
seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random.")


text_option = click.option(
    "--text", multiple=True, type=click.Path(path_type=Path), metavar="FILE...", help="Plain text, one file or several."
)
jsonl_option = click.option(
    "--jsonl", multiple=True, type=click.Path(path_type=Path), metavar="FILE...",
    help='Lines of {"prompt": ..., "response": ...} or {"messages": [...]}.',
)  # fmt: skip


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


def load_base(path, device):
    """(model, tokenizer, path) of `--base`, or of the shipped base when it is None."""
    from ..checkpoint import load_pretrained
    from ..data import load_tokenizer
    from ..shipped import shipped

    path = shipped("base") if path is None else path
    if not path.is_dir():
        raise MissingFileError(f"no such folder: {path}; a base is config.json, model.safetensors and tokenizer.json")
    return load_pretrained(path, device=device), load_tokenizer(path), path


def check_out(folder):
    """Find out now, not after the training, whether `folder` can be written."""
    if folder.exists() and not folder.is_dir():
        raise MiniloraError(f"cannot write {folder}: it is a file, expected a folder")
    with atomic_write(folder / ".writable") as temporary:
        temporary.write_bytes(bytes(2**16))
    (folder / ".writable").unlink()


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


def text_window(ids, context):  # -> int
    """The length of a training window of this text. Raises DataError when the text is too short to learn from."""
    if len(ids) < 16:
        raise DataError(f"the text has {len(ids)} tokens, expected at least 16")
    return min(WINDOW, context, len(ids))
