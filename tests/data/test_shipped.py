"""The shipped text and tasks keep the promises on which the lessons rest."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from minilora.files.shipped import shipped
from minilora.tasks.metrics import values
from minilora.tasks.shipped import TASKS
from minilora.text.tokenizer import load_tokenizer

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "valid", "test")
STYLES = ("style-json", "style-crier", "bare-json")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(shipped("tokenizer.json"))


@pytest.fixture(scope="module")
def paragraphs():
    return shipped("corpus.txt").read_text(encoding="utf-8").split("\n<|endoftext|>\n")[:-1]


def examples(name):
    return [example for split in SPLITS for example in TASKS[name].examples(split)]


@pytest.mark.slow
def test_a_rebuild_from_the_seed_is_byte_identical(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "data.make.build", "--out", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )
    made = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert len(made) == 23
    assert [p for p in made if (tmp_path / p).read_bytes() != (ROOT / "data" / p).read_bytes()] == []


def test_the_base_text_is_one_to_two_megabytes():
    assert 1e6 < shipped("corpus.txt").stat().st_size < 2e6


def test_no_held_out_paragraph_is_in_the_base_text(paragraphs):
    held_out = shipped("corpus_valid.txt").read_text(encoding="utf-8").split("\n<|endoftext|>\n")[:-1]
    assert len(held_out) > 200 and not set(held_out) & set(paragraphs)


def test_the_tokenizer_has_1024_tokens_and_both_special_ones(tokenizer):
    assert tokenizer.vocab_size == 1024
    assert (tokenizer.eos_id, tokenizer.pad_id) == (0, 1)


@pytest.mark.slow
def test_every_token_of_every_answer_stands_at_least_50_times_in_the_base_text(tokenizer, paragraphs):
    counts = Counter(tokenizer.encode(shipped("corpus.txt").read_text(encoding="utf-8")))
    rare = {
        (name, tokenizer.decode([i]), counts[i])
        for name in TASKS
        for example in examples(name)
        for i in {*tokenizer.encode(example["response"]), tokenizer.eos_id}
        if counts[i] < 50
    }
    assert rare == set()


def test_values_of_cafes_and_boats_are_restated_within_their_paragraph(paragraphs):
    told = [p for p in paragraphs if re.match(r"(The|There is a (cafe|boat) called the) [A-Z]\w+ [A-Z]\w+", p)]
    assert len(told) > 300
    words = [*values()["food"], "red", "blue", "green", "white", "black", "yellow", "grey", "brown"]
    repeats = [p.count(word) > 1 for p in told for word in words if re.search(rf"\b{word}\b", p)]
    assert sum(repeats) > 0.5 * len(repeats)


MARKED = re.compile(r'SELECT |\{"|Hear ye!|\w+ = .* ; ')
READ_AS = (
    "The notice says that ",
    "The line asks for ",
    "The clerk is asked for ",
    "This line is for ",
    "The slip says that ",
    "The crier says that ",
)


def test_records_queries_slips_and_cries_open_their_paragraph_and_are_only_read(paragraphs):
    marked = [p for p in paragraphs if MARKED.search(p)]
    assert len(marked) > 2000
    for paragraph in marked:
        first, second = paragraph.split("\n")
        assert MARKED.match(first) and not MARKED.search(second) and second.startswith(READ_AS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TASKS if name != "sql"])
def test_no_answer_of_a_task_is_in_the_base_text(name, paragraphs):
    text = "\n".join(paragraphs)
    assert [e["response"] for e in examples(name) if e["response"] in text] == []


def test_no_held_out_query_is_in_the_base_text_and_no_query_stands_beside_a_question(paragraphs):
    queries = {p.split("\n")[0] for p in paragraphs if p.startswith("SELECT ")}
    held_out = [e["response"] for split in ("valid", "test") for e in TASKS["sql"].examples(split)]
    assert queries and held_out
    assert not queries & set(held_out)
    assert [p for p in paragraphs if "SELECT " in p and "?" in p] == []


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_input(name):
    prompts = [e["prompt"] for e in examples(name)]
    assert len(prompts) == len(set(prompts))


@pytest.mark.parametrize("name", TASKS)
def test_every_split_has_enough_examples(name):
    train, valid, test = (len(TASKS[name].examples(split)) for split in SPLITS)
    assert train >= 600 and valid >= 48 and 100 <= test <= 200


def test_data_to_text_is_tested_on_cafes_that_no_text_names(paragraphs):
    known = "\n".join([*paragraphs, *(e["prompt"] for e in TASKS["data-to-text"].examples("train"))])
    tested = {e["slots"]["name"].removeprefix("the ") for e in TASKS["data-to-text"].examples("test")}
    assert len(tested) >= 20 and [name for name in tested if name in known] == []


def test_sql_is_tested_on_pairs_of_values_that_training_never_joins():
    def literals(split):
        return {
            (e["response"].split(" FROM ")[1].split(" ")[0], *re.findall(r"'([^']+)'|> (\d+)", e["response"]))
            for e in TASKS["sql"].examples(split)
        }

    assert literals("train") and literals("test")
    assert not literals("train") & literals("test")


@pytest.mark.parametrize("name", STYLES)
def test_house_styles_are_tested_on_people_that_tuning_never_used(name):
    people = {split: {e["name"] for e in TASKS[name].examples(split)} for split in SPLITS}
    assert not people["train"] & (people["test"] | people["valid"]) and len(people["test"]) >= 40


def test_both_styles_are_tested_on_the_same_questions():
    asked = [[e["prompt"] for e in TASKS[name].examples("test")] for name in ("style-json", "style-crier")]
    assert asked[0] == asked[1]


def test_the_town_has_150_to_200_people_each_with_one_street_one_work_and_one_pet(paragraphs):
    text, facts = "\n".join(paragraphs), {}
    for name, kind, value in {(e["name"], e["kind"], e["value"]) for e in examples("style-json")}:
        assert facts.setdefault((name, kind), value) == value
    assert 150 * 3 <= len(facts) <= 200 * 3
    for sentence, kind in (
        (r"(\w+ \w+) lives on ([\w ]+)\.", "street"),
        (r"(\w+ \w+) works as a (\w+)\.", "work"),
        (r"(\w+ \w+) keeps a (\w+)\.", "pet"),
    ):
        told = [(name, value) for name, value in re.findall(sentence, text) if (name, kind) in facts]
        assert len(told) >= 150
        for name, value in told:
            assert facts[name, kind] == value


def test_tested_reviews_use_words_that_training_never_used():
    last = {split: {e["prompt"] for e in TASKS["reviews"].examples(split)} for split in SPLITS}
    words = {split: set(re.findall(r"[a-z]+", " ".join(last[split]).lower())) for split in SPLITS}
    assert len(words["test"] - words["train"]) >= 8


def test_shipped_json_is_one_object_a_line():
    for name in TASKS:
        for split in SPLITS:
            lines = shipped(f"tasks/{name}/{split}.jsonl").read_text(encoding="utf-8").splitlines()
            assert lines and all({"prompt", "response"} <= set(json.loads(line)) for line in lines)
