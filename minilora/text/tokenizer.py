"""tokenizer.json, and the ids that batches need."""

from pathlib import Path

from ..errors import DataError, FormatError, MissingFileError
from ..files.atomic import read_json, read_utf8

END, PAD = "<|endoftext|>", "<|pad|>"


class TextTokenizer:
    """tokenizer.json, and the ids that batches need. `<|endoftext|>` written in a text is read as the end token.

    end: the name of the end token; without one that the tokenizer knows, it is one of the usual names.
    start: the ids that tokenizer.json puts in front of every text, the BOS of many models.
    """

    def __init__(self, inner, end=None):
        self.inner = inner
        self.vocab_size = inner.get_vocab_size()
        self.eos_id = next(
            (
                i
                for name in (end, END, "</s>", "<|end_of_text|>", "<|im_end|>")
                if isinstance(name, str) and (i := inner.token_to_id(name)) is not None
            ),
            None,
        )
        self.pad_id = inner.token_to_id(PAD)
        if self.pad_id is None:
            self.pad_id = self.eos_id or 0  # padding is masked: any id will do
        framed = inner.encode("a")
        self.start = framed.ids[: framed.special_tokens_mask.index(0)] if 0 in framed.special_tokens_mask else []

    def encode(self, text: str) -> list[int]:
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids) -> str:
        """The text of the ids; the end token and padding are left out."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=True)


def load_tokenizer(path) -> TextTokenizer:
    """Read a tokenizer.json, or the one in a folder, whose tokenizer_config.json then names the end token.

    Raises MissingFileError, FormatError.
    """
    from tokenizers import Tokenizer

    path, settings = Path(path), {}
    if path.is_dir():
        named = path / "tokenizer_config.json"
        settings = read_json(named) if named.is_file() else {}
        older = next((name for name in ("tokenizer.model", "vocab.json") if (path / name).is_file()), None)
        if older and not (path / "tokenizer.json").is_file():
            raise MissingFileError(
                f"no tokenizer.json in {path}, only {older}: where transformers is, "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one"
            )
        path = path / "tokenizer.json"
    text = read_utf8(path, DataError)
    end = settings.get("eos_token")
    try:
        return TextTokenizer(Tokenizer.from_str(text), end.get("content") if isinstance(end, dict) else end)
    except Exception as error:  # the library raises plain Exception
        raise FormatError(f"{path}: not a tokenizer.json: {str(error).splitlines()[0][:160]}") from error
