"""The form of a prompt: how a question is written before a model sees it, and how its answer is read.

    plain    the text as it is, to be continued
    framed   the prompt and a line break: the form of the shipped tasks, and of training on pairs
    chat     a user's message in the chat template of the base

A model answers best in the form that it was trained in.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UnknownNameError, nearest
from ..files.atomic import read_json
from .chat_template import ChatTemplate
from .encoding import encode_pair, encode_prompt, end_of_answer
from .streaming import end_mark, ended_by
from .tokenizer import TextTokenizer

FORMS = ("plain", "framed", "chat")


def form_trained_on(settings: dict) -> str | None:
    """The form of the examples in a training with these settings (see `finetuning.finetune`); None: not known."""
    if settings.get("task") or settings.get("jsonl") or settings.get("examples"):
        return "chat" if settings.get("chat") else "framed"
    return "plain" if settings.get("text") else None


def prompt_encoder(
    form: str, tokenizer: TextTokenizer, *folders: str | Path, system: str | None = None
) -> Callable[[Any], list[int]]:
    """The function that turns a prompt into token ids. In "chat" it also takes the messages of a conversation.

    folders: of adapters, then of the base; the first with a chat template is used. system: what "chat" says first.
    A plain and a framed prompt begin with the ids that tokenizer.json puts before every text (the BOS of many models);
    a chat template writes them itself. Raises UnknownNameError, ConfigError for a base without a template.
    """
    check_form(form, FORMS)
    if form == "chat":
        template = ChatTemplate.from_folder(*folders)
        first = [{"role": "system", "content": system}] if system else []
        return lambda prompt: template.encode(first + _as_messages(prompt), tokenizer)
    if form == "framed":
        return lambda prompt: encode_prompt(prompt, tokenizer)
    return lambda prompt: tokenizer.start + tokenizer.encode(prompt)  # no end: the text goes on


def _as_messages(prompt):
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def pair_encoder(form: str, *folders: str | Path):  # -> function: example, tokenizer -> (prompt ids, response ids)
    """The function that turns an example into token ids, "framed" or in "chat". folders: as of `prompt_encoder`.

    Raises UnknownNameError, ConfigError for a base without a template.
    """
    check_form(form, ("framed", "chat"))
    return ChatTemplate.from_folder(*folders).encode_pair if form == "chat" else encode_pair


def check_form(form: str, forms: Sequence[str]) -> None:
    if form not in forms:
        raise UnknownNameError(f"no form {form!r} of a prompt; there are: {nearest(form, forms)}")


def written_end(form: str, *folders: str | Path) -> str:
    """The text that the form writes behind an answer: of "chat" by the template, otherwise none. folders: as above."""
    return ChatTemplate.from_folder(*folders).behind_answer if form == "chat" else ""


def end_tokens(config, tokenizer: TextTokenizer, folder: str | Path, behind: str = "") -> list[int]:
    """The ids that end a text. behind: what the form writes behind an answer, see `written_end`.

    config.json, generation_config.json and the tokenizer name ends too, and often differ.
    """
    file = Path(folder) / "generation_config.json"
    generation = read_json(file).get("eos_token_id") if file.is_file() else None
    found = []
    for ids in (config.eos_token_id, generation, tokenizer.eos_id, end_of_answer(tokenizer, behind)[0]):
        found += ids if isinstance(ids, list) else [ids]
    return sorted({i for i in found if isinstance(i, int)})


def text_after(prompt_ids: list[int], row, tokenizer: TextTokenizer, behind: str = "") -> str:
    """The text after the prompt. row (T,): the prompt and what follows. It ends before `behind`, if that was written.

    behind: see `written_end` and `streaming.end_mark`. Prompt and row are decoded together: some tokenizers drop the
    space before a first word. `streaming.TextStream` gives the same text piece by piece.
    """
    before, whole = tokenizer.decode(prompt_ids), tokenizer.decode(row)
    text = whole[len(before) :] if whole.startswith(before) else tokenizer.decode(row[len(prompt_ids) :])
    if mark := end_mark(behind):
        return text.partition(mark)[0]
    return text.removesuffix(behind) if behind and ended_by(row, tokenizer) else text
