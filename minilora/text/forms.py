"""The form of a prompt: how a question is written before a model sees it, and how its answer is read.

    plain    the text as it is, to be continued
    framed   the prompt and a line break: the form of the shipped tasks, and of training on pairs
    chat     a user's message in the chat template of the base

A model answers best in the form that it was trained in.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UnknownNameError, nearest
from ..files.atomic import read_json
from .chat_template import ChatTemplate
from .encoding import encode_pair, encode_prompt
from .tokenizer import TextTokenizer

FORMS = ("plain", "framed", "chat")


def form_trained_on(settings: dict) -> str | None:
    """The form of the examples in a training with these settings (see `finetuning.finetune`); None: not known."""
    if settings.get("task") or settings.get("jsonl") or settings.get("examples"):
        return "chat" if settings.get("chat") else "framed"
    return "plain" if settings.get("text") else None


def prompt_encoder(form: str, tokenizer: TextTokenizer, folder: str | Path) -> Callable[[str], list[int]]:
    """The function that turns a prompt into token ids. folder: of the base, which has the chat template.

    A plain and a framed prompt begin with the ids that tokenizer.json puts before every text (the BOS of many models);
    a chat template writes them itself. Raises UnknownNameError, ConfigError for a base without a template.
    """
    check_form(form, FORMS)
    if form == "chat":
        template = ChatTemplate.from_folder(folder)
        return lambda prompt: template.encode([{"role": "user", "content": prompt}], tokenizer)
    if form == "framed":
        return lambda prompt: encode_prompt(prompt, tokenizer)
    return lambda prompt: tokenizer.inner.encode(prompt).ids


def pair_encoder(form: str, folder: str | Path):  # -> function: example, tokenizer -> (prompt ids, response ids)
    """The function that turns an example into token ids, "framed" or in "chat". folder: of the base.

    Raises UnknownNameError, ConfigError for a base without a template.
    """
    check_form(form, ("framed", "chat"))
    return ChatTemplate.from_folder(folder).encode_pair if form == "chat" else encode_pair


def check_form(form: str, forms: Sequence[str]) -> None:
    if form not in forms:
        raise UnknownNameError(f"no form {form!r} of a prompt; there are: {nearest(form, forms)}")


def end_tokens(config, tokenizer: TextTokenizer, folder: str | Path) -> list[int]:
    """The ids that end a text. config.json, generation_config.json and the tokenizer name them, and often differ."""
    file = Path(folder) / "generation_config.json"
    generation = read_json(file).get("eos_token_id") if file.is_file() else None
    found = []
    for ids in (config.eos_token_id, generation, tokenizer.eos_id):
        found += ids if isinstance(ids, list) else [ids]
    return sorted({i for i in found if isinstance(i, int)})


def text_after(prompt_ids: list[int], row, tokenizer: TextTokenizer) -> str:  # row (T,): the prompt and what follows
    """The text after the prompt. Both are decoded together: some tokenizers drop the space before a first word."""
    before, whole = tokenizer.decode(prompt_ids), tokenizer.decode(row)
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(row[len(prompt_ids) :])
