"""`minilora generate`: the text, how a prompt is asked, several prompts, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import make_adapter, make_base, refused

import minilora as ml
from minilora.text.encoding import frame
from minilora.text.tokenizer import load_tokenizer

PROMPTS = ["Hattie Sedge lives on", "The Blue Bell", "apple"]


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


def continuation(model, base, prompt, count=12, **options):
    """What the library writes after a prompt, greedy unless said otherwise."""
    tokenizer = load_tokenizer(base)
    ids = tokenizer.encode(prompt)
    row = model.generate([ids], count, eos_token_id=tokenizer.eos_id, **options)[0]
    return tokenizer.decode(row[len(ids) :])


def sections(out):  # "==> a <==\n..." -> [("a", text), ...]
    parts = [part.split(" <==\n", 1) for part in out.removeprefix("==> ").split("\n==> ")]
    return [(prompt, text.removesuffix("\n")) for prompt, text in parts]


def test_one_prompt_prints_its_continuation_and_nothing_else(minilora, base):
    result = minilora("generate", "--base", base, "--prompt", PROMPTS[0], "--max-new-tokens", 12)
    assert result == (0, continuation(ml.load_pretrained(base), base, PROMPTS[0]) + "\n", "")


def test_an_adapter_writes_what_peft_model_writes_with_it(minilora, base, tmp_path):
    adapter = make_adapter(tmp_path / "a")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    alone = continuation(ml.load_pretrained(base), base, PROMPTS[0])
    result = minilora("generate", "--base", base, "--adapter", adapter, "--prompt", PROMPTS[0], "--max-new-tokens", 12)
    assert result.out == continuation(model, base, PROMPTS[0]) + "\n" != alone + "\n"


@pytest.mark.parametrize("folder", ["my.adapter", "a{b}", "x\u202ey", "a" * 240, " ", os.fsdecode(b"b\xffd")])
def test_a_folder_with_any_name_is_an_adapter(minilora, base, tmp_path, folder):
    plain = make_adapter(tmp_path / "a")
    try:
        odd = plain.rename(tmp_path / folder)
    except OSError:
        pytest.skip("no file can have this name here")
    asked = ("--base", base, "--prompt", PROMPTS[0], "--max-new-tokens", 2)
    assert minilora("generate", "--adapter", odd, *asked) == minilora(
        "generate", "--adapter", odd.rename(tmp_path / "plain"), *asked
    )
    assert minilora("generate", "--adapter", tmp_path / "plain", *asked).code == 0


def test_two_adapters_add(minilora, base, tmp_path):
    folders = [make_adapter(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2))]
    model = ml.PeftModel(ml.load_pretrained(base))
    for i, folder in enumerate(folders):
        model.load_adapter(folder, f"number{i}")
    model.set_adapter(["number0", "number1"])
    both = f"{folders[0]},{folders[1]}"
    result = minilora("generate", "--base", base, "--adapter", both, "--prompt", PROMPTS[0], "--max-new-tokens", 12)
    assert result.out == continuation(model, base, PROMPTS[0]) + "\n"


def test_each_adapter_acts_with_the_weight_behind_its_folder(minilora, base, tmp_path):
    folders = [make_adapter(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2), ("b,c=2", 2))]
    model = ml.PeftModel(ml.load_pretrained(base))
    for folder, name in zip(folders[:2], "ab", strict=True):
        model.load_adapter(folder, name)
    model.set_adapter(["a", "b"])
    ask = ["generate", "--base", base, "--prompt", PROMPTS[0], "--max-new-tokens", 12, "--adapter"]
    for weights in ((0.7, 0.3), (-1, 2.5), (0, 1)):
        for name, weight in zip("ab", weights, strict=True):
            model.set_scale(name, weight)
        both = f"{folders[0]}={weights[0]},{folders[1]}={weights[1]}"
        assert minilora(*ask, both).out == continuation(model, base, PROMPTS[0]) + "\n"
    model.set_adapter("b")
    model.set_scale("b", 1)  # a folder's name may have , and =
    assert minilora(*ask, folders[2]).out == continuation(model, base, PROMPTS[0]) + "\n"


def test_with_weight_0_an_adapter_writes_what_the_base_writes(minilora, base, tmp_path):
    ask = ["generate", "--base", base, "--prompt", PROMPTS[0], "--max-new-tokens", 12]
    weighted = minilora(*ask, "--adapter", f"{make_adapter(tmp_path / 'a')}=0")
    assert weighted.code == 0 and weighted.out == minilora(*ask).out


@pytest.mark.parametrize(
    "given, words",
    [
        ("{a}=0.7,{a}=0.3", ["names a folder twice"]),
        ("{a},{a}", ["names a folder twice"]),
        ("{a}=much", ["a=much", "no such folder", "'much' is not a weight", "DIR=0.7"]),
        ("{a}=nan", ["'nan' is not a weight"]),
        ("{a}=inf", ["'inf' is not a weight"]),
        ("{a}=", ["'' is not a weight"]),
        ("=0.7", ["'=0.7': no such folder"]),
        ("{a}=0.7,", ["expected one folder, or several joined by commas"]),
        ("{d}=0.7", ["d=0.7", "only LoRA can have a weight, and this is dora"]),
        ("{a},{v}=0.7", ["v=0.7", "only LoRA can have a weight, and this is vera"]),
        ("{m}=0.7", ["m=0.7", "its trained copies (['lm_head']) cannot have a weight"]),
        ("{t}=0.7", ["t=0.7", "its trained copies ([3]) cannot have a weight"]),
    ],
)
def test_a_weight_that_cannot_be_is_refused(minilora, base, tmp_path, given, words):
    make_adapter(tmp_path / "a")
    for name, config in (("d", ml.LoraConfig(target_modules=["q_proj"], use_dora=True)),
                         ("v", ml.VeraConfig(r=2, target_modules=["q_proj"])),
                         ("m", ml.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])),
                         ("t", ml.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[3]))):  # fmt: skip
        ml.get_peft_model(ml.load_pretrained(base), config).save_pretrained(tmp_path / name)
    given = given.format(**{name: tmp_path / name for name in "advmt"})
    result = minilora("generate", "--base", base, "--adapter", given, "--prompt", "a")
    assert refused(result, *words), result


def test_each_of_several_prompts_stands_above_what_it_gives_alone(minilora, base):
    model = ml.load_pretrained(base)
    given = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    result = minilora("generate", "--base", base, *given, "--max-new-tokens", 12)
    assert sections(result.out) == [(p, continuation(model, base, p)) for p in PROMPTS]


def test_prompts_come_from_a_file_or_from_standard_input_one_a_line(minilora, base, tmp_path):
    given = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    lines = "\n\n".join(PROMPTS) + "\n"
    (tmp_path / "prompts.txt").write_text(lines, encoding="utf-8")
    common = ("generate", "--base", base, "--max-new-tokens", 3)
    wanted = minilora(*common, *given)
    assert wanted.code == 0
    assert minilora(*common, "--file", tmp_path / "prompts.txt") == wanted
    assert minilora(*common, stdin=lines.encode("utf-8")) == wanted


def test_a_task_frames_its_prompt_and_knows_how_long_an_answer_is(minilora, base):
    wanted = continuation(ml.load_pretrained(base), base, frame("Good cake."), count=12)
    assert minilora("generate", "--base", base, "--task", "reviews", "--prompt", "Good cake.").out == wanted + "\n"


def test_framed_asks_as_training_on_pairs_does(minilora, base):
    wanted = continuation(ml.load_pretrained(base), base, frame("Good cake."), count=9)
    result = minilora("generate", "--base", base, "--framed", "--prompt", "Good cake.", "--max-new-tokens", 9)
    assert result.out == wanted + "\n"


def note(folder, **settings):
    """The history.json of a training with these settings."""
    (folder / "history.json").write_text(json.dumps({"loss": [], "settings": settings}), encoding="utf-8")


FRAMED, CHAT, PLAIN = {"jsonl": ["a"]}, {"jsonl": ["a"], "chat": True}, {"text": ["a"]}
TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %} <assistant>"
ASKED = {"--framed": frame("Good cake."), "--chat": "<user> Good cake. <assistant>", "--plain": "Good cake."}


@pytest.fixture
def asked(minilora, base, tmp_path):
    """asked(*options) -> the form in which `generate` asks an adapter: --framed, --chat or --plain."""
    pytest.importorskip("jinja2")
    (base / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    make_adapter(tmp_path / "adapter")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), tmp_path / "adapter")
    texts = {continuation(model, base, prompt, 9): form for form, prompt in ASKED.items()}
    assert len(texts) == 3

    def ask(*options):
        result = minilora("generate", "--base", base, "--adapter", tmp_path / "adapter", "--prompt", "Good cake.",
                          "--max-new-tokens", 9, *options)  # fmt: skip
        assert result.code == 0 and result.err == ""
        return texts[result.out.removesuffix("\n")]

    return ask


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ({"task": "reviews"}, "--framed"),
        (FRAMED, "--framed"),
        ({"examples": 40}, "--framed"),
        (CHAT, "--chat"),
        ({"examples": 40, "chat": True}, "--chat"),
        (PLAIN, "--plain"),
    ],
)
def test_an_adapter_is_asked_as_it_was_trained(asked, tmp_path, settings, form):
    note(tmp_path / "adapter", **settings)
    assert asked() == form


@pytest.mark.parametrize("settings", [{"task": "reviews"}, FRAMED, CHAT, PLAIN])
def test_an_option_overrides_how_an_adapter_was_trained(asked, tmp_path, settings):
    note(tmp_path / "adapter", **settings)
    assert [asked(form) for form in ASKED] == list(ASKED)


@pytest.mark.parametrize("history", [None, "{", "[]", "{}", '{"settings": []}', '{"settings": {"task": []}}'])
def test_an_adapter_that_knows_nothing_is_asked_plain(asked, tmp_path, history):
    if history is not None:
        (tmp_path / "adapter" / "history.json").write_text(history, encoding="utf-8")
    assert asked() == "--plain"


def test_a_base_that_was_tuned_in_full_is_asked_as_it_was_trained(asked, base):
    note(base, method="full", **CHAT)
    assert asked() == "--chat"


def test_an_adapter_knows_better_than_its_base(asked, base, tmp_path):
    note(base, method="full", **CHAT)
    note(tmp_path / "adapter", **FRAMED)
    assert asked() == "--framed"


def test_an_adapter_that_was_trained_on_a_task_writes_as_much_as_an_answer_of_the_task(minilora, base, tmp_path):
    adapter = make_adapter(tmp_path / "adapter")
    note(adapter, task="reviews")
    model = ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter)
    result = minilora("generate", "--base", base, "--adapter", adapter, "--prompt", "Good cake.")
    assert result.out == continuation(model, base, frame("Good cake."), count=12) + "\n"


def test_adapters_that_were_trained_differently_are_refused_until_a_form_is_chosen(minilora, base, tmp_path):
    for name, settings in (("a", FRAMED), ("b", PLAIN)):
        note(make_adapter(tmp_path / name), **settings)
    ask = ["generate", "--base", base, "--adapter", f"{tmp_path / 'a'},{tmp_path / 'b'}", "--prompt", "a"]
    assert refused(minilora(*ask), "a on framed prompts", "b on plain prompts", "choose a form")
    assert minilora(*ask, "--plain", "--max-new-tokens", 1).code == 0


def test_chat_asks_in_the_template_of_the_base(minilora, base):
    pytest.importorskip("jinja2")
    (base / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    wanted = continuation(ml.load_pretrained(base), base, "<user> Good day <assistant>", count=9)
    result = minilora("generate", "--base", base, "--chat", "--prompt", "Good day", "--max-new-tokens", 9)
    assert result.out == wanted + "\n"


def test_sampling_depends_on_the_seed_alone(minilora, base):
    common = ("generate", "--base", base, "--temperature", 1.5, "--top-k", 40, "--top-p", 0.95, "--prompt", PROMPTS[0])
    first, again, other = (minilora(*common, "--seed", seed).out for seed in (3, 3, 4))
    assert first == again != other


def test_more_prompts_than_a_batch_holds_give_the_same_texts(minilora, base, monkeypatch):
    given = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    command = ("generate", "--base", base, *given, "--max-new-tokens", 12)
    at_once = minilora(*command)
    monkeypatch.setattr("minilora.cli.generate.BATCH", 2)
    assert minilora(*command) == at_once


def test_the_same_prompt_in_two_batches_is_sampled_anew(minilora, base, monkeypatch):
    monkeypatch.setattr("minilora.cli.generate.BATCH", 1)
    (_, first), (_, second) = sections(
        minilora("generate", "--base", base, "--prompt", "apple", "--prompt", "apple", "--temperature", 2).out
    )
    assert first != second


def test_without_a_number_of_tokens_it_writes_what_the_context_holds(minilora, tmp_path):
    base = make_base(tmp_path / "short", max_position_embeddings=16)
    count = 16 - len(load_tokenizer(base).encode(PROMPTS[2]))
    wanted = continuation(ml.load_pretrained(base), base, PROMPTS[2], count=count)
    assert minilora("generate", "--base", base, "--prompt", PROMPTS[2]).out == wanted + "\n"


@pytest.mark.parametrize(
    "options, words",
    [
        (["--prompt", "a", "--file", "b"], ["--prompt and --file"]),
        (["--prompt", "  "], ["--prompt is empty"]),
        (["--file", "no-such-file"], ["no such file", "no-such-file"]),
        ([], ["standard input is empty"]),
        (["--prompt", "a", "--task", "reviws"], ["reviws", "reviews"]),
        (["--prompt", "\udcff"], ["--prompt is not UTF-8"]),
        (["--prompt", "a", "--task", "reviews", "--framed"], ["--task and --framed", "only one"]),
        (["--prompt", "a", "--plain", "--chat"], ["--plain and --chat", "only one"]),
        (["--prompt", "a", "--chat"], ["no chat template"]),
        (["--prompt", "a", "--top-k", "5"], ["--top-k", "--temperature"]),
        (["--prompt", "a", "--temperature", "1", "--top-k", "0"], ["top_k 0"]),
        (["--prompt", "a", "--temperature", "-1"], ["temperature"]),
        (["--prompt", "a", "--max-new-tokens", "0"], ["--max-new-tokens"]),
        (["--prompt", "a", "--max-new-tokens", "2048"], ["context of 2048", "2048 new"]),
        (["--prompt", "a", "--adapter", "no-such-folder"], ["no-such-folder"]),
        (["--prompt", "a", "--adapter", "a,,b"], ["--adapter 'a,,b'"]),
        (["--prompt", "a", "--device", "cuda:99"], ["cuda:99"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(minilora, base, options, words):
    pytest.importorskip("jinja2") if "--chat" in options else None
    result = minilora("generate", "--base", base, *options)
    assert refused(result, *words), result


def test_standard_input_that_is_not_text_is_refused(minilora, base):
    assert refused(minilora("generate", "--base", base, stdin=b"caf\xe9"), "standard input", "not UTF-8", "byte 3")


def test_a_base_without_a_tokenizer_is_refused(minilora, base):
    (base / "tokenizer.json").unlink()
    assert refused(minilora("generate", "--base", base, "--prompt", "a"), "tokenizer.json")


def test_an_adapter_for_another_base_is_refused(minilora, base, tmp_path):
    adapter = make_adapter(tmp_path / "wide", hidden_size=32)
    result = minilora("generate", "--base", base, "--adapter", adapter, "--prompt", "a")
    assert refused(result, "down_proj.lora_B", "(32, 3)", "(16, 3)")


def test_a_console_that_knows_ascii_only_gets_ascii(base):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "minilora", "generate", "--base", str(base), "--prompt", "caf\u00e9 \u2192"]
    done = subprocess.run([*command, "--prompt", "tea"], capture_output=True, env=environment)
    assert done.returncode == 0 and done.stdout.decode("ascii").startswith("==> caf? ? <==")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["params", "llama-3-8b"], ["generate", "--prompt", "a", "--max-new-tokens", "2"]])
def test_a_full_disk_behind_standard_output_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "minilora", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write") and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell with pipes")
def test_a_reader_that_goes_early_is_no_error():
    command = f'"{sys.executable}" -m minilora claims | head -1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--temperature", 0.9), ("--framed",)])
def test_in_a_terminal_the_text_comes_in_pieces_and_is_the_same(minilora, base, monkeypatch, capsys, options):
    ask = ("generate", "--base", base, "--prompt", PROMPTS[0], "--max-new-tokens", 40, *options)
    wanted = minilora(*ask)
    pieces, write = [], sys.stdout.write
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "write", lambda text: pieces.append(text) or write(text))
    assert minilora(*ask) == wanted
    assert "".join(pieces) == wanted.out
    assert sum(bool(piece) for piece in pieces) > 10


def test_the_base_that_an_adapter_notes_is_used(minilora, base, tmp_path):
    from minilora.methods.lora import LoraConfig

    model = ml.get_peft_model(ml.load_pretrained(base), LoraConfig(target_modules=["q_proj"]), seed=1)
    model.save_pretrained(tmp_path / "adapter")
    ask = ("--adapter", tmp_path / "adapter", "--prompt", PROMPTS[0], "--max-new-tokens", 8)
    assert minilora("generate", *ask) == minilora("generate", "--base", base, *ask)
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "response": "b"}\n', encoding="utf-8")
    found = minilora("eval", "--adapter", tmp_path / "adapter", "--jsonl", tmp_path / "x.jsonl")
    assert f"base {base}," in found.out
    merged = minilora("merge", "--adapter", tmp_path / "adapter", "--out", tmp_path / "merged")
    assert merged.code == 0 and (tmp_path / "merged" / "model.safetensors").is_file()


def test_an_adapter_that_notes_a_folder_of_another_machine_is_tried_on_the_shipped_base(minilora, base, tmp_path):
    config = make_adapter(tmp_path / "adapter") / "adapter_config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(fields | {"base_model_name_or_path": "/of/another/machine"}), encoding="utf-8")
    result = minilora("generate", "--adapter", tmp_path / "adapter", "--prompt", "a")
    assert refused(result, "it was made for /of/another/machine")


@pytest.mark.parametrize("options", [("--chat",), ()])
def test_a_chat_is_asked_with_the_system_message_of_the_training_or_of_the_command_line(asked, tmp_path, options):
    pytest.importorskip("jinja2")
    note(tmp_path / "adapter", **CHAT, system="Be brief.")
    with pytest.raises(KeyError):  # in none of the three forms without a system message
        asked(*options)
    note(tmp_path / "adapter", **CHAT)
    assert asked(*options) == "--chat"
    with pytest.raises(KeyError):
        asked(*options, "--system", "Be brief.")


def test_a_system_message_without_a_chat_is_refused(minilora, base):
    result = minilora("generate", "--base", base, "--prompt", "a", "--system", "b")
    assert refused(result, "the plain form has no place for a system message; only chat has one")


def test_an_adapter_with_a_chat_template_of_another_tool_is_asked_in_it(asked, base, tmp_path):
    (base / "chat_template.jinja").rename(tmp_path / "adapter" / "chat_template.jinja")
    assert asked() == asked("--chat") == "--chat"
    note(tmp_path / "adapter", **FRAMED)
    assert asked() == "--framed"
