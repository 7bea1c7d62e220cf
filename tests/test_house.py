"""The house: imports run down the floor plan of ARCHITECTURE.md, files stay short, prose stays plain.

The rules are in support/house.py. Each one is applied to the repository, and to a small tree that breaks it.
"""

import re
from fnmatch import fnmatch
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).parents[1]
RULES = (
    house.arrows_that_run_up,
    house.circles,
    house.imports_of_the_package_itself,
    house.long_files,
    house.files_without_a_place,
)
CORE = (
    "errors.py backend.py autograd.py gradcheck.py nn.py ops/*.py models/context.py models/llama.py "
    "methods/base.py methods/lora.py adapters/layer.py"
).split()
PLAN = {
    "__init__.py": [],
    "cli/": ["train.py"],
    "finetune.py": [],
    "adapters/": ["model.py", "files.py"],
    "nn.py": [],
    "ops/": ["__init__.py", "basic.py", "linear.py"],
}


@pytest.mark.parametrize("rule", RULES)
def test_the_repository_keeps_the_rule(rule):
    assert list(rule(ROOT)) == []


def test_the_walks_of_the_architecture_page_name_what_exists():
    page, files = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), house.sources(ROOT)
    stations = re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", page)
    assert len(stations) >= 20
    for path, name in stations:
        for part in name.split(".") if name else []:
            assert re.search(rf"^ *(def|class) {part}\b", files[path], re.MULTILINE), f"{path}: {name}"


def test_the_reading_core_stays_near_1500_lines(readme):
    files = house.sources(ROOT)
    core = {name: [path for path in files if fnmatch(path, name)] for name in CORE}
    assert all(core.values())
    counted = sum(house.lines_of_code(files[path]) for paths in core.values() for path in paths)
    assert abs(counted - 1_500) <= 150
    assert "about 1,500 lines of code" in " ".join(readme.split())


@pytest.mark.parametrize("pattern", ["*.md", "minilora/**/*.py", "lessons/**/*.py", "benchmarks/**/*.py", "*/**/*.md"])
def test_no_text_has_a_forbidden_word(pattern):
    pages = [p for p in ROOT.glob(pattern) if ".venv" not in p.parts]
    assert pages
    names = {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in pages}
    found = [c for name, text in names.items() for c in house.forbidden_words(name, text)]
    assert found == []


# A small tree for each rule


@pytest.fixture
def tree(tmp_path):
    """tree({"nn.py": "text"}) -> the root of a repository with the plan PLAN; files that are not given are empty."""

    def build(texts):
        page = ["# Architecture", "```text"]
        for room, files in PLAN.items():
            page.append(f"{room}   a caption")
            page.extend(f"    {name}   a caption" for name in files)
        (tmp_path / "ARCHITECTURE.md").write_text("\n".join([*page, "```\n"]), encoding="utf-8")
        listed = [room + name for room, files in PLAN.items() for name in files or [""]]
        for name in {*listed, *texts}:
            path = tmp_path / "minilora" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts.get(name, ""), encoding="utf-8")
        return tmp_path

    return build


def test_a_tree_in_order_has_no_complaint(tree):
    root = tree({
        "cli/train.py": "import minilora as ml\nfrom ..adapters.model import PeftModel\n",
        "adapters/model.py": "def load():\n    from .files import read\n",
        "adapters/files.py": "from .. import ops\nimport minilora.nn\n",
        "ops/__init__.py": "from .basic import add\nfrom .linear import linear\n",
        "ops/linear.py": "from .basic import add\n",
        "__init__.py": "from .nn import Linear\n\ndef __getattr__(name):\n    from .finetune import finetune\n",
    })  # fmt: skip
    assert [complaint for rule in RULES for complaint in rule(root)] == []


@pytest.mark.parametrize(
    "text, line",
    [
        ("from .adapters.model import PeftModel\n", 1),
        ("from .adapters import model\n", 1),
        ("import minilora.adapters.model\n", 1),
        ("from minilora.adapters import model\n", 1),
        ("def load():\n    from .adapters.model import PeftModel\n", 2),
        ("import importlib\nimportlib.import_module('minilora.adapters.model')\n", 2),
        ("import importlib\nimportlib.import_module('.adapters.model', __package__)\n", 2),
    ],
)
def test_an_import_from_a_higher_room_is_found_however_it_is_written(tree, text, line):
    root = tree({"nn.py": text})
    assert list(house.arrows_that_run_up(root)) == [f"nn.py:{line} imports adapters/model.py: adapters/ is above nn.py"]


def test_an_import_between_two_folders_that_runs_up_is_found(tree):
    root = tree({"ops/linear.py": "from ..adapters.files import read\n"})
    assert list(house.arrows_that_run_up(root)) == [
        "ops/linear.py:1 imports adapters/files.py: adapters/ is above ops/"
    ]


@pytest.mark.parametrize("name", ["adapters/model.py", "nn.py", "ops/basic.py"])
@pytest.mark.parametrize("text", ["import minilora as ml\n", "from minilora import Tensor\n"])
def test_a_lower_room_may_not_import_the_package_itself(tree, name, text):
    complaint = f"{name}:1 imports minilora itself; import the file that has the name"
    assert list(house.imports_of_the_package_itself(tree({name: text}))) == [complaint]


def test_a_relative_import_of_the_package_itself_is_found(tree):
    root = tree({"ops/basic.py": "from .. import Tensor\n"})
    assert len(list(house.imports_of_the_package_itself(root))) == 1


def test_a_circle_of_two_files_is_found(tree):
    root = tree({"adapters/model.py": "from .files import read\n", "adapters/files.py": "from . import model\n"})
    assert list(house.circles(root)) == ["adapters/files.py -> adapters/model.py -> adapters/files.py"]


def test_a_circle_that_a_lazy_import_hides_is_found(tree):
    lazy = "def read():\n    from .model import PeftModel\n"
    root = tree({"adapters/model.py": "from .files import read\n", "adapters/files.py": lazy})
    assert list(house.circles(root)) == ["adapters/files.py -> adapters/model.py -> adapters/files.py"]


def test_a_circle_of_three_files_is_found(tree):
    root = tree({
        "ops/__init__.py": "from .basic import add\n",
        "ops/basic.py": "from .linear import linear\n",
        "ops/linear.py": "from . import add\n",
    })  # fmt: skip
    assert list(house.circles(root)) == ["ops/__init__.py -> ops/basic.py -> ops/linear.py -> ops/__init__.py"]


@pytest.mark.parametrize("lines, complaints", [(350, 0), (351, 1)])
def test_a_file_has_at_most_350_lines(tree, lines, complaints):
    assert len(list(house.long_files(tree({"nn.py": "#\n" * lines})))) == complaints


def test_a_file_that_the_page_does_not_list_is_found(tree):
    root = tree({"adapters/new.py": "", "extra.py": ""})
    assert list(house.files_without_a_place(root)) == [
        "adapters/new.py is not in ARCHITECTURE.md",
        "extra.py is not in ARCHITECTURE.md",
    ]


def test_a_room_that_the_page_does_not_list_is_found(tree):
    assert list(house.files_without_a_place(tree({"rooms/new.py": "x = 1\n"}))) == [
        "rooms/new.py is not in ARCHITECTURE.md"
    ]


def test_an_init_file_is_listed_only_if_it_has_code(tree):
    root = tree({"cli/__init__.py": "x = 1\n", "adapters/__init__.py": '"""A room."""\n'})
    assert list(house.files_without_a_place(root)) == ["cli/__init__.py is not in ARCHITECTURE.md"]


def test_a_line_of_the_page_that_names_no_file_is_found(tree):
    root = tree({})
    (root / "minilora" / "nn.py").unlink()
    assert list(house.files_without_a_place(root)) == ["ARCHITECTURE.md lists nn.py, which does not exist"]


def test_lines_of_code_leave_out_comments_docstrings_and_empty_lines():
    text = '"""A module\nof two lines."""\n\n# a comment\nx = [1,\n     2]  # two lines\n\n\ndef f():\n    """Doc."""\n'
    assert house.lines_of_code(text + "    return x\n") == 4


@pytest.mark.parametrize("sentence", ["It stands here.", "Nothing is replaced unasked.", "a file as it came"])
def test_a_forbidden_word_is_found(sentence):
    assert len(list(house.forbidden_words("page.md", f"A line.\n{sentence}\n"))) == 1


def test_a_plain_sentence_is_not_a_complaint():
    assert list(house.forbidden_words("page.md", "The stand-in for CuPy prints outstanding results.\n")) == []
