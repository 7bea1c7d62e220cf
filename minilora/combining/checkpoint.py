"""A base and its adapters as one checkpoint in a folder, which needs no LoRA to run."""

import contextlib
import math
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, MiniloraError, nearest
from ..files.atomic import read_json, same_place, write_json, write_text
from ..files.checkpoint import read_headers
from ..files.lock import is_left_over, only_writer
from ..models.pretrained import load_pretrained
from ..text.chat_template import first_template
from ..training.run import HISTORY, settings_in_history
from .quantized import HOW, Requantized, is_quantized, merge_dequantized, merge_requantized

MARK = "minilora_merge.json"  # names what was merged, and the files that the merge wrote
TYPES = {"BF16": "bfloat16", "F16": "float16"}  # of the format -> NumPy's name
PROMPT = 32  # tokens on which merged and unmerged are compared


@dataclass
class Merged:
    """difference: the largest of a logit on `tokens` tokens, the files read back against base and adapters apart;
    logit: the largest of the logits; untied: whether head and embedding no longer share one weight; dtype: of the
    file, or "quantized"; lost: what "requantize" lost."""

    difference: float
    logit: float
    tokens: int
    untied: bool
    bytes: int
    dtype: str
    lost: Requantized | None = None


def merge_to_folder(
    model,
    out: Path,
    base: Path,
    adapters: Sequence[Path],
    how: str | None = None,
    original: Callable | None = None,
    dtype: str | None = None,
) -> Merged:
    """Write `model`, a PeftModel, merged, into `out`, with the tokenizer of `base`. The model is used up.

    base, adapters: the folders that the model was loaded from; the settings of a training and the chat template of an
    adapter go along, so that the result is asked as it was trained. how: for a base in 4 or 8 bits one of
    `quantized.HOW`; "original" needs the function `original` () -> PeftModel on the base in float32. dtype: of the
    file, "float32", "bfloat16" or "float16"; None: that of the base's file, and float32 with `how`. Raises ConfigError
    for another `how`, or numbers that the dtype does not have, MiniloraError when `out` cannot be written; it is as
    before then.
    """
    check_how(how, model)
    device, lost = model.device, None
    ids = fixed_prompt(model.config)
    apart, was_tied = model(ids).numpy(), model.config.tie_word_embeddings
    if original is not None and how == "original":
        del model
        model = original()
    if dtype is None:
        dtype = stored_type(base) if how is None else "float32"
    if how == "requantize":
        plain, lost = merge_requantized(model)
    else:
        plain = merge_dequantized(model)
    del model
    with filled_folder(out) as temporary:
        plain.save_pretrained(temporary, tokenizer_from=base, dtype=None if lost else dtype)
        del plain  # at most one model is in memory
        again = load_pretrained(temporary, device=device)
        together = again(ids).numpy()
        if settings := next(filter(None, map(settings_in_history, [*adapters, base])), None):
            write_json(temporary / HISTORY, {"settings": settings})
        if (template := first_template(*adapters)) is not None:
            write_text(temporary / "chat_template.jinja", template)
        files = sorted([*(f.name for f in temporary.iterdir()), MARK])
        write_json(temporary / MARK, {"base": str(base), "adapters": [str(a) for a in adapters], "files": files})
    return Merged(
        difference=float(abs(together - apart).max()),
        logit=float(abs(apart).max()),
        tokens=ids.size,
        untied=was_tied and not again.config.tie_word_embeddings,
        bytes=sum((out / name).stat().st_size for name in files),
        dtype="quantized" if lost else dtype,
        lost=lost,
    )


def stored_type(base: Path) -> str:
    """The type of most numbers in the files of a base: "float32", "bfloat16" or "float16"; of any other, float32."""
    count = Counter()
    for header in read_headers(base).values():
        for kind, shape in header.values():
            count[TYPES.get(kind, "float32")] += math.prod(shape)
    return count.most_common(1)[0][0]


def check_how(how: str | None, model) -> None:
    """Raises ConfigError unless `how` is given for a model on a base in 4 or 8 bits, and only then."""
    stored = is_quantized(model)
    if how is not None and how not in HOW:
        raise ConfigError(f"how {how!r}: expected {nearest(how, HOW)}")
    if stored and how is None:
        raise ConfigError(f"a base in 4 or 8 bits can be merged in three ways: choose how ({', '.join(HOW)})")
    if how and not stored:
        raise ConfigError(f"how {how} is for a base in 4 or 8 bits; this one is not quantized")


def fixed_prompt(config):  # -> (1, T) int64
    """The same tokens every time, from the whole vocabulary: a model without a tokenizer can be merged too."""
    length = min(PROMPT, config.max_position_embeddings)
    return np.random.default_rng(0).integers(0, config.vocab_size, (1, length), dtype=np.int64)


# ---- the folder


def check_target(out: Path, sources: Sequence[Path]) -> None:
    """Raises ConfigError or MiniloraError when a merge must not write into `out`: one of the folders that it reads, a
    file, or a folder with files that no merge wrote."""
    if any(same_place(out, source) for source in sources):
        raise ConfigError(f"--out {out} is one of the inputs; choose another folder")
    if out.exists() and not out.is_dir():
        raise MiniloraError(f"cannot write {out}: it is a file, expected a folder")
    if foreign := foreign_files(out):
        raise ConfigError(
            f"{out} is not empty, and merge did not write its {foreign[0]}; choose another --out, or delete the folder"
        )


def foreign_files(out: Path) -> list[str]:
    """The files in `out` that no merge wrote, by name, without those of a merge that was killed."""
    found = [f.name for f in out.iterdir() if not is_left_over(f.name)] if out.is_dir() else []
    return sorted(set(found) - set(merged_files(out)))


def merged_files(out: Path) -> list[str]:
    """The names of the files that an earlier merge wrote into `out`."""
    names = read_json(out / MARK).get("files") if (out / MARK).is_file() else []
    return [n for n in names if isinstance(n, str)] if isinstance(names, list) else []


@contextlib.contextmanager
def filled_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder. Its files replace those of an earlier merge in `out` when the block succeeds; otherwise
    `out` stays as it was. Raises MiniloraError (one line) when it cannot be written."""
    temporary = out / f".merging.{secrets.token_hex(4)}"  # known before it exists, see files/lock
    with only_writer(out):
        try:
            temporary.mkdir()
            yield temporary
            before = merged_files(out)
            for file in out.iterdir():
                if file.name in before:
                    file.unlink()
            for file in sorted(temporary.iterdir(), key=lambda f: (f.name == "config.json", f.name != MARK)):
                file.replace(out / file.name)  # config.json last: until then no program takes the folder for a model
        except OSError as error:
            if isinstance(error, MiniloraError):
                raise
            raise MiniloraError(f"cannot write {out}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
