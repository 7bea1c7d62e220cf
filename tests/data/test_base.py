"""The shipped base: what its record says is so, and it knows the ingredients of the tasks but none of the tasks."""

import json

import pytest

import minilora as ml
from minilora.files.shipped import shipped
from minilora.tasks.metrics import states_fact
from minilora.tasks.scoring import answers, score
from minilora.tasks.shipped import TASKS
from minilora.text.encoding import encode_text
from minilora.text.examples import read_text
from minilora.text.tokenizer import load_tokenizer
from minilora.training.loop import evaluate


@pytest.fixture(scope="module")
def base():
    return ml.load_pretrained(shipped("base")), load_tokenizer(shipped("base"))


@pytest.mark.slow
def test_the_recorded_validation_loss_is_that_of_the_shipped_weights(base):
    from minilora.text.batches import text_windows

    model, tokenizer = base
    history = json.loads((shipped("base") / "history.json").read_text(encoding="utf-8"))
    ids = encode_text(read_text(shipped("corpus_valid.txt")), tokenizer)
    settings = history["settings"]
    loss = evaluate(model, text_windows(ids, settings["length"], settings["batch_size"]))
    assert loss == pytest.approx(history["valid"][-1][1], abs=1e-4)
    assert history["valid"][-1][0] == settings["steps"] == len(history["loss"])


@pytest.mark.slow
def test_the_record_is_of_the_corpus_that_ships(base):
    from minilora.text.batches import text_digest

    history = json.loads((shipped("base") / "history.json").read_text(encoding="utf-8"))
    ids = encode_text(read_text(shipped("corpus.txt")), base[1])
    assert text_digest(ids) == history["settings"]["digest"]


@pytest.mark.parametrize("name", TASKS)
def test_before_adaptation_the_base_does_none_of_the_tasks(base, name):
    examples = TASKS[name].examples("test")[::3]
    assert score(*base, TASKS[name], examples)[0] <= 0.3


def test_the_base_knows_the_facts_that_the_house_styles_need(base):
    examples = TASKS["style-json"].examples("test")[::3]
    written = answers(*base, [e["prompt"] for e in examples], 24)
    right = [states_fact(e, text.split("\n")[0]) for e, text in zip(examples, written, strict=True)]
    assert sum(right) / len(right) >= 0.85
