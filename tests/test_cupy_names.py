"""Without a GPU: every function and keyword that minilora asks of an array library exists in CuPy 14.2.

The table golden/cupy_14_2_api.json lists the public names of the CuPy 14.2.0 wheel: name -> its keywords, null where
they are not known. It is read off the wheel, which imports without a GPU. Three entries describe objects instead of
functions: the attributes of an ndarray, the keywords of its methods, and the methods of a random generator.
"""

import ast
import inspect
import json
from pathlib import Path

import pytest

import minilora

API = json.loads((Path(__file__).parent / "golden" / "cupy_14_2_api.json").read_text(encoding="utf-8"))
OBJECTS = {name: API.pop(name) for name in ("ndarray", "ndarray_methods", "Generator")}
UFUNC_KEYWORDS = ["out", "dtype", "casting"]
UFUNC_METHODS = {"add.at", "subtract.at", "maximum.at", "minimum.at", "add.reduce", "add.accumulate"}
SOURCES = sorted(Path(minilora.__file__).parent.rglob("*.py"))


def is_array_module(node):  # array_module(...)
    return isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "array_module"


def dotted(node, aliases):
    """ "linalg.svd" for xp.linalg.svd or array_module(x).linalg.svd; None for anything else."""
    if not isinstance(node, ast.Attribute):
        return None
    if is_array_module(node.value) or (isinstance(node.value, ast.Name) and node.value.id in aliases):
        return node.attr
    front = dotted(node.value, aliases)
    return front and f"{front}.{node.attr}"


def portable(name):
    return name in API or name in UFUNC_METHODS or any(known.startswith(name + ".") for known in API)


def mistakes(source):
    """What of `source` CuPy does not have, one line each."""
    tree = ast.parse(source)
    aliases = {"xp"}
    for node in ast.walk(tree):  # lib = array_module(x)
        if isinstance(node, ast.Assign) and is_array_module(node.value):
            aliases |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    found = []
    for node in ast.walk(tree):
        name = dotted(node, aliases)
        if name and not portable(name):
            found.append(f"line {node.lineno}: CuPy has no {name}")
        if isinstance(node, ast.Call) and (name := dotted(node.func, aliases)):
            known = API.get(name)
            found += [
                f"line {node.lineno}: {name} of CuPy takes no {k.arg}="
                for k in node.keywords
                if known is not None and k.arg not in known
            ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_everything_asked_of_the_array_library_exists_in_cupy(path):
    assert mistakes(path.read_text(encoding="utf-8")) == []


def test_the_check_sees_the_names_that_the_operations_use():
    seen = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            seen.add(dotted(node, {"xp"}))
    assert {"exp", "tanh", "sqrt", "add.at", "empty"} <= seen


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("xp.errstate(over='ignore')", "no errstate"),
        ("xp = array_module(x)\ny = xp.vecdot(a, b)", "line 2: CuPy has no vecdot"),
        ("array_module(x).block([a, b])", "no block"),
        ("backend.array_module(x).linalg.vector_norm(x)", "no linalg.vector_norm"),
        ("lib = array_module(x)\nlib.unstack(x)", "no unstack"),
        ("xp.maximum.reduce(x)", "no maximum.reduce"),
        ("f = xp.frompyfunc", "no frompyfunc"),
        ("xp.einsum('ij->i', x, out=y)", "einsum of CuPy takes no out="),
        ("xp.sum(x, where=m)", "sum of CuPy takes no where="),
        ("xp.exp(x, where=m)", "exp of CuPy takes no where="),
        ("xp.clip(x, min=0)", "clip of CuPy takes no min="),
        ("array_module(x).zeros(3, like=x)", "zeros of CuPy takes no like="),
        ("xp.linalg.svd(x, hermitian=True)", "linalg.svd of CuPy takes no hermitian="),
    ],
)
def test_a_planted_name_or_keyword_that_cupy_lacks_is_found(source, said):
    assert [m for m in mistakes(source) if said in m]


@pytest.mark.parametrize(
    "source",
    ["xp.exp(x, out=x)", "xp.linalg.norm(x, axis=0)", "array_module(t).add.at(t, i, s)", "np.errstate(over='ignore')"],
)
def test_what_cupy_has_and_what_is_numpys_alone_is_let_through(source):
    assert mistakes(source) == []


def test_the_table_agrees_with_an_installed_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.__version__.startswith("14.2"):
        pytest.skip(f"the table is of CuPy 14.2, installed is {cupy.__version__}")
    for name, keywords in API.items():
        thing = cupy
        for part in name.split("."):
            thing = getattr(thing, part)
        if keywords and isinstance(thing, cupy.ufunc):
            assert keywords == UFUNC_KEYWORDS
        elif keywords and inspect.isfunction(thing) and "kwargs" not in inspect.signature(thing).parameters:
            assert set(keywords) <= set(inspect.signature(thing).parameters), name
    for name in OBJECTS["ndarray"]:
        assert hasattr(cupy.ndarray, name)
