"""The forms of a row: what each becomes, and that no key with content is dropped in silence."""

import json
import re

import pytest

from minilora.errors import DataError
from minilora.text.encoding import encode_pair
from minilora.text.rows import every_answer, read_row, recognised, row_form
from minilora.text.tokenizer import TextTokenizer

ASK, TELL = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {"prompt": "Hi", "response": "Ho"}


@pytest.mark.parametrize(
    ("row", "form", "example"),
    [
        (PAIR, "prompt and response", PAIR),
        ({"prompt": "Hi", "completion": "Ho"}, "prompt and completion", PAIR),
        ({"prompt": [ASK], "completion": [TELL]}, "prompt and completion", PAIR | {"messages": [ASK, TELL]}),
        ({"instruction": "Hi", "output": "Ho"}, "instruction and output", PAIR),
        ({"instruction": "Hi", "input": "", "output": "Ho"}, "instruction and output", PAIR),
        (
            {"instruction": "French", "input": "cheese", "output": "fromage", "text": "### French cheese\nfromage"},
            "instruction and output",
            {"prompt": "French\ncheese", "response": "fromage"},
        ),
        (
            {"instruction": "Hi", "context": "there", "response": "Ho", "category": "qa"},
            "instruction and response",
            {"prompt": "Hi\nthere", "response": "Ho", "category": "qa"},
        ),
        (
            {"prompt": "French", "input": "cheese", "response": "fromage"},
            "prompt and response",
            {"prompt": "French\ncheese", "response": "fromage"},
        ),
        (
            {"system": "Be brief.", **PAIR},
            "prompt and response",
            {"prompt": "Be brief.\nHi", "response": "Ho", "messages": [SYSTEM, ASK, TELL]},
        ),
        ({"messages": [ASK, TELL | {"weight": 1}]}, "messages", PAIR | {"messages": [ASK, TELL]}),
        (
            {"messages": [ASK, TELL], "tools": [{"name": "f"}]},
            "messages",
            PAIR | {"messages": [ASK, TELL], "tools": [{"name": "f"}]},
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
            "conversations",
            PAIR | {"messages": [ASK, TELL]},
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
                "system": "Be brief.", "tools": "[]",
            },
            "conversations",
            {"prompt": "Be brief.\nHi", "response": "Ho", "messages": [SYSTEM, ASK, TELL]},
        ),
        ({"text": "A tale."}, "text", {"prompt": "", "response": "A tale.", "text": "A tale."}),
        ({**PAIR, "id": "x1", "extra": None, "empty": [], "n": 3}, "prompt and response", PAIR | {"id": "x1"}),
    ],
)  # fmt: skip
def test_a_row_of_each_form_becomes_an_example(row, form, example):
    found = read_row(row, "example 1")
    assert (dict(found), found.form, row_form(row)) == (example, form, form)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**PAIR, "note": "mind the tone"}, '"note" would not be used: a row with prompt and response has prompt'),
        ({**PAIR, "text": "a text that is another"}, '"text" would not be used'),
        ({**PAIR, "history": [["a", "b"]]}, '"history" would not be used'),
        ({**PAIR, "messages": [ASK, TELL]}, '"prompt" would not be used: a row with messages has messages, tools'),
        ({"text": "A tale.", "system": "Be brief."}, '"system" would not be used: a row with text has text'),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, 'no "response"; expected messages, conversations'),
        ({"instruction": "a"}, 'no "output"'),
        ({"messages": [ASK, TELL | {"weight": 0}]}, "weight 0: there is nothing to learn"),
        ({"messages": [ASK, TELL | {"weight": 0.5}]}, "message 2 has weight 0.5, expected 0 or 1"),
        ({"messages": [ASK, TELL], "tools": {"a": 1}}, '"tools" is an object, expected a list'),
        ({"messages": [ASK, TELL], "tools": "[}"}, '"tools" is a string that is not JSON'),
        ({"conversations": [{"from": "elf", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}, "role 'elf'"),
        ({"instruction": "a", "output": " "}, '"output" is empty'),
        ({"text": "  "}, '"text" is empty'),
        ({"prompt": "a", "response": "b", "input": 3}, '"input" is a number, expected a string'),
    ],
)
def test_a_row_that_would_lose_content_is_refused_by_the_name_of_the_key(row, said):
    with pytest.raises(DataError) as caught:
        read_row(row, "example 1")
    assert said in str(caught.value) and len(str(caught.value)) < 300


def test_the_forms_that_were_recognised_are_named_once():
    rows = [PAIR, {"text": "a"}, PAIR]
    assert recognised([read_row(row, "") for row in rows]) == "prompt and response, text"


# ---- in the frame: a prompt, a line break and the answer


def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.add_special_tokens(["</s>"])
    return TextTokenizer(inner)


def test_one_question_with_its_answer_is_framed():
    words = tokenizer()
    prompt, response = encode_pair(read_row({"messages": [ASK, TELL]}, ""), words)
    assert words.decode(prompt) == "Hi\n" and response == [*words.encode("Ho"), words.eos_id]


def test_a_row_of_text_is_learned_whole_and_ends():
    words = tokenizer()
    assert encode_pair(read_row({"text": "A tale."}, ""), words) == ([], [*words.encode("A tale."), words.eos_id])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [SYSTEM, ASK, TELL]}, "the messages are of system, user, assistant; without chat"),
        ({"messages": [ASK, TELL, ASK, TELL]}, "of user, assistant, user, assistant"),
        ({**PAIR, "system": "Be brief."}, "of system, user, assistant"),
        ({"messages": [ASK, TELL], "tools": [{"name": "f"}]}, '"tools" has no place in the frame'),
        ({"messages": [ASK, TELL | {"thinking": "hm"}]}, '"thinking" has no place in the frame'),
    ],
)
def test_the_frame_refuses_what_it_would_leave_out(row, said):
    with pytest.raises(DataError) as caught:
        encode_pair(read_row(row, ""), tokenizer())
    assert said in str(caught.value)


def test_every_answer_of_a_conversation_is_an_example_that_ends_with_it():
    turns = [
        ASK,
        TELL | {"content": "one"},
        ASK,
        TELL | {"content": "two", "weight": 0},
        ASK,
        TELL | {"content": "three"},
    ]
    example = read_row({"messages": turns}, "x.jsonl, line 1")
    parts = every_answer(example)
    assert [part["response"] for part in parts] == ["one", "three"]
    assert [len(part["messages"]) for part in parts] == [2, 6] and parts[-1] is example
    assert {part["prompt"] for part in parts} == {example["prompt"]}  # a split keeps them together
    assert {part.where for part in parts} == {"x.jsonl, line 1"}
    assert every_answer({"prompt": "a", "response": "b"}) == [{"prompt": "a", "response": "b"}]


def test_a_text_beside_an_instruction_must_be_the_row_once_more():
    row = {"instruction": "French", "input": "", "output": "o"}
    assert read_row(row | {"text": "### French\no"}, "here")["response"] == "o"
    with pytest.raises(DataError, match='"text" would not be used'):
        read_row(row | {"text": "another word"}, "here")


@pytest.mark.parametrize("key", ["train", "loss"])
def test_a_message_that_another_tool_would_not_learn_is_refused(key):
    with pytest.raises(DataError, match=f'message 2 has "{key}": false; write "weight": 0'):
        read_row({"messages": [ASK, TELL | {key: False}]}, "here")
    assert read_row({"messages": [ASK | {key: True}, TELL | {key: True}]}, "here")["response"] == "Ho"


@pytest.mark.parametrize("key", ["train", "training", "trainable", "loss"])
@pytest.mark.parametrize("no", [False, 0, 0.0, "false", "no"])
def test_each_way_to_say_that_a_message_or_a_row_is_not_learned_is_refused(key, no):
    with pytest.raises(DataError, match=f'message 1 has "{key}": {json.dumps(no)}; write "weight": 0'):
        read_row({"messages": [ASK | {key: no}, TELL]}, "here")
    with pytest.raises(DataError, match=f'"{key}" is {json.dumps(no)}: another tool would not learn this row'):
        read_row({"prompt": "a", "response": "b", key: no}, "here")
    assert read_row({"prompt": "a", "response": "b", key: None}, "here")["response"] == "b"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("weight", 0, '"weight" is 0, expected 1'),
        ("weight", 0.5, '"weight" is 0.5'),
        ("label", False, '"label" is false'),
    ],
)
def test_a_row_that_must_not_be_learned_or_not_whole_is_refused(key, value, words):
    for row in (PAIR, {"messages": [ASK, TELL]}, {"text": "Hi"}):
        with pytest.raises(DataError, match=words):
            read_row(row | {key: value}, "here")
        assert read_row(row | {"weight": 1, "label": True}, "here")["response"]


def test_the_text_parts_of_a_message_are_its_text():
    parts = [{"type": "text", "text": "Where "}, {"text": "is it?"}, {"type": "input_text", "text": ""}]
    answer = [{"type": "output_text", "text": "Here."}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]}
    whole = {"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]}
    assert read_row(row, "line 1") == read_row(whole, "line 1")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}],
            "message 1 has content of type 'image_url', ",
        ),
        ([{"type": "text", "text": 5}], "message 1 has content of type 'text', and only text is read"),
        (["a"], 'message 1 must be an object with "role" and a string "content"'),
        ([], 'message 1 must be an object with "role" and a string "content"'),
    ],
)
def test_a_part_that_is_no_text_is_refused_by_its_type(parts, said):
    with pytest.raises(DataError, match=re.escape(said)):
        read_row({"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "b"}]}, "line 1")
