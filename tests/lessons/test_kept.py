"""What a page keeps in the browser, and in the page where the browser has no room. In node, with a storage of ours."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lessons" / "live" / "kept.js"
STORAGE = """
class Storage {{ // of the browser: its keys are properties; it has room for so many
  setItem(key, text) {{
    if (!(key in this) && Object.keys(this).length >= {room}) throw new Error("full");
    this[key] = text;
  }}
  getItem(key) {{ return this[key] ?? null; }}
  removeItem(key) {{ delete this[key]; }}
}}
globalThis.localStorage = new Storage();
const kept = await import({script});
"""


def in_node(room, code):  # -> what the code prints as JSON
    if not (node := shutil.which("node")):
        pytest.skip("needs node")
    text = STORAGE.format(room=room, script=json.dumps(SCRIPT.as_uri())) + code
    command = [node, "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("room", [0, 1, 9])
def test_the_file_of_answers_has_what_was_typed_with_room_and_without(room):
    code = """
    const room = [kept.put("cells", "a", "1"), kept.put("cells", "b", "2")];
    console.log(JSON.stringify([room, kept.get("cells", "b"), JSON.parse(kept.asFile()).cells]));"""
    assert in_node(room, code) == [[room > 0, room > 1], "2", {"a": "1", "b": "2"}]


@pytest.mark.parametrize("room", [0, 9])
def test_what_is_removed_is_gone_with_room_and_without(room):
    code = """
    kept.put("cells", "a", "1"); kept.remove("cells", "a");
    console.log(JSON.stringify([kept.get("cells", "a"), kept.all("cells")]));"""
    assert in_node(room, code) == [None, {}]


def test_a_file_for_which_there_is_no_room_changes_nothing():
    code = """
    kept.put("cells", "a", "mine");
    const none = { ran: {}, files: {}, states: {}, predictions: {} };
    const taken = kept.takeOver({ cells: { a: "theirs", b: "2", c: "3" }, ...none });
    console.log(JSON.stringify([taken, kept.all("cells")]));"""
    assert in_node(2, code) == [False, {"a": "mine"}]
    assert in_node(3, code) == [True, {"a": "theirs", "b": "2", "c": "3"}]
