import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("24.1", says="only the first place")
def once(parts, pair):
    for i in range(len(parts) - 1):
        if (parts[i], parts[i + 1]) == tuple(pair):
            return [*parts[:i], "".join(pair), *parts[i + 2 :]]
    return list(parts)


@answers.wrong("24.1", says="the letters are")
def overlapping(parts, pair):
    found = []
    for i, part in enumerate(parts):
        if tuple(parts[i : i + 2]) == tuple(pair):
            found.append("".join(pair))
        elif i == 0 or tuple(parts[i - 1 : i + 1]) != tuple(pair):
            found.append(part)
    return found


@answers.wrong("24.1", says="not in the parts")
def by_replacing(parts, pair):
    text = "\0".join("".join(parts).split("".join(pair)))
    found = []
    for letter in text:
        found.append("".join(pair) if letter == "\0" else letter)
    return found


@answers.wrong("24.1", says="only ends or begins")
def by_replacing_between_marks(parts, pair):
    return "\n".join(parts).replace("\n".join(pair), "".join(pair)).split("\n") if parts else []


@answers.wrong("24.1", says="changes its first argument")
def in_the_given_list(parts, pair):
    parts[:] = by_index(parts, pair)
    return parts


@answers.wrong("24.1", says="expected a list of texts")
def an_array(parts, pair):
    return np.array(by_index(parts, pair), dtype=object)


@answers.wrong("24.1", says="is None")
def in_place_without_result(parts, pair):
    parts[:] = by_index(parts, pair)


@answers.right("24.1")
def by_index(parts, pair):
    parts, i = list(parts), 0
    while i < len(parts) - 1:
        if parts[i] == pair[0] and parts[i + 1] == pair[1]:
            parts[i : i + 2] = [pair[0] + pair[1]]
        i += 1
    return parts


@answers.right("24.1")
def by_recursion(parts, pair):
    if len(parts) < 2:
        return list(parts)
    if tuple(parts[:2]) == tuple(pair):
        return ["".join(pair), *by_recursion(parts[2:], pair)]
    return [parts[0], *by_recursion(parts[1:], pair)]


@answers.wrong("24.2", says="leftmost")
def from_the_left(letters, merges):
    parts, i = list(letters), 0
    while i < len(parts) - 1:
        if (parts[i], parts[i + 1]) in [tuple(m) for m in merges]:
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
            i = 0
        else:
            i += 1
    return parts


@answers.wrong("24.2", says="longest part")
def greedy(letters, merges):
    text, known, found = "".join(letters), {a + b for a, b in merges}, []
    while text:
        n = max(n for n in range(1, len(text) + 1) if n == 1 or text[:n] in known)
        found.append(text[:n])
        text = text[n:]
    return found


@answers.wrong("24.2", says="learned last")
def backwards(letters, merges):
    return again_and_again(letters, merges[::-1])


@answers.wrong("24.2", says="from its end")
def one_walk_from_the_end(letters, merges):
    return one_walk(letters, merges[::-1])


@answers.wrong("24.2", says="first place only")
def once_for_each_pair(letters, merges):
    parts = list(letters)
    for pair in merges:
        parts = once(parts, pair)
    return parts


@answers.wrong("24.2", says="whose sum is in the list")
def by_the_texts_of_the_list(letters, merges):
    parts, texts = list(letters), [a + b for a, b in merges]
    while True:
        sums = [a + b for a, b in zip(parts, parts[1:], strict=False)]
        there = [text for text in texts if text in sums]
        if not there:
            return parts
        at = sums.index(there[0])
        parts[at : at + 2] = [there[0]]


@answers.right("24.2")
def again_and_again(letters, merges):
    parts = list(letters)
    while True:
        there = [m for m in merges if tuple(m) in set(zip(parts, parts[1:], strict=False))]
        if not there:
            return parts
        parts = by_index(parts, there[0])


@answers.right("24.2")
def one_walk(letters, merges):
    parts = tuple(letters)
    for pair in merges:
        parts = by_recursion(parts, pair)
    return list(parts)


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
