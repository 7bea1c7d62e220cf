"""Reading a tokenizer.json, and the token ids that training and generation need beside it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, FormatError, MissingFileError, first_line
from ..files.atomic import read_json, read_utf8

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END, PAD = "<|endoftext|>", "<|pad|>"
END_NAMES = (END, "</s>", "<|end_of_text|>", "<|im_end|>")  # of end tokens, for a tokenizer that does not say which


class TextTokenizer:
    """Text to token ids and back. `<|endoftext|>` in a text becomes the end token when the vocabulary has that name.

    inner       tokenizers.Tokenizer, the library's object
    vocab_size  number of ids
    eos_id      id of the end token: of the name `end` if it exists, else of the first of END_NAMES; None without any
    pad_id      id for padding: of `<|pad|>`, else eos_id, else 0
    start       ids that tokenizer.json puts in front of every text, such as the BOS of many models
    """

    def __init__(self, inner: "Tokenizer", end: str | None = None):
        self.inner = inner
        self.vocab_size = inner.get_vocab_size()
        known = (inner.token_to_id(name) for name in (end, *END_NAMES) if isinstance(name, str))
        self.eos_id: int | None = next((i for i in known if i is not None), None)
        pad_id = inner.token_to_id(PAD)
        self.pad_id: int = (self.eos_id or 0) if pad_id is None else pad_id  # any id will do: the loss masks padding
        example = inner.encode("a")
        mask = example.special_tokens_mask
        self.start: list[int] = example.ids[: mask.index(0)] if 0 in mask else []

    def encode(self, text: str) -> list[int]:
        """The ids of the text, with nothing in front or behind."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, without special tokens such as the end token and padding."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=True)


def load_tokenizer(path: str | Path) -> TextTokenizer:
    """Read a tokenizer.json, or the one in a folder, whose tokenizer_config.json (if there) names the end token.

    Raises MissingFileError, DataError for a file that is not UTF-8, FormatError for any other fault in it.
    """
    from tokenizers import Tokenizer

    path, settings = Path(path), {}
    if path.is_dir():
        config = path / "tokenizer_config.json"
        settings = read_json(config) if config.is_file() else {}
        older = next((name for name in ("tokenizer.model", "vocab.json") if (path / name).is_file()), None)
        if older and not (path / "tokenizer.json").is_file():
            raise MissingFileError(
                f"no tokenizer.json in {path}, only {older}: transformers can write one with "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
            )
        path = path / "tokenizer.json"
    text = read_utf8(path, DataError)
    end = settings.get("eos_token")
    try:
        return TextTokenizer(Tokenizer.from_str(text), end.get("content") if isinstance(end, dict) else end)
    except Exception as error:  # the library raises plain Exception
        raise FormatError(f"{path}: not a tokenizer.json: {first_line(error)}") from error
