"""`minilora merge`: a base and its adapters as one ordinary checkpoint, which needs no LoRA to run."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import click
import numpy as np

from ..errors import ConfigError, MiniloraError
from ..files.atomic import read_json, write_json
from .common import adapter_option, base_option, device_option, with_adapters

MARK = "minilora_merge.json"  # in a folder that this command wrote: what was merged, and which files are its own
PROMPT = 32  # tokens on which merged and unmerged are compared


@click.command()
@base_option
@adapter_option
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the model goes.")
@device_option
def merge(base, adapter, out, device):
    """Write base + adapter as one ordinary checkpoint, in float32, which opens in any tool.

    Prints how far the logits of what was written, read back, are from those of base and adapter side by side.
    """
    from ..models.pretrained import base_folder, load_pretrained

    if not adapter:
        raise ConfigError("no adapter to merge; expected --adapter DIR[,DIR]")
    folder = base_folder(base)
    check_target(out, [folder, *adapter])
    model = with_adapters(load_pretrained(folder, device=device), adapter)
    ids = fixed_prompt(model.config)
    apart, was_tied = model(ids).numpy(), model.config.tie_word_embeddings
    model = model.merge_and_unload()
    with filled_folder(out) as temporary:
        model.save_pretrained(temporary, tokenizer_from=folder)
        del model  # one model in memory at a time
        model = load_pretrained(temporary, device=device)
        together = model(ids).numpy()
        made = sorted([*(f.name for f in temporary.iterdir()), MARK])
        write_json(temporary / MARK, {"base": str(folder), "adapters": [str(a) for a in adapter], "files": made})
    if was_tied and not model.config.tie_word_embeddings:
        click.echo("head and embedding shared one weight and one of them was adapted: both are saved now")
    click.echo(
        f"largest difference of a logit on {ids.size} fixed tokens, merged against apart: "
        f"{abs(together - apart).max():.2g} (largest logit {abs(apart).max():.3g})"
    )
    click.echo(f"saved in {out}, float32: {sum((out / name).stat().st_size for name in made):,} bytes")


def fixed_prompt(config):  # -> (1, T) int64
    """The same tokens every time, from all over the vocabulary: a model without a tokenizer can be merged too."""
    length = min(PROMPT, config.max_position_embeddings)
    return np.random.default_rng(0).integers(0, config.vocab_size, (1, length), dtype=np.int64)


def check_target(out, sources):
    """Refuse to write into what is read from, and over anything that this command did not write itself."""
    for source in sources:
        if out.resolve() == Path(source).resolve():
            raise ConfigError(f"--out {out} is what is merged; expected another folder")
    if out.exists() and not out.is_dir():
        raise MiniloraError(f"cannot write {out}: it is a file, expected a folder")
    found = sorted(f.name for f in out.iterdir()) if out.is_dir() else []
    ours = _written_before(out) if found else []
    if foreign := [name for name in found if name not in ours]:
        raise ConfigError(
            f"{out} is not empty, and merge did not write {foreign[0]} in it; give another --out, or delete the folder"
        )


@contextlib.contextmanager
def filled_folder(out):
    """Yield a temporary folder; its files move into `out` when the block succeeds, else `out` stays as it was.

    Files of an earlier merge that are not written again go. Raises MiniloraError (one line) when it cannot be written.
    """
    is_new, temporary = not out.exists(), None
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".merging.", dir=out))
        yield temporary
        before = _written_before(out)
        for file in out.iterdir():
            if file.name in before:
                file.unlink()
        for file in sorted(temporary.iterdir(), key=lambda f: (f.name == "config.json", f.name != MARK)):
            file.replace(out / file.name)  # config.json last: until then nobody takes the folder for a model
    except OSError as error:
        if isinstance(error, MiniloraError):
            raise
        raise MiniloraError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _written_before(out):  # -> names of the files of an earlier merge
    names = read_json(out / MARK).get("files") if (out / MARK).is_file() else []
    return names if isinstance(names, list) else []
