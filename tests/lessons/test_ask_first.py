"""No solution is on the page above its exercise: not in code, not as a formula, not in the exercise's own statement."""

import ast
import json
from pathlib import Path

import pytest

from minilora.course.runner import LESSONS, exercises

FOLDER = Path(__file__).parents[2] / "lessons"
EXERCISES = {e.number: e for n in LESSONS for e in exercises(n)}

# formulas that are the answer, as a lesson would write them
ANSWERS = {
    "0.1": ["W + s", "W + (alpha", "W + (α"],
    "1.1": [r"f(x + \varepsilon) - f(x - \varepsilon)", "f(x + ε) - f(x - ε)"],
    "1.3": [r"\sigma\,(1 - \sigma)", "σ (1 - σ)", "σ' ="],
    "2.2": [r"G\, B^T", "A^T G", "G Bᵀ", "Aᵀ G"],
    "2.3": [r"p_j \Big(g_j", "p (g - "],
    "4.1": [r"\frac{x}{\sqrt", "√(mean"],
    "6.2": ["g^T u", "du^T x", "gᵀ", "(g B)ᵀ"],
    "6.3": ["g W + ", "+ du"],
    "7.1": [r"\frac{\alpha}{r}", "alpha / r", r"\alpha / r"],
    "8.1": [r"r\,(in + out)", r"r \cdot in", "r (in + out)"],
    "8.2": ["4 + 4 + 8", "16 bytes"],
    "10.1": ["0x7FFF", "0xFFFF0000"],
    "11.1": ["above those of", "beside $s_2"],
    "12.1": ["(BA)^T", "(B A)ᵀ"],
    "13.3": ["4 + 32", "4.5", "4.127"],
    "15.1": [r"y_o = m_o", "V_o"],
    "15.3": [r"m / n \odot V", "(m / n) V"],
    "18.2": [r"\sum e^", "Σ e^"],
    "19.1": [r"\sqrt{w_1}", "√w1"],
    "23.1": ["weighted by", "labels / labels"],
    "23.2": [r"2\,(w - 1)", "2 (w - 1)"],
}


def above(number):  # -> code and markdown of all cells above the exercise's own, as two texts
    e = EXERCISES[number]
    (path,) = (FOLDER / "class").glob(f"{e.lesson:02d}_*.ipynb")
    code, markdown = [], []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if "exercise" in cell["metadata"].get("tags", []) and f"def {e.function}(" in source:
            return "\n".join(code), "\n".join(markdown)
        (code if cell["cell_type"] == "code" else markdown).append(source)
    raise AssertionError(f"{path.name} has no exercise cell for {number}")


def statement(number):  # the docstring of the stub
    e = EXERCISES[number]
    tree = ast.parse((FOLDER / "exercises" / f"lesson_{e.lesson:02d}.py").read_text(encoding="utf-8"))
    return next(ast.get_docstring(n) for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == e.function)


def solution(number):  # the function of the solutions' file, as a tree
    e = EXERCISES[number]
    tree = ast.parse((FOLDER / "solutions" / f"lesson_{e.lesson:02d}.py").read_text(encoding="utf-8"))
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == e.function)


class Renamed(ast.NodeTransformer):
    """Names by the order in which they appear, so that x @ W.T and X @ M.T are one expression; s is alpha / r."""

    def __init__(self):
        self.names = {}

    def visit_Name(self, node):
        return ast.Name(self.names.setdefault(node.id, f"n{len(self.names)}"), ast.Load())

    def visit_Attribute(self, node):
        return self.visit(node.value) if node.attr in ("data", "grad") else self.generic_visit(node)

    def visit_BinOp(self, node):
        if isinstance(node.op, ast.Div) and isinstance(node.left, ast.Name) and isinstance(node.right, ast.Name):
            return self.visit(ast.Name("s"))
        return self.generic_visit(node)


OPERATIONS = (ast.BinOp, ast.Call, ast.Compare, ast.IfExp, ast.Subscript, ast.ListComp, ast.GeneratorExp)


def expressions(tree, at_least):  # -> canonical texts of all expressions with so many operations
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, OPERATIONS) and sum(isinstance(n, OPERATIONS) for n in ast.walk(node)) >= at_least:
            copy = ast.parse(ast.unparse(node), mode="eval").body
            found.add(ast.unparse(ast.fix_missing_locations(Renamed().visit(copy))))
    return found


KNOWN = {"n0 + n1 * n2 @ n3", "n0 + s * (n1 @ n2)"}  # W + s B A: after lesson 0 it is the language of the course


@pytest.mark.parametrize("number", EXERCISES)
def test_no_expression_of_the_solution_is_in_the_code_above_the_exercise(number):
    answer = solution(number)
    code, _ = above(number)
    longest = max(sum(isinstance(n, OPERATIONS) for n in ast.walk(node)) for node in answer.body)
    shared = expressions(answer, min(4, longest)) & expressions(ast.parse(code), min(4, longest))
    assert shared - (KNOWN if number > "1" else set()) == set()


@pytest.mark.parametrize("number", ANSWERS)
def test_no_formula_of_the_answer_is_above_the_exercise_or_in_its_statement(number):
    code, markdown = above(number)
    lines = [line for line in code.splitlines() if not line.strip().startswith(("from ", "import "))]
    text = "\n".join([" ".join(markdown.split()), *lines, statement(number)])
    assert [formula for formula in ANSWERS[number] if formula in text] == []


def test_the_comparison_knows_a_solution_under_other_names():
    shown = ast.parse("out = h @ M.T + s * (h @ P.T) @ Q.T")
    assert expressions(solution("6.1"), 4) & expressions(shown, 4)
