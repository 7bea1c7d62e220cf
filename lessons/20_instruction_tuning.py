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
# # 20 · Instruction tuning
#
# *15 minutes to read · needs lesson 6 · reads `minilora/text/batches.py` · exercise 20.1*
#
# **You will be able to** turn a conversation into tokens and labels, say what happens when the end mark is
# never learned, and measure what a model forgets meanwhile.

# %%
import numpy as np

from minilora import LoraConfig, get_peft_model
from minilora.course.lesson import BLUE, GREEN, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.course.lab.tune import corpus_loss, load_base
from minilora.tasks.shipped import get_task
from minilora.training.loop import train
from minilora.training.optim import AdamW, linear_decay

# %% [markdown]
# ## A model that continues
#
# A base continues text. Asked a question, it may answer, ask another, or go on with a story. *Instruction
# tuning* trains it on many pairs of request and answer, all written in one form, the **chat template**: who
# speaks, and where each part begins and ends. Ours has two lines:
#
# ```text
# Question: Where does Ned Rudd live?
# Answer: {"answer": "Ned Rudd lives on Mill Lane."}
# ```
#
# Real templates use tokens of their own for "the user speaks", "the model speaks" and "the end". What counts is
# that the same form is used afterwards, when the model is asked.

# %%
base, tokenizer = load_base()
task = get_task("style-json")
examples, tests = task.examples("train"), task.examples("test")[:48]


def question_of(example):  # -> its tokens, up to where the answer begins
    return tokenizer.encode(f"Question: {example['prompt']}\nAnswer: ")


example = examples[0]
print(f"Question: {example['prompt']}\nAnswer: {example['response']}")
print(
    "tokens:",
    len(question_of(example)),
    "of the question,",
    len(tokenizer.encode(example["response"])),
    "of the answer",
)

# %% [markdown]
# ## What is to be learned
#
# The loss has a label for each token (lesson 4), and -100 where nothing is to be learned. Which tokens of a
# conversation are to be learned? The model will never have to write questions. But it must write the
# answers, **and the end after each of them**: stopping is something that it learns like any other token.
#
# ## Do: labels

# %%
cards("20.1")


# %% tags=["exercise"]
def label_answers(parts, end):
    """The ids of a conversation, and the labels of what is to be learned of it.

    parts: list of (is_answer, ids): pieces of the conversation in order, with their tokens. After
    each answer, and nowhere else, the token `end` is added: the model must learn to stop.

    A token that is to be learned has itself as its label: those of the answers, and their ends.
    Every other token has the label -100, which the loss leaves out.

    Returns (ids, labels), two arrays of whole numbers of one length.
    """
    raise NotImplementedError


check("20.1", label_answers)

# %% [markdown]
# ## Three ways to label
#
# We train three models on the same questions, 50 steps each. One has your labels. In one the end has the
# label -100: a common mistake, often made by a library that pads with the end token and leaves padding out. In
# one the questions are learned too.
#
# **Predict.** Without the learned end: what share of 48 answers *begins* right? And what share *is* right, to
# the last character?

# %%
exact = predict("end never learned: share of the answers that are exactly right?", None)

# %%
label = answer("20.1")
END = tokenizer.eos_id


def batches(change):  # endless, of 16 conversations
    rng = np.random.default_rng(0)
    while True:
        rows = []
        for i in rng.integers(0, len(examples), 16):
            parts = [
                (False, question_of(examples[i])),
                (True, tokenizer.encode(examples[i]["response"])),
            ]
            rows.append(change(*(np.asarray(part) for part in label(parts, END))))
        width = max(len(ids) for ids, _ in rows)
        pad = [(tokenizer.pad_id, 0), (-100, 1)]
        yield tuple(
            np.stack([np.pad(row[k], (0, width - len(row[k])), constant_values=v) for row in rows])
            for v, k in pad
        )


ways = {
    "answers and ends": lambda ids, labels: (ids, labels),
    "answers, no ends": lambda ids, labels: (ids, np.where(ids == END, -100, labels)),
    "questions too": lambda ids, labels: (ids, ids),
}
results, first = {}, {}
for name, change in ways.items():
    model = get_peft_model(
        load_base()[0], LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"), seed=0
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    train(
        model, batches(change), AdamW(trained, lr=5e-3, weight_decay=0.0), 50, linear_decay(50, 10)
    )
    prompts = [question_of(example) for example in tests]
    found = model.generate(prompts, 40, eos_token_id=END)
    texts = [
        tokenizer.decode([int(v) for v in ids[len(prompt) :] if v != END]).strip()
        for ids, prompt in zip(found, prompts, strict=True)
    ]
    wanted = [example["response"] for example in tests]
    results[name] = (
        float(np.mean([t.startswith(w) for t, w in zip(texts, wanted, strict=True)])),
        float(np.mean([t == w for t, w in zip(texts, wanted, strict=True)])),
        float(np.mean([ids[-1] == END for ids in found])),
        corpus_loss(model, tokenizer),
    )
    first[name] = texts[0]
table(
    [(name, *row) for name, row in results.items()],
    ("labels on", "begins right", "is right", "stops by itself", "loss on base text"),
)
exact.compare(
    results["answers, no ends"][1],
    wrong={1: "The answers begin right. Then the model goes on: nobody taught it to stop."},
)

# %% tags=["fold"]
expect_between("your labels: is right", results["answers and ends"][1], 0.8, 1)
expect_between("no ends: begins right", results["answers, no ends"][0], 0.8, 1)
expect_between("no ends: is right", results["answers, no ends"][1], 0, 0.2)

# %% tags=["fold"]
for name, text in first.items():
    print(f"{name:17} {text[:60]!r}{' ...' if len(text) > 60 else ''}")

# %% tags=["fold"]
with show_axes(width=9.0, height=4.2) as axes:
    for i, (begins, right, stops, _) in enumerate(results.values()):
        for at, value, colour in ((-0.26, begins, GREEN), (0, right, BLUE), (0.26, stops, ORANGE)):
            axes.bar_label(axes.bar(i + at, value, 0.24, color=colour), fmt="%.2f", padding=3)
    for at, text, colour in (
        (0, "begins right", GREEN),
        (1, "is right", BLUE),
        (2, "stops by itself", ORANGE),
    ):
        axes.text(0.25 + 0.75 * at, 1.2, text, color=colour, ha="center")
    axes.set_xticks(range(3), list(results))
    axes.set(ylabel="share of 48 answers", ylim=(0, 1.3))

# %% [markdown]
# The knowledge is there, every answer begins right, and none is right: the model writes on until it is cut
# off. People often mend this with a stop word in the program. The mistake is in the labels.
#
# Learning the questions too does no harm to the answers here. It spends a part of the training on something
# that is never asked for.
#
# ## What is forgotten
#
# **Predict.** By how much does the loss on base text (lesson 6) rise through 50 steps with your labels: from
# 0.53 to 0.55, 0.8 or 2?

# %%
forgotten = predict("loss on base text after the training: 0.55, 0.8 or 2?", None)

# %%
before = corpus_loss(base, tokenizer)
after = results["answers and ends"][3]
forgotten.compare(min((0.55, 0.8, 2), key=lambda guess: abs(np.log(after / guess))))
print(f"before {before:.2f}, after {after:.2f}")

# %% tags=["fold"]
expect_between("after / before", after / before, 1.05, 4)

# %% [markdown]
# A model that was tuned on one form of answer loses a part of what it could do. The usual cures: a lower rate,
# fewer steps, and text of the old kind mixed into the training.

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/text/batches.py`: `pad_pairs` makes ids and labels of pairs; labels are IGNORE, which is -100, on
# prompts and padding. `minilora/text/chat_template.py` writes a conversation in the form that a model's own
# files describe. In a terminal: `minilora train data.jsonl`.
#
# ## What this does not show
#
# That a tuned model follows requests *in general*: that needs thousands of different ones and a larger
# model. This one learned a single form. One seed, one rate.
#
# ## Questions
#
# <details><summary>The pad token is the end token, and padding has the label -100. What goes wrong
# easily?</summary>Whoever writes "label -100 wherever the token is pad" removes the real ends as well.</details>
#
# <details><summary>Why must the model be asked in the form in which it was trained?</summary>Its answers depend on
# the tokens in front of them. Another form is another text, which the base would continue.</details>
#
# <details><summary>A conversation has three answers. Should only the last be learned?</summary>Not here: each
# answer is a good example, and one pass learns all three.</details>
