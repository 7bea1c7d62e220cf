"""`minilora generate`: what a base, with any adapters, writes after a prompt."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from ..errors import ConfigError, DataError, first_line
from ..training.run import settings_in_history
from .common import (
    NEW_TOKENS,
    adapter_option,
    asked_system,
    base_of,
    base_option,
    check_sampling,
    framed_option,
    only_one,
    quantize_option,
    sampling_options,
    system_option,
    trained_form,
    with_adapters,
)

BATCH = 64  # prompts at once; their keys and values are kept for every token


@click.command()
@base_option
@adapter_option
@click.option("--prompt", multiple=True, metavar="TEXT", help="Text to continue; may be given several times.")
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE",
    help="File with a prompt on each line.  [default: standard input]",
)  # fmt: skip
@click.option(
    "--messages", type=click.Path(path_type=Path), metavar="FILE",
    help='JSON file with a conversation to answer: [{"role": "user", "content": ...}, ...], in the chat form.',
)  # fmt: skip
@click.option("--plain", is_flag=True, help="Continue the prompt as it is.")
@framed_option
@click.option("--chat", is_flag=True, help="Ask in the base's chat template; the prompt is the user's message.")
@quantize_option
@system_option
@click.option("--task", metavar="NAME", help="Ask as this shipped task does.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1),
    help=f"Most tokens to write.  [default: {NEW_TOKENS}, the length of a task's answers, or the room in the context]",
)  # fmt: skip
@sampling_options
def generate(
    base, adapter, prompt, file, messages, plain, framed, chat, quantize, system, task, max_new_tokens, temperature,
    top_k, top_p, seed, device,
):  # fmt: skip
    """Continue prompts, with a base and any adapters.

    An adapter that was trained here is asked as it was trained; --plain, --framed, --chat and --task choose another
    form. Prints only the text that the model wrote; with several prompts, each answer follows its prompt, shown as
    ==> prompt <==.
    """
    from ..models.pretrained import base_folder, load_base
    from ..tasks.shipped import get_task
    from ..text.forms import end_tokens, prompt_encoder, text_after, written_end

    form = only_one(task=task, plain=plain, framed=framed, chat=chat)
    check_sampling(temperature, top_k, top_p)
    prompts: list = []  # of texts, or one list of messages
    if messages is None:
        prompts = read_prompts(prompt, file)
    else:
        only_one(prompt=prompt, file=file, messages=messages)
        form = only_one(task=task, plain=plain, framed=framed, messages=messages) and "chat"
        prompts = [read_messages(messages)]
    if form is None and system is None:
        task = trained_task(adapter)
    if task:
        max_new_tokens = max_new_tokens or get_task(task).max_new_tokens
    base = base_of(base, adapter)
    folder = base_folder(base)
    form = "framed" if task else form or trained_form(adapter, folder) or "plain"
    if messages is None or prompts[0][0]["role"] != "system":
        system = asked_system(form, system, adapter, folder)
    elif system is not None:
        raise ConfigError(f"--system and the system message in {messages}: use only one of them")
    model, tokenizer = load_base(base, device, quantize)
    model = with_adapters(model, adapter)
    encode = prompt_encoder(form, tokenizer, *adapter, folder, system=system)
    ids = [encode(p) for p in prompts]
    count = room(ids, model.context_length, max_new_tokens)
    behind = written_end(form, *adapter, folder)
    ends = end_tokens(model.config, tokenizer, folder, behind) or None
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "eos_token_id": ends}
    if len(ids) == 1 and sys.stdout.isatty():
        stream = Stream(ids[0], tokenizer, behind)
        model.generate(ids, count, seed=seed, each=stream.show, **options)
        stream.end()
        return
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        # a row's random stream depends on the seed and on its place in the batch
        rows = model.generate(batch, count, seed=seed + (start << 32), **options)
        for i, (before, row) in enumerate(zip(batch, rows, strict=True), start=start):
            if len(prompts) > 1:
                print(("\n" if i else "") + f"==> {' '.join(prompts[i].split())} <==")
            print(
                text_after(before, row, tokenizer, behind)
            )  # click.echo would write UTF-8 on a console that knows only ASCII


class Stream:
    """Prints an answer while its tokens arrive; `text` is what was printed."""

    def __init__(self, prompt_ids: list[int], tokenizer, behind: str):
        from ..text.streaming import TextStream

        self._stream, self.text = TextStream(prompt_ids, tokenizer, behind), ""

    def show(self, tokens: list) -> bool:
        """Print what one more token makes certain; True after the mark that ends the answer."""
        self._print(self._stream.push(tokens[0]))
        return self._stream.ended

    def end(self) -> None:
        """Print the rest and a line break."""
        self._print(self._stream.finish())
        print()

    def _print(self, text):
        self.text += text
        print(text, end="", flush=True)


def trained_task(adapters: Iterable[Path]) -> str | None:
    """The shipped task that all the adapters were trained on; None when there is no such task."""
    from ..tasks.shipped import TASKS

    tasks = [settings_in_history(folder).get("task") for folder in adapters]
    return tasks[0] if tasks and all(t == tasks[0] for t in tasks) and tasks[0] in list(TASKS) else None


def read_prompts(given: tuple[str, ...], file: Path | None) -> list[str]:
    """The prompts of --prompt, or the lines of --file or of standard input; empty lines are left out.

    Raises ConfigError when both are given, DataError when there is no prompt or an empty --prompt.
    """
    if given and file is not None:
        raise ConfigError("--prompt and --file: use only one of them")
    if given:
        if not all(p.strip() for p in given):
            raise DataError("--prompt is empty, expected text to continue")
        if any("\ud800" <= c <= "\udfff" for p in given for c in p):
            raise DataError("--prompt is not UTF-8 text")
        return list(given)
    if file is not None:
        from ..text.examples import read_text

        return _lines(read_text(file), file)
    if sys.stdin.isatty():
        raise ConfigError("no prompt; expected --prompt TEXT, --file FILE or text on standard input")
    try:
        return _lines(sys.stdin.buffer.read().decode("utf-8-sig"), "standard input")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: not UTF-8 text ({error.reason} at byte {error.start})") from error


def read_messages(file: Path) -> list[dict]:
    """The messages of a conversation that waits for an answer. Raises MissingFileError, DataError."""
    from ..files.atomic import read_utf8
    from ..text.rows import check_message

    try:
        found = json.loads(read_utf8(file, DataError, pipes=True))
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, DataError) else DataError(f"{file}: not JSON: {first_line(error)}") from error
    found = found.get("messages") if isinstance(found, dict) else found
    if not (isinstance(found, list) and found and all(isinstance(m, dict) and "role" in m for m in found)):
        raise DataError(f'{file}: expected a list of messages as in [{{"role": "user", "content": "..."}}]')
    try:
        found = [check_message(number, message) for number, message in enumerate(found, start=1)]
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    if found[-1]["role"] == "assistant":
        raise DataError(f"{file}: the last message is the assistant's; expected one that waits for an answer")
    return found


def _lines(text, where):
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{where} is empty, expected a prompt on each line")
    return lines


def room(ids: list[list[int]], context: int, asked: int | None) -> int:
    """How many tokens to write after every prompt. Raises DataError when the context cannot hold them."""
    longest = max(len(i) for i in ids)
    left = context - longest
    if left < (asked or 1):
        number = next(n for n, i in enumerate(ids, start=1) if len(i) == longest)
        raise DataError(
            f"prompt {number} has {longest} tokens, which leaves {max(left, 0)} of the context of {context} tokens; "
            f"expected room for {asked or 1} new tokens"
        )
    return asked or min(NEW_TOKENS, left)
