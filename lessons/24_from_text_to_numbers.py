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
# # 24 · From text to numbers
#
# *15 minutes to read · needs nothing · reads `minilora/text/byte_bpe.py` · exercises 24.1 and 24.2*
#
# **You will be able to** say why one word is one token and another is five, make a vocabulary out of a text,
# and encode a word by hand.

# %%
import json
from collections import Counter

from minilora.course import drawings
from minilora.course.lesson import BLUE, ORANGE, answer, cards, check
from minilora.course.lesson import expect, expect_between, predict, predictions, show_axes, table
from minilora.files.shipped import shipped
from minilora.text.byte_bpe import BYTE_AS_LETTER, ByteBPE, word_pattern

# %% [markdown]
# ## A model reads numbers
#
# A model has one vector for each *token*, in a table with as many rows as there are tokens. Before anything else
# a text is cut into tokens, and each token is replaced by the number of its row. After that the model never sees
# a letter again.
#
# What should a token be? A whole word needs a row for every word, and has none for a word it never met. A
# single letter needs few rows, but makes a text long: the work of attention grows with the square of the length.
# Nearly all models take something between the two: **pieces**, long where a text repeats itself and short where
# it does not.
#
# The model of this course has 1,024 tokens. They were made from texts about its town.

# %%
spec = json.loads(shipped("tokenizer.json").read_text(encoding="utf-8"))
tokenizer = ByteBPE(spec)


def pieces(text):  # -> the tokens of a text, as text
    return [tokenizer.id_to_token(i) for i in tokenizer.encode(text).ids]


line = "Bess Moss lives on Mill Lane."
print(tokenizer.encode(line).ids)
print(pieces(line))

# %% [markdown]
# `Ġ` is the space in front of a word: it belongs to the word. So "lives" is one token in the middle of a line and
# three others at its beginning, and the model has to learn both.
#
# **Predict.** Into how many pieces does this tokenizer cut " unbelievable", a word that its texts do not have?
# And how many tokens is the sign 😀, which they do not have either?

# %%
rare = predict("pieces of ' unbelievable'", None)
smile = predict("tokens of 😀", None)

# %%
rare.compare(len(pieces(" unbelievable")))
smile.compare(len(pieces("😀")))
for text in (" lives", "lives", " unbelievable", "😀"):
    print(f"{text:14} {pieces(text)}")

# %% tags=["fold"]
expect("tokens of lives, inside and first", (len(pieces(" lives")), len(pieces("lives"))), (1, 3))

# %% [markdown]
# ## Bytes: nothing is unknown
#
# A computer keeps a text as bytes, numbers from 0 to 255. A plain letter is one byte, é is two, 😀 is four
# (the encoding is called UTF-8). 256 of the tokens of our vocabulary are the 256 bytes. So every text has
# tokens, whatever its language: in the worst case one for each byte.
#
# A byte that is no visible sign is written as another letter: the space as `Ġ`, and three of the four bytes of 😀.

# %%
for text in ("a", "é", "😀", " "):
    numbers = list(text.encode())
    print(f"{text!r:5} bytes {numbers!s:22} as letters {[BYTE_AS_LETTER[b] for b in numbers]}")

# %% [markdown]
# ## Pairs: where the other tokens come from
#
# *Byte pair encoding* (Sennrich and others, 2016) makes them, one after the other:
#
# 1. cut the texts into words, and each word into single bytes;
# 2. count how often each pair of parts is side by side;
# 3. the pair that is counted most often becomes a new part, in every word that has it;
# 4. go back to 2, until there are as many parts as you want.
#
# ## Do: merge a pair

# %%
cards("24.1")


# %% tags=["exercise"]
def merge(parts, pair):
    """The parts of a word after one pair has become one part.

    parts: list of texts; pair: two texts. Wherever the first of the pair is followed by the second, the two
    become one text. The word is read from left to right, and no part is used twice.

    merge(["c", "a", "c", "a", "o"], ("c", "a")) gives ["ca", "ca", "o"]. Returns a new list.
    """
    raise NotImplementedError


check("24.1", merge)

# %% [markdown]
# With this function the whole training is ten lines. We do its first 40 steps on the text that the base was
# trained on.
#
# **Predict.** Which part of two letters is made first?

# %%
first = predict("the first pair, such as 'th'", None)

# %%
merge_pair = answer("24.1")
corpus = shipped("corpus.txt").read_text(encoding="utf-8").replace("<|endoftext|>", "")
often = Counter(word_pattern().findall(corpus))  # {word: how often}
words = {word: [BYTE_AS_LETTER[b] for b in word.encode()] for word in often}
learned = []
for _ in range(40):
    pairs = Counter()
    for word, parts in words.items():
        for pair in zip(parts, parts[1:], strict=False):
            pairs[pair] += often[word]
    best = max(pairs, key=pairs.get)
    learned.append(best)
    words = {word: merge_pair(parts, best) for word, parts in words.items()}
first.compare(
    "".join(learned[0]),
    wrong={"th": 'Each "the" has a th and an he; "he", "when" and "her" have an he alone.'},
)
print("learned:", " ".join("".join(pair) for pair in learned[:24]))
merges = [tuple(pair) for pair in spec["model"]["merges"]]
print("shipped:", " ".join("".join(pair) for pair in merges[:24]))

# %% tags=["fold"]
expect("the first pair", learned[0], merges[0])
expect_between("of our 40 in the first 100 shipped", len({*learned} & {*merges[:100]}), 30, 40)

# %% [markdown]
# The two lists begin alike. They are not the same: the shipped one also counted the texts of the tasks.
#
# The cut into words and the list of pairs, in the order in which they were learned, **are** the tokenizer. It has
# no grammar, no dictionary and no meaning. What is frequent together becomes one token.
#
# ## Do: encode a word
#
# To encode a word, which the training may never have seen, the same pairs are merged again, in the same order.

# %%
cards("24.2")


# %% tags=["exercise"]
def encode(letters, merges):
    """The parts of a word, by a list of pairs in the order in which they were learned.

    The pair that was learned first is merged first, wherever it is in the word; then again the first learned
    of the pairs that are there now; until no two neighbours are a pair of the list.

    letters: list of single letters; merges: list of pairs of texts. Returns a list of texts.
    """
    raise NotImplementedError


check("24.2", encode)

# %%
encode_word = answer("24.2")
known = sorted(often, key=often.get)[-300:]
strange = [" unbelievable", " lighthouse", " Photosynthesis", " fishmonger"]
same = [
    encode_word([BYTE_AS_LETTER[b] for b in word.encode()], merges) == pieces(word)
    for word in known + strange
    if not any(letter.isdigit() for letter in word)  # the tokenizer cuts digits apart first
]
print(f"as the tokenizer does it: {sum(same)} of {len(same)} words")

# %% tags=["fold"]
expect("words with the same tokens", sum(same), len(same))

# %% tags=["fold"]
steps, parts = [], [BYTE_AS_LETTER[b] for b in b" fishmonger"]
while not steps or parts != steps[-1]:
    steps.append(parts)
    there = [p for p in merges if p in set(zip(parts, parts[1:], strict=False))]
    parts = merge_pair(parts, there[0]) if there else parts
with show_axes(width=9.0, height=4.6) as axes:
    drawings.merging_a_word(axes, steps)

# %% [markdown]
# ## What a larger vocabulary buys
#
# Every pair that is learned makes texts shorter and adds a row to the table of vectors, here 128 numbers. The
# first pairs save much, later ones little. Ours has 256 bytes, 766 pairs, the end of a text and a filler: 1,024 rows.
#
# **Predict.** With single bytes, a held-out text has 1 token for each byte. How many are they with the first 100
# pairs? And with all 766?

# %%
hundred = predict("tokens for each byte after 100 pairs", None)
all_of_them = predict("tokens for each byte after 766 pairs", None)

# %%
held_out = shipped("corpus_valid.txt").read_text(encoding="utf-8").replace("<|endoftext|>", "")
counted = Counter(word_pattern().findall(held_out))
letters = {word: [BYTE_AS_LETTER[b] for b in word.encode()] for word in counted}
total = sum(len(letters[word]) * n for word, n in counted.items())
sizes = (0, 10, 30, 100, 200, 400, 766)
share = {}
for size in sizes:
    share[size] = sum(
        len(encode_word(letters[word], merges[:size])) * n for word, n in counted.items()
    )
    share[size] /= total
table([(size, 256 + size, value) for size, value in share.items()], ("pairs", "tokens", "per byte"))
hundred.compare(share[100])
all_of_them.compare(share[766])

# %% tags=["fold"]
expect_between("per byte with 100 pairs", share[100], 0.5, 0.65)
expect_between("per byte with all", share[766], 0.25, 0.4)

# %% tags=["fold"]
with show_axes(width=8.0, height=4.2) as axes:
    axes.plot(list(share), list(share.values()), "o-", color=BLUE)
    axes.text(130, share[100] + 0.04, f"100 pairs: {share[100]:.2f}", color=BLUE)
    axes.text(766, share[766] + 0.05, f"766 pairs: {share[766]:.2f}", color=ORANGE, ha="right")
    axes.plot(766, share[766], "o", color=ORANGE, markersize=11)
    axes.set(xlabel="pairs learned", ylabel="tokens for each byte", ylim=(0, 1.05))

# %% [markdown]
# Published models have 32,000 to 256,000 tokens. Ours has 1,024: a table of 32,000 rows of 128 numbers would have
# 4 million, and the whole model has 0.87 million.
#
# ## What the model does not see
#
# " Lane" is one number and " lane" is two others. That they are the same word is not written anywhere: the model has
# to learn it from texts. It cannot see that "strawberry" has three r either: it gets six numbers. Digits are single
# tokens here, so that a number is read digit by digit, as on paper.

# %%
for text in (
    " Lane",
    " lane",
    "strawberry",
    " 1984",
    "harbour",
    " harbour",
    "Tidewick",
    "Photosynthesis",
):
    print(f"{text:15} {len(pieces(text)):2} tokens  {pieces(text)}")

# %%
predictions()

# %% [markdown]
# ## Where this lives in the code
#
# `minilora/text/byte_bpe.py`: `ByteBPE.encode` cuts at words. `_merged` is your `encode`, with a dictionary that
# says how early each pair was learned; `_joined` is your `merge`. The library `tokenizers` does the same faster,
# and is used where it is installed; in a browser it is not. `minilora/text/train_tokenizer.py` trains one,
# `minilora data FILE` shows the tokens of a file.
#
# ## What this does not show
#
# Other ways to make pieces: Unigram (SentencePiece) keeps the pieces with which a text is most probable. And models
# on bytes alone: they exist, and need other layers to be fast.
#
# ## Questions
#
# <details><summary>An adapter was trained with one tokenizer and is used with another of the same size. What
# happens?</summary>Every shape fits, and every word is another one: each row of the table now means something
# else.</details>
#
# <details><summary>Why is a prompt that ends with a space often answered badly?</summary>The space is a token of
# its own then. In training it was part of the next word, so the model has rarely seen what follows such a
# token.</details>
#
# <details><summary>A text in another language costs twice as many tokens. Why?</summary>The pairs were counted on other
# texts. Words that were rare there are cut into many short pieces, in the worst case into bytes.</details>
#
# <details><summary>Can two different lists of tokens be decoded to the same text?</summary>Yes: "he" as one token,
# and "h" and "e" as two. Encoding always gives the first; a model may write the second.</details>
