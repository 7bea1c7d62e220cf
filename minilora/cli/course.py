"""`minilora exercises`, `check` and `hint`: the exercises of the lessons, from an installed package or from a clone."""

import csv
import io
import re
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from ..course import handed_in, runner
from ..course.handed_in import answers, state_of
from ..course.runner import LESSONS, exercise, file_name, find_folder, verdict_lines
from ..display.tables import console, new_table
from ..errors import ConfigError
from ..files.atomic import is_taken, write_text
from ..files.shipped import shipped
from ..launcher import cores

NO_SANDBOX = (
    "note: each submission runs in its own process with a time limit and a memory limit; this is no sandbox: "
    "it can read and write your files"
)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def exercises(folder):
    """Write the exercises into DIR: one file of functions to fill in for each lesson. Existing files are kept."""
    for source in sorted(shipped("lessons/exercises").glob("*.py")):
        if is_taken(folder / source.name):
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
    help="The folder with your files, or the file that a page of the site saved.  "
    "[default: here, ./exercises or ./lessons/exercises]",
)
@click.option(
    "--all", "whole_class", is_flag=True, help="Check every exercise in each DIR, one folder for each student."
)
@click.option(
    "--csv",
    "table",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --all: write the results to FILE, a row for each student and exercise.",
)
@click.option(
    "--wide",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --all: write the states to FILE, a row for each student and a column for each exercise.",
)
@click.option(
    "--summary", is_flag=True, help="With --all: print what the class has passed, and its commonest mistakes."
)
def check(what, folder, whole_class, table, wide, summary):
    """Check exercises: `minilora check 6`, `minilora check 6.2`, `minilora check --all DIR... --summary`.

    The command checks your file, one property at a time. Its exit code is 0 when everything passes, else 1.
    """
    if whole_class:
        results = check_class(what, folder, table, wide, summary)
    elif table is not None or wide is not None or summary:
        raise ConfigError(f"{'--csv' if table else '--wide' if wide else '--summary'} needs --all DIR...")
    else:
        results = check_answers(what, folder)
    sys.exit(0 if all(verdict.state == "passed" for verdict in results) else 1)


def check_answers(what, folder):  # ("5", "7.1"), Path or None -> list of Verdict
    saved = saved_in_a_page(folder) if folder is not None and folder.is_file() else None
    chosen = [e for w in what or [str(n) for n in sorted(saved or LESSONS)] for e in numbered(w)]
    places = {} if saved else {e.lesson: find_folder(folder, e.lesson) for e in chosen}
    results = []
    for e in chosen:
        results.append(handed_in.check(e.number, saved) if saved else runner.check(e.number, places[e.lesson]))
        click.echo("\n".join(verdict_lines(e, results[-1])))
    passed = sum(v.state == "passed" for v in results)
    click.echo(f"\n{passed} of {len(results)} passed")
    return results


def saved_in_a_page(path):  # -> files, see handed_in.answers
    if not (files := handed_in.of_page(path)):
        raise ConfigError(f"{path} has no answers: expected a folder, or the file that Save answers of a page wrote")
    return {lesson: [answers] for lesson, answers in files.items()}


def numbered(what):  # "6" or "06" or "6.2" -> list of Exercise
    return list(runner.exercises(int(what))) if re.fullmatch("[0-9]{1,3}", what) else [exercise(what)]


def check_class(folders, folder, table, wide, summary):  # -> list of Verdict
    """Every exercise of every student: a line for each student, and the tables that are asked for."""
    if folder is not None or not folders:
        raise ConfigError("--all takes the folders of the students: minilora check --all DIR...")
    students = submissions([Path(f) for f in folders])
    for option, path in (("--csv", table), ("--wide", wide)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise ConfigError(f"{option} {path}: expected a file in a folder that exists")
    click.echo(NO_SANDBOX, err=True)
    before = {student: state_of(student) for student in students}
    chosen = [e for lesson in LESSONS for e in runner.exercises(lesson)]
    rows = []
    pool = ThreadPoolExecutor(cores())  # each check waits for its own process
    try:
        pending = {s: [pool.submit(handed_in.check, e.number, files) for e in chosen] for s, files in students.items()}
        for student, checks in pending.items():
            verdicts = [c.result() for c in checks]
            rows += [(student, e, v) for e, v in zip(chosen, verdicts, strict=True)]
            show_student(student, students[student], chosen, verdicts)
            write_tables(rows, table, wide)  # after each student: an interruption keeps the finished ones
    finally:
        pool.shutdown(cancel_futures=True)
    if changed := [str(student) for student in students if before[student] != state_of(student)]:
        click.echo(f"changed while they were checked: {', '.join(changed)}", err=True)
    for path in (table, wide):
        if path is not None:
            click.echo(f"written: {path}")
    if summary:
        show_summary(rows)
    return [v for _, _, v in rows]


def show_student(student, files, chosen, verdicts):
    states = Counter(v.state for v in verdicts)
    rest = "".join(f", {states[s]} {s}" for s in ("not started", "no file") if states[s])
    click.echo(f"{student}: {states['passed']} of {len(verdicts)} passed{rest}")
    for lesson, those in sorted(files.items()):
        if (name := those[0].path.name) != file_name(lesson):
            click.echo(f"    {name} is taken for {file_name(lesson)}")
    told = {}  # (state, why) -> the exercises: a file that does not load is told once
    for e, v in zip(chosen, verdicts, strict=True):
        if v.state not in ("passed", "not started", "no file"):
            why = v.named or " ".join(v.message.splitlines()[:2])[:160] if v.state != "failed" or v.named else ""
            told.setdefault((v.state, why), []).append(e.number)
    for (state, why), numbers in told.items():
        click.echo(f"    {', '.join(numbers)} {state}{f': {why}' if why else ''}")


def write_tables(rows, table, wide):
    for path, text in ((table, as_csv), (wide, as_wide_csv)):
        if path is not None:
            write_text(path, "\ufeff" + text(rows))


def show_summary(rows):
    """A line for each exercise: how many students are in which state, and the mistake that most of them made."""
    shown = new_table(
        "exercise", "function", "passed", "failed", "not started", "no file", "other", "commonest mistake"
    )
    for number, verdicts in by_exercise(rows).items():
        states = Counter(v.state for _, v in verdicts)
        counts = [states[s] for s in SHOWN_STATES]
        other = len(verdicts) - sum(counts)
        mistake = commonest_mistake([v for _, v in verdicts])
        shown.add_row(number, verdicts[0][0].function, *map(str, counts), str(other), mistake)
    console().print(shown)


SHOWN_STATES = ("passed", "failed", "not started", "no file")


def by_exercise(rows):  # -> {number: [(Exercise, Verdict)]}
    found = {}
    for _, e, v in rows:
        found.setdefault(e.number, []).append((e, v))
    return found


def commonest_mistake(verdicts):  # -> "3 students: the scale alpha / r is left out", or ""
    named = Counter(v.named for v in verdicts if v.state == "failed" and v.named).most_common(1)
    return "".join(f"{n} student{'s' if n > 1 else ''}: {mistake}" for mistake, n in named)


def submissions(folders):  # [Path] -> {Path: files, see handed_in.answers}
    """The students' folders with their files: each of `folders` that has exercise files; else its subfolders that have
    some; else itself (a student handed in nothing). Raises ConfigError when nobody handed in anything.
    """
    students = {}
    for folder in folders:
        if folder.is_dir():
            inside = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] not in "._"]
            own = answers(folder)
            below = {} if own else {p: files for p in inside if (files := answers(p))}
            if below and (others := [p.name for p in inside if p not in below]):
                click.echo(f"without exercise files, left out: {', '.join(others)}", err=True)
            students |= below or {folder: own}
        else:
            click.echo(f"skipped: {folder} is not a folder", err=True)
    if not any(students.values()):
        raise ConfigError(
            f"no {file_name(LESSONS[0])} to {file_name(LESSONS[-1])} and no notebook with exercises in "
            f"{', '.join(str(f) for f in folders[:5])}, nor in their subfolders"
        )
    return students


def as_csv(rows):  # [(folder, Exercise, Verdict)] -> str
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for student, e, v in rows:
        student = no_formula(student.as_posix())
        told = [no_formula(" ".join(t.split())) for t in (v.failing, v.named, v.file, v.uses, v.message)]
        writer.writerow([student, e.number, e.function, v.state, len(v.passed), *told])
    return text.getvalue()


COLUMNS = "folder,exercise,function,state,properties passed,failing,mistake,file,imports,message".split(",")


def as_wide_csv(rows):  # [(folder, Exercise, Verdict)] -> str
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["folder", "passed", *by_exercise(rows)])
    states = {}
    for student, _, v in rows:
        states.setdefault(student, []).append(v.state)
    for student, own in states.items():
        writer.writerow([no_formula(student.as_posix()), own.count("passed"), *own])
    return text.getvalue()


def no_formula(text):
    """The text, with an apostrophe where a spreadsheet would read a student's output or folder name as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
