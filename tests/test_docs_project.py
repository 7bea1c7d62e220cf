"""The pages and forms for people who work on the project: they parse, are complete, and name only what exists."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import minilora as ml
from minilora.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
PAGES_WORKFLOW = WORKFLOW.with_name("pages.yml")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = ["CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
YAML_FILES = [WORKFLOW, PAGES_WORKFLOW, *FORMS, ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands_of(job, workflow=WORKFLOW):
    return " ; ".join(step["run"] for step in read(workflow)["jobs"][job]["steps"] if "run" in step)


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda p: p.name)
def test_every_yaml_file_is_a_mapping(path):
    assert isinstance(read(path), dict)


# The workflow


def test_the_workflow_runs_for_pull_requests_and_may_only_read():
    workflow = read(WORKFLOW)
    assert "pull_request" in workflow[True]  # YAML 1.1 reads the key `on` as true
    assert workflow["permissions"] == {"contents": "read"}


def test_every_job_has_a_machine_a_time_limit_and_steps_that_do_something():
    jobs = read(WORKFLOW)["jobs"]
    pages = read(PAGES_WORKFLOW)["jobs"]
    assert set(jobs) == {"test", "oldest", "reference", "lint", "full"} and set(pages) == {"site", "publish"}
    for job in (*jobs.values(), *pages.values()):
        assert job["runs-on"] and job["timeout-minutes"] and job["steps"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_the_tests_run_on_three_systems_and_the_oldest_python():
    matrix = read(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    assert 'pytest -m "not slow"' in commands_of("test")


def test_the_oldest_job_pins_the_lower_bounds_that_the_package_promises(tmp_path):
    script = next(step["run"] for step in read(WORKFLOW)["jobs"]["oldest"]["steps"] if step.get("shell") == "python")
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    pins = (tmp_path / "oldest.txt").read_text(encoding="utf-8").splitlines()
    assert "numpy==2.0.*" in pins and "--constraint oldest.txt" in commands_of("oldest")
    assert [pin.split("==")[0] for pin in pins] == [line.split(">=")[0] for line in PROJECT["dependencies"]]


def test_the_full_job_calls_the_check_script():
    assert commands_of("full") == ".ci/run"


def test_the_lint_job_and_the_check_script_make_the_same_checks():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    checks = [c for c in commands_of("lint").split(" ; ") if "pip" not in c]
    assert checks == [
        line.removeprefix(".venv/bin/") for line in script.splitlines() if re.search(r"/bin/(ruff|pyright)", line)
    ]


def test_the_site_that_the_lessons_describe_is_published_from_main_after_its_tests():
    workflow = read(PAGES_WORKFLOW)
    assert workflow[True]["workflow_run"] == {"workflows": ["test"], "types": ["completed"], "branches": ["main"]}
    assert workflow["permissions"] == {"contents": "read"}
    assert (
        commands_of("site", PAGES_WORKFLOW)
        == "python -m pip install '.[lessons]' ; python lessons/build.py --site site"
    )
    assert workflow["jobs"]["publish"]["needs"] == "site"


# The forms


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.name)
def test_an_issue_form_has_a_name_and_labelled_questions(path):
    form = read(path)
    assert form["name"] and form["description"] and form["body"]
    for question in form["body"]:
        assert question["id"] and question["attributes"]["label"]
        assert question["type"] in ("input", "textarea", "dropdown")
    assert len({question["id"] for question in form["body"]}) == len(form["body"])


def test_there_are_forms_for_a_bug_a_wrong_number_and_an_idea():
    assert [path.stem for path in FORMS] == ["bug", "idea", "wrong-number"]


@pytest.mark.parametrize("name", ["bug", "wrong-number"])
def test_a_form_that_needs_versions_asks_for_the_doctor(name):
    required = [
        q for q in read(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")["body"] if q["validations"]["required"]
    ]
    assert any("`minilora doctor --json`" in question["attributes"]["label"] for question in required)


def test_the_form_for_a_wrong_number_asks_for_the_command():
    assert "command" in [question["id"] for question in read(ROOT / ".github/ISSUE_TEMPLATE/wrong-number.yml")["body"]]


def test_the_pull_request_template_has_four_boxes():
    assert (ROOT / ".github/PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8").count("- [ ] ") == 4


# Citation, changelog, pre-commit


def test_the_citation_has_this_version_and_the_papers():
    citation = read(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["version"] == ml.__version__
    assert "arXiv:2106.09685" in [i["value"] for r in citation["references"] for i in r.get("identifiers", [])]
    assert all(r["title"] and r["type"] and r["authors"] for r in citation["references"])


def test_the_changelog_has_this_version_below_the_unreleased_changes():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", ml.__version__]


def test_pre_commit_runs_the_linter_that_the_package_pins():
    repos = {repo["repo"].rsplit("/", 1)[1]: repo for repo in read(ROOT / ".pre-commit-config.yaml")["repos"]}
    pinned = next(line for line in PROJECT["optional-dependencies"]["lint"] if line.startswith("ruff"))
    assert repos["ruff-pre-commit"]["rev"].startswith("v" + re.fullmatch(r"ruff==(.+)\*", pinned)[1])
    hooks = {hook["id"] for repo in repos.values() for hook in repo["hooks"]}
    assert hooks == {"ruff", "ruff-format", "end-of-file-fixer", "check-added-large-files"}


# What the pages name


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(
        r"`((?:minilora|tests|lessons|benchmarks|data|\.ci)/[\w./-]+)`|\]\((?!https?:)([^)#]+)\)", text
    ):
        path = name[0] or name[1]
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"`minilora ([a-z]+)", text)) <= set(COMMANDS)


def test_the_changelog_names_every_command():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert set(COMMANDS) <= set(re.findall(r"`(?:minilora )?([a-z]+)", text))
