"""Exercises of lesson 24: from text to numbers.

In a terminal:

    minilora check 24                check your functions
    minilora hint 24.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer
"""

# ---- 24.1 · easy, 10 minutes · merge a pair


def merge(parts, pair):
    """The parts of a word after one pair has become one part.

    parts: list of texts; pair: two texts. Wherever the first of the pair is followed by the second, the two
    become one text. The word is read from left to right, and no part is used twice.

    merge(["c", "a", "c", "a", "o"], ("c", "a")) gives ["ca", "ca", "o"]. Returns a new list.
    """
    raise NotImplementedError


# ---- 24.2 · medium, 15 minutes · encode a word


def encode(letters, merges):
    """The parts of a word, by a list of pairs in the order in which they were learned.

    The pair that was learned first is merged first, wherever it is in the word; then again the first learned
    of the pairs that are there now; until no two neighbours are a pair of the list.

    letters: list of single letters; merges: list of pairs of texts. Returns a list of texts.
    """
    raise NotImplementedError
