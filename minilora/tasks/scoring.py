"""What a model answers, and how many of its answers are right."""

import numpy as np

from ..autograd import no_grad
from ..backend import to_host
from ..errors import DataError
from ..ops.loss import IGNORE
from ..text.batches import pad_pairs
from ..text.encoding import encode_pair, encode_prompt


def answers(model, tokenizer, prompts, max_new_tokens, batch_size=64, each=iter):  # list of str -> list of str
    """The greedy answer to each framed prompt, without its end token. Raises DataError when one does not fit.

    each: wraps the loop over the batches, for instance with a progress bar.
    """
    room = model.config.max_position_embeddings - max_new_tokens
    ids = [encode_prompt(p, tokenizer) for p in prompts]
    too_long = [p for p, i in zip(prompts, ids, strict=True) if len(i) > room]
    if too_long:
        raise DataError(f"{len(too_long)} prompt(s) longer than {room} tokens, the first: {too_long[0][:60]!r}")
    order = np.argsort([len(i) for i in ids], kind="stable")  # prompts of like length together: little padding
    written = [""] * len(ids)
    for start in each(range(0, len(ids), batch_size)):
        batch = order[start : start + batch_size]
        rows = model.generate([ids[i] for i in batch], max_new_tokens, eos_token_id=tokenizer.eos_id)
        for i, row in zip(batch, rows, strict=True):
            written[i] = tokenizer.decode(row[len(ids[i]) :]).strip()
    return written


def score(model, tokenizer, task, examples, each=iter):  # -> share of right answers, the answers
    """Mean of the task's own metric over the generated answers."""
    written = answers(model, tokenizer, [e["prompt"] for e in examples], task.max_new_tokens, each=each)
    return float(np.mean([task.score(e, a) for e, a in zip(examples, written, strict=True)])), written


def forced_choice(model, tokenizer, task, examples, batch_size=64, each=iter):  # -> share of right choices
    """How often the likeliest of the task's `choices` is the right one: its tokens' log-probabilities added up.

    Chance is 1 / number of choices: it shows whether the content is known where the form is not.
    """
    pairs = [encode_pair({"prompt": e["prompt"], "response": c}, tokenizer) for e in examples for c in task.choices]
    totals = []
    with no_grad():
        for start in each(range(0, len(pairs), batch_size)):
            ids, labels = pad_pairs(pairs[start : start + batch_size], tokenizer.pad_id)
            totals.extend(log_likelihood(to_host(model(ids).data), labels))
    best = np.array(totals).reshape(len(examples), len(task.choices)).argmax(axis=1)
    return float(np.mean([task.choices[i] == e["response"] for i, e in zip(best, examples, strict=True)]))


def log_likelihood(logits, labels):  # (B, T, V), (B, T) -> (B,) float64
    """Σ log p(label) of each row; position t predicts label t + 1, IGNORE does not count."""
    z, targets = logits[:, :-1].astype(np.float64), labels[:, 1:]
    z -= z.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(z, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    log_p = picked - np.log(np.exp(z).sum(axis=-1))
    return np.where(targets == IGNORE, 0, log_p).sum(axis=1)
