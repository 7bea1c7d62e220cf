"""Lesson 24: a pair of parts becomes one part, and a word is encoded by the pairs that were learned."""

from ..compare import Wrong
from ..judge import Exercise


def merge_cases():
    return [
        (["a", "b"], ("a", "b")),
        (["b", "a"], ("a", "b")),
        (["c", "a", "b"], ("a", "b")),
        (["a", "b", "c", "a", "b"], ("a", "b")),
        (["a", "a", "a"], ("a", "a")),
        (["a", "a", "a", "a", "b"], ("a", "a")),
        (["th", "e", "t", "he", "th", "e"], ("th", "e")),
        (["ab", "c", "a", "bc"], ("a", "bc")),
        ([], ("a", "b")),
        (["x"], ("x", "x")),
        (["with", "e", "th", "ex", "th", "e"], ("th", "e")),
    ]


HARBOUR = [("o", "u"), ("a", "r"), ("ou", "r"), ("ar", "b"), ("h", "arb"), ("arb", "our")]


def encode_cases():
    return [
        (["a", "b"], [("a", "b")]),
        (["a", "b", "c"], [("b", "c"), ("a", "b")]),
        (["a", "b", "c"], [("a", "b"), ("b", "c")]),
        (["a", "b", "c"], [("a", "b"), ("ab", "c")]),
        (["x", "y"], [("a", "b")]),
        (["a", "b", "a", "b"], [("a", "b"), ("ab", "ab")]),
        (["a", "b", "c", "d"], [("c", "d"), ("b", "c"), ("a", "b"), ("ab", "cd")]),
        (["t", "h", "e", "n"], [("h", "e"), ("t", "h"), ("t", "he"), ("e", "n")]),
        (["t", "h", "e"], [("h", "e"), ("t", "h"), ("th", "e")]),
        (list("harbour"), HARBOUR),
        (list("harbours"), HARBOUR),
        (["a", "a", "a"], [("a", "a"), ("aa", "a")]),
        ([], [("a", "b")]),
    ]


def merging(step=2, most=None, also_turned=False, from_the_right=False, kept=False):
    """The parts after one pair was merged, with one thing changed."""

    def function(parts, pair):
        found, at, count = [], 0, 0
        pair = tuple(pair)
        parts = [p[::-1] for p in parts[::-1]] if from_the_right else list(parts)
        wanted = {tuple(p[::-1] for p in pair[::-1]) if from_the_right else pair} | (
            {pair[::-1]} if also_turned else set()
        )
        while at < len(parts):
            here = tuple(parts[at : at + 2])
            if here in wanted and (most is None or count < most):
                found += ["".join(here)] + ([here[1]] if kept else [])
                at += step
                count += 1
            else:
                found.append(parts[at])
                at += 1
        return [p[::-1] for p in found[::-1]] if from_the_right else found

    return function


merged = merging()


def in_text(parts, pair):  # the pair is searched in the word's letters, not in its parts
    joined, whole = [], "".join(pair)
    for i, piece in enumerate("".join(parts).split(whole)):
        joined += [whole] * (i > 0) + list(piece)
    return joined


def by_replacing(parts, pair):  # in the parts written with spaces between them
    return " ".join(parts).replace(" ".join(pair), "".join(pair)).split()


def through_a_text(parts, pair):
    return "|".join(parts).replace("|".join(pair), "".join(pair)).split("|")


def encoding(choose=min, most=None):
    """The parts of a word, with another choice among the pairs that are there: of (place in the list, place in the word)."""

    def function(letters, merges):
        parts, ranks = list(letters), {tuple(pair): n for n, pair in enumerate(merges)}
        for _ in range(len(parts) if most is None else most):
            there = [(ranks[p], i, p) for i, p in enumerate(zip(parts, parts[1:], strict=False)) if p in ranks]
            if not there:
                break
            parts = merged(parts, choose(there)[2])
        return parts

    return function


encoded = encoding()


def walking(order=lambda merges: merges, merge=merged):
    """One walk through the list, with another order of it or another merge."""

    def function(letters, merges):
        parts = list(letters)
        for pair in order(merges):
            parts = merge(parts, pair)
        return parts

    return function


def by_sums(letters, merges):
    parts, ranks = list(letters), {"".join(pair): n for n, pair in enumerate(merges)}
    while there := [(ranks[a + b], (a, b)) for a, b in zip(parts, parts[1:], strict=False) if a + b in ranks]:
        parts = merged(parts, min(there)[1])
    return parts


def longest_first(letters, merges):
    vocabulary, whole, parts = {"".join(pair) for pair in merges}, "".join(letters), []
    while whole:
        size = next(n for n in range(len(whole), 0, -1) if whole[:n] in vocabulary or n == 1)
        parts.append(whole[:size])
        whole = whole[size:]
    return parts


# ---- properties


def as_parts(result, arguments):  # -> list of texts
    if isinstance(result, str) or not isinstance(result, list | tuple):
        raise Wrong(f"the result is {result!r:.60}; expected a list of texts", arguments, "the result is no list")
    if bad := [part for part in result if not isinstance(part, str)]:
        raise Wrong(f"the result has {bad[0]!r:.40}, which is no text", arguments)
    return list(result)


def keeps_the_letters(f, cases):
    for c in cases:
        got = as_parts(f(*c), c)
        if "".join(got) != "".join(c[0]):
            said = f"the letters are {''.join(got)!r} now; they were {''.join(c[0])!r}"
            raise Wrong(said, c, "letters are lost, doubled or in another order")


def is_right(expected):
    def check(f, cases):
        for c in cases:
            got, wanted = as_parts(f(*c), c), expected(*c)
            if got != wanted:
                raise Wrong(f"the parts are {got}; expected {wanted}", c)

    return check


EXERCISES = (
    Exercise(
        "24.1",
        "merge",
        "Merge a pair",
        "easy",
        10,
        merge_cases,
        (
            ("keeps the letters and their order", keeps_the_letters),
            ("merges the pair wherever it is", is_right(merged)),
        ),
        (
            ("only the first place is merged", merging(most=1)),
            ("a part is used twice: of three equal parts, two pairs are made", merging(step=1)),
            ("the pair is merged in the other order too", merging(also_turned=True)),
            ("the second of the pair is kept beside the merged part", merging(kept=True)),
            ("the word is read from right to left", merging(from_the_right=True)),
            ("nothing is merged", lambda parts, pair: list(parts)),
            (
                "the word becomes one text: a part that ends like the pair is merged too, and split makes an empty part",
                through_a_text,
            ),
            ("the pair is searched in the letters, not in the parts", in_text),
            ("a part that only ends or begins like the pair is merged too: a part must be equal", by_replacing),
            ("the whole word becomes one part", lambda parts, pair: ["".join(parts)] if parts else []),
        ),
        (
            "Go through the parts with a counter, and build a new list.",
            "If the part here and the one behind it are the pair: append their sum and go two places on, else one.",
            "if tuple(parts[i : i + 2]) == tuple(pair): new.append(pair[0] + pair[1]); i += 2",
        ),
    ),
    Exercise(
        "24.2",
        "encode",
        "Encode a word",
        "medium",
        15,
        encode_cases,
        (
            ("keeps the letters and their order", keeps_the_letters),
            ("merges in the order in which pairs were learned", is_right(encoded)),
        ),
        (
            (
                "the leftmost pair of the word is merged first, whatever its place in the list",
                encoding(choose=lambda there: min(there, key=lambda t: t[1])),
            ),
            ("the pair that was learned last is merged first", encoding(choose=max)),
            ("it stops after the first merge", encoding(most=1)),
            ("the list of pairs is gone through from its end", walking(order=reversed)),
            ("each pair is merged at its first place only", walking(merge=merging(most=1))),
            ("two parts are merged whose sum is in the list, though they are no pair of it", by_sums),
            ("the longest part that is in the list is taken, from left to right", longest_first),
            ("nothing is merged", lambda letters, merges: list(letters)),
            ("the whole word becomes one part", lambda letters, merges: ["".join(letters)] if letters else []),
            (
                "the last letters' pair is merged first, whatever its place in the list",
                encoding(choose=lambda there: max(there, key=lambda t: t[1])),
            ),
        ),
        (
            "Use your merge of exercise 24.1, once for each pair that is to be merged.",
            "Pairs are learned after the parts that they are made of. So one walk through the list, in order, is enough.",
            "for pair in merges: parts = merge(parts, pair)",
        ),
    ),
)
