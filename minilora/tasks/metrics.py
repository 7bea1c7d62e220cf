"""The metrics of the shipped tasks: how an answer is scored.

Each task is a folder `tasks/<name>/` of the shipped data with train, valid and test examples, one JSON object a line:
"prompt", "response" (an answer that scores 1.0) and other keys that the metric needs. A model reads the prompt and a
line break (text.encoding.frame) and writes the response and the end token.

All metrics are strict: 1.0 when the form *and* the content of an answer are right, else 0.0. An answer in perfect form
about the wrong street scores 0.0, and so does the right street in the wrong form.
"""

import functools
import json
import re

from ..files.shipped import shipped


@functools.cache
def values() -> dict[str, list[str]]:
    """Every value that a slot or a fact of the town can have: {"food": [...], "street": [...], ...}."""
    return json.loads(shipped("tasks/values.json").read_text(encoding="utf-8"))


def find_values(kind: str, text: str) -> set[str]:
    """The values of one kind, such as "street", that occur in the text as whole words."""
    return {value for value in values()[kind] if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)}


# ---- data-to-text: form = one sentence that starts with the name; content = the values of all slots, and no other

CONNECTING = set(
    "a an is are and at the that which it its in near where you can get with has serves serving sells "
    "offers cafe place dogs food prices known for called".split()
)


def score_data_to_text(example: dict, answer: str) -> float:
    """1.0 for one plain sentence about the cafe that has every value of example["slots"] and no other value."""
    name = example["slots"]["name"]
    opening = name[0].upper() + name[1:] + " "
    if not (answer.startswith(opening) and re.fullmatch(r"[A-Za-z, ]+\.", answer)):
        return 0.0
    rest = answer[len(opening) : -1]
    if not re.match(r"(is|serves|sells|offers|has) ", rest):
        return 0.0
    for slot in ("food", "price", "place", "mood", "dogs"):
        wanted = example["slots"].get(slot)
        if find_values(slot, rest) != ({wanted.removeprefix("the ")} if wanted else set()):
            return 0.0
    slots = " ".join(example["slots"].values()).split()
    words = rest.replace(",", "").split()
    repeated = any(words.count(word) > 1 for word in slots if word != "the")
    return float(not repeated and set(words) <= CONNECTING | set(slots))


# ---- sql: form = one SELECT that runs; content = the rows that the reference finds, in every database

MAX_STEPS = 2_000_000  # of SQLite's machine; an answer that needs more scores 0.0
MAX_ROWS = 10_000  # that are read of an answer


def score_sql(example: dict, answer: str) -> float:
    """1.0 when the answer finds the same rows as the response, in any order, in each of the three shipped databases."""
    if not re.match(r"SELECT\b", answer, re.IGNORECASE):
        return 0.0
    for i in range(len(tables())):
        rows = query(i, answer)
        if rows is None or rows != query(i, example["response"]):
            return 0.0
    return 1.0


@functools.cache
def tables() -> list[dict]:
    """The shipped databases: [{"boats": {"columns": [...], "rows": [...]}, "cafes": ...}, ...]."""
    return json.loads(shipped("tasks/sql/tables.json").read_text(encoding="utf-8"))


def query(index: int, statement: str) -> list | None:
    """The rows that a read-only SQL statement finds in shipped database `index`, sorted; None when it does not run."""
    import sqlite3

    connection = open_database(index)
    steps = 0

    def is_too_long() -> bool:  # SQLite calls it every 1,000 steps, and stops when it is true
        nonlocal steps
        steps += 1000
        return steps > MAX_STEPS

    connection.set_progress_handler(is_too_long, 1000)
    try:
        return sorted(connection.execute(statement).fetchmany(MAX_ROWS), key=repr)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError):
        return None


@functools.cache
def open_database(index: int):  # -> sqlite3.Connection
    """One shipped database in memory. Statements can only read it."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    for name, table in tables()[index].items():
        connection.execute(f"CREATE TABLE {name} ({', '.join(table['columns'])})")
        connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(table['columns']))})", table["rows"])
    connection.commit()
    allowed = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY)
    return connection


# ---- reviews: form and content = the label and nothing else

LABELS = ("Praise for the food.", "Blame for the food.", "Praise for the staff.", "Blame for the staff.")


def score_exact(example: dict, answer: str) -> float:
    """1.0 when the answer equals the response, character by character."""
    return float(answer == example["response"])


# ---- styles: form = the style; content = a sentence about this person with the right fact and no other


def states_fact(example: dict, sentence: str) -> bool:
    """Whether the sentence is about example["name"] and gives example["value"] as the only street, work or pet."""
    if not (sentence.startswith(example["name"] + " ") and sentence.endswith(".") and sentence.count(".") == 1):
        return False
    return all(
        find_values(kind, sentence) == ({example["value"]} if kind == example["kind"] else set())
        for kind in ("street", "work", "pet")
    )


def json_object(text: str) -> dict | None:
    """The JSON object that is the whole text; None for anything else, and where a key occurs twice."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique_keys(pairs: list[tuple]) -> dict:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key occurs twice")
    return entries


def score_style_json(example: dict, answer: str) -> float:
    """1.0 for a JSON object whose only entry, "answer", is a sentence with the right fact."""
    entries = json_object(answer)
    sentence = entries.get("answer") if entries and len(entries) == 1 else None
    return float(isinstance(sentence, str) and states_fact(example, sentence))


def score_style_crier(example: dict, answer: str) -> float:
    """1.0 for "Hear ye! ... All is well." around a sentence with the right fact."""
    cry = re.fullmatch(r"Hear ye! (.*) All is well\.", answer)
    return float(cry is not None and states_fact(example, cry[1]))


def score_bare_json(example: dict, answer: str) -> float:
    """1.0 for a JSON object equal to the response: one entry, the bare fact."""
    entries = json_object(answer)
    return float(entries is not None and entries == json_object(example["response"]))
