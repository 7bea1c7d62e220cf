import numpy as np
from exercise_answers import Answers

answers = Answers()


@answers.wrong("20.1", says="never learns to stop")
def no_end(parts, end):
    ids = [v for _, tokens in parts for v in tokens]
    return ids, [v if is_answer else -100 for is_answer, tokens in parts for v in tokens]


@answers.wrong("20.1", says="but not learned")
def end_left_out(parts, end):
    ids, labels = [], []
    for is_answer, tokens in parts:
        ids += [*tokens, end] if is_answer else tokens
        labels += [*tokens, -100] if is_answer else [-100] * len(tokens)
    return ids, labels


@answers.wrong("20.1", says="the questions too")
def all_of_it(parts, end):
    ids = [v for is_answer, tokens in parts for v in (*tokens, *[end] * is_answer)]
    return ids, ids


@answers.wrong("20.1", says="shifted by one place")
def moved(parts, end):
    ids, labels = with_arrays(parts, end)
    return ids, np.append(labels[1:], -100)


@answers.right("20.1")
def with_arrays(parts, end):
    ids = np.concatenate([np.append(tokens, [end] * is_answer).astype(int) for is_answer, tokens in parts])
    learn = np.concatenate([np.full(len(tokens) + is_answer, is_answer) for is_answer, tokens in parts])
    return ids, np.where(learn, ids, -100)


@answers.right("20.1")
def token_by_token(parts, end):
    pairs = []
    for is_answer, tokens in parts:
        pairs += [(v, v if is_answer else -100) for v in tokens]
        if is_answer:
            pairs.append((end, end))
    return [p[0] for p in pairs], [p[1] for p in pairs]


test_a_wrong_answer_is_caught, test_a_right_answer_written_differently_passes = answers.tests()
