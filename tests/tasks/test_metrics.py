"""The metrics: every reference earns 1.0; form without content, and content without form, earn nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.tasks.metrics import LABELS, query, states_fact, tables
from minilora.tasks.shipped import TASKS

RECORD = {"slots": {"name": "the Blue Bell", "food": "apple cake", "price": "costly", "place": "the mill"}}
PERSON = {"name": "Hattie Sedge", "kind": "street", "value": "Chapel Steps", "response": '{"home": "Chapel Steps"}'}
QUESTION = {"response": "SELECT name FROM boats WHERE colour = 'red' AND cargo = 'coal';"}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_reference_answer_scores_one(name, split):
    assert [e for e in TASKS[name].examples(split) if TASKS[name].score(e, e["response"]) != 1.0] == []


@pytest.mark.parametrize("name", TASKS)
def test_the_answer_to_another_example_scores_nothing(name):
    test = TASKS[name].examples("test")
    others = [(a, b) for a, b in zip(test, test[1:] + test[:1], strict=True) if a["response"] != b["response"]]
    assert len(others) > 50 and sum(TASKS[name].score(a, b["response"]) for a, b in others) == 0


@pytest.mark.parametrize("name", TASKS)
def test_prompt_and_empty_answer_score_nothing(name):
    assert sum(TASKS[name].score(e, a) for e in TASKS[name].examples("test") for a in (e["prompt"], "")) == 0


@pytest.mark.parametrize(
    "answer",
    [
        "The Blue Bell is a costly cafe near the mill that serves apple cake.",
        "The Blue Bell serves apple cake near the mill and is costly.",
    ],
)
def test_any_plain_sentence_with_every_slot_is_right(answer):
    assert TASKS["data-to-text"].score(RECORD, answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "The Blue Bell is a costly cafe near the mill.",  # a slot left out
        "The Blue Bell is a costly cafe near the mill that serves pea soup.",  # another value
        "The Blue Bell is a quiet, costly cafe near the mill that serves apple cake.",  # one too many
        "The Old Bell is a costly cafe near the mill that serves apple cake.",  # another cafe
        "The Blue Bell is a costly cafe near the mill that serves apple cake",  # no full stop
        "The Blue Bell is a costly, costly cafe near the mill that serves apple cake.",  # said twice
        "The Blue Bell = costly ; apple cake ; the mill.",  # not a sentence
        "The Blue Bell apple cake costly the mill.",  # no verb
        "The notice says that the Blue Bell is a costly cafe near the mill that serves apple cake.",
        "The Blue Bell is a costly cafe near the mill that serves apple cake. It is good.",  # two sentences
        "The Blue Bell is a costly cafe near the mill that serves apple cake, and dogs are welcome.",
    ],
)
def test_a_sentence_with_a_slot_wrong_or_in_another_form_is_not(answer):
    assert TASKS["data-to-text"].score(RECORD, answer) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT name FROM boats WHERE cargo = 'coal' AND colour = 'red'",
        "select b.name from boats b where b.colour in ('red') and b.cargo like 'coal' order by b.name",
    ],
)
def test_any_query_that_finds_the_rows_is_right(answer):
    assert TASKS["sql"].score(QUESTION, answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT name FROM boats WHERE colour = 'red';",
        "SELECT name FROM boats WHERE cargo = 'coal';",
        "SELECT COUNT(*) FROM boats WHERE colour = 'red' AND cargo = 'coal';",
        "SELECT name FROM boats WHERE colour = 'red' AND cargo = 'salt';",
        "SELECT name FROM cafes WHERE colour = 'red' AND cargo = 'coal';",
        "SELECT name FROM boats WHERE",
        "The red boats that carry coal.",
        "SELECT",
        "DROP TABLE boats;",
        "SELECT 1; DROP TABLE boats;",
        "SELECT load_extension('x');",
        "SELECT name FROM sqlite_master;",
        "SELECT \x00",
        "SELECT '\ud800'",
        "SELECT count(*) FROM boats a, boats b, boats c, boats d, cafes e;",
    ],
)
def test_another_query_finds_other_rows_or_does_not_run(answer):
    assert TASKS["sql"].score(QUESTION, answer) == 0.0


def test_every_tested_query_finds_something_in_every_database():
    assert len(tables()) > 1
    for example in TASKS["sql"].examples("test"):
        for i in range(len(tables())):
            assert query(i, example["response"]) not in (None, [], [(0,)], [(None,)])


def test_the_databases_tell_all_tested_queries_apart():
    queries = {e["response"] for split in ("valid", "test") for e in TASKS["sql"].examples(split)}
    found = {str([query(i, text) for i in range(len(tables()))]) for text in queries}
    assert len(found) == len(queries)


def test_dropping_a_condition_of_a_tested_query_changes_what_it_finds():
    double = [e["response"] for e in TASKS["sql"].examples("test") if " AND " in e["response"]]
    assert len(double) > 50
    for text in double:
        head, both = text.rstrip(";").split(" WHERE ")
        for condition in both.split(" AND "):
            assert any(query(i, f"{head} WHERE {condition};") != query(i, text) for i in range(len(tables())))


@pytest.mark.parametrize(
    ("sentence", "right"),
    [
        ("Hattie Sedge lives on Chapel Steps.", True),
        ("Hattie Sedge has a house on Chapel Steps.", True),
        ("Hattie Sedge lives on Mill Lane.", False),
        ("Hattie Sedge lives on Chapel Steps. Hattie Sedge lives on Mill Lane.", False),
        ("Hattie Sedge lives on Chapel Steps and keeps a goat.", False),
        ("Hattie Pike lives on Chapel Steps.", False),
        ("Chapel Steps.", False),
    ],
)
def test_a_fact_is_stated_by_name_and_alone(sentence, right):
    assert states_fact(PERSON, sentence) == right


@pytest.mark.parametrize(
    ("name", "answer", "score"),
    [
        ("style-json", '{"answer": "Hattie Sedge lives on Chapel Steps."}', 1.0),
        ("style-json", '{ "answer" : "Hattie Sedge lives on Chapel Steps." }', 1.0),
        ("style-json", '{"answer": "Hattie Sedge lives on Mill Lane."}', 0.0),
        ("style-json", '{"note": "Hattie Sedge lives on Chapel Steps."}', 0.0),
        ("style-json", '{"answer": "Hattie Sedge lives on Chapel Steps."', 0.0),
        ("style-json", '{"answer": ["Chapel Steps"]}', 0.0),
        ("style-json", '{"answer": "x", "answer": "Hattie Sedge lives on Chapel Steps."}', 0.0),
        ("style-json", "Hattie Sedge lives on Chapel Steps.", 0.0),
        ("style-json", "[" * 100_000, 0.0),
        ("style-crier", "Hear ye! Hattie Sedge lives on Chapel Steps. All is well.", 1.0),
        ("style-crier", "Hear ye! Hattie Sedge lives on Mill Lane. All is well.", 0.0),
        ("style-crier", "Hear ye! Hattie Sedge lives on Chapel Steps.", 0.0),
        ("style-crier", "Hattie Sedge lives on Chapel Steps.", 0.0),
        ("bare-json", '{"home": "Chapel Steps"}', 1.0),
        ("bare-json", '{"home": "Mill Lane"}', 0.0),
        ("bare-json", '{"home": "Mill Lane", "home": "Chapel Steps"}', 0.0),
        ("bare-json", '{"work": "Chapel Steps"}', 0.0),
        ("bare-json", "Chapel Steps", 0.0),
    ],
)
def test_style_and_fact_are_both_required(name, answer, score):
    assert TASKS[name].score(PERSON, answer) == score


def test_the_labels_of_the_reviews_are_the_choices_and_equally_frequent():
    answers = [e["response"] for e in TASKS["reviews"].examples("test")]
    assert TASKS["reviews"].choices == LABELS and {answers.count(label) for label in LABELS} == {len(answers) // 4}


@given(st.text(max_size=60), st.sampled_from(sorted(TASKS)))
def test_any_text_gets_a_score(answer, name):
    example = TASKS[name].examples("test")[0]
    assert TASKS[name].score(example, answer) in (0.0, 1.0)
