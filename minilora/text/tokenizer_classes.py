"""Tokenizers that transformers builds by a class, from the vocabulary and merges of tokenizer.json.

AutoTokenizer (transformers 5) does so for the classes in CLASSES: the steps before and behind the BPE model are those
of the class, whatever the file says. Source: transformers/models/auto/tokenization_auto.py and tokenization_NAME.py.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import read_json, read_utf8
from .pieces import SPLITS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OF_MODEL = {  # model_type -> the class of its tokenizers; "": as tokenizer.json says, whatever class is named
    "mistral": "", "phi3": "", "qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer", "gpt2": "GPT2Tokenizer",
    "gemma2": "GemmaTokenizer", "gemma3_text": "GemmaTokenizer",
}  # fmt: skip


def build_by_class(inner: "Tokenizer", settings: dict, config: dict) -> dict:
    """Change `inner` to what its class builds, if that is one of CLASSES. Returns the settings with its defaults.

    settings, config: the folder's tokenizer settings and its config.json.
    """
    if (name := class_of(inner, settings, config)) not in CLASSES:
        return settings
    build, defaults = CLASSES[name]
    settings = defaults | settings
    build(inner, settings)
    inner.model.ignore_merges, inner.model.dropout = False, None
    return settings


def class_of(inner: "Tokenizer", settings: dict, config: dict) -> str:
    """The class that transformers takes for the folder; "" when it takes tokenizer.json as it is."""
    of_bytes = any("ByteLevel" in repr(part) for part in (inner.pre_tokenizer, inner.decoder))
    return _class_of(settings, config, type(inner.model).__name__ == "BPE", of_bytes)


def _class_of(settings, config, is_bpe, of_bytes):
    model_type = config.get("model_type")
    own = OF_MODEL.get(model_type) if isinstance(model_type, str) else None
    named = settings.get("tokenizer_class") or config.get("tokenizer_class") or own
    named = named.removesuffix("Fast") if isinstance(named, str) else ""
    if own == "" or model_type == "qwen2":  # the class that the folder names does not count
        named = own or ""
    return "" if not is_bpe or named == "LlamaTokenizer" and of_bytes else named


def default_tokens(folder: Path, settings: dict) -> dict:
    """The special tokens of the folder's class: those of a folder whose files name none. settings: what they name."""
    path = folder / "tokenizer.json"
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if _class_of(settings, config, True, False) not in CLASSES or not path.is_file():
        return {}
    text = read_utf8(path)  # not parsed: it may have millions of words
    name = _class_of(settings, config, re.search(r'"type"\s*:\s*"BPE"', text) is not None, '"ByteLevel"' in text)
    return CLASSES[name][1] if name in CLASSES else {}


def as_llama(inner: "Tokenizer", settings: dict) -> None:
    """A "▁" for every space and in front of the text: with `legacy` also behind every special token."""
    from tokenizers import decoders, pre_tokenizers

    prefix = settings.get("add_prefix_space")
    prefix = True if prefix is None else prefix
    scheme = ("always" if settings.get("legacy", False) else "first") if prefix else "never"
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.normalizer = None
    inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme=scheme, split=False)
    inner.decoder = decoders.Sequence(steps + ([decoders.Strip(content=" ", left=1)] if prefix else []))
    _fall_back(inner, None, True)


def as_code_llama(inner: "Tokenizer", settings: dict) -> None:
    """As as_llama, always without `legacy`."""
    as_llama(inner, settings | {"legacy": False})
    inner.model.unk_token = token_text(settings["unk_token"])


def as_gemma(inner: "Tokenizer", settings: dict) -> None:
    """A "▁" for every space, and nothing in front of the text."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    _fall_back(inner, token_text(settings["unk_token"]), True)


def as_gpt2(inner: "Tokenizer", settings: dict) -> None:
    """Bytes, and words by GPT-2's rule."""
    from tokenizers import decoders, pre_tokenizers

    inner.normalizer = None
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")))
    inner.decoder = decoders.ByteLevel()
    _fall_back(inner, None, False)


def as_qwen2(inner: "Tokenizer", settings: dict) -> None:
    """Bytes of the composed form of the text, and words in which every digit is by itself."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")), use_regex=False)
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLITS[0]), "isolated"), in_bytes])
    inner.decoder = decoders.ByteLevel()
    _fall_back(inner, None, False)


def _fall_back(inner, unknown, to_bytes):
    """What becomes of a letter that the vocabulary does not have."""
    inner.model.unk_token, inner.model.fuse_unk, inner.model.byte_fallback = unknown, to_bytes, to_bytes


def token_text(token) -> str | None:
    """The text of a token as the files write it: "<s>", {"content": "<s>", ...} or null."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _all(token, *names):
    return dict.fromkeys((f"{name}_token" for name in names), token)


CLASSES: dict[str, tuple[Callable, dict]] = {  # name -> how it builds, special tokens where no file names one
    "LlamaTokenizer": (as_llama, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "CodeLlamaTokenizer": (as_code_llama, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "GemmaTokenizer": (as_gemma, {f"{name}_token": f"<{name}>" for name in ("unk", "bos", "eos", "pad", "mask")}),
    "GPT2Tokenizer": (as_gpt2, _all("<|endoftext|>", "unk", "bos", "eos")),
    "Qwen2Tokenizer": (as_qwen2, _all("<|endoftext|>", "unk", "eos", "pad")),
}
