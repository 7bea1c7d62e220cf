# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 23 · Several workers
#
# *15 minutes to read · needs lessons 3 and 6 · reads `minilora/training/parallel.py` · exercises 23.1
# and 23.2*
#
# **You will be able to** share a batch among workers so that the training is the same as with one, say
# why the mean of means is wrong, and count what travels between them.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course.lesson import BLUE, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.tune import load_base
from minilora.ops.loss import IGNORE
from minilora.tasks.shipped import get_task
from minilora.text.batches import pad_pairs
from minilora.text.encoding import encode_pair
from minilora.training.optim import AdamW

# %% [markdown]
# ## Share the rows
#
# A batch has 16 rows. Four workers (processes, perhaps on four machines) each have a copy of the model
# and take 4 rows. Each runs forward and backward on its own rows; then they put their gradients
# together, and all take the same step. So their copies stay equal. This is *data-parallel* training.
#
# Here the four workers run one after another in this notebook: the numbers are the same, only the time
# is not. Half of the rows are reviews, whose answers are short; half ask for a text, with long answers.

# %%
base, tokenizer = load_base()
TASKS = ("reviews", "data-to-text")
examples = {task: get_task(task).examples("train") for task in TASKS}


def batch(step):  # -> four workers' rows: [(ids, labels)]
    rows = [examples[task][8 * step + i] for task in TASKS for i in range(8)]
    return [
        pad_pairs([encode_pair(row, tokenizer) for row in rows[i : i + 4]], tokenizer.pad_id)
        for i in range(0, 16, 4)
    ]


def whole(parts):  # the same rows as one batch
    width = max(ids.shape[1] for ids, _ in parts)
    filled = (tokenizer.pad_id, IGNORE)
    return tuple(
        np.concatenate(
            [
                np.pad(part[k], ((0, 0), (0, width - part[k].shape[1])), constant_values=filled[k])
                for part in parts
            ]
        )
        for k in (0, 1)
    )


def count_labels(labels):
    return int((labels[:, 1:] != IGNORE).sum())


counts = np.array([count_labels(labels) for _, labels in batch(0)])
table([(f"worker {k}", int(count)) for k, count in enumerate(counts)], ("", "labels of its 4 rows"))


def new_model():
    return get_peft_model(
        load_base()[0], LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), seed=0
    )


def gradient_of(model, ids, labels):  # -> the gradient of the mean loss, one array
    model.loss(ids, labels).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    g = np.concatenate([p.grad.ravel() for p in trained])
    for p in trained:
        p.grad = None
    return g


# %% [markdown]
# **Predict.** Each worker has the gradient of the mean loss of its own labels. Is the mean of these four
# the gradient of the mean loss of all 16 rows?

# %%
mean_is_right = predict("is the mean of the four the gradient of the batch? (yes / no)", None)

# %%
model = new_model()
gradients = np.stack([gradient_of(model, *part) for part in batch(0)])
true = gradient_of(model, *whole(batch(0)))
off = float(np.linalg.norm(gradients.mean(axis=0) - true) / np.linalg.norm(true))
mean_is_right.compare(
    "yes" if off < 1e-3 else "no",
    wrong={"yes": "Only if all workers have equally many labels; look at the table above."},
)
print(f"the mean of the means is off by {100 * off:.0f} percent of the gradient's size")

# %% tags=["fold"]
expect_between("off by, as a share", off, 0.05, 5)
expect_between(
    "labels of two texts' workers / of two reviews'", counts[2:].sum() / counts[:2].sum(), 2.5, 3.5
)

# %% [markdown]
# A mean over 4 reviews is over a few labels, a mean over 4 texts over many. In the mean of the means a
# label of a review counts about three times as much as a label of a text. Nothing fails: the training simply
# is another one, and it depends on how many workers there are and who got which rows.
#
# ## Do: combine

# %%
cards("23.1")


# %% tags=["exercise"]
def combine(gradients, labels):
    """The gradient of the whole batch, from those of the workers.

    Each worker has some rows of the batch, and has computed the gradient of the mean loss of its
    own labels. Wanted is the gradient of the mean loss of all labels together. A worker may have
    no label; its gradient is zeros then.

    gradients: (workers, n), labels: (workers,) how many labels each has, not all zero.
    Returns (n,).
    """
    raise NotImplementedError


check("23.1", combine)

# %%
together = answer("23.1")
mine = np.asarray(together(gradients, counts))
share = float(np.linalg.norm(mine - true) / np.linalg.norm(true))
print(f"your combination is off by {share:.1e} of the gradient's size")

# %% tags=["fold"]
expect_between("off by, as a share", share, 0, 1e-4)

# %% [markdown]
# Not exactly zero: the sums are taken in another order, and padding differs. Now we train 15 steps three
# ways: one worker with whole batches, four with your function, four with the mean of means.


# %%
def train(combined, steps=15):  # -> the trained numbers, and the loss of each step
    model = new_model()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(trained, lr=3e-3, weight_decay=0.0)
    losses = []
    for step in range(steps):
        parts = batch(step)
        losses.append(model.loss(*whole(parts)).item())
        g, at = combined(model, parts), 0
        for p in trained:
            p.grad = np.asarray(g[at : at + p.size], np.float32).reshape(p.shape)
            at += p.size
        optimizer.step()
        optimizer.zero_grad()
    return np.concatenate([p.data.ravel() for p in trained]), losses


def by_workers(rule):
    def combined(model, parts):
        found = np.stack([gradient_of(model, *part) for part in parts])
        return rule(found, np.array([count_labels(labels) for _, labels in parts]))

    return combined


one, one_losses = train(lambda model, parts: gradient_of(model, *whole(parts)))
four, four_losses = train(by_workers(together))
means, means_losses = train(by_workers(lambda found, labels: found.mean(axis=0)))
start = np.concatenate([p.data.ravel() for p in new_model().parameters() if p.requires_grad])
moved = np.linalg.norm(one - start)
distance = {
    "sum over all labels": float(np.linalg.norm(four - one) / moved),
    "mean of means": float(np.linalg.norm(means - one) / moved),
}
table(list(distance.items()), ("four workers", "distance from one worker, as a share of the way"))

# %% tags=["fold"]
expect_between("the sum: distance", distance["sum over all labels"], 0, 0.1)
expect_between("the mean of means: distance", distance["mean of means"], 0.1, 2)

# %% tags=["fold"]
with show_axes() as axes:
    axes.plot(one_losses, "-", color="lightgrey", linewidth=9)
    axes.plot(four_losses, "-", color=BLUE)
    axes.plot(means_losses, "--", color=ORANGE)
    axes.text(0.2, 0.9, "one worker (wide)\nfour, sum (blue)", color=BLUE, va="center")
    axes.text(5.3, 2.3, "four, mean of means", color=ORANGE)
    axes.set(xlabel="step", ylabel="loss of the whole batch")

# %% [markdown]
# ## What travels
#
# Each worker needs the sum of all gradients. If all send theirs to one worker, that one is the bottleneck.
# In a **ring** everybody sends pieces to the neighbour, and all links work at once.
#
# ## Do: count the bytes

# %%
cards("23.2")


# %% tags=["exercise"]
def ring_bytes(workers, numbers):
    """How many bytes each worker sends for one sum over all workers, in a ring.

    Each worker cuts its array of float32 numbers into as many equal pieces as there are workers.
    In each round every worker sends one piece to its neighbour. After workers - 1 rounds every
    piece is summed in one place; in workers - 1 more rounds the sums are passed on to all.

    workers: at least 1; numbers: a multiple of workers. Returns a whole number of bytes.
    """
    raise NotImplementedError


check("23.2", ring_bytes)

# %% [markdown]
# **Predict.** From 4 to 64 workers: by what factor do the bytes grow that each worker sends?

# %%
growth = predict("bytes that each worker sends, 64 workers / 4 workers?", None)

# %%
sends = answer("23.2")


def ring(arrays):  # (workers, n) -> what each holds at the end, bytes that worker 0 sent
    w = len(arrays)
    held = [list(np.split(a.copy(), w)) for a in arrays]
    sent = 0
    for last_rounds in (False, True):
        for turn in range(w - 1):
            moving = [
                (k + last_rounds - turn) % w for k in range(w)
            ]  # the piece that worker k sends
            pieces = [held[k][moving[k]].copy() for k in range(w)]
            sent += pieces[0].nbytes
            for k, piece in enumerate(pieces):
                right, which = (k + 1) % w, moving[k]
                held[right][which] = piece if last_rounds else held[right][which] + piece
    return np.stack([np.concatenate(pieces) for pieces in held]), sent


weighted = (gradients * counts[:, None] / counts.sum()).astype(
    np.float32
)  # so that a plain sum is right
everywhere, sent = ring(weighted)
n = len(true)  # all trained numbers of LoRA
growth.compare(
    sends(64, n) / sends(4, n),
    wrong={16: "More rounds, but smaller pieces: each sends 2 (w - 1) / w of the array."},
)

# %% tags=["fold"]
expect("bytes counted in the ring", sent, sends(4, weighted.shape[1]))
expect("all workers hold the same bits", bool((everywhere == everywhere[0]).all()), True)
expect("and it is the gradient of the batch", everywhere[0], true, within=1e-4)
expect_between("64 workers / 4 workers", sends(64, n) / sends(4, n), 1.3, 1.32)

# %% [markdown]
# It hardly grows: $2\,(w - 1) / w$ times the array, at most twice. That all hold the *same bits* matters
# more than the last digit: each sum is computed in one place and copied, so the copies of the model
# cannot drift apart.
#
# What LoRA changes: only the adapter's gradient travels, here 74,752 numbers and not 869,504.

# %%
full = sum(p.size for p in base.parameters())
table(
    [
        (name, numbers, sends(4, numbers) / 1e6)
        for name, numbers in (("LoRA, rank 8", n), ("full fine-tuning", full))
    ],
    ("a step of four workers", "numbers", "MB that each sends"),
)

# %% tags=["fold"]
expect("numbers of LoRA and of the base", (n, full), (74_752, 869_504))

# %% tags=["fold"]
with show_axes() as axes:
    workers = [2, 4, 8, 16, 32, 64]
    to_one = [(w - 1) * n * 4 / 1e6 for w in workers]
    axes.loglog(workers, [sends(w, n // w * w) / 1e6 for w in workers], "o-", color=BLUE, base=2)
    axes.loglog(workers, to_one, "s-", color=ORANGE, base=2)
    axes.text(
        64, sends(64, n) / 1e6 * 1.25, "ring: each sends", color=BLUE, ha="right", va="bottom"
    )
    axes.text(
        16, to_one[3] * 1.4, "all to one: that one receives", color=ORANGE, ha="right", va="bottom"
    )
    axes.set_xticks(workers, [str(w) for w in workers])
    axes.set_yticks([0.25, 0.5, 1, 2, 4, 8, 16], ["0.25", "0.5", "1", "2", "4", "8", "16"])
    axes.set(xlabel="workers", ylabel="MB a step, LoRA of rank 8")

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/training/parallel.py`: `Workers.sum_step` adds gradients, losses and numbers of labels in one
# message; `MpiWorkers` are processes that `mpiexec` started. In a terminal: `mpiexec -n 4 minilora train`.
#
# ## What this does not show
#
# Time. Real workers wait for the slowest, and a network has a delay for each message, which the bytes do
# not show: a ring of 64 has 126 rounds. Nor dropout (each worker needs random numbers of its own), nor
# models that are cut into parts because they do not fit into one worker.
#
# ## Questions
#
# <details><summary>All rows have equally many labels. Is the mean of means right then?</summary>Yes: all weights
# are equal. That is why tests with such rows do not find the mistake.</details>
#
# <details><summary>Where else does the same mistake happen, with one worker?</summary>In gradient accumulation: a
# step of several small batches one after another. Each must count by its labels.</details>
#
# <details><summary>Gradients are clipped to a norm. Before the sum or after it?</summary>After it: the norm of
# the whole gradient is meant. Clipped before, each worker would be cut by another factor.</details>
#
# <details><summary>Must the workers send Adam's m and v?</summary>No: all start from the same, see the same
# gradient and compute the same.</details>
