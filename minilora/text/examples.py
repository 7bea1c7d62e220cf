"""Text and examples from files."""

import json
from pathlib import Path

from ..errors import DataError
from ..files.atomic import read_utf8
from .tokenizer import END

ROLES = ("system", "user", "assistant")


def read_text(paths) -> str:
    """Plain text of one file or several, joined by the end mark. Raises MissingFileError, DataError (empty)."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    texts = [read_utf8(path, DataError) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text.strip():
            raise DataError(f"{path} is empty, expected text")
    return f"\n{END}\n".join(texts)


def read_jsonl(path) -> list[dict]:
    """Examples, one JSON object a line: {"prompt": str, "response": str, ...} or {"messages": [...]}; blank lines pass.

    In the chat form the last message is the assistant's and becomes the response; the texts before it, a line each, the
    prompt. Raises DataError naming the line, or saying that the file is empty; MissingFileError.
    """
    examples = []
    for number, line in enumerate(read_utf8(path, DataError).split("\n"), start=1):
        if line.strip():
            try:
                examples.append(_example(json.loads(line)))
                json.dumps(examples[-1], ensure_ascii=False).encode()  # what is no text shows here
            except (ValueError, RecursionError) as error:  # DataError and bad JSON are ValueErrors
                what = f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
                if isinstance(error, UnicodeEncodeError):
                    what = f"{error.object[error.start]!r} is half of a pair of surrogates, which is no text"
                raise DataError(f"{path}, line {number}: {what[:200]}") from error
    if not examples:
        raise DataError(f'{path} is empty, expected lines like {{"prompt": "...", "response": "..."}}')
    return examples


def _example(value) -> dict:
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_kind(value)}")
    if "messages" in value:
        return _from_messages(value["messages"])
    for key in ("prompt", "response"):
        if key not in value:
            has = ", ".join(map(repr, list(value)[:6])) or "no keys"
            raise DataError(f'no "{key}"; expected "prompt" and "response", or "messages"; found {has}')
        if not isinstance(value[key], str):
            raise DataError(f'"{key}" is {_kind(value[key])}, expected a string')
    if not value["response"].strip():
        raise DataError('"response" is empty: there is nothing to learn')
    return value


def _from_messages(messages) -> dict:
    if not isinstance(messages, list):
        raise DataError(f'"messages" is {_kind(messages)}, expected a list of at least two')
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise DataError(f'message {number} must be an object with "role" and a string "content"')
        if message.get("role") not in ROLES:
            raise DataError(f"message {number} has role {message.get('role')!r}, expected one of {', '.join(ROLES)}")
    if len(messages) < 2:
        raise DataError(f"\"messages\" has {len(messages)}, expected a list of at least two: a user's, the assistant's")
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise DataError("the last message must be the assistant's, and not empty: it is what is learned")
    prompt = "\n".join(m["content"] for m in messages[:-1])
    return {"prompt": prompt, "response": messages[-1]["content"], "messages": messages}


def _kind(value) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")
