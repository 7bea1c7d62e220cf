"""How good a model is: its loss on a task or on files, its answers, and the share of right ones.

`model`: a CausalLM or PeftModel.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..autograd import no_grad
from ..backend import to_host
from ..display.progress import show_progress
from ..errors import ConfigError, DataError
from ..ops.loss import IGNORE
from ..text.batches import encode_pairs, pad_pairs, pair_batches, text_windows, training_window
from ..text.encoding import encode_pair, encode_prompt, encode_text
from ..text.examples import Paths, check_one_source, read_text
from ..text.tokenizer import TextTokenizer
from ..training.loop import count_labels, evaluate
from .shipped import Task, get_task

BATCH = 32


@dataclass
class Measured:
    """loss: mean over `labels` labels, in nats. Of a task also: its score, and the share of right forced choices."""

    loss: float
    labels: int
    examples: int = 0
    score: float | None = None
    choice: float | None = None

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700))


def measure(
    model,
    tokenizer: TextTokenizer,
    *,
    task: str | None = None,
    text: Paths = (),
    examples: Sequence[dict] = (),
    encode: Callable = encode_pair,
) -> Measured:
    """The loss on the test split of a task, on text files or on examples; on a task also its score.

    encode: function (example, tokenizer) -> (prompt ids, response ids), for examples. Raises UnknownNameError,
    DataError, MissingFileError. Shows progress bars in a terminal.
    """
    check_one_source({"task": task, "text": text, "examples": examples})
    context = model.context_length
    if text:
        ids = encode_text(read_text(text), tokenizer, partial(show_progress, what="tokens"))
        batches = text_windows(ids, training_window(ids, context), BATCH, most=len(ids))
        return Measured(*_loss(model, batches))
    examples = get_task(task).examples("test") if task else examples
    pairs = encode_pairs(examples, tokenizer, encode, context)
    measured = Measured(*_loss(model, pair_batches(pairs, BATCH, tokenizer.pad_id)), len(examples))
    if task:
        scored = get_task(task)
        measured.score, _ = score(model, tokenizer, scored, examples, partial(show_progress, what="answers"))
        if scored.choices:
            each = partial(show_progress, what="choices")
            measured.choice = forced_choice(model, tokenizer, scored, examples, each=each)
    return measured


def _loss(model, batches):  # list of (ids, labels) -> mean loss, number of labels
    loss = evaluate(model, show_progress(batches, "loss"))
    if not math.isfinite(loss):
        raise ConfigError(f"the loss is {loss}: the base or an adapter has weights that are nan or infinite")
    return loss, sum(count_labels(labels, model) for _, labels in batches)


def answers(
    model,
    tokenizer: TextTokenizer,
    prompts: list[str],
    max_new_tokens: int,
    batch_size: int = 64,
    each: Callable = iter,
) -> list[str]:
    """The greedy answer to each framed prompt, without its end token, of at most `max_new_tokens` tokens.

    each: wraps the loop over the batches, for example with a progress bar. Raises DataError when a prompt and its
    answer do not fit into the context.
    """
    room = model.context_length - max_new_tokens
    ids = [encode_prompt(p, tokenizer) for p in prompts]
    too_long = [p for p, i in zip(prompts, ids, strict=True) if len(i) > room]
    if too_long:
        raise DataError(f"{len(too_long)} prompt(s) longer than {room} tokens, the first: {too_long[0][:60]!r}")
    order = np.argsort([len(i) for i in ids], kind="stable")  # prompts of similar length share a batch: little padding
    written = [""] * len(ids)
    for start in each(range(0, len(ids), batch_size)):
        batch = order[start : start + batch_size]
        rows = model.generate([ids[i] for i in batch], max_new_tokens, eos_token_id=tokenizer.eos_id)
        for i, row in zip(batch, rows, strict=True):
            written[i] = tokenizer.decode(row[len(ids[i]) :]).strip()
    return written


def predict(
    model, prompts: list[list[int]], most: int, ends: list[int] | None, batch_size: int = 32, each: Callable = iter
) -> list[list[int]]:
    """The greedy continuation of each prompt, given as ids: at most `most` tokens, and no more than fit the context."""
    order = np.argsort([len(p) for p in prompts], kind="stable")  # prompts of similar length share a batch
    written: list[list[int]] = [[]] * len(prompts)
    for start in each(range(0, len(prompts), batch_size)):
        batch = order[start : start + batch_size]
        ids = [prompts[i] for i in batch]
        room = min(most, model.context_length - max(map(len, ids)))
        if room > 0:
            rows = model.generate(ids, room, eos_token_id=ends)
            for i, row in zip(batch, rows, strict=True):
                written[i] = [int(token) for token in row]
    return written


def score(
    model, tokenizer: TextTokenizer, task: Task, examples: Sequence[dict], each: Callable = iter
) -> tuple[float, list[str]]:
    """The share of right answers (0 to 1, by the task's metric), and the answers."""
    written = answers(model, tokenizer, [e["prompt"] for e in examples], task.max_new_tokens, each=each)
    return float(np.mean([task.score(e, a) for e, a in zip(examples, written, strict=True)])), written


def forced_choice(
    model, tokenizer: TextTokenizer, task: Task, examples: Sequence[dict], batch_size: int = 64, each: Callable = iter
) -> float:
    """The share of examples (0 to 1) whose response is, of all the task's `choices`, the most likely to the model.

    A choice's log-probability is the sum over its tokens. Guessing gives 1 / number of choices. This measures whether
    the model knows the content, even where it cannot write the form.
    """
    pairs = [encode_pair({"prompt": e["prompt"], "response": c}, tokenizer) for e in examples for c in task.choices]
    totals = []
    with no_grad():
        for start in each(range(0, len(pairs), batch_size)):
            ids, labels = pad_pairs(pairs[start : start + batch_size], tokenizer.pad_id)
            logits = to_host(model(ids).data)[:, -ids.shape[1] :]  # without the places that prompt tuning puts in front
            totals.extend(log_likelihood(logits, labels))
    best = np.array(totals).reshape(len(examples), len(task.choices)).argmax(axis=1)
    return float(np.mean([task.choices[i] == e["response"] for i, e in zip(best, examples, strict=True)]))


def log_likelihood(logits, labels) -> np.ndarray:  # (B, T, V), (B, T) -> (B,) float64
    """Σ log p(label) of each row, in nats. Position t predicts label t + 1; labels equal to IGNORE do not count."""
    z, targets = logits[:, :-1].astype(np.float64), labels[:, 1:]
    z -= z.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(z, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    log_p = picked - np.log(np.exp(z).sum(axis=-1))
    return np.where(targets == IGNORE, 0, log_p).sum(axis=1)
