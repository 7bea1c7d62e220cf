"""Does a function have the properties that an exercise asks for? If not: which one fails, and by which mistake?

A check never compares source text, and accepts any way of writing: it calls the student's function on small inputs,
smallest first, and looks at the results. It tries one property at a time, easy ones first.
"""

import copy
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .compare import NO_RETURN, Wrong, flat
from .explanations import explain
from .messages import in_words, paste
from .mutants import double_mutants, mutants, solution
from .outcomes import constant, outcomes
from .places import right_where
from .wire import Formula as Formula  # the files of checks/ take it from here


@dataclass(frozen=True)
class Exercise:
    """number          "6.2"
    function        the name of the function that the student writes
    cases           () -> list of argument tuples, the smallest first
    properties      (sentence, check): check(f, cases) raises Wrong
    misconceptions  (sentence, function): a known mistake, and a function that makes it
    hints           three: a nudge, a sketch, almost the answer
    seen            what of a result counts where several are right: known mistakes are compared in it; None: all of it
    """

    number: str
    function: str
    title: str
    difficulty: str
    minutes: int
    cases: Callable
    properties: tuple
    misconceptions: tuple = ()
    hints: tuple = ()
    seen: Callable | None = None

    lesson = property(lambda self: int(self.number.split(".")[0]))


SECONDS = 1.0  # of processor time to look for the name of a mistake; then a hint is better than waiting


class Raised(Exception):
    """The student's function raised `error` when called with `arguments`."""

    def __init__(self, error, arguments):
        super().__init__(str(error))
        self.error, self.arguments = error, arguments


class Stopped(BaseException):
    """The function's process has ended or does not answer: nothing more can be asked. The text says why."""


@dataclass
class Verdict:
    """state    "passed", "failed" or "not started"; the runner adds "no file", "does not load", "stopped"
    named    the mistake as one sentence, "" when it is not known
    file     the file that was judged, uses: the modules that it imports; both for a class, else ""
    passed   sentences of the properties that hold, in order
    failing  the sentence of the first that does not, or ""
    message  what is wrong, in words for the student
    paste    two lines that show the failing call, or ()
    """

    state: str
    passed: list = field(default_factory=list)
    failing: str = ""
    message: str = ""
    paste: tuple = ()
    error: BaseException | None = None
    named: str = ""
    file: str = ""
    uses: str = ""


# ---- calling


class Guarded:
    """The student's function, called on copies of its arguments; remembers whether it ever changed one."""

    def __init__(self, function, before_call):
        self.function, self.before_call = function, before_call
        self.wrote = None  # (position, arguments) of the first argument that it changed

    def __call__(self, *arguments):
        given = copy.deepcopy(arguments)
        self.before_call()
        try:
            result = self.function(*given)
        except (NotImplementedError, KeyboardInterrupt, Stopped):
            raise
        except BaseException as error:  # SystemExit too: a submission must not end the check
            raise Raised(error, arguments) from error
        changed = (i for i, (a, b) in enumerate(zip(arguments, given, strict=True)) if not _same_bits(a, b))
        self.wrote = self.wrote or next(((i, arguments) for i in changed), None)
        return _snapshot(result)

    def peak(self, *arguments) -> int:
        """The bytes that a call takes at most, on top of its arguments."""
        if isinstance(getattr(self.function, "peak", None), int):  # in another process, which has measured
            self(*arguments)
            return self.function.peak
        traced = tracemalloc.is_tracing()
        if not traced:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            self(*arguments)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            if not traced:
                tracemalloc.stop()


def _snapshot(result):  # a result that is itself an argument must not change later
    try:
        return copy.deepcopy(result)
    except Exception:  # a generator, an open file: nothing that a check can use
        return result


def _same_bits(a, b):
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple | dict):
        items = zip(a.values(), b.values(), strict=False) if isinstance(a, dict) else zip(a, b, strict=False)
        return type(a) is type(b) and len(a) == len(b) and all(_same_bits(x, y) for x, y in items)
    return not isinstance(a, str | int | float) or a == b or a != a  # nan is nan


def judge(
    exercise: Exercise,
    function: Callable,
    progress: Callable = lambda sentence: None,
    before_call: Callable = lambda: None,
) -> Verdict:
    """Try the properties of `exercise` on `function`, one after another. Returns a Verdict; raises only Stopped.

    progress(sentence) is called before each property, before_call() before each call of the function.
    """
    guarded = Guarded(function, before_call)
    cases = exercise.cases()
    properties = [*exercise.properties, ("leaves its inputs unchanged", _leaves_inputs)]
    passed = []
    for sentence, check in properties:
        progress(sentence)
        try:
            check(guarded, cases)
        except NotImplementedError:
            return Verdict(
                "not started" if not passed else "failed", passed, sentence, "raise NotImplementedError is still in it"
            )
        except (Wrong, Raised) as failure:
            message, error, named = failure.args[0], None, getattr(failure, "cause", "")
            if isinstance(failure, Raised):
                error = failure.error
                message = named = getattr(error, "words", None) or in_words(error)
            changed = guarded.wrote and check is not _leaves_inputs
            if named != NO_RETURN and (name := recognise(exercise, function)):
                stop = "" if not message else " " if message.endswith(("?", ".")) else ". "
                message += f"{stop}You get this result when {name}"
                named = name
            elif changed and guarded.wrote:
                message += f"\nAlso, {changed_argument(guarded.wrote[0])}"
                named = named or changed_argument(guarded.wrote[0]).partition(",")[0]
            if not named:
                message += f"\nA first hint: {exercise.hints[0]}"
            return Verdict(
                "failed",
                passed,
                sentence,
                message.strip(),
                paste(exercise.lesson, exercise.function, failure.arguments),
                error,
                named,
            )
        except Exception as error:  # from a comparison: the result has a type that no check expects
            message = f"the result of your function cannot be compared ({type(error).__name__}: {error})"
            return Verdict("failed", passed, sentence, message)
        passed.append(sentence)
    return Verdict("passed", passed)


def with_lines(verdict: Verdict, lines: str, words: str) -> None:
    """Put the student's own lines that led to an error in front of the message, which says `words` no second time."""
    verdict.message = f"{lines}\n{verdict.message.removeprefix(words).removeprefix('.').lstrip()}".rstrip()


def _leaves_inputs(f, cases):
    if f.wrote:
        position, arguments = f.wrote
        raise Wrong(changed_argument(position), arguments, changed_argument(position).partition(",")[0])


def changed_argument(position: int) -> str:
    ordinal = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")[position]
    return (
        f"your function changes its {ordinal} argument, but the caller still needs the old values: work on a copy, "
        "or write y = y + z instead of y += z"
    )


def recognise(exercise: Exercise, function: Callable) -> str | None:
    """The sentence of the known mistake whose results equal the function's in every case, or None.

    Known are the misconceptions of the exercise and the course's own solution with one change, then the mistakes around
    a right result, then the solution with two changes, which are tried for SECONDS at most.
    """
    until = time.process_time() + SECONDS
    cases = exercise.cases()
    try:
        results = [_result(function, arguments, exercise.seen) for arguments in cases]
    except Stopped:
        return None
    right = [_result(solution(exercise.lesson, exercise.function)[0], c, exercise.seen) for c in cases]
    if all(map(_tells_nothing, results)) or any(isinstance(r, str) and r == NO_NUMBERS for r in results):
        return None
    if all(_same_result(a, b) for a, b in zip(results, right, strict=True)):
        return None
    values = any(not _tells_nothing(r) and not _same_result(r, w) for r, w in zip(results, right, strict=True))
    for known in (_written_down, _changed, _mixed, _twice) if values else (_written_down,):  # errors alone tell little
        if time.process_time() > until:
            break
        left = known(exercise)
        for result, arguments in zip(results, cases, strict=True):  # most mistakes differ in the first case already
            left = [
                (s, mistaken)
                for s, mistaken in left
                if _same_result(result, _result(mistaken, arguments, exercise.seen))
            ]
        if left:
            return left[0][0] if known is _written_down else _plainest([sentence for sentence, _ in left])
    if not values:
        return None
    return (
        _by_numbers(exercise, cases, results, right)
        or _mostly(exercise, cases, results, right)
        or right_where(cases, _parameters(exercise), results, right)
    )


def _mostly(exercise, cases, results, right):
    """The known mistake whose results are those of most of the wrong cases: with another one it makes all of them."""
    wrong = [(r, c) for r, c, w in zip(results, cases, right, strict=True) if not _same_result(r, w)]
    given = [(result, arguments) for result, arguments in wrong if not isinstance(result, str)]
    for sentence, mistaken in exercise.misconceptions:
        same = sum(_same_result(result, _result(mistaken, arguments, exercise.seen)) for result, arguments in given)
        if same >= max(4, 0.7 * len(wrong)):
            return f"{sentence} (in {same} of {len(wrong)} wrong cases: there is a second mistake)"
    return ""


def _plainest(sentences):  # of changes that cannot be told apart
    return next((s for s in sentences if s.endswith("is left out")), sentences[0])


def _by_numbers(exercise, cases, results, right):
    """The sentence for results that one number, term or factor explains; of several results in a tuple, one of them."""
    if any(isinstance(got, str) or len(got) != len(wanted) for got, wanted in zip(results, right, strict=True)):
        return ""
    if any(a.dtype.kind in "Uc" for all_of in (*results, *right) for a in all_of):
        return ""  # texts, which have no factor, and complex numbers
    said = _explained(exercise, cases, results, right)
    if said:
        return said.replace("every result", "the result of every call")
    for k, name in enumerate(("the first result", "the second result", "the third result")):
        if min(len(w) for w in right) <= max(k, 1):
            return ""  # one result, or not so many
        others = all(_same_result(g[:k] + g[k + 1 :], w[:k] + w[k + 1 :]) for g, w in zip(results, right, strict=True))
        one, right_one = ([r[k : k + 1] for r in all_of] for all_of in (results, right))
        if others and (said := _explained(exercise, cases, one, right_one)):
            return said.replace("every result", f"{name} of every call").replace("the result", name)
    return ""


def _explained(exercise, cases, results, right):
    got, wanted = ([a for result in all_of for a in result] for all_of in (results, right))
    return constant(got, wanted) or explain(cases, _parameters(exercise), got, wanted)


def _written_down(exercise):
    return exercise.misconceptions


def _changed(exercise):
    return mutants(exercise.lesson, exercise.function)


def _mixed(exercise):
    function, _ = solution(exercise.lesson, exercise.function)
    right = function(*copy.deepcopy(exercise.cases()[0]))
    return outcomes(function, _parameters(exercise), len(right) if isinstance(right, tuple) else 0)


def _parameters(exercise):
    return tuple(a.arg for a in solution(exercise.lesson, exercise.function)[1].args.args)


def _twice(exercise):
    return double_mutants(exercise.lesson, exercise.function)


NO_NUMBERS = "no numbers"  # a result of a type that no check expects: nothing can be compared with it


def _result(function, arguments, seen=None):  # -> list of arrays, the name of the error when it raises, or NO_NUMBERS
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            found = function(*copy.deepcopy(arguments))
    except (KeyboardInterrupt, Stopped):
        raise
    except BaseException as error:  # SystemExit too
        return getattr(error, "kind", type(error).__name__)
    try:
        return flat(found if seen is None else seen(found))
    except Exception:
        return NO_NUMBERS


def _tells_nothing(result):  # an error, or nan everywhere
    filled = [result] if isinstance(result, str) else [a for a in result if a.size]
    return bool(filled) and all(isinstance(a, str) or a.dtype.kind == "f" and not np.isfinite(a).any() for a in filled)


def _same_result(a, b):  # both raise the same error, or both give the same arrays
    if isinstance(a, str) or isinstance(b, str) or len(a) != len(b):
        return a == b
    return all(_same_array(x, y) for x, y in zip(a, b, strict=True))


def _same_array(x, y):  # of numbers or of names
    if x.dtype.kind == "U" or y.dtype.kind == "U":
        return np.array_equal(x, y)
    return x.shape == y.shape and np.allclose(x, y, 1e-5, 1e-9, equal_nan=True)
