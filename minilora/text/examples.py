"""Reading plain text, and examples to learn from, out of files."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import ConfigError, DataError
from ..files.atomic import read_utf8
from .rows import Example, read_row
from .tokenizer import END

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # in JSON
Paths = str | Path | Iterable[str | Path]  # one path or several


def path_names(paths: Paths) -> list[str]:
    return [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def read_text(paths: Paths) -> str:
    """The text of one file, or of several joined by `<|endoftext|>`.

    Raises MissingFileError, or DataError for a file that is empty or not UTF-8.
    """
    paths = path_names(paths)
    texts = [read_utf8(path, DataError, pipes=True) for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text or text.isspace():
            raise DataError(f"{path} is empty, expected text")
    return f"\n{END}\n".join(texts)


def read_jsonl(path: str | Path) -> list[Example]:
    """Read examples, one JSON object on each line, or a file that is one JSON array of them. See `rows` for the forms.

    In a conversation the last message, the assistant's, becomes the response; the texts before it, joined by line
    breaks, become the prompt. Blank lines are skipped. Raises MissingFileError, or DataError with the number of the
    line at fault, or for a file without examples.
    """
    text = read_utf8(path, DataError, pipes=True)
    is_text = SURROGATE.search(text) is None  # only an escape can write half of a character
    array = _read_array(text)
    if array is not None:
        examples = [
            _read_at(f"{path}, example {n}", lambda value=value: value, is_text)
            for n, value in enumerate(array, start=1)
        ]
    else:
        lines = enumerate(text.split("\n"), start=1)  # a line ends at a line feed alone: U+2028 is content
        examples = [
            _read_at(f"{path}, line {n}", lambda line=line: json.loads(line), is_text)
            for n, line in lines
            if line.strip()
        ]
    if not examples:
        raise DataError(f'{path} is empty, expected lines like {{"prompt": "...", "response": "..."}}')
    return examples


def _read_array(text: str) -> list | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # lines, of which the first is an array: the fault is named by its line
        return None


def _read_at(where: str, load, is_text: bool = False) -> Example:  # load: function () -> the row as a JSON value
    try:
        example = read_row(load(), where)
        if not is_text:
            json.dumps(example, ensure_ascii=False).encode()  # raises where UTF-8 cannot hold the text
        return example
    except (ValueError, RecursionError, TypeError) as error:  # DataError and bad JSON are ValueErrors
        fault = f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
        if isinstance(error, UnicodeEncodeError):
            fault = f"{error.object[error.start]!r} is half of a pair of surrogates, not text"
        raise DataError(f"{where}: {fault[:200]}") from error


def check_one_source(sources: dict) -> None:  # {name: value}
    """Raises ConfigError unless exactly one of the values is given."""
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        *names, last = sources
        raise ConfigError(f"expected one of {', '.join(names)} and {last}; given: {' and '.join(given) or 'none'}")


def check_examples(values) -> list[Example]:
    """Examples given as Python values, in the forms that `read_jsonl` takes. Raises DataError naming the example."""
    examples = [
        value if isinstance(value, Example) else _read_at(f"example {number}", lambda value=value: value)
        for number, value in enumerate(values, start=1)
    ]
    if not examples:
        raise DataError('no examples; expected dicts like {"prompt": "...", "response": "..."}')
    return examples
