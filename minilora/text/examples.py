"""Reading plain text, and examples to learn from, out of files."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..errors import ConfigError, DataError
from ..files.atomic import read_utf8
from .tokenizer import END

ROLES = ("system", "user", "assistant")


Paths = str | Path | Iterable[str | Path]  # one path or several


def path_names(paths: Paths) -> list[str]:
    return [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def read_text(paths: Paths) -> str:
    """The text of one file, or of several joined by `<|endoftext|>`.

    Raises MissingFileError, or DataError for a file that is empty or not UTF-8.
    """
    paths = path_names(paths)
    texts = [read_utf8(path, DataError) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text.strip():
            raise DataError(f"{path} is empty, expected text")
    return f"\n{END}\n".join(texts)


def read_jsonl(path: str | Path) -> list[dict]:
    """Read examples, one JSON object per line: {"prompt": str, "response": str, ...} or {"messages": [...]}.

    In the chat form the last message, the assistant's, becomes the response; the texts before it, joined by line
    breaks, become the prompt. Blank lines are skipped. Raises MissingFileError, or DataError with the number of the
    line at fault, or for a file without examples.
    """
    examples = []
    for number, line in enumerate(read_utf8(path, DataError).split("\n"), start=1):
        if line.strip():
            try:
                examples.append(_check_example(json.loads(line)))
                json.dumps(examples[-1], ensure_ascii=False).encode()  # raises where UTF-8 cannot hold the text
            except (ValueError, RecursionError) as error:  # DataError and bad JSON are ValueErrors
                fault = f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
                if isinstance(error, UnicodeEncodeError):
                    fault = f"{error.object[error.start]!r} is half of a pair of surrogates, not text"
                raise DataError(f"{path}, line {number}: {fault[:200]}") from error
    if not examples:
        raise DataError(f'{path} is empty, expected lines like {{"prompt": "...", "response": "..."}}')
    return examples


def check_one_source(sources: dict) -> None:  # {name: value}
    """Raises ConfigError unless exactly one of the values is given."""
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        *names, last = sources
        raise ConfigError(f"expected one of {', '.join(names)} and {last}; given: {' and '.join(given) or 'none'}")


def check_examples(values) -> list[dict]:
    """Examples given as Python values, in the forms that `read_jsonl` takes. Raises DataError naming the example."""
    examples = []
    for number, value in enumerate(values, start=1):
        try:
            examples.append(_check_example(value))
            json.dumps(examples[-1], ensure_ascii=False).encode()  # half of a pair of surrogates is no text
        except (DataError, TypeError, UnicodeEncodeError) as error:
            raise DataError(f"example {number}: {error}") from error
    if not examples:
        raise DataError('no examples; expected dicts like {"prompt": "...", "response": "..."}')
    return examples


def _check_example(value) -> dict:  # one line of a file -> an example with "prompt" and "response"
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {_json_type(value)}")
    if "messages" in value:
        return _from_messages(value["messages"])
    for key in ("prompt", "response"):
        if key not in value:
            keys = ", ".join(map(repr, list(value)[:6])) or "no keys"
            raise DataError(f'no "{key}"; expected "prompt" and "response", or "messages"; found {keys}')
        if not isinstance(value[key], str):
            raise DataError(f'"{key}" is {_json_type(value[key])}, expected a string')
    if not value["response"].strip():
        raise DataError('"response" is empty: there is nothing to learn')
    return value


def _from_messages(messages) -> dict:
    if not isinstance(messages, list):
        raise DataError(f'"messages" is {_json_type(messages)}, expected a list of at least two')
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise DataError(f'message {number} must be an object with "role" and a string "content"')
        if message.get("role") not in ROLES:
            raise DataError(f"message {number} has role {message.get('role')!r}, expected one of {', '.join(ROLES)}")
    if len(messages) < 2:
        raise DataError(f'"messages" has {len(messages)}, expected a list of at least two: one to read, one to learn')
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise DataError("the last message must be the assistant's and not empty: the model learns to write it")
    prompt = "\n".join(m["content"] for m in messages[:-1])
    return {"prompt": prompt, "response": messages[-1]["content"], "messages": messages}


def _json_type(value) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")
