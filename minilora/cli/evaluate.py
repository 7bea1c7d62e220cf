"""`minilora eval`: how well a base answers, with or without an adapter."""

import json
from functools import partial
from pathlib import Path

import click

from ..errors import ConfigError, DataError
from ..files.atomic import check_writable, is_taken, write_text
from ..text.examples import check_one_source, read_jsonl
from .common import (
    NEW_TOKENS,
    FilesCommand,
    adapter_option,
    base_of,
    base_option,
    device_option,
    framed_option,
    json_option,
    jsonl_option,
    only_one,
    quantize_option,
    show_json,
    text_option,
    trained_form,
    with_adapters,
)


@click.command("eval", cls=FilesCommand)
@base_option
@adapter_option
@click.option("--task", metavar="NAME", help="A shipped task: its test split, scored by its own metric.")
@text_option
@jsonl_option
@framed_option
@click.option("--chat", is_flag=True, help="Ask in the base's chat template.")
@click.option(
    "--predictions", type=click.Path(path_type=Path), metavar="FILE",
    help="With --jsonl: let the model answer every row, print the share of exact answers, and write them to FILE.",
)  # fmt: skip
@click.option("--max-new-tokens", type=click.IntRange(1), help=f"With --predictions.  [default: {NEW_TOKENS}]")
@json_option("Print one JSON object, with every digit of the numbers.")
@quantize_option
@device_option
def eval(base, adapter, task, text, jsonl, framed, chat, predictions, max_new_tokens, as_json, quantize, device):
    """Score a base, with or without adapters, on --task, --text or --jsonl.

    Prints the loss, and the score of a task. Examples of --jsonl are asked as the adapter was trained; --framed and
    --chat choose another form.
    """
    from ..models.pretrained import base_folder, load_base
    from ..tasks.scoring import measure
    from ..text.forms import pair_encoder

    check_one_source({"--task": task, "--text": text, "--jsonl": jsonl})
    form = only_one(framed=framed, chat=chat)
    if form and not jsonl:
        raise ConfigError(f"--{form} goes with --jsonl: plain text and the shipped tasks have their own form")
    if not jsonl and (predictions or max_new_tokens):
        raise ConfigError("--predictions goes with --jsonl")
    if max_new_tokens and not predictions:
        raise ConfigError("--max-new-tokens goes with --predictions")
    if predictions and is_taken(predictions):
        raise ConfigError(f"--predictions {predictions} exists; choose another name")
    examples = [example for file in jsonl for example in read_jsonl(file)]  # once: a pipe cannot be read again
    if predictions:
        check_questions(examples)
        check_writable(predictions.parent)
    base = base_of(base, adapter)
    folder = base_folder(base)
    if jsonl:
        form = form or trained_form(adapter, folder)
    encode = pair_encoder("chat" if form == "chat" else "framed", *adapter, folder)
    model, tokenizer = load_base(base, device, quantize)
    model = with_adapters(model, adapter)
    found = measure(model, tokenizer, task=task, text=text, examples=examples, encode=encode)

    report = {"base": str(folder), "adapters": {str(path): weight for path, weight in adapter.items()}}
    report |= {"loss": found.loss, "perplexity": found.perplexity, "tokens": found.labels}
    if task:
        report |= {"task": task, "examples": found.examples, "score": found.score, "choice": found.choice}
    if not as_json:
        show(report)
    if predictions:
        form = "chat" if form == "chat" else "framed"
        rows = predicted(model, tokenizer, examples, encode, max_new_tokens or NEW_TOKENS, form, [*adapter, folder])
        write_text(predictions, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        exact = sum(row["exact"] for row in rows)
        report |= {"answers": len(rows), "exact": exact, "predictions": str(predictions)}
        if not as_json:
            counts = f"{exact:,} of {len(rows):,} answers are exact ({exact / len(rows):.3f})"
            click.echo(f"{counts}; written to {predictions}")
    if as_json:
        show_json(report)


def show(report: dict) -> None:
    """The loss, and the score of a task, in words."""
    from ..tasks.shipped import get_task

    names = [path if weight == 1 else f"{path}={weight:g}" for path, weight in report["adapters"].items()]
    click.echo(f"base {report['base']}, adapter {', '.join(names) or 'none'}")
    click.echo(
        f"loss {report['loss']:.4f} nats per token, perplexity {report['perplexity']:.2f}, {report['tokens']:,} tokens"
    )
    if "task" in report:
        task = get_task(report["task"])
        click.echo(f"{task.name}: {report['score']:.3f} of {report['examples']} test answers right ({task.scored})")
        if report["choice"] is not None:
            chance = 1 / len(task.choices)
            click.echo(
                f"{task.name}: {report['choice']:.3f} right when choosing among the labels (chance {chance:.2f})"
            )


def check_questions(examples) -> None:
    """Raises DataError for a row of plain text."""
    if row := next((example for example in examples if "text" in example), None):
        raise DataError(f"{row.where}: a row of plain text asks nothing; --predictions needs questions and answers")


def predicted(model, tokenizer, examples, encode, most: int, form: str, folders: list[Path]) -> list[dict]:
    """The examples with the model's answers. folders: of the adapters, then of the base."""
    from ..display.progress import show_progress
    from ..tasks.scoring import predict
    from ..text.batches import encode_pairs
    from ..text.forms import end_tokens, text_after, written_end

    prompts = [prompt for prompt, _ in encode_pairs(examples, tokenizer, encode, model.context_length)]
    behind = written_end(form, *folders)
    ends = end_tokens(model.config, tokenizer, folders[-1], behind) or None
    each = partial(show_progress, what="answers")
    rows = []
    for example, prompt, row in zip(examples, prompts, predict(model, prompts, most, ends, each=each), strict=True):
        answer = text_after(prompt, row, tokenizer, behind).strip() if row else ""
        told = {"prompt": example["prompt"], "response": example["response"], "answer": answer}
        rows.append(told | {"exact": answer == example["response"].strip()})
    return rows
