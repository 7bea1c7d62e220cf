"""The table of the shipped tasks."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UnknownNameError, nearest
from ..files.shipped import shipped
from .metrics import (
    LABELS,
    score_bare_json,
    score_data_to_text,
    score_exact,
    score_sql,
    score_style_crier,
    score_style_json,
)


@dataclass(frozen=True)
class Task:
    """A shipped task: its examples and its metric."""

    name: str
    description: str  # prompt -> response, in one line
    scored: str  # the conditions of a score of 1.0, in one line
    score: Callable[[dict, str], float]  # (example, answer) -> 1.0 or 0.0
    choices: tuple[str, ...] = ()  # the only possible responses, for tasks with a fixed set
    max_new_tokens: int = 48  # enough for every response of the task and the end token

    def examples(self, split: str) -> list[dict]:
        """The shipped examples of a split: "train", "valid" or "test". Raises UnknownNameError for any other."""
        if split not in ("train", "valid", "test"):
            raise UnknownNameError(f"no split '{split}' of task {self.name}; there are: train, valid, test")
        text = shipped(f"tasks/{self.name}/{split}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def get_task(name: str) -> Task:
    """The task of that name. Raises UnknownNameError with the most similar names."""
    if name not in TASKS:
        raise UnknownNameError(f"no task '{name}'; there are: {nearest(name, TASKS)}")
    return TASKS[name]


TASKS = {
    task.name: task
    for task in (
        Task(
            "data-to-text",
            "a record of a cafe -> one sentence with all of its facts",
            "one sentence, every slot, no foreign value",
            score_data_to_text,
        ),
        Task(
            "sql",
            "a question about boats or cafes -> an SQL query",
            "finds the reference's rows in three databases",
            score_sql,
        ),
        Task(
            "reviews",
            "a guest's review -> praise or blame, for the food or the staff",
            "the exact label",
            score_exact,
            choices=LABELS,
            max_new_tokens=12,
        ),
        Task(
            "style-json",
            "a question about a person -> the answer as JSON",
            'parses, {"answer": sentence}, the right fact',
            score_style_json,
            max_new_tokens=32,
        ),
        Task(
            "style-crier",
            "a question about a person -> the answer as the town crier gives it",
            "Hear ye! ... All is well., the right fact",
            score_style_crier,
            max_new_tokens=32,
        ),
        Task(
            "bare-json",
            "a question about a person -> the bare fact in JSON (a known failure: scores stay low)",
            "parses, the one entry is right",
            score_bare_json,
            max_new_tokens=24,
        ),
    )
}
