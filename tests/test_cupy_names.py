"""Without a GPU: every function and keyword that minilora asks of an array library exists in CuPy 14.2.

The table golden/cupy_14_2_api.json lists the public names of the CuPy 14.2.0 wheel: name -> its keywords, null where
they are not known. It is read off the wheel, which imports without a GPU. Three entries describe objects instead of
functions: the attributes of an ndarray, the keywords of its methods, and the methods of a random generator.
"""

import ast
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import minilora

API = json.loads((Path(__file__).parent / "golden" / "cupy_14_2_api.json").read_text(encoding="utf-8"))
OBJECTS = {name: API.pop(name) for name in ("ndarray", "ndarray_methods", "Generator")}
UFUNC_KEYWORDS = ["out", "dtype", "casting"]
CUDA = {"cuda.Device", "cuda.is_available", "cuda.runtime.getDeviceCount", "cuda.runtime.getDeviceProperties"}
UFUNC_METHODS = {"add.at", "subtract.at", "maximum.at", "minimum.at", "add.reduce", "add.accumulate"}
KNOWN = {*API, *UFUNC_METHODS, *CUDA}
KNOWN |= {name.rpartition(".")[0] for name in KNOWN} | {"cuda"}  # "linalg" of "linalg.svd"
PACKAGE = Path(minilora.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
COMPUTING = ("ops", "methods", "quantization", "device", "adapters")  # rooms whose arrays may be on a device
ON_A_DEVICE = [
    path for path in SOURCES if path.relative_to(PACKAGE).parts[0] in
    (*COMPUTING, "models", "training", "autograd.py", "nn.py", "rounding.py", "backend.py", "gradcheck.py")
]  # fmt: skip
METHODS = {  # of arrays, whose names no other object here has
    name: OBJECTS["ndarray_methods"][name] for name in
    "all any argmax argmin argpartition argsort astype clip cumprod cumsum item max mean min nonzero prod ravel repeat "
    "searchsorted squeeze std sum swapaxes tobytes tolist trace var".split()
}  # fmt: skip
MISSING = {name for name in dir(np.ndarray) if not name.startswith("_")} - set(OBJECTS["ndarray"])


def is_array_module(node):  # array_module(...), require_cupy(...)
    called = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
    return called in ("array_module", "require_cupy")


def dotted(node, aliases):
    """ "linalg.svd" for xp.linalg.svd or array_module(x).linalg.svd; None for anything else."""
    if not isinstance(node, ast.Attribute):
        return None
    if is_array_module(node.value) or (isinstance(node.value, ast.Name) and node.value.id in aliases):
        return node.attr
    front = dotted(node.value, aliases)
    return front and f"{front}.{node.attr}"


def portable(name):
    return name in KNOWN


def mistakes(source):
    """What of `source` CuPy does not have, one line each."""
    tree = ast.parse(source)
    aliases = {"xp", "cupy"}
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
                if known is not None and k.arg and k.arg not in known
            ]
    return found


def is_of(node, names):  # np.sum(...), of the module np
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names


def on_the_host(node):
    """Whether the value of an expression was fetched: to_host(x.data)."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "to_host"


def values_of_tensors(node):  # -> whether x.data or p.grad is read in it, outside of to_host(...)
    if on_the_host(node):
        return False
    own = isinstance(node, ast.Attribute) and node.attr in ("data", "grad")
    return own or any(values_of_tensors(child) for child in ast.iter_child_nodes(node))


def mistakes_with_arrays(source, room=""):
    """What of `source` an array on a device would refuse, one line each.

    The caches and samples of models/ count on the host, with lists; ops/ has a form of its own for the host.
    """
    lists, values = room != "models", room != "ops"
    found = []
    for node in ast.walk(ast.parse(source)):
        where = f"line {getattr(node, 'lineno', 0)}:"
        if isinstance(node, ast.Attribute) and node.attr in MISSING and not is_of(node, ("np",)):
            found.append(f"{where} an array of CuPy has no {node.attr}")
        if isinstance(node, ast.Subscript) and lists:
            keys = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(isinstance(key, ast.List) for key in keys) and not is_annotation(node):
                found.append(f"{where} a list as an index is uploaded at every use")
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if is_of(node.func, ("np",)):
            if values and any(values_of_tensors(a) for a in node.args):
                found.append(f"{where} np.{node.func.attr} of the values of a Tensor")
        elif node.func.attr in METHODS and not is_of(node.func, ("xp", "ops", "cupy")):
            known = METHODS[node.func.attr]
            wrong = [k.arg for k in node.keywords if k.arg and k.arg not in known]
            found += [f"{where} .{node.func.attr}() of CuPy takes no {name}=" for name in wrong]
            if len(node.args) > len(known):
                found.append(f"{where} .{node.func.attr}() of CuPy takes at most {len(known)} arguments")
    return found


def is_annotation(node):  # Callable[[Any], None]
    return getattr(node.value, "id", "") == "Callable"


@pytest.mark.parametrize("path", ON_A_DEVICE, ids=lambda p: p.name)
def test_methods_and_indices_of_arrays_are_those_that_a_device_has(path):
    room = path.relative_to(PACKAGE).parts[0]
    assert mistakes_with_arrays(path.read_text(encoding="utf-8"), room) == []


def test_every_room_that_computes_is_among_the_files_that_are_looked_at():
    assert {path.parent.name for path in ON_A_DEVICE} >= set(COMPUTING)
    assert {"setflags", "resize", "ctypes"} <= MISSING and not MISSING & set(METHODS)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x.sum(axis=0, where=m)", "no where="),
        ("y = x.max(initial=0)", "no initial="),
        ("x.data.item(3)", "at most 0 arguments"),
        ("x.setflags(write=False)", "no setflags"),
        ("n = x.data.ctypes.data", "no ctypes"),
        ("y = x[[0, 1]]", "a list as an index"),
        ("x[:, [0, 2]] = 1", "a list as an index"),
        ("np.sum(p.grad)", "np.sum of the values"),
        ("np.stack([t.data for t in tensors])", "np.stack of the values"),
    ],
)
def test_a_planted_mistake_with_an_array_is_found(source, said):
    assert [m for m in mistakes_with_arrays(source) if said in m]


@pytest.mark.parametrize(
    "source",
    [
        "np.sum(to_host(p.grad))",
        "x.sum(axis=0, keepdims=True)",
        "each: Callable[[Any], None]",
        "x[:, 0]",
        "np.resize(a, 3)",
    ],
)
def test_what_a_device_has_is_let_through(source):
    assert mistakes_with_arrays(source) == []


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
        ("require_cupy(device).errstate()", "no errstate"),
        ("cupy.cuda.setDevice(0)", "no cuda.setDevice"),
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
    for name, keywords in (API | dict.fromkeys(CUDA)).items():
        thing = cupy
        for part in name.split("."):
            thing = getattr(thing, part)
        if keywords and isinstance(thing, cupy.ufunc):
            assert keywords == UFUNC_KEYWORDS
        elif keywords and inspect.isfunction(thing) and "kwargs" not in inspect.signature(thing).parameters:
            assert set(keywords) <= set(inspect.signature(thing).parameters), name
    for name in OBJECTS["ndarray"]:
        assert hasattr(cupy.ndarray, name)
