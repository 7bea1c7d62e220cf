"""tests/ mirrors the package: minilora/a/b.py is tested in tests/a/test_b.py, or in tests/a/test_b_SUBJECT.py."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p.relative_to(ROOT / "minilora") for p in (ROOT / "minilora").rglob("*.py") if p.stat().st_size)
TESTS = sorted(p.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py"))

NO_TEST_FILE = {  # file, or pattern -> where it is tested instead
    "__main__.py": "every test that starts `python -m minilora`",
    "finetuning_adapter.py": "test_finetuning.py",
    "finetuning_data.py": "test_finetuning.py",
    "cli/common.py": "options of several commands: the tests of the commands",
    "cli/running.py": "what train and pretrain share: test_train.py, test_train_refusals.py, test_pretrain.py",
    "cli/params_*.py": "test_params.py",
    "counting/activations.py": "test_memory.py",
    "counting/architectures/*": "test_catalog.py counts a model of every family",
    "counting/methods.py": "test_count.py counts every method with it",
    "counting/ledger/*": "test_ledger.py judges every row with them",
    "counting/report.py": "the tables of cli/test_params.py",
    "counting/stored.py": "test_engine.py",
    "counting/styles.py": "the tables of cli/test_params.py",
    "course/checks/mistakes*.py": "checks/test_checks.py: each of them is caught and named as itself",
    "course/compare.py": "checks/test_lesson_*.py: wrong answers and what is said of them",
    "course/submission.py": "test_runner.py and test_runner_forgeries.py",
    "course/mutations*.py": "test_mutants.py",
    "course/checks/mistakes_04.py": "test_lesson_04.py",
    "course/lab/*": "the lessons that call them",
    "models/context.py": "a record without code",
    "serving/guard.py": "test_api.py",
    "serving/listener.py": "test_api_attack.py, cli/test_serve.py",
    "serving/metrics.py": "test_api.py",
    "serving/names.py": "test_pool.py",
    "serving/protocol.py": "test_api.py",
    "serving/reading.py": "test_pool.py",
    "serving/start.py": "every test of a server starts it",
    "quantization/blockwise.py": "test_nf4.py and test_double_quantization.py",
    "quantization/save.py": "test_checkpoint.py",
    "quantization/stored.py": "the tests of the formats",
}
NO_SOURCE_FILE = {  # a test of several files, or of the repository
    "cli/test_bad_files.py", "cli/test_hostile.py",  # every command
    "serving/test_page.py",  # page.html
    "serving/test_complaints.py",  # the whole server
    "ops/test_ops.py", "course/checks/test_checks.py",  # every file of the room
    "device/test_step.py", "device/test_types.py",  # whatever computes on a device
    "test_cupy_names.py", "test_strict_cupy.py",  # every file that computes
    "test_docs_project.py", "test_house.py", "test_mirror.py", "test_package.py", "test_readme.py",
    "test_without_libraries.py",  # what a browser has
}  # fmt: skip
OTHER_ROOMS = (
    "reference",
    "lessons",
    "benchmarks",
    "data",
    "hostile",
    "gpu",
)  # comparisons, what is not in the package, fuzzing, the package on a device


def files_tested_by(test):  # test_b_subject.py -> b_subject.py, b.py
    words = test.stem.removeprefix("test_").split("_")
    names = (f"{'_'.join(words[:n])}.py" for n in range(len(words), 0, -1))
    return [path for name in names if (path := test.parent / name) in SOURCES]


def alone():
    """Files of the package that no test file is named for."""
    assert SOURCES and TESTS
    tested = {source for test in TESTS for source in files_tested_by(test)}
    return [s for s in SOURCES if s.name != "__init__.py" and s not in tested]


def test_a_file_has_a_test_file_of_its_name_or_is_an_exception():
    assert [s for s in alone() if not any(s.match(pattern) for pattern in NO_TEST_FILE)] == []


def test_a_test_file_has_the_name_of_a_file_or_is_an_exception():
    inside = [t for t in TESTS if t.parts[0] not in OTHER_ROOMS]
    assert {t.as_posix() for t in inside if not files_tested_by(t)} == NO_SOURCE_FILE


def test_every_exception_is_needed():
    assert [pattern for pattern in NO_TEST_FILE if not any(s.match(pattern) for s in alone())] == []
