"""`minilora push`, `train --push-to-hub` and adapters by their hub name, with a stand-in of the hub on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import make_adapter, make_base
from hub import READ_ONLY, TOKEN, running_hub

from minilora.training.run import settings_in_history

pytestmark = pytest.mark.slow

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[2]
NAME = "ada/tides"


@pytest.fixture
def hub():
    with running_hub() as running:
        yield running


@pytest.fixture
def shell(hub, tmp_path):
    """shell("push", ...) -> (exit code, stdout, lines of stderr), in a process that takes the stand-in for the hub."""

    def run(*argv, token=TOKEN, **environment):
        environment = {"HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "home")} | environment
        environment |= {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "minilora", *map(str, argv)],
            env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.splitlines()

    return run


@pytest.fixture
def adapter(tmp_path):
    """A trained adapter with all that may lie beside one."""
    folder = make_adapter(tmp_path / "adapter")
    settings = {"command": "train", "jsonl": ["/home/ada/secret/tides.jsonl"], "chat": True, "system": "Be brief.",
                "base": "/home/ada/base", "lr": 0.1}  # fmt: skip
    (folder / "history.json").write_text(json.dumps({"loss": [1.0], "settings": settings}), encoding="utf-8")
    (folder / "training_state.safetensors").write_bytes(b"state")
    (folder / "tides.jsonl").write_text("data", encoding="utf-8")
    (folder / "README.md").write_text('---\nbase_model: "/home/ada/base"\n---\n', encoding="utf-8")
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "/home/ada/base"
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_the_adapter_its_card_its_template_and_how_it_is_asked_are_pushed_and_nothing_else(shell, hub, adapter):
    code, out, err = shell("push", adapter, NAME)
    assert (code, out) == (0, f"pushed to {hub.address}/{NAME}\n")
    files = hub.repos[NAME]
    assert sorted(files) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "history.json",
    ]  # fmt: skip
    assert files["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    assert not any(b"/home/ada" in content for content in files.values())
    assert files["README.md"] == b'---\nbase_model: "base"\n---\n'
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "base"
    asked = json.loads(files["history.json"])["settings"]
    assert (asked["jsonl"], asked["chat"], asked["system"]) == (["tides.jsonl"], True, "Be brief.")
    assert [line[:12] for line in err] == ["note: the ba"]
    assert hub.private[NAME]


def test_a_new_repository_is_public_only_when_you_say_so(shell, hub, tmp_path):
    assert shell("push", make_adapter(tmp_path / "a"), NAME, "--public")[0] == 0
    assert not hub.private[NAME]


def test_a_second_push_replaces_the_files(shell, hub, tmp_path):
    for seed in (1, 2):
        folder = make_adapter(tmp_path / f"a{seed}", seed)
        assert shell("push", folder, NAME)[0] == 0
    assert hub.repos[NAME]["adapter_model.safetensors"] == (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("token", "words"),
    [("", "hf auth login"), ("hf_wrong", "hf auth login"), (READ_ONLY, "your token may not do this")],
)
def test_a_token_that_is_missing_wrong_or_too_weak_is_one_line(shell, hub, tmp_path, token, words):
    code, out, err = shell("push", make_adapter(tmp_path / "a"), NAME, token=token)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"error: cannot push to {NAME} on the hub: ") and words in err[0]
    assert hub.repos == {}


def test_a_hub_that_cannot_be_reached_is_one_line(shell, tmp_path):
    code, _, err = shell("push", make_adapter(tmp_path / "a"), NAME, HF_HUB_OFFLINE="1")
    assert (code, len(err)) == (2, 1) and err[0].startswith(f"error: cannot push to {NAME} on the hub: ")


@pytest.mark.parametrize("name", ["tides", "a/b/c", "ada/ti des", "/tides"])
def test_what_is_no_name_on_the_hub_is_refused(shell, hub, tmp_path, name):
    code, _, err = shell("push", make_adapter(tmp_path / "a"), name)
    assert (code, len(err)) == (2, 1) and "expected OWNER/NAME" in err[0]
    assert hub.asked == []


def test_a_folder_without_an_adapter_is_refused_before_the_hub_is_asked(shell, hub, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = shell("push", "empty", NAME)
    assert (code, len(err)) == (2, 1) and "no adapter_config.json" in err[0]
    assert hub.asked == []


def test_training_pushes_at_the_end_and_a_token_that_is_missing_is_said_before_it(shell, hub, tmp_path):
    make_base(tmp_path / "base")
    lines = "".join(json.dumps({"prompt": f"a{n}", "response": "b"}) + "\n" for n in range(8))
    (tmp_path / "x.jsonl").write_text(lines, encoding="utf-8")
    command = ("train", "x.jsonl", "--base", "base", "--steps", 1, "--no-plot", "--push-to-hub", NAME)
    code, _, err = shell(*command, token="")
    assert (code, len(err)) == (2, 1) and "hf auth login" in err[0]
    assert not (tmp_path / "x-lora").exists()
    code, out, _ = shell(*command)
    assert code == 0 and out.endswith(f"pushed to {hub.address}/{NAME}\n")
    assert sorted(hub.repos[NAME]) == ["README.md", "adapter_config.json", "adapter_model.safetensors", "history.json"]
    assert "push_to_hub" not in settings_in_history(tmp_path / "x-lora")
    code, _, err = shell(*command, "--method", "full")
    assert (code, len(err)) == (2, 1) and "the method full makes none" in err[0]


def test_an_adapter_loads_by_its_hub_name_and_from_the_cache_without_a_network(shell, hub, tmp_path):
    make_base(tmp_path / "base")
    folder = make_adapter(tmp_path / "adapter")
    (folder / "history.json").write_text(json.dumps({"settings": {"jsonl": ["x"]}}), encoding="utf-8")
    assert shell("push", folder, NAME)[0] == 0
    ask = ("generate", "--base", "base", "--prompt", "apple", "--max-new-tokens", 9, "--adapter")
    wanted = shell(*ask, folder)
    assert wanted[0] == 0 and shell(*ask, NAME) == wanted
    assert shell(*ask, NAME, HF_HUB_OFFLINE="1") == wanted
    code, _, err = shell("chat", "--base", "base", "--adapter", NAME)
    assert code == 0 and err[0].startswith("adapter tides answers, in the framed form")


def test_an_adapter_of_the_hub_is_inspected_and_no_bar_is_drawn(shell, hub, tmp_path):
    shell("push", make_adapter(tmp_path / "a"), NAME)
    code, out, err = shell("inspect", NAME, "--json")
    assert (code, err) == (0, []) and json.loads(out)["kind"] == "adapter"


def test_an_adapter_that_the_hub_does_not_have_is_one_line(shell):
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        code, out, err = shell("generate", "--prompt", "a", "--adapter", "ada/none", **environment)
        assert (code, out, len(err)) == (2, "", 1)
        assert err[0].startswith("error: no such folder: ada/none, and the hub ")
        assert "adapter_config.json and adapter_model.safetensors from https://huggingface.co/ada/none" in err[0]


def test_a_folder_of_this_machine_is_not_looked_for_on_the_hub(shell, hub, tmp_path):
    (tmp_path / "runs").mkdir()
    code, _, err = shell("generate", "--prompt", "a", "--adapter", "runs/none")
    assert code == 2 and len(err) == 1 and err[0].startswith("error: runs/none: no such folder; an adapter is")
    assert hub.asked == []
