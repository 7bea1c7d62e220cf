"""`minilora serve` as a command: what it prints, how it ends, what it refuses."""

import ipaddress
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from minilora.cli.serve import serve
from minilora.errors import ConfigError, MiniloraError

pytest.importorskip("fastapi")

from minilora.serving.listener import shown_address


def refused(*arguments):  # -> the line
    result = CliRunner().invoke(serve, [*map(str, arguments)])
    assert isinstance(result.exception, MiniloraError), result.output
    return str(result.exception)


@pytest.mark.slow
def test_one_command_serves_two_adapters_and_sigterm_ends_it():
    command = [sys.executable, "-m", "minilora", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "base base, adapters: style-crier, style-json\n"
            url = process.stdout.readline().split()[1]
            with urllib.request.urlopen(f"{url}v1/models", timeout=20) as reply:
                assert [m["id"] for m in json.load(reply)["data"]] == ["base", "style-crier", "style-json"]
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "Traceback" not in out + err


@pytest.mark.parametrize("value", ["a", "a=", "=b"])
def test_a_module_without_a_name_or_a_folder_is_refused(value):
    assert f"--lora-modules {value!r}: expected NAME=DIR" in refused("--lora-modules", value)


def test_a_folder_that_is_no_adapter_is_refused(tmp_path):
    assert "no adapter in" in refused("--lora-modules", f"a={tmp_path}")
    assert "expected one name" in refused("--lora-modules", f"a/b={tmp_path}")


def test_two_folders_with_one_name_are_refused(tmp_path):
    assert refused("--lora-modules", f"a={tmp_path}", f"a={tmp_path}") == "--lora-modules: the name 'a' is there twice"


def test_an_adapter_with_the_name_of_the_base_is_refused(tmp_path):
    assert "has the name of the base" in refused("--lora-modules", f"base={tmp_path}")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert "adapter 'base' has the name of the base" in refused("--lora-dir", tmp_path)


@pytest.mark.parametrize("name", ["\udcff", "a\nb"])
def test_a_name_of_the_base_that_cannot_be_shown_is_refused(name):
    assert "expected printable characters; see --served-model-name" in refused("--served-model-name", name)


def test_a_length_that_the_base_has_not_is_refused():
    assert refused("--max-model-len", 513) == "max_model_len 513: expected 1 to 512, what this base can read"


def test_a_port_that_is_taken_is_refused_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(serve, ["--port", str(port)])
    assert f"cannot listen on 127.0.0.1 port {port}" in str(result.exception) and result.output == ""


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_a_server_on_all_addresses_shows_one_that_a_browser_can_open(host):
    shown = ipaddress.ip_address(shown_address(host))
    assert not shown.is_unspecified and not shown.is_multicast
    assert [shown_address(own) for own in ("127.0.0.1", "::1", "localhost")] == ["127.0.0.1", "[::1]", "localhost"]


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "minilora.serving.listener", raising=False)
    with pytest.raises(ConfigError, match="minilora serve needs uvicorn: pip install 'minilora.serve.'"):
        CliRunner().invoke(serve, [], catch_exceptions=False)
