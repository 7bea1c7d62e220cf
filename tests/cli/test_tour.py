"""The tour, run once from the command line as a newcomer runs it, and what it must have shown."""

import re
import subprocess
import sys

import numpy as np
import pytest

import minilora as ml
from minilora.cli.tour import TASKS
from minilora.text.forms import form_trained_on
from minilora.training.run import settings_in_history

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    """(what the tour printed, the folder it wrote)"""
    folder = tmp_path_factory.mktemp("tour")
    command = [sys.executable, "-m", "minilora", "tour"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder / "minilora-tour"


def test_the_first_row_counted_is_the_matrix_that_articles_count(toured):
    assert re.search(r"4096 x 4096 matrix, rank 16 +16,777,216 +131,072 +128\b", toured[0])


def test_each_adapter_answers_in_its_own_style_and_the_base_in_neither(toured):
    rows = re.findall(r"scored as (?:style-json|style-crier).*?(\d\.\d\d) +(\d\.\d\d) +(\d\.\d\d)", toured[0])
    scores = np.array(rows, dtype=float)
    assert scores.shape == (2, 3)
    assert scores[:, 0].max() <= 0.3
    assert scores[0, 1] >= 0.9 and scores[1, 2] >= 0.9
    assert scores[0, 2] <= 0.3 and scores[1, 1] <= 0.3


def test_w_is_unchanged_by_two_trainings_and_restored_after_merging(toured):
    text = " ".join(toured[0].split())
    assert "identical to the bit" in text and "CHANGED" not in text
    assert "W has the same bits as before" in text


def test_the_merged_model_computes_the_same_up_to_rounding(toured):
    assert float(re.search(r"merged against apart: (\S+)", toured[0])[1]) < 1e-3


def test_the_figures_are_pictures(toured):
    for name in ("lora.png", "learning.png", "switch.png"):
        assert (toured[1] / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", TASKS)
def test_a_saved_adapter_of_the_tour_loads_again(toured, name):
    base = ml.load_pretrained(ml.shipped("base"))
    model = ml.PeftModel.from_pretrained(base, toured[1] / name)
    assert model.get_nb_trainable_parameters()[0] == 0  # loaded to be used, not to be trained


@pytest.mark.parametrize("name", TASKS)
def test_a_saved_adapter_of_the_tour_knows_how_it_is_asked(toured, name):
    assert form_trained_on(settings_in_history(toured[1] / name)) == "framed"


def test_the_readme_shows_what_the_tour_prints(toured, readme):
    """Headings and counts to the letter, scores to within 0.05: rounding may differ on another machine."""
    shown = re.search(r"```text\n(─.*?)```", readme, re.DOTALL)[1]

    def section(text, number):  # the lines from one heading to the next
        found = re.split(r"\n─+ \d\. .*─+\n", "\n" + text)[number]
        return [" ".join(line.split()) for line in found.splitlines() if line.strip()]

    assert re.findall(r"─ \d\. .* ─", toured[0]) == re.findall(r"─ \d\. .* ─", shown)
    assert section(toured[0], 1) == section(shown, 1)
    mine, theirs = (
        np.array(re.findall(r"\d\.\d\d", " ".join(section(text, 4))), dtype=float) for text in (toured[0], shown)
    )
    assert mine.shape == theirs.shape and np.abs(mine - theirs).max() <= 0.05
