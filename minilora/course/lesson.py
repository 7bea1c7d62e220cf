"""The functions that the cells of a lesson call: predict a result, expect it, show it, replay a sweep."""

import ast
import contextlib
import io
import json
import sys
import textwrap

import numpy as np

from ..display.numbers import number_text
from ..display.plots import COLOURS, STYLE
from ..files.shipped import shipped
from .answering import answer as answer
from .answering import check as check
from .answering import hint as hint
from .answering import load_answers as load_answers
from .answering import progress as progress
from .answering import save_answers as save_answers

BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = COLOURS


class Prediction:
    """What the reader expects, kept until the run has an answer."""

    def __init__(self, question, answer):
        self.question, self.answer = question, answer

    def compare(self, actual):
        """Print the prediction beside the result. No prediction is an error, and none stops the lesson."""
        predicted = "no prediction" if self.answer is None else f"you said {number_text(self.answer)}"
        try:
            distance = self._distance(actual)
        except (TypeError, ValueError, OverflowError):  # the reader's answer is not one that can be compared
            distance = ""
        print(f"{self.question}\n    {predicted}; the result is {number_text(actual)}{distance}")

    def _distance(self, actual):
        if self.answer is None:
            return ""
        if np.shape(self.answer) != () or np.shape(actual) != ():
            return "  (as predicted)" if np.array_equal(self.answer, actual) else ""
        if str(self.answer).strip().lower() == str(actual).strip().lower():
            return "  (as predicted)"
        answer, result = float(self.answer), float(actual)
        if answer == result:
            return "  (as predicted)"
        if answer <= 0 or result <= 0:
            return f"  (you were off by {abs(answer - result):.3g})"
        factor = max(answer / result, result / answer)
        return "  (as predicted, within 3%)" if factor < 1.03 else f"  (you were off by a factor of {factor:.3g})"


def predict(question: str, answer=None) -> Prediction:  # answer: number, text or None
    """Keep an answer, to compare it with the result later. With None, print that there is none yet, and go on."""
    if answer is None:
        print(f"predict: {question}\n    replace None by your answer and run this cell again, or go on without one")
    else:
        print(f"predict: {question}\n    you say {number_text(answer)}")
    return Prediction(question, answer)


def expect(what: str, got, wanted, within: float = 0.0) -> None:
    """Print the expected and the actual value; raise AssertionError when they differ by more than `within`.

    Numbers, texts and truth values are compared as they are, arrays by their largest difference.
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


def _report(match, what, line):
    text = f"match: {match}   {what}: {line}"
    if not match:
        raise AssertionError(text)
    print(text)


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
    """Print the cards of exercises, "2.1", "2.2": how hard, how long, what to write, how to check."""
    from .runner import exercise, file_name

    for number in numbers:
        e = exercise(number)
        call, task = _stub(e.function, shipped(f"lessons/exercises/{file_name(e.lesson)}"))
        print(f"{number}  {e.title}   ({e.difficulty}, {e.minutes} minutes, in {file_name(e.lesson)})\n\n    {call}")
        print("\n\n".join(_indented(paragraph) for paragraph in task.split("\n\n")) + "\n")
    print(
        f"the files: minilora exercises DIR     check: minilora check {' '.join(numbers)} --dir DIR\n"
        f"a hint: minilora hint {numbers[0]} --level 1"
    )


def _indented(text):
    return textwrap.fill(" ".join(text.split()), 96, initial_indent=8 * " ", subsequent_indent=8 * " ")


def _stub(function, path):  # -> "f(x, y)" and its docstring
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stub = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return f"{function}({ast.unparse(stub.args)})", ast.get_docstring(stub) or ""


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
        if "ipykernel" in sys.modules:
            from IPython.display import Image, display

            picture = io.BytesIO()
            drawn.savefig(picture, format="png", dpi=90)
            display(Image(picture.getvalue(), alt=in_words(drawn)))
