"""The shipped tasks: what each asks for, and how an answer to it is scored.

Every task is a folder `tasks/<name>/` of the shipped data with train, valid and test examples, one JSON object a line:
"prompt", "response" (an answer that scores 1.0) and what the metric needs beside them. A model reads the prompt and a
line break (`data.frame`) and writes the response and the end token.

All metrics are strict: 1.0 when the form *and* the content of an answer are right, else 0.0. An answer in perfect form
about the wrong street is worth nothing, and so is the right street in the wrong form.
"""

import functools
import json
import re

from ..files.shipped import shipped


@functools.cache
def values() -> dict[str, list[str]]:
    """Every value that a slot or a fact of the town can have: {"food": [...], "street": [...], ...}."""
    return json.loads(shipped("tasks/values.json").read_text(encoding="utf-8"))


def mentioned(kind: str, text: str) -> set[str]:
    """The values of a kind that stand in the text as whole words."""
    return {value for value in values()[kind] if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)}


# ---- data to text: form = one sentence that opens with the name; content = every slot's value, and no other

CONNECTING = set(
    "a an is are and at the that which it its in near where you can get with has serves serving sells "
    "offers cafe place dogs food prices known for called".split()
)


def score_data_to_text(example: dict, answer: str) -> float:
    """1.0 for one plain sentence about the cafe with every value of example["slots"] in it and no foreign value."""
    name = example["slots"]["name"]
    opening = name[0].upper() + name[1:] + " "
    if not (answer.startswith(opening) and re.fullmatch(r"[A-Za-z, ]+\.", answer)):
        return 0.0
    rest = answer[len(opening) : -1]
    if not re.match(r"(is|serves|sells|offers|has) ", rest):
        return 0.0
    for slot in ("food", "price", "place", "mood", "dogs"):
        wanted = example["slots"].get(slot)
        if mentioned(slot, rest) != ({wanted.removeprefix("the ")} if wanted else set()):
            return 0.0
    slots = " ".join(example["slots"].values()).split()
    words = rest.replace(",", "").split()
    repeated = any(words.count(word) > 1 for word in slots if word != "the")
    return float(not repeated and set(words) <= CONNECTING | set(slots))


# ---- question to SQL: form = one SELECT that runs; content = the rows that the reference finds, in every database


def score_sql(example: dict, answer: str) -> float:
    """1.0 when the answer finds the reference's rows in each of the three shipped databases (sqlite3, read only)."""
    if not re.match(r"SELECT\b", answer, re.IGNORECASE):
        return 0.0
    return float(
        all(
            (found := query(i, answer)) is not None and found == query(i, example["response"])
            for i in range(len(tables()))
        )
    )


@functools.cache
def tables() -> list[dict]:
    """The shipped databases: [{"boats": {"columns": [...], "rows": [...]}, "cafes": ...}, ...]."""
    return json.loads(shipped("tasks/sql/tables.json").read_text(encoding="utf-8"))


def query(index: int, text: str) -> list | None:
    """The rows that one read-only statement finds in shipped database `index`, sorted; None when it does not run."""
    import sqlite3

    rows_of = database(index)
    steps = 0

    def out_of_patience() -> int:  # called every 1,000 steps of SQLite's machine; non-zero stops the query
        nonlocal steps
        steps += 1
        return int(steps > 2000)

    rows_of.set_progress_handler(out_of_patience, 1000)
    try:
        return sorted(rows_of.execute(text).fetchmany(10_000), key=repr)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError):
        return None


@functools.cache
def database(index: int):  # -> sqlite3.Connection
    """One shipped database in memory, closed to everything but reading."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    for name, table in tables()[index].items():
        connection.execute(f"CREATE TABLE {name} ({', '.join(table['columns'])})")
        connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(table['columns']))})", table["rows"])
    connection.commit()
    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY)
    return connection


# ---- reviews: the label and nothing else

LABELS = ("Praise for the food.", "Blame for the food.", "Praise for the staff.", "Blame for the staff.")


def score_exact(example: dict, answer: str) -> float:
    """1.0 when the answer is the response, to the letter."""
    return float(answer == example["response"])


# ---- house styles: form = the style; content = a sentence about this person with the right fact and no other


def states_fact(example: dict, sentence: str) -> bool:
    """Whether the sentence is about example["name"] and gives example["value"] as the only street, work or pet."""
    if not (sentence.startswith(example["name"] + " ") and sentence.endswith(".") and sentence.count(".") == 1):
        return False
    return all(
        mentioned(kind, sentence) == ({example["value"]} if kind == example["kind"] else set())
        for kind in ("street", "work", "pet")
    )


def json_object(text: str) -> dict | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def score_style_json(example: dict, answer: str) -> float:
    """1.0 for a JSON object whose only entry, "answer", is a sentence with the right fact."""
    found = json_object(answer)
    said = found.get("answer") if found and len(found) == 1 else None
    return float(isinstance(said, str) and states_fact(example, said))


def score_style_crier(example: dict, answer: str) -> float:
    """1.0 for "Hear ye! ... All is well." around a sentence with the right fact."""
    cried = re.fullmatch(r"Hear ye! (.*) All is well\.", answer)
    return float(cried is not None and states_fact(example, cried[1]))


def score_bare_json(example: dict, answer: str) -> float:
    """1.0 for the JSON object of the reference: one entry, the bare fact."""
    found = json_object(answer)
    return float(found is not None and found == json_object(example["response"]))
