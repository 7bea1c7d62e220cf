"""pretrain, train and eval as a person types them: what comes out, and going on after a stop."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cli_training
import numpy as np
import pytest
from cli_training import SMALL, history, pairs, refused, trained_to

import minilora as ml
from minilora.files.safetensors import read_header, read_tensors, write_tensors
from minilora.text.tokenizer import load_tokenizer
from minilora.training.resume import FILE

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def trained_adapter(run, base, files):
    args = ["--steps", 30, "--rank", 3, "--alpha", 5, "--targets", "q_proj,down_proj", "--eval-every", 10]
    return run("train", "--base", base, "--jsonl", files / "pairs.jsonl", "--out", files / "out", *args)


def test_an_adapter_is_saved_in_pefts_format(run, base, files):
    assert trained_adapter(run, base, files)[0] == 0
    config = json.loads((files / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (3, 5.0, "LORA")
    assert sorted(config["target_modules"]) == ["down_proj", "q_proj"]
    header, _ = read_header(files / "out" / "adapter_model.safetensors")
    assert {shape for _, shape in header.values()} == {(3, 16), (16, 3), (3, 24), (16, 3)}


def test_the_validation_loss_is_taken_at_the_interval_falls_and_is_printed(run, base, files):
    _, out, _ = trained_adapter(run, base, files)
    valid = history(files / "out")["valid"]
    assert [step for step, _ in valid] == [0, 10, 20, 30]
    assert valid[-1][1] < valid[0][1]
    assert f"{valid[0][1]:.4f} -> {valid[-1][1]:.4f}" in out


def test_the_losses_are_drawn_unless_that_is_switched_off(run, base, files):
    trained_adapter(run, base, files)
    assert (files / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")
    trained_to(run, base, files, files / "without")  # --no-plot
    assert not (files / "without" / "loss.png").exists()


def test_full_fine_tuning_is_one_flag_and_writes_a_base(run, base, files):
    code, _, _ = run("train", "--base", base, "--text", files / "a.txt", "--method", "full", "--steps", 3,
                     "--out", files / "out", "--no-plot")  # fmt: skip
    assert code == 0
    before, after = ml.load_pretrained(base), ml.load_pretrained(files / "out")
    changed = [not np.array_equal(a.data, b.data) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert changed and all(changed)
    assert load_tokenizer(files / "out").encode("the sea") == load_tokenizer(base).encode("the sea")


@pytest.mark.parametrize(("method", "rate"), [("lora", 0.96 / 16), ("full", 0.128 / 16)])
def test_the_default_rate_falls_with_the_width_of_the_base(run, base, files, method, rate):
    run("train", "--base", base, "--text", files / "a.txt", "--method", method, "--steps", 1, "--out", files / "out")
    assert history(files / "out")["settings"]["lr"] == rate


def test_several_files_may_follow_one_option(run, base, files):
    for spelled in (["--text", files / "a.txt", files / "b.txt"], ["--text", files / "a.txt", f"--text={files}/b.txt"]):
        run("train", "--base", base, *spelled, "--steps", 1, "--out", files / "out", "--no-plot")
        assert [Path(p).name for p in history(files / "out")["settings"]["text"]] == ["a.txt", "b.txt"]


def test_the_chat_form_is_read_too(run, base, files):
    turns = [[{"role": "user", "content": f"hi {i}"}, {"role": "assistant", "content": "sea"}] for i in range(8)]
    lines = "".join(json.dumps({"messages": messages}) + "\n" for messages in turns)
    (files / "chat.jsonl").write_text(lines, encoding="utf-8")
    code, _, _ = run("train", "--base", base, "--jsonl", files / "chat.jsonl", "--steps", 2, "--out", files / "out",
                     "--no-plot")  # fmt: skip
    assert code == 0


@pytest.mark.parametrize(
    ("targets", "adapted"),
    [
        ("q_proj, v_proj", {"q_proj", "v_proj"}),
        (r".*mlp\..*", {"gate_proj", "up_proj", "down_proj"}),
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_targets_are_names_a_regular_expression_or_all_linear(run, base, files, targets, adapted):
    run("train", "--base", base, "--text", files / "a.txt", "--targets", targets, "--steps", 1, "--out", files / "out",
        "--no-plot")  # fmt: skip
    header, _ = read_header(files / "out" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in header} == adapted


def test_no_held_out_prompt_is_trained_on_even_when_it_has_several_responses():
    from minilora.text.batches import split_pairs

    examples = [{"prompt": f"p{i // 5}", "response": str(i)} for i in range(500)]
    train, held = split_pairs(examples)
    assert len(train) + len(held) == 500
    assert len(held) == 25
    assert not {e["prompt"] for e in train} & {e["prompt"] for e in held}


def test_one_example_alone_is_trained_on_without_validation(run, base, files):
    (files / "one.jsonl").write_text(pairs(1), encoding="utf-8")
    code, _, err = run("train", "--base", base, "--jsonl", files / "one.jsonl", "--steps", 2, "--out", files / "out")
    assert code == 0
    assert "no validation loss" in err
    assert history(files / "out")["valid"] == []


# ---- stopping and going on


@pytest.fixture(params=["SIGINT", "SIGTERM"])  # Ctrl-C; what clusters and containers send
def stopped(run, base, files, monkeypatch, request):
    """The result of a run that a signal stops in its seventh step of 12, and the signal's number. Its folder is
    files / "stopped"."""
    number = getattr(signal, request.param)
    from minilora.training import loop as training

    real, calls = training.add_gradients, []

    def pressed_in_the_seventh_step(run, batches):
        calls.append(run.step)
        if len(calls) == 7:
            signal.raise_signal(number)
        return real(run, batches)

    monkeypatch.setattr(training, "add_gradients", pressed_in_the_seventh_step)
    return trained_to(run, base, files, files / "stopped"), number


def test_a_signal_saves_the_run_and_says_how_to_resume(files, stopped):
    (code, _, err), number = stopped
    assert code == 128 + number
    assert "stopped at step 7;" in err
    assert "train --resume --out" in err
    assert (files / "stopped" / "adapter_model.safetensors").exists()
    assert not [f.name for f in (files / "stopped").iterdir() if f.name.startswith(".")]


def opened_for_writing(pipe):
    """The pipe, as soon as another process reads from it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # nobody reads yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError("nobody reads")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send SIGTERM there")
def test_a_command_that_saves_nothing_ends_with_one_word_on_sigterm(base, tmp_path):
    os.mkfifo(tmp_path / "prompts")
    args = [sys.executable, "-m", "minilora", "generate", "--base", base, "--file", tmp_path / "prompts"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        pipe = opened_for_writing(tmp_path / "prompts")
        process.terminate()
        assert process.communicate(timeout=60) == (b"", b"terminated\n")
        os.close(pipe)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_run_stopped_by_a_signal_resumes_to_the_same_bits(run, base, files, stopped):
    trained_to(run, base, files, files / "straight")
    code, _, _ = run("train", "--resume", "--out", files / "stopped")
    assert code == 0
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (files / "stopped" / name).read_bytes() == (files / "straight" / name).read_bytes()


def test_the_history_of_a_resumed_run_is_that_of_one_that_was_not_stopped(run, base, files, stopped):
    trained_to(run, base, files, files / "straight")
    run("train", "--resume", "--out", files / "stopped")
    a, b = history(files / "stopped"), history(files / "straight")
    assert a["loss"] == b["loss"]
    assert [v for v in a["valid"] if v[0] != 7] == b["valid"]  # stopping added one evaluation


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there")
def test_a_run_killed_without_warning_resumes_to_the_same_bits(run, base, files):
    trained_to(run, base, files, files / "straight", "--steps", 40)
    args = ["train", "--base", base, "--jsonl", files / "pairs.jsonl", "--dropout", 0.2, "--steps", 40,
            "--eval-every", 5, "--accumulate", 2, "--out", files / "killed", "--no-plot"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "minilora", *map(str, args)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (files / "killed" / FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # killed on its way, not at its end
    code, _, err = run("train", "--resume", "--out", files / "killed")
    assert code == 0, err
    name = "adapter_model.safetensors"
    assert (files / "killed" / name).read_bytes() == (files / "straight" / name).read_bytes()


def test_resuming_with_another_setting_or_other_data_is_refused(run, base, files):
    trained_to(run, base, files, files / "out")
    refused(run("train", "--resume", "--out", files / "out", "--rank", 5), "rank 5", "started with 8")
    refused(run("train", "--resume", "--out", files / "out"), "step 12 of 12")
    refused(run("pretrain", "--resume", "--out", files / "out"), "pretrain")
    (files / "pairs.jsonl").write_text(pairs(41), encoding="utf-8")
    refused(run("train", "--resume", "--out", files / "out", "--steps", 20), "training data has changed")
    refused(run("train", "--resume", "--out", files / "nowhere"), FILE)


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_run_is_not_replaced_unless_that_is_asked_for(run, base, files, command):
    args = [command, "--text", files / "a.txt", "--steps", 2, "--out", files / "out", "--no-plot"]
    args += ["--base", base] if command == "train" else SMALL
    assert run(*args)[0] == 0
    before = (files / "out" / FILE).read_bytes()
    refused(run(*args, "--seed", 1), "already contains a run", "resume to go on", "overwrite to replace")
    assert (files / "out" / FILE).read_bytes() == before
    refused(run(*args, "--resume", "--overwrite"), "resume and overwrite")
    assert run(*args, "--seed", 1, "--overwrite")[0] == 0
    assert (files / "out" / FILE).read_bytes() != before
    assert run(command, "--resume", "--out", files / "out", "--steps", 3, "--no-plot")[0] == 0


def test_an_adapter_or_a_base_from_elsewhere_is_not_replaced_unasked_either(run, base, files):
    lora = ["train", "--base", base, "--text", files / "a.txt", "--steps", 1, "--no-plot"]
    for out, name, args in (
        ("made", "adapter_config.json", lora),
        ("copy", "config.json", [*lora, "--method", "full"]),
        ("copy", "config.json", ["pretrain", "--text", files / "a.txt", "--steps", 1, *SMALL, "--no-plot"]),
    ):
        (files / out).mkdir(exist_ok=True)
        (files / out / name).write_text("{}", encoding="utf-8")
        refused(run(*args, "--out", files / out), "; pass overwrite to replace it")
        assert [p.name for p in (files / out).iterdir()] == [name]
    assert run(*lora, "--out", files / "made", "--overwrite")[0] == 0


def test_an_adapter_is_not_written_beside_a_base_nor_a_base_beside_an_adapter(run, base, files):
    lora = ["train", "--base", base, "--text", files / "a.txt", "--steps", 1, "--no-plot", "--overwrite"]
    full = [*lora, "--method", "full"]
    assert run(*lora, "--out", files / "lora")[0] == run(*full, "--out", files / "full")[0] == 0
    refused(run(*full, "--out", files / "lora"), "already contains an adapter", "another folder for the base")
    refused(run(*lora, "--out", files / "full"), "already contains a base", "another folder for the adapter")


def test_going_on_with_other_held_out_data_is_refused(run, base, files):
    lines = pairs(40).splitlines(keepends=True)
    args = ["--jsonl", files / "pairs.jsonl", "--base", base, "--steps", 1, "--no-plot", "--out", files / "out"]
    run("train", *args)
    for number in range(len(lines)):  # one of them is held out
        changed = [*lines[:number], lines[number].replace("sea", "tea"), *lines[number + 1 :]]
        (files / "pairs.jsonl").write_text("".join(changed), encoding="utf-8")
        refused(run("train", "--resume", "--steps", 2, "--out", files / "out"), "training data has changed")


# ---- the command as a process


def test_help_loads_neither_matplotlib_nor_tokenizers_nor_rich_nor_cupy():
    code = (
        "import sys; sys.argv = ['minilora', '--help']\n"
        "from minilora.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'matplotlib', 'tokenizers', 'rich', 'cupy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_training_without_a_terminal_and_without_a_plot_loads_neither_rich_nor_matplotlib(base, files):
    args = ["train", "--base", base, "--text", files / "a.txt", "--steps", 2, "--out", files / "out", "--no-plot"]
    code = (
        f"import sys; sys.argv = {['minilora', *map(str, args)]!r}\n"
        "from minilora.cli import main\n"
        "main()\n"
        "print(sorted({'matplotlib', 'rich', 'cupy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_mistake_ends_the_process_with_code_2():
    done = subprocess.run([sys.executable, "-m", "minilora", "train", "--out", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: expected one of --task, --text, --jsonl and FILE; given: none"]


def test_full_fine_tuning_says_which_options_have_no_effect(run, base, files):
    code, _, err = run(
        "train", "--base", base, "--method", "full", "--rank", "4", "--text", files / "a.txt", "--steps", 1,
        "--out", files / "full-with-rank",
    )  # fmt: skip
    assert code == 0 and "note: rank is ignored: full fine-tuning has no adapter" in err.splitlines()


# ---- a saved run that is damaged, or of another version


def change_settings(folder, **changes):
    path = folder / FILE
    metadata = read_header(path)[1]
    facts = json.loads(metadata["run"])
    facts["settings"] = {k: v for k, v in (facts["settings"] | changes).items() if v is not ...}
    write_tensors(path, read_tensors(path), {**metadata, "run": json.dumps(facts)})


@pytest.mark.parametrize(
    "wrong", [{"max_grad_norm": "1"}, {"batch_size": [4]}, {"seed": "x"}, {"lr": {}}, {"layers": 3}, {"chat": "no"}]
)
def test_a_damaged_setting_of_a_run_is_named_with_the_file_and_what_to_do(run, base, files, wrong):
    trained_to(run, base, files, files / "out")
    change_settings(files / "out", **wrong)
    name = next(iter(wrong))
    result = run("train", "--resume", "--out", files / "out", "--steps", 20)
    refused(result, FILE, "is damaged: its settings say", f"{name} = ", "expected", "pass overwrite")


def test_a_run_of_another_version_says_which_setting_differs(run, base, files):
    trained_to(run, base, files, files / "out")
    change_settings(files / "out", keep=...)
    result = run("train", "--resume", "--out", files / "out", "--steps", 20)
    refused(result, "saved by another version of minilora; in this one the setting keep is new", "pass overwrite")
