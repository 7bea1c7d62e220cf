"""`minilora data`: what a model will read and learn from a file, token by token, before it is trained."""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click

from ..errors import ConfigError, counted, printable
from ..finetuning_data import kind_of_files
from .common import base_option, json_option, show_json

SHOWN = 3  # rows
MOST_TOKENS = 200  # of a row


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@base_option
@click.option("--chat", is_flag=True, help="Write the rows in the base's chat template, as `train --chat` does.")
@json_option("Print one JSON object: the counts, and the first 200 tokens of the first rows.")
def data(files, base, chat, as_json):
    """Show what `minilora train FILE` would read and learn: the first rows as tokens, and counts of all.

    The model reads what is masked and learns to write what is learned. Tokens are separated by |.
    """
    from ..models.pretrained import base_folder, read_config
    from ..text.examples import read_jsonl
    from ..text.forms import pair_encoder
    from ..text.rows import recognised
    from ..text.tokenizer import load_tokenizer

    folder = base_folder(base)
    tokenizer, context = load_tokenizer(folder), read_config(folder / "config.json").max_position_embeddings
    if kind_of_files(files) == "text":
        if chat:
            raise ConfigError("--chat goes with rows of questions and answers; plain text has no turns")
        (rows, unit), form = text_rows(files, tokenizer, context), None
    else:
        examples = [example for file in files for example in read_jsonl(file)]
        rows, unit = example_rows(examples, tokenizer, pair_encoder("chat" if chat else "framed", folder)), "rows"
        form = recognised(examples)
    lengths = [len(ids) for ids, _ in rows]
    report = {
        "form": form,
        "chat": chat,
        unit: len(rows),
        "tokens": sum(lengths),
        "learned": sum(sum(learned[1:]) for _, learned in rows),  # nothing predicts the first token
        "longest": max(lengths),
        "context": context,
        "too_long": sum(length > context for length in lengths),
    }
    if as_json:
        show_json(
            report | {"first": [as_tokens(ids[:MOST_TOKENS], learned, tokenizer) for ids, learned in rows[:SHOWN]]}
        )
        return
    if form:
        click.echo(f"rows of {form}, written {'in the chat template' if chat else 'with a line break'}")
    for number, (ids, learned) in enumerate(rows[:SHOWN], start=1):
        click.echo(f"{unit[:-1]} {number}: {counted(len(ids), 'token')}, {sum(learned)} learned")
        show_row(ids, learned, tokenizer)
    read = f"{counted(len(rows), unit[:-1])}, {counted(report['tokens'], 'token')}"
    click.echo(f"{read}; {report['learned']:,} of them are learned")
    long = f"{report['too_long']:,} {'is' if report['too_long'] == 1 else 'are'} longer than the context of {context:,}"
    click.echo(f"the longest has {report['longest']:,} tokens; {long}")


def as_tokens(ids: list[int], learned: list[bool], tokenizer) -> list[dict]:
    """The tokens of a row for another program. learned: of these ids, and maybe of more."""
    texts = pieces(ids, tokenizer)
    return [{"id": i, "text": text, "learned": told} for i, text, told in zip(ids, texts, learned, strict=False)]


def example_rows(examples: Sequence[dict], tokenizer, encode) -> list[tuple[list[int], list[bool]]]:
    """(ids, which of them are learned) of every row."""
    from ..ops.loss import IGNORE
    from ..text.batches import encode_pairs, pad_pairs

    rows = []
    for pair in encode_pairs(examples, tokenizer, encode, sys.maxsize):  # one that is too long is counted, not refused
        ids, labels = pad_pairs([pair], tokenizer.pad_id)
        rows.append((ids[0].tolist(), (labels[0] != IGNORE).tolist()))
    return rows


def text_rows(files, tokenizer, context: int):  # -> as `example_rows`, and what a row is called
    from ..text.batches import training_window
    from ..text.encoding import encode_text
    from ..text.examples import read_text

    ids = encode_text(read_text(files), tokenizer).tolist()
    window = training_window(ids, context)
    rows = [ids[start : start + window] for start in range(0, len(ids) - window + 1, window)]
    return [(row, [True] * window) for row in rows], "windows"


def show_row(ids: list[int], learned: list[bool], tokenizer) -> None:
    """Print the tokens, a line for each stretch that is masked or learned."""
    parts = list(zip(pieces(ids[:MOST_TOKENS], tokenizer), learned, strict=False))
    for is_learned, stretch in groupby(parts, key=lambda part: part[1]):
        text = "|".join(printable(piece) for piece, _ in stretch)
        mark, text = (
            ("learned", click.style(text, fg="green")) if is_learned else ("masked ", click.style(text, dim=True))
        )
        click.echo(f"  {mark}  {text}")
    if len(ids) > MOST_TOKENS:
        click.echo(f"  and {counted(len(ids) - MOST_TOKENS, 'more token')}")


def pieces(ids: list[int], tokenizer) -> list[str]:
    """The text that each token adds to the tokens before it: alone, some tokenizers drop its space."""
    texts = [tokenizer.inner.decode(ids[:n], skip_special_tokens=False) for n in range(len(ids) + 1)]
    added = []
    for n, (before, after) in enumerate(zip(texts, texts[1:], strict=False)):
        whole = after.startswith(before)  # not when a character ends in this token
        added.append(after[len(before) :] if whole else tokenizer.inner.decode([ids[n]], skip_special_tokens=False))
    return added
