"""The functions that the cells of a lesson call: predict a result, expect it, show it, replay a sweep."""

import base64
import contextlib
import html
import io
import itertools
import json
import re
import sys
import textwrap
import time

import numpy as np

from ..display.numbers import number_text
from ..display.plots import COLOURS, STYLE
from ..files.shipped import shipped
from . import answering
from .answering import answer as answer
from .answering import check as check
from .answering import hint as hint
from .answering import load_answers as load_answers
from .answering import progress as progress
from .answering import save_answers as save_answers
from .svg import as_svg, in_page

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = COLOURS


class Prediction:
    """The reader's answer to a question, kept until the run has its own."""

    def __init__(self, question, answer):
        self.question, self.answer = question, answer
        self.actual = None
        self.right: bool | None = None  # None: not compared yet, or no answer
        self.off = 0.0  # how far, in factors; inf for a wrong choice

    def compare(self, actual, of: tuple[str, ...] = (), wrong: dict | None = None):
        """Print the prediction beside the result. No prediction is no error, and none stops the lesson.

        actual: a number, text, list, or a set of choices. Choices are compared as sets: "A and B" is {"B", "A"}, and
        "none" is the empty set. of: all choices, so that "both" and "all" mean them.
        wrong: {answer: a sentence for the reader who gave it}.
        """
        self.actual = actual
        predicted = "no prediction" if self.answer is None else f"you said {_text(self.answer)}"
        try:
            said = self._judged(actual, of)
        except (TypeError, ValueError, OverflowError):  # the reader's answer is not one that can be compared
            self.right, self.off, said = False, np.inf, ""
        print(f"{self.question}\n    {predicted}; the result is {_text(actual)}{said}")
        for choice, sentence in (wrong or {}).items():
            if self.right is False and _same_choice(choice, self.answer, of):
                print(textwrap.fill(sentence, 96, initial_indent="    ", subsequent_indent="    "))

    def _judged(self, actual, of):  # -> what is printed behind the result
        if self.answer is None:
            return ""
        if isinstance(actual, str | set) or np.shape(self.answer) != () or np.shape(actual) != ():
            self.right = _same_choice(self.answer, actual, of)
            self.off = 0.0 if self.right else np.inf
            return "  (as predicted)" if self.right else ""
        answer, result = float(NUMBER_WORDS[self.answer] if self.answer in NUMBER_WORDS else self.answer), float(actual)
        self.right = answer == result
        if self.right:
            return "  (as predicted)"
        if answer <= 0 or result <= 0:
            self.off = np.inf
            return f"  (you were off by {abs(answer - result):.3g})"
        self.off = max(answer / result, result / answer)
        self.right = self.off < 1.03
        return "  (as predicted, within 3%)" if self.right else f"  (you were off by a factor of {self.off:.3g})"


NUMBER_WORDS = {w: n for n, w in enumerate("zero one two three four five six seven eight nine ten".split())}


def _text(value):  # of a prediction or a result
    return " and ".join(sorted(map(str, value))) or "none" if isinstance(value, set) else number_text(value)


def _same_choice(a, b, of):
    chosen = [_chosen(value, of) for value in (a, b)]
    return bool(np.array_equal(a, b)) if None in chosen else chosen[0] == chosen[1]


def _chosen(value, of):  # -> set of choices in lower case, or None when `value` is no choice
    if isinstance(value, str):
        words = value.strip().lower()
        if words in ("none", "neither", "nothing"):
            return set()
        if words in ("both", "all") and of:
            return {name.lower() for name in of}
        return {part for part in re.split(r"\s*[,;+&]\s*|\s+and\s+", words) if part}
    if isinstance(value, set | tuple | list) and all(isinstance(v, str) for v in value):
        return {v.strip().lower() for v in value}
    return None


_predictions: dict[str, Prediction] = {}  # by question, so that a cell that runs again replaces its own


def predict(question: str, answer=None) -> Prediction:  # answer: number, text, set of texts, or None
    """Keep an answer, to compare it with the result later. With None, print that there is none yet, and go on."""
    if answer is None:
        print(f"predict: {question}\n    replace None by your answer and run this cell again, or go on without one")
    else:
        print(f"predict: {question}\n    you say {_text(answer)}")
    _predictions[question] = Prediction(question, answer)
    return _predictions[question]


def predictions() -> None:
    """Print how many predictions of this kernel were right, and which was furthest off."""
    made = [p for p in _predictions.values() if p.right is not None]
    if not made:
        print("no prediction was made: put your answers in place of None, and run the lesson again")
        return
    right = sum(bool(p.right) for p in made)
    text = f"right in {right} of {len(made)}"
    if right < len(made):
        worst = max((p for p in made if not p.right), key=lambda p: p.off)
        text += f'; furthest off at "{worst.question}": you said {_text(worst.answer)}, it is {_text(worst.actual)}'
    print(textwrap.fill(text, 96))


def predicted() -> dict[str, dict]:
    """This kernel's predictions that have a result: {question: {"answer": text, "result": text, "right": bool}}."""
    made = [p for p in _predictions.values() if p.right is not None]
    return {p.question: {"answer": _text(p.answer), "result": _text(p.actual), "right": bool(p.right)} for p in made}


def expect(what: str, got, wanted, within: float = 0.0) -> None:
    """Print the expected and the actual value; raise AssertionError when they differ by more than `within`.

    Numbers, texts and truth values are compared as they are, arrays by their largest difference. A lesson that computes
    with a reader's function never stops here: it may round in another way, or have had time for fewer steps.
    """
    if isinstance(got, np.ndarray) or isinstance(wanted, np.ndarray):
        difference = float(np.max(np.abs(np.asarray(got, np.float64) - np.asarray(wanted, np.float64)), initial=0.0))
        _report(difference <= within, what, f"largest difference {difference:.3g}, allowed {within:.3g}")
    elif within:
        _report(
            abs(got - wanted) <= within, what, f"expected {number_text(wanted)} ± {within:.3g}, got {number_text(got)}"
        )
    else:
        _report(bool(got == wanted), what, f"expected {number_text(wanted)}, got {number_text(got)}")


def expect_between(what: str, got: float, low: float, high: float) -> None:
    """Print the expected range and the actual value; raise AssertionError when it is outside."""
    _report(
        bool(low <= got <= high), what, f"expected {number_text(low)} to {number_text(high)}, got {number_text(got)}"
    )


def budget(here: int, in_browser: int, of: str = "steps") -> int:
    """`here`, or `in_browser` in a page of the site, where NumPy is about 20 times slower; then a line says so."""
    if sys.platform != "emscripten":
        return here
    print(f"in the browser: {in_browser} {of} in place of {here}, because NumPy is slower here")
    return in_browser


def _report(match, what, line):
    text = f"match: {match}   {what}: {line}"
    if not match and not answering.in_use:
        raise AssertionError(text)
    print(text if match else f"{text}\n    (computed with your functions: {', '.join(sorted(answering.in_use))})")


def table(rows: list[tuple], head: tuple[str, ...]) -> None:
    """Print rows under a head: texts to the left, numbers to the right."""
    cells = [[str(h) for h in head], *([number_text(v) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    right = [all(not isinstance(row[i], str) for row in rows) for i in range(len(head))]
    for n, row in enumerate(cells):
        print("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip())
        if n == 0:
            print("  ".join("-" * w for w in widths))


def replay(name: str) -> dict:
    """The committed result of a sweep, "scale" for lessons/results/scale.json; prints how it was measured."""
    result = json.loads(shipped(f"lessons/results/{name}.json").read_text(encoding="utf-8"))
    made_by = result["made_by"]
    versions = ", ".join(f"{k} {v}" for k, v in made_by["versions"].items())
    print(
        f"replayed: {made_by['command']}\n"
        f"          {made_by['seconds']:,.0f} s on one core; seeds {made_by['seeds']}; {versions}"
    )
    return result


def cards(*numbers: str) -> None:
    """Print the cards of exercises, "2.1", "2.2": how hard, how long, where to write the answer, how to check it."""
    from .runner import exercise, file_name

    for number in numbers:
        e = exercise(number)
        print(f"{number}  {e.title}   ({e.difficulty}, {e.minutes} minutes)")
    file = file_name(exercise(numbers[0]).lesson)
    print(
        f'write it in the next cell in place of `raise NotImplementedError`; hint("{numbers[0]}") helps\n'
        f"or in {file}: minilora exercises DIR writes the file, minilora check {' '.join(numbers)} --dir DIR checks it"
    )


# ---- figures: in the style of display/plots.py, shown in the notebook instead of written to a file

MARKERS = ("o", "s", "^", "D", "v", "P")  # one for each of COLOURS, so that no colour is needed


def in_words(drawn) -> str:  # of a matplotlib Figure
    """A figure in words, for a reader who cannot see it: the title, the axes and the texts of each part."""
    parts = []
    for axes in drawn.axes:
        x, y = axes.get_xlabel(), axes.get_ylabel()
        written = [*axes.get_legend_handles_labels()[1], *(text.get_text() for text in axes.texts)]
        words = [axes.get_title(), f"{y} against {x}" if x and y else y or x, ", ".join(written)]
        parts.append(": ".join(w for w in words if w))
    return " ".join("; ".join(p for p in parts if p).split())


@contextlib.contextmanager
def show_axes(columns: int = 1, width: float = 8.0, height: float = 4.6, **options):  # -> axes, or `columns` of them
    """Yield empty axes to draw on, side by side; a notebook shows them when the block ends, a script draws nothing.

    options: as for matplotlib's subplots.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE | {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}):
        drawn = Figure(figsize=(width if columns == 1 else 1.5 * width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn.subplots(1, columns, **options)
        _show(drawn)


def _show(drawn):
    if sys.platform == "emscripten":  # in a page of the site: its worker has put this function there
        import js

        js.minilora_show(*_for_page(drawn))
    elif "ipykernel" in sys.modules:
        from IPython.display import display

        kinds = {"image/png": _as_png(drawn), "image/svg+xml": as_svg(drawn)}
        display(kinds, raw=True, metadata={"image/png": {"alt": in_words(drawn)}})


LARGEST_SVG = 1_000_000  # characters: thousands of points are a picture of points in a page
_names = itertools.count(time.time_ns())  # of the figures in a page, also after its Python began anew


def _for_page(drawn):  # -> an SVG, or the base64 of a PNG where the SVG is large; the figure in words
    words = in_words(drawn)
    svg = in_page(as_svg(drawn), html.escape(words), f"r{next(_names)}")
    return svg if len(svg) <= LARGEST_SVG else base64.b64encode(_as_png(drawn)).decode(), words


def _as_png(drawn):
    picture = io.BytesIO()
    drawn.savefig(picture, format="png", dpi=90)
    return picture.getvalue()
