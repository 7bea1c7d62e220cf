"""The teacher of `ml.finetune(teacher=...)`: which models can be one, and what a student learns from it."""

import json
import shutil

import pytest

import minilora as ml
from minilora.errors import ConfigError
from minilora.files.shipped import shipped
from minilora.finetuning import finetune
from minilora.finetuning_teacher import load_teacher, parts_of
from minilora.models.pretrained import load_base

PAIRS = [{"prompt": f"Where is boat {n}?", "response": "Ahoy! At sea."} for n in range(24)]
SHORT = {"examples": PAIRS, "rank": 2, "batch_size": 4, "progress": False, "plot": False}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """An adapter on the shipped base that gives one answer."""
    out = tmp_path_factory.mktemp("teacher") / "ahoy"
    finetune(out=out, steps=12, **SHORT)
    return out


@pytest.mark.slow
def test_a_student_learns_the_teachers_answer_from_examples_with_other_responses(teacher):
    other = [pair | {"response": "Ahoy! At home."} for pair in PAIRS]
    settings = SHORT | {"examples": other, "steps": 12}
    student = finetune(teacher=str(teacher), mix=1.0, **settings).model
    without = finetune(**settings).model
    model, tokenizer = load_base()
    theirs = ml.PeftModel.from_pretrained(model, teacher)
    prompt = tokenizer.encode("Where is boat 7?\n")

    def answer(model):
        return tokenizer.decode(model.generate([prompt], 8, eos_token_id=tokenizer.eos_id)[0][len(prompt) :])

    assert answer(student) == answer(theirs) == "Ahoy! At s"  # as in "sea"
    assert answer(without) == "Ahoy! At home"


def test_a_teacher_may_be_a_base_an_adapter_or_a_base_with_an_adapter(teacher, tmp_path):
    base = shutil.copytree(shipped("base"), tmp_path / "base+copy")
    assert parts_of(str(teacher)) == (None, str(teacher))
    assert parts_of(str(base)) == (str(base), None)
    assert parts_of(f"{base}+{teacher}") == (str(base), str(teacher))
    model, tokenizer = load_base()
    assert not load_teacher(f"{base}+{teacher}", model, tokenizer).training
    assert not isinstance(load_teacher(str(base), model, tokenizer), ml.PeftModel)


def test_a_teacher_with_another_tokenizer_is_refused_in_one_line(tmp_path):
    base = shutil.copytree(shipped("base"), tmp_path / "other")
    made = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    first, second = list(made["model"]["vocab"])[-2:]
    vocab = made["model"]["vocab"]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (base / "tokenizer.json").write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(ConfigError, match="another tokenizer than the student: its tokens mean other texts"):
        finetune(teacher=str(base), steps=1, **SHORT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"temperature": -1.0}, "temperature -1.0"), ({"mix": 2.0}, "mix 2.0"),
     ({"chunked_loss": True}, "leave out chunked_loss")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_anything_is_read(settings, message):
    with pytest.raises(ConfigError, match=message):
        finetune(teacher="nowhere", steps=1, **SHORT | settings)
