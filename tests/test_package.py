"""The package as a program first meets it: `import minilora`."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minilora as ml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ml.__all__)
def test_every_public_name_is_there_and_says_what_it_does(name):
    assert getattr(ml, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        ml.no_such_name  # noqa: B018
    with pytest.raises(ImportError, match="no_such_name"):
        importlib.import_module("minilora.no_such_name")


def test_import_loads_nothing_that_only_files_commands_and_mistakes_need():
    late = "{'json', 'pathlib', 'tempfile', 'shutil', 'difflib', 'click', 'rich', 'matplotlib', 'tokenizers', 'cupy'}"
    code = f"import sys, numpy; before = set(sys.modules); import minilora; print({late} & set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_version_has_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == ROOT / "minilora" / "__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", ml.__version__)


def test_type_checkers_of_other_projects_read_the_hints():
    assert (Path(ml.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_the_tests_are_collected_without_the_libraries_of_the_server():
    hide = "import sys, pytest; sys.modules.update(dict.fromkeys(['fastapi', 'uvicorn', 'prometheus_client']))"
    places = ["minilora/serving", "tests/benchmarks/test_serving.py", "tests/gpu/test_devices.py"]
    code = f"{hide}; sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', '-m', 'gpu', *{places}]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
