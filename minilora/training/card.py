"""The model card of a trained adapter: README.md beside it, in the form of the hub, with the measured numbers."""

import json
from pathlib import Path

from ..errors import printable
from ..files.atomic import write_text
from .callbacks import History

CARD = "README.md"
MARK = "<!-- minilora train wrote this file. Remove this line, and the file is yours: it is not written again. -->"
SETTINGS = ("rank", "alpha", "targets", "dropout", "steps", "batch_size", "accumulate", "schedule", "warmup",
            "weight_decay", "seed")  # fmt: skip


def write_card(folder: Path, base: str | None, settings: dict, trained: int, history: History) -> None:
    """Write README.md into `folder`. A file of that name without MARK is a person's own, and is left as it is.

    base: its name, None for the shipped base; trained: number of parameters.
    """
    path = folder / CARD
    if path.exists() and MARK.encode() not in path.read_bytes():
        return
    write_text(path, card(base, settings, trained, history))


def card(base: str | None, settings: dict, trained: int, history: History) -> str:
    """The text of the card: what the hub reads, then the settings, the numbers and how to use the adapter."""
    name = "the base that minilora ships" if base is None else printable(base)
    head = {"library_name": "peft", "pipeline_tag": "text-generation", "tags": [settings["method"], "minilora"]}
    if base is not None:
        head = {"base_model": base} | head
    facts = [f"{trained:,} trained parameters", f"data: {_data(settings)}"]
    facts.append(f"learning rate {settings['lr']:.3g}")
    facts += [f"{key.replace('_', ' ')} {printable(settings[key])}" for key in SETTINGS if settings[key] is not None]
    numbers = [f"training loss of the last steps: {history.mean_loss():.4f} nats per token"]
    if best := history.best():
        (_, before), *_, (step, after) = history.valid
        numbers.append(f"validation loss: {before:.4f} before training, {after:.4f} at step {step}")
        kept = "; these weights are saved" if settings["keep"] == "best" else ""
        numbers.append(f"best validation loss: {best[1]:.4f} at step {best[0]}{kept}")
    numbers.append(f"time: {history.seconds:.0f} s on {settings['device']}")
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", MARK, ""]
    lines += [f"# An adapter for {name}", "", f"Method: {settings['method']}, in PEFT's format.", ""]
    lines += ["## Settings", "", *(f"- {fact}" for fact in facts), ""]
    lines += ["## Measured", "", *(f"- {number}" for number in numbers), ""]
    lines += ["## Use", "", '    minilora generate --adapter THIS_FOLDER --prompt "..."', ""]
    return "\n".join(lines)


def _data(settings):  # names of files without their folders, which say where somebody works
    files = [printable(Path(file).name) for file in (*settings["text"], *settings["jsonl"])]
    if settings["task"]:
        return f"the task {settings['task']}"
    return ", ".join(files) or f"{settings['examples']} examples"
