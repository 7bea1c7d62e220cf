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
# # 21 · Distillation
#
# *15 minutes to read · needs lessons 3 and 6 · reads `minilora/training/distillation.py` · exercises 21.1
# and 21.2*
#
# **You will be able to** train a student on a teacher's probabilities instead of labels, say what the
# temperature does and why its square belongs into the loss, and measure what a student gains.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model, no_grad
from minilora.autograd import record
from minilora.course.lesson import BLUE, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.measured import mean_and_spread, measured
from minilora.course.lab.pace import at_pace
from minilora.course.lab.tune import load_base, test_loss, test_score, tune
from minilora.tasks.shipped import get_task
from minilora.text.batches import PairBatches
from minilora.training.loop import train
from minilora.training.optim import AdamW, linear_decay

# %% [markdown]
# ## What a label hides
#
# A label says: the next token is this one. It says nothing about the others, neither that a second one
# would have been nearly as good nor that a third is nonsense. A model that has learned the task *does* say
# that: it gives a probability to every token. Let it be the **teacher**; a **student** learns its
# probabilities.
#
# The teacher here is the base with LoRA, trained on all of the task's examples.

# %%
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
teacher = get_peft_model(load_base()[0], config, seed=0)
_, tokenizer = load_base()
tune(teacher, tokenizer, "sql", steps=80, lr=1e-2, seed=0)
teacher.eval()
teacher_score = test_score(teacher, tokenizer, "sql")
print(f"the teacher's score: {teacher_score:.2f}")
expect_between("the teacher's score", teacher_score, 0.65, 1)

examples = get_task("sql").examples("train")[:64]
ids, labels = next(PairBatches(examples, tokenizer, 16, 512, np.random.default_rng(0)))


def teacher_logits(ids, labels):  # -> (n, V), at the n places that have a label
    with no_grad():
        return teacher.loss(ids, labels, objective=lambda logits, targets: logits).data


t = teacher_logits(ids, labels)

# %% [markdown]
# The teacher is often very sure. A **temperature** $T$ makes its shares softer: $p = \mathrm{softmax}(t /
# T)$, where $t$ are its logits.
#
# Count among how many equally likely tokens the teacher seems to choose: $e$ to the entropy of $p$, its
# *perplexity*.
#
# **Predict.** At $T = 1$ it is about 1.1, in the mean over the places. How many at $T = 4$ (of 1,024)?

# %%
at_four = predict("among how many tokens does the teacher seem to choose at T = 4?", None)


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def perplexity(p):  # (n, V) -> mean over the rows of e to the entropy
    return float(np.exp(-(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)).mean())


heard = {T: perplexity(softmax(t / T)) for T in (1, 2, 4, 8)}
table(list(heard.items()), ("T", "equally likely tokens"))
at_four.compare(heard[4])

# %% tags=["fold"]
expect("more at T = 4 than at T = 1", heard[4] > heard[1], True)
expect_between("at T = 1", heard[1], 1, 1.3)

# %% tags=["fold"]
with show_axes(3, height=4.8, sharey=True) as panels:
    unsure = int(
        np.argsort(softmax(t).max(axis=1))[len(t) // 10]
    )  # a place where the teacher is less sure
    likeliest = np.argsort(-t[unsure])[:8]
    words = [tokenizer.decode([int(token)]).strip() or "space" for token in likeliest]
    for axes, T in zip(panels, (1, 2, 4), strict=True):
        axes.bar(range(8), softmax(t[unsure : unsure + 1] / T)[0, likeliest], color=BLUE)
        axes.set_xticks(range(8), words, rotation=90, fontsize=16)
        axes.set(title=f"T = {T}", yscale="log", ylim=(1e-5, 2))
    panels[0].set_ylabel("share of the eight\nlikeliest tokens")

# %% [markdown]
# ## How far from the teacher
#
# With $q = \mathrm{softmax}(z / T)$ of the student's logits $z$, the loss is Kullback and Leibler's number:
# zero where $q = p$, and larger the more the student is surprised by what the teacher finds likely.
#
# $$L = T^2 \cdot \frac1n \sum_{\text{rows}} \sum_{\text{tokens}} p \,\log\frac{p}{q}$$
#
# ## Do: the divergence and its gradient

# %%
cards("21.1", "21.2")


# %% tags=["exercise"]
def divergence(z, t, T):
    """How far the student is from its teacher: T² times the mean over the n rows of Σ p log(p / q).

    p is the softmax of a row of t / T, and q that of the same row of z / T. The sum is over the V
    tokens. A logit may be as large as 1,000.

    z, t: (n, V); T: a number above 0. Returns a number.
    """
    raise NotImplementedError


check("21.1", divergence)


# %% tags=["exercise"]
def divergence_gradient(z, t, T):
    """The gradient of exercise 21.1's number for the student's logits z. The teacher is fixed.

    z, t: (n, V); T: a number above 0. Returns dz: (n, V).
    """
    raise NotImplementedError


check("21.2", divergence_gradient)

# %% [markdown]
# ## Why T²
#
# **Predict.** Without the factor $T^2$: how many times as large is the gradient at $T = 100$ as at $T =
# 50$?

# %%
ratio = predict("size of the gradient without T²: T = 100 / T = 50?", None)

# %%
distance, slope = answer("21.1"), answer("21.2")
student = get_peft_model(load_base()[0], config, seed=1)
with no_grad():
    z = student.loss(ids, labels, objective=lambda logits, targets: logits).data.astype(float)
eight, training = (z[:8], t[:8].astype(float), 4.0), {"calls": 2400, "what": "the training below"}
distance = at_pace("21.1", distance, *eight, **training, longest=20.0)
slope = at_pace("21.2", slope, *eight, **training, longest=20.0)
rows = [
    (
        T,
        np.linalg.norm(slope(z, t.astype(float), T) / T**2),
        np.linalg.norm(slope(z, t.astype(float), T)),
    )
    for T in (1, 2, 4, 50, 100)
]
table(rows, ("T", "size of dz without T²", "with T²"))
without = {T: size for T, size, _ in rows}
ratio.compare(float(without[100] / without[50]))

# %% tags=["fold"]
expect_between("T = 100 / T = 50, without", float(without[100] / without[50]), 0.2, 0.3)
with_square = {T: size for T, _, size in rows}
expect_between("T = 100 / T = 50, with", float(with_square[100] / with_square[50]), 0.9, 1.1)
expect_between("T = 100 / T = 1, with", float(with_square[100] / with_square[1]), 0.03, 0.3)
expect_between("T = 100 / T = 1, without", float(without[100] / without[1]), 3e-6, 3e-5)

# %% [markdown]
# One $1/T$ is in $z / T$; another is in $q - p$, which becomes smaller as both become flat. With $T^2$ the
# gradient keeps its size where $T$ is large. From 1 to 100 it falls to about a tenth here, and not to a
# hundred-thousandth: a learning rate has to be changed little when $T$ is.
#
# ## Labels or a teacher
#
# Two students, both with 64 of the examples and 60 steps. One learns their labels. The other learns the
# teacher's probabilities at the same places, at $T = 4$, by your two functions, and never sees a label.
#
# **Predict.** Which has the higher score on the test split, "labels" or "teacher"?

# %%
higher = predict("higher score: the student of the labels or of the teacher?", None)

# %%
T = 4.0


def from_the_teacher(student, ids, labels, **fields):  # a loss for `train`
    given = teacher_logits(ids, labels)

    def objective(logits, targets):
        value = np.asarray(distance(logits.data, given, T), logits.dtype)
        dz = np.asarray(slope(logits.data, given, T), logits.dtype)
        return record(value, (logits,), lambda g: (g * dz,))

    return student.loss(ids, labels, objective=objective, **fields)


def from_the_labels(student, ids, labels, **fields):
    return student.loss(ids, labels, **fields)


results = []
for name, loss_of, lr in (("labels", from_the_labels, 5e-3), ("teacher", from_the_teacher, 2e-2)):
    student = get_peft_model(load_base()[0], config, seed=1)
    batches = PairBatches(examples, tokenizer, 16, 512, np.random.default_rng(1))
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = AdamW(trained, lr=lr, weight_decay=0.0)
    train(student, batches, optimizer, 60, linear_decay(60, 10), loss_of=loss_of)
    results.append(
        (name, test_score(student, tokenizer, "sql"), test_loss(student, tokenizer, "sql"))
    )
table(
    [*results, ("the teacher itself", teacher_score, test_loss(teacher, tokenizer, "sql"))],
    ("learned from", "score", "test loss"),
)
higher.compare(
    max(results, key=lambda row: row[1])[0],
    wrong={"labels": "The teacher says how likely every token is; a label names one."},
)

# %% tags=["fold"]
expect("the teacher's student has the lower test loss", results[1][2] < results[0][2], True)

# %% [markdown]
# The same 64 questions, and no label: the student learns more from what the teacher thinks of *all* tokens
# than from the right ones alone. Part of what the teacher learned from the whole split passes over.
#
# ## Three tasks, five seeds

# %%
runs = measured("distillation")
TASKS, WAYS = ("sql", "data-to-text", "reviews"), ("labels", "teacher")
scores = {
    (task, way): mean_and_spread([r for r in runs if r["seed"] < 100], "score", task=task, way=way)
    for task in TASKS
    for way in WAYS
}
table(
    [(task, *scores[task, "labels"], *scores[task, "teacher"]) for task in TASKS],
    ("64 examples", "labels: score", "± spread", "teacher: score", "± spread"),
)

# %% tags=["fold"]
expect(
    "the teacher's students are better on every task",
    all(scores[task, "teacher"][0] > scores[task, "labels"][0] for task in TASKS),
    True,
)

# %% tags=["fold"]
with show_axes(height=3.8) as axes:
    for i, task in enumerate(TASKS):
        for way, colour, at in (("labels", ORANGE, 0.2), ("teacher", BLUE, -0.2)):
            mean, spread = scores[task, way]
            axes.barh(i + at, mean, 0.36, xerr=spread, color=colour)
            if i == 0:
                axes.text(0.02, at, f"from the {way}", color="white", va="center")
    axes.set_yticks(range(3), TASKS)
    axes.set(xlabel="score on the test split", xlim=(0, 1.05), ylim=(2.6, -0.6))

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/training/distillation.py`: `divergence` is your two functions as one operation; `Distillation`
# asks the teacher, without a tape, and can mix its part with the labels'. In a terminal: `minilora train
# --teacher BASE+ADAPTER --temperature 4 --mix 1`.
#
# ## What this does not show
#
# A teacher that is larger than its student, the usual reason to distill; here both have one base. Other
# temperatures and mixes. And a teacher can be wrong: its student learns its mistakes as well.
#
# ## Questions
#
# <details><summary>Why must teacher and student have the same tokenizer?</summary>Their probabilities are
# compared token by token: number 17 must mean the same to both.</details>
#
# <details><summary>At T = 1, with a teacher that gives one token everything: which loss is
# it?</summary>The usual cross-entropy with that token as the label.</details>
#
# <details><summary>Is the divergence the same with teacher and student exchanged?</summary>No. Here the student
# is punished where the teacher sees something likely; exchanged, where the student does.</details>
#
# <details><summary>The divergence is 0. Are the logits equal?</summary>Up to one number for each row: softmax does
# not see a constant that is added to all logits.</details>
