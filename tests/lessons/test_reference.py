"""The reference has every public name and every command, in their own words, and leads to their source."""

import html
import inspect
import re
from pathlib import Path

import click
import pytest

import minilora as ml
from minilora.cli import COMMANDS, cli

pytestmark = pytest.mark.slow


def read(built, name):
    return (built / name).read_text(encoding="utf-8")


def words(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


@pytest.mark.parametrize("name", ml.__all__)
def test_a_public_name_has_its_signature_its_first_sentence_and_its_source(built, name):
    page = read(built, "reference.html")
    section = page.split(f'<h3 id="{name}">')[1].split("</section>")[0]
    thing = inspect.unwrap(getattr(ml, name))
    text, first = words(section).replace(" ", ""), inspect.getdoc(thing).split("\n")[0].replace("`", "")
    assert first.replace(" ", "") in text
    assert f"{name}(" in text
    address, line = re.search(r'<p class="from"><a href="([^"#]+)#L-(\d+)"', section).groups()
    source = read(built, address).split(f'id="L-{line}"')[1][:400]
    shown = words(">" + source)
    assert f"class {name}" in shown or f"def {name}" in shown or shown.startswith("@")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_help_that_click_prints(built, name):
    page = html.unescape(read(built, "commands.html"))
    section = page.split(f'<h2 id="{name}">')[1].split("<h2")[0]
    command = cli.get_command(click.Context(cli), name)
    options = {o for p in command.params for o in p.opts if o.startswith("--") and not getattr(p, "hidden", False)}
    assert f"Usage: minilora {name}" in section
    assert not [o for o in options if o not in section]


def test_a_public_function_of_a_room_is_on_the_page_of_the_room(built):
    page = read(built, "reference-ops.html")
    assert 'id="ops.matmul' in page or 'id="ops.' in page
    methods = read(built, "reference-methods.html")
    assert all(f'id="methods.{name}"' in methods for name in ("lora.LoraConfig", "dora.dora_update", "vera.VeraConfig"))


def test_a_list_in_a_docstring_is_a_list_on_the_page(built):
    entry = read(built, "reference.html").split('<h3 id="finetune">')[1].split("</section>")[0]
    assert "<dt><code>rank</code></dt>" in entry


def test_every_file_of_the_package_has_a_page_with_a_name_for_each_line(built):
    package = Path(ml.__file__).parent
    for path in package.rglob("*.py"):
        name = ".".join(("minilora", *path.relative_to(package).with_suffix("").parts))
        last = len(path.read_text(encoding="utf-8").rstrip().splitlines())
        assert not last or f'id="L-{last}"' in read(built, f"source/{name}.html"), name
