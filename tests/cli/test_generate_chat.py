"""Training, scoring and asking in the chat template of a base: one form for all three."""

import json

import pytest
from commands import make_base, refused

pytest.importorskip("jinja2")

TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% if m.role == 'assistant' %}<|endoftext|>{% endif %}"
TEMPLATE += "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
ANSWER = {"role": "assistant", "content": "In Tidewick."}
CHATS = [[{"role": "user", "content": f"Where is the {thing}?"}, ANSWER] for thing in ("sea", "boat", "cafe", "cake")]
CHATS.insert(1, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}, ANSWER])


@pytest.fixture
def work(tmp_path, monkeypatch):
    make_base(tmp_path / "base", spread=1)
    (tmp_path / "base" / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    lines = "".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS)
    (tmp_path / "chats.jsonl").write_text(lines * 8, encoding="utf-8")
    short = "".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS if len(chat) == 2)
    (tmp_path / "short.jsonl").write_text(short * 8, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_what_is_trained_in_the_template_answers_in_the_template(minilora, work):
    options = ["--method", "full", "--steps", 120, "--batch-size", 4, "--lr", 0.01, "--no-plot", "--out", "tuned"]
    assert minilora("train", "--base", "base", "--jsonl", "chats.jsonl", "--chat", *options).code == 0
    ask = ("generate", "--base", "tuned", "--prompt", "Where is the sea?", "--max-new-tokens", 20)
    assert minilora(*ask).out == minilora(*ask, "--chat").out == "In Tidewick.\n"
    assert minilora(*ask, "--framed").out != "In Tidewick.\n"

    def loss(base, *options):
        return float(minilora("eval", "--base", base, "--jsonl", "short.jsonl", *options).out.split("loss ")[1][:6])

    assert loss("tuned", "--chat") < min(1, loss("tuned", "--framed") / 2)
    assert loss("tuned") == loss("tuned", "--chat")
    assert loss("base", "--chat") > 2


def test_a_system_message_is_not_dropped_where_the_frame_has_no_place_for_it(minilora, work):
    result = minilora("eval", "--base", "base", "--jsonl", "chats.jsonl", "--framed")
    assert refused(result, "chats.jsonl, line 2", "system, user, assistant")


@pytest.mark.parametrize("command", [["train", "--out", "out"], ["eval"]])
def test_a_template_needs_conversations_or_pairs(minilora, work, command):
    for source in (["--text", "chats.jsonl"], ["--task", "sql"]):
        assert refused(minilora(*command, "--base", "base", *source, "--chat"), "chat goes with")
    assert not (work / "out").exists()


@pytest.mark.parametrize("command", [["train", "--out", "out"], ["eval"]])
def test_a_base_without_a_template_is_refused(minilora, work, command):
    (work / "base" / "chat_template.jinja").unlink()
    result = minilora(*command, "--base", "base", "--jsonl", "chats.jsonl", "--chat")
    assert refused(result, "no chat template")


def test_a_conversation_that_the_template_refuses_is_named_by_its_place(minilora, work):
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + TEMPLATE
    (work / "base" / "chat_template.jinja").write_text(source, encoding="utf-8")
    result = minilora("train", "--base", "base", "--jsonl", "chats.jsonl", "--chat", "--out", "out")
    assert refused(result, "chats.jsonl, line 2", "no system here")


def test_a_conversation_in_a_file_is_answered_as_the_template_writes_it(minilora, work):
    told = [{"role": "user", "content": "Where is the sea?"}, ANSWER, {"role": "user", "content": "Where is the boat?"}]
    written = "<user> Where is the sea?<assistant> In Tidewick.<|endoftext|><user> Where is the boat?<assistant> "
    for form in (told, {"messages": told}):
        (work / "told.json").write_text(json.dumps(form), encoding="utf-8")
        found = minilora("generate", "--base", "base", "--messages", "told.json", "--max-new-tokens", 8)
        assert found == minilora("generate", "--base", "base", "--plain", "--prompt", written, "--max-new-tokens", 8)
        assert found.code == 0


def test_the_system_message_of_a_file_is_the_one_that_counts(minilora, work):
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
    (work / "told.json").write_text(json.dumps(told), encoding="utf-8")
    ask = ("generate", "--base", "base", "--max-new-tokens", 8)
    found = minilora(*ask, "--messages", "told.json")
    assert found == minilora(*ask, "--chat", "--system", "Be brief.", "--prompt", "Where?")
    assert refused(minilora(*ask, "--messages", "told.json", "--system", "Be long."), "told.json", "only one of them")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["not JSON"]),
        ("[]", ["expected a list of messages"]),
        ('["a"]', ["expected a list of messages"]),
        ('[{"role": "assistant", "content": "a"}]', ["the last message is the assistant's"]),
        ('[{"role": "user"}]', ["message 1", 'a string "content"']),
        ('[{"role": "user", "content": "a"}, {"role": "user", "content": [[]]}]', ["message 2", 'a string "content"']),
        ('[{"role": 3, "content": "a"}]', ["message 1 has role 3", "expected one of"]),
    ],
)
def test_a_file_without_a_conversation_is_one_line(minilora, work, text, words):
    (work / "told.json").write_text(text, encoding="utf-8")
    result = minilora("generate", "--base", "base", "--messages", "told.json", "--max-new-tokens", 1)
    assert refused(result, "told.json", *words)


def test_a_conversation_and_a_prompt_are_not_both_answered(minilora, work):
    (work / "told.json").write_text('[{"role": "user", "content": "a"}]', encoding="utf-8")
    for other in (("--prompt", "a"), ("--framed",)):
        assert refused(minilora("generate", "--base", "base", "--messages", "told.json", *other), "only one of them")
