"""`minilora chat`: a conversation, its commands, how it asks, what it forgets, how it stops."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import base_model, make_adapter, make_base, refused

import minilora as ml
from minilora.models.generation import generate
from minilora.text.tokenizer import load_tokenizer

pytest.importorskip("jinja2")

TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}|{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<assistant> {% endif %}"
COUNT = 9


@pytest.fixture
def base(tmp_path):
    folder = make_base(tmp_path / "base")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def written(model, base, text, count=COUNT):
    """What the model writes after a text."""
    tokenizer = load_tokenizer(base)
    ids = tokenizer.encode(text)
    [row] = model.generate([ids], count, eos_token_id=tokenizer.eos_id)
    return tokenizer.decode(row)[len(tokenizer.decode(ids)) :]


def noted(folder, **settings):
    (folder / "history.json").write_text(json.dumps({"loss": [], "settings": settings}), encoding="utf-8")
    return folder


@pytest.fixture
def chat(minilora, base):
    """chat("first line", ...) -> Result; options=(...) are more options."""

    def run(*lines, options=()):
        stdin = "".join(f"{line}\n" for line in lines).encode()
        return minilora("chat", "--base", base, "--max-new-tokens", COUNT, *options, stdin=stdin)

    return run


def test_each_answer_follows_the_whole_conversation(chat, base):
    model = ml.load_pretrained(base)
    first = written(model, base, "<user> Hello|<assistant> ")
    second = written(model, base, f"<user> Hello|<assistant> {first}|<user> More|<assistant> ")
    result = chat("Hello", "", "More")
    assert (result.code, result.out) == (0, f"{first}\n{second}\n")
    assert result.err == "the base base answers; /help lists the commands\n"


def test_clear_forgets_the_conversation(chat):
    once = chat("Hello").out
    assert chat("More", "/clear", "Hello").out.endswith(once)


def test_adapters_are_switched_listed_added_and_switched_off(chat, base, tmp_path):
    folders = [make_adapter(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2))]
    model = ml.PeftModel(ml.load_pretrained(base))
    for folder in folders:
        model.load_adapter(folder, folder.name)
    answers = {}
    for names in (("a",), ("b",), ("a", "b"), ()):
        model.set_adapter(list(names), inference_mode=True)
        answers[names] = written(model, base, "<user> Hello|<assistant> ") + "\n"
    assert len(set(answers.values())) == 4
    options = ("--adapter", f"{folders[0]},{folders[1]}")
    lines = [
        "Hello",
        "/clear",
        "/adapter b",
        "Hello",
        "/clear",
        "/adapter a,b",
        "Hello",
        "/clear",
        "/adapter off",
        "Hello",
    ]
    result = chat(*lines, options=options)
    assert result.out == answers["a",] + answers["b",] + answers["a", "b"] + answers[()]
    assert "adapter b answers" in result.err and "adapter a, b answers" in result.err
    assert chat("/adapter b", "/adapter", options=options).out == f"  a  {folders[0]}\n* b  {folders[1]}\n"


def test_a_wrong_command_or_name_is_one_line_and_the_conversation_goes_on(chat, tmp_path):
    result = chat("/adaptr", "/adapter c", "Hello", options=("--adapter", make_adapter(tmp_path / "a")))
    assert "error: no command /adaptr; there are: /adapter, " in result.err
    assert "error: no adapter 'c'; loaded: a\n" in result.err
    assert result.code == 0 and result.out.count("\n") >= 1


def test_a_folder_that_is_no_loaded_adapter_is_answered_with_how_to_start(chat, tmp_path):
    folder = make_adapter(tmp_path / "c")
    assert (
        f"error: no adapter '{folder}'; loaded: none; start with --adapter {folder}\n" in chat(f"/adapter {folder}").err
    )
    assert chat("/adapter " + "x" * 300).err.endswith("; loaded: none\n")


def test_help_names_every_command(chat):
    assert all(word in chat("/help").out for word in ("/adapter", "/system", "/clear", "/exit"))


def test_exit_ends_it(chat):
    assert chat("/exit", "Hello").out == ""


def test_a_system_message_comes_first_and_can_be_set_shown_and_removed(chat, base):
    model = ml.load_pretrained(base)
    brief = written(model, base, "<system> Be brief.|<user> Hello|<assistant> ") + "\n"
    plain = written(model, base, "<user> Hello|<assistant> ") + "\n"
    assert chat("Hello", options=("--system", "Be brief.")).out == brief != plain
    assert chat("/system Be brief.", "Hello").out == brief
    assert chat("/system", "/system Be brief.", "/system").out == "no system message\nBe brief.\n"
    assert chat("/system off", "Hello", options=("--system", "Be brief.")).out == plain


def test_an_adapter_is_asked_with_the_system_message_that_it_was_trained_with(chat, base, tmp_path):
    adapter = noted(make_adapter(tmp_path / "a"), jsonl=["x"], chat=True, system="Be brief.")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    brief = written(model, base, "<system> Be brief.|<user> Hello|<assistant> ") + "\n"
    assert chat("Hello", options=("--adapter", adapter)).out == brief
    other = written(model, base, "<system> Be long.|<user> Hello|<assistant> ") + "\n"
    assert chat("Hello", options=("--adapter", adapter, "--system", "Be long.")).out == other


def test_an_adapter_that_was_trained_on_single_questions_is_asked_each_alone(chat, base, tmp_path):
    adapter = noted(make_adapter(tmp_path / "a"), jsonl=["x"])
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    result = chat("Hello", "Hello", options=("--adapter", adapter))
    assert result.out == 2 * (written(model, base, "Hello\n") + "\n")
    assert "in the framed form: every message is asked alone" in result.err
    assert "the framed form has no place for a system message" in chat("/system x", options=("--adapter", adapter)).err


def test_the_chat_template_in_an_adapters_folder_has_its_say(chat, base, tmp_path):
    adapter = make_adapter(tmp_path / "a")
    (adapter / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}:{% endfor %}", encoding="utf-8"
    )
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    assert chat("Hello", options=("--adapter", adapter)).out == written(model, base, "Hello:") + "\n"
    (base / "chat_template.jinja").unlink()
    assert chat("Hello", options=("--adapter", adapter)).out == written(model, base, "Hello:") + "\n"


def test_the_oldest_messages_are_forgotten_when_the_context_is_full_and_this_is_said(chat, base):
    context = 96
    base_model(max_position_embeddings=context).save_pretrained(base)
    result = chat(*["Hello harbour"] * 6)
    assert result.code == 0
    assert f"note: the context of {context} tokens is full; the oldest 2 messages are forgotten" in result.err
    long = chat("x" * 2 * context)
    assert f"the context of {context}" in long.err and long.err.count("\n") == 2


def test_only_the_new_part_of_a_conversation_is_computed(chat, monkeypatch):
    known = []

    def watch(model, ids, count, **options):
        known.append(options["kept"].rewind(list(ids[0])))
        return generate(model, ids, count, **options)

    monkeypatch.setattr("minilora.models.causal_lm.generate", watch)
    chat("Hi", "Ho", options=("--max-new-tokens", 3))
    assert known[0] == 0 < known[1]


def test_a_message_that_is_not_utf_8_is_one_line(minilora, base):
    result = minilora("chat", "--base", base, "--max-new-tokens", 2, stdin=b"\xff\n")
    assert "error: this message is not UTF-8 text" in result.err


def test_sampling_options_without_a_temperature_are_refused(minilora, base):
    assert refused(minilora("chat", "--base", base, "--top-k", 3), "--top-k has no effect at temperature 0")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another process")
def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(base):
    command = [sys.executable, "-u", "-m", "minilora", "chat", "--base", str(base), "--max-new-tokens", "1000000"]
    slow = "import time, minilora.models.generation as g; f = g.sample_tokens\n"
    slow += "def late(*a):\n    time.sleep(0.2)\n    return f(*a)\ng.sample_tokens = late\n"
    slow += f"import sys; sys.argv = {command[3:]!r}; sys.argv[0] = 'minilora'\nfrom minilora.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", slow],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdin.write("Hello\n")
        process.stdin.flush()
        assert "answers" in process.stderr.readline()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopped\n"
        out, err = process.communicate("/system\n", timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("\nno system message\n")
