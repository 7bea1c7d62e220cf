"""How the server asks the base and each adapter."""

import json
import shutil
from types import SimpleNamespace

import pytest

from minilora.errors import ConfigError, DataError
from minilora.files.shipped import shipped
from minilora.serving.asking import Asking
from minilora.text.encoding import encode_prompt
from minilora.text.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer(shipped("base"))
CONFIG = SimpleNamespace(eos_token_id=TOKENIZER.eos_id)
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<me>{% endif %}"
)
HELLO = [{"role": "user", "content": "Hello"}]


def asking(folder, base):
    return Asking.of(folder, base, CONFIG, TOKENIZER)


@pytest.fixture
def base(tmp_path):
    shutil.copytree(shipped("base"), tmp_path / "base")
    return tmp_path / "base"


def test_without_any_template_one_message_is_framed(base, tmp_path):
    asked = asking(tmp_path, base)
    assert asked.prompt(HELLO, TOKENIZER) == encode_prompt("Hello", TOKENIZER)
    assert asked.ends == {TOKENIZER.eos_id}


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "system", "content": "x"}, *HELLO], [*HELLO, {"role": "assistant", "content": "x"}, *HELLO]],
)
def test_a_frame_has_no_place_for_turns_or_a_system_message(base, tmp_path, messages):
    with pytest.raises(ConfigError, match="no chat template: expected one message of the user alone"):
        asking(tmp_path, base).prompt(messages, TOKENIZER)


def test_the_template_of_the_adapter_is_used_before_that_of_the_base(base, tmp_path):
    (base / "chat_template.jinja").write_text("base " + TEMPLATE)
    assert TOKENIZER.decode(asking(tmp_path, base).prompt(HELLO, TOKENIZER)) == "base <user>Hello\n<me>"
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert TOKENIZER.decode(asking(tmp_path, base).prompt(HELLO, TOKENIZER)) == "<user>Hello\n<me>"


def test_a_message_to_an_adapter_that_was_trained_on_frames_is_framed_and_a_conversation_has_the_template(
    base, tmp_path
):
    (base / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "history.json").write_text(json.dumps({"settings": {"jsonl": ["x.jsonl"]}}))
    asked = asking(tmp_path, base)
    assert asked.prompt(HELLO, TOKENIZER) == encode_prompt("Hello", TOKENIZER)
    turns = [*HELLO, {"role": "assistant", "content": "x"}, *HELLO]
    assert TOKENIZER.decode(asked.prompt(turns, TOKENIZER)).startswith("<user>Hello\n<assistant>x\n")
    assert asking(base, base).prompt(HELLO, TOKENIZER) != encode_prompt("Hello", TOKENIZER)


def test_a_template_of_the_adapter_writes_the_special_tokens_of_the_base(base, tmp_path):
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content + eos_token }}{% endfor %}")
    asked = asking(tmp_path, base)
    assert asked.prompt(HELLO, TOKENIZER) == [*TOKENIZER.encode("Hello"), TOKENIZER.eos_id]
    assert asked.behind == "<|endoftext|>"


def test_the_system_message_of_the_training_is_said_unless_the_client_says_one(base, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "history.json").write_text(json.dumps({"settings": {"system": "Be brief."}}))
    asked = asking(tmp_path, base)
    assert TOKENIZER.decode(asked.prompt(HELLO, TOKENIZER)) == "<system>Be brief.\n<user>Hello\n<me>"
    own = [{"role": "system", "content": "Sing."}, *HELLO]
    assert TOKENIZER.decode(asked.prompt(own, TOKENIZER)) == "<system>Sing.\n<user>Hello\n<me>"


CALL = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


def test_what_a_form_would_drop_of_a_message_is_refused_by_name(base, tmp_path):
    with pytest.raises(ConfigError, match='no chat template, and so no place for "tool_calls"'):
        asking(tmp_path, base).prompt([HELLO[0] | CALL], TOKENIZER)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    conversation = [*HELLO, {"role": "assistant", "content": "", **CALL}, *HELLO]
    with pytest.raises(DataError, match='the chat template has no place for "tool_calls"'):
        asking(tmp_path, base).prompt(conversation, TOKENIZER)
    usual = {"refusal": None, "tool_calls": [], "annotations": [], "name": "Al"}
    assert asking(tmp_path, base).prompt([HELLO[0] | usual], TOKENIZER) == asking(tmp_path, base).prompt(
        HELLO, TOKENIZER
    )
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE + "{{ messages[1].tool_calls[0].function.name }}")
    assert TOKENIZER.decode(asking(tmp_path, base).prompt(conversation, TOKENIZER)).endswith("f")
