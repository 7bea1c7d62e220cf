"""`minilora exercises`, `check` and `hint`: the exercises of the lessons, from an installed package or from a clone."""

import csv
import io
import os
import re
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from ..course import runner
from ..course.runner import LESSONS, exercise, file_name, find_folder, verdict_lines
from ..errors import ConfigError
from ..files.atomic import write_text
from ..files.shipped import shipped

NO_SANDBOX = (
    "note: each submission runs in its own process with a time limit and a memory limit; this is no sandbox: "
    "it can read and write your files"
)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def exercises(folder):
    """Write the exercises into DIR: one file of functions to fill in for each lesson. Existing files are kept."""
    for source in sorted(shipped("lessons/exercises").glob("*.py")):
        if (folder / source.name).exists():
            click.echo(f"kept     {folder / source.name}")
        else:
            write_text(folder / source.name, source.read_text(encoding="utf-8"))
            click.echo(f"written  {folder / source.name}")
    click.echo(f"write your answers into these files, then run: minilora check 6 --dir {folder}")


@click.command()
@click.argument("number", metavar="EXERCISE")
@click.option(
    "--level",
    default=1,
    show_default=True,
    type=click.IntRange(1, 3),
    help="1: a nudge, 2: a sketch, 3: almost the answer.",
)
def hint(number, level):
    """A hint for EXERCISE, such as 6.2."""
    chosen = exercise(number)
    click.echo(f"{number}  {chosen.title}, hint {level} of {len(chosen.hints)}\n\n{chosen.hints[level - 1]}")


@click.command()
@click.argument("what", metavar="[LESSON | EXERCISE | DIR]...", nargs=-1)
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder with your files.  [default: here, ./exercises or ./lessons/exercises]",
)
@click.option(
    "--all", "whole_class", is_flag=True, help="Check every exercise in each DIR, one folder for each student."
)
@click.option(
    "--csv", "table", metavar="FILE", type=click.Path(path_type=Path), help="With --all: write the results to FILE."
)
def check(what, folder, whole_class, table):
    """Check exercises: `minilora check 6`, `minilora check 6.2`, `minilora check --all DIR... --csv FILE`.

    The command checks your file, one property at a time. Its exit code is 0 when everything passes, else 1.
    """
    if whole_class:
        results = check_class(what, folder, table)
    elif table is not None:
        raise ConfigError("--csv needs --all DIR...")
    else:
        results = check_answers(what, folder)
    sys.exit(0 if all(verdict.state == "passed" for verdict in results) else 1)


def check_answers(what, folder):  # ("5", "7.1"), Path or None -> list of Verdict
    chosen = [e for w in what or [str(n) for n in LESSONS] for e in numbered(w)]
    places = {e.lesson: find_folder(folder, e.lesson) for e in chosen}
    results = []
    for e in chosen:
        results.append(runner.check(e.number, places[e.lesson]))
        click.echo("\n".join(verdict_lines(e, results[-1])))
    passed = sum(v.state == "passed" for v in results)
    click.echo(f"\n{passed} of {len(results)} passed")
    return results


def numbered(what):  # "6" or "06" or "6.2" -> list of Exercise
    return list(runner.exercises(int(what))) if re.fullmatch("[0-9]{1,3}", what) else [exercise(what)]


def check_class(folders, folder, table):  # -> list of Verdict
    """Every exercise of every student: a line for each student, and with `table` a row for each exercise."""
    if folder is not None or not folders:
        raise ConfigError("--all takes the folders of the students: minilora check --all DIR...")
    students = submissions([Path(f) for f in folders])
    if table is not None and (table.is_dir() or not table.absolute().parent.is_dir()):
        raise ConfigError(f"--csv {table}: expected a file in a folder that exists")
    click.echo(NO_SANDBOX, err=True)
    chosen = [e for lesson in LESSONS for e in runner.exercises(lesson)]
    rows = []
    pool = ThreadPoolExecutor(os.cpu_count())  # each check waits for its own process
    try:
        pending = {s: [pool.submit(runner.check, e.number, s) for e in chosen] for s in students}
        for student, checks in pending.items():
            verdicts = [c.result() for c in checks]
            rows += [(student, e, v) for e, v in zip(chosen, verdicts, strict=True)]
            states = Counter(v.state for v in verdicts)
            rest = "".join(f", {states[s]} {s}" for s in ("not started", "no file") if states[s])
            click.echo(
                f"{student}: {states['passed']} of {len(verdicts)} passed{rest}"
                + "".join(
                    f"\n    {e.number} {v.state}"
                    for e, v in zip(chosen, verdicts, strict=True)
                    if v.state not in ("passed", "not started", "no file")
                )
            )
            if table is not None:
                write_text(
                    table, "\ufeff" + as_csv(rows)
                )  # after each student: an interruption keeps the finished ones
    finally:
        pool.shutdown(cancel_futures=True)
    if table is not None:
        click.echo(f"written: {table}")
    return [v for _, _, v in rows]


def submissions(folders):  # [Path] -> list of Path
    """The students' folders: each of `folders` that has exercise files; else its subfolders that have some; else itself
    (a student handed in nothing). Raises ConfigError when nobody handed in anything.
    """
    students = []
    for folder in folders:
        if folder.is_dir():
            inside = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] not in "._"]
            below = [p for p in inside if answers_in(p)]
            if below and (others := [p.name for p in inside if p not in below]) and not answers_in(folder):
                click.echo(f"without exercise files, left out: {', '.join(others)}", err=True)
            students += [folder] if answers_in(folder) or not below else below
        else:
            click.echo(f"skipped: {folder} is not a folder", err=True)
    if not any(answers_in(student) for student in students):
        raise ConfigError(
            f"no {file_name(LESSONS[0])} to {file_name(LESSONS[-1])} in "
            f"{', '.join(str(f) for f in folders[:5])}, nor in their subfolders"
        )
    return students


def answers_in(folder):  # Path -> bool
    return any((folder / file_name(lesson)).is_file() for lesson in LESSONS)


def as_csv(rows):  # [(folder, Exercise, Verdict)] -> str
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["folder", "exercise", "function", "state", "properties passed", "failing", "message"])
    for student, e, v in rows:
        message = " ".join(v.message.split())
        writer.writerow(
            [
                no_formula(student.as_posix()),
                e.number,
                e.function,
                v.state,
                len(v.passed),
                v.failing,
                no_formula(message),
            ]
        )
    return text.getvalue()


def no_formula(text):
    """The text, with an apostrophe where a spreadsheet would read a student's output or folder name as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
