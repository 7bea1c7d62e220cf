"""The folder that the playground saves opens in PEFT and computes the same there."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_reference import logits, peft, quietly, theirs  # noqa: E402

import minilora as ml  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2] / "lessons" / "live"))
import playground  # noqa: E402

LINES = [["Where does Bess Moss live?", "Ask Polly Pike."], ["What does Polly Pike do?", "Ask Bess Moss."]]


def test_what_the_playground_saves_is_the_same_model_in_peft(tmp_path):
    training = playground.Playground(LINES, 4, 6)
    training.go(6)
    for name, data in training.files().items():
        (tmp_path / name).write_bytes(data)
    there, _ = quietly(peft.PeftModel.from_pretrained, theirs(ml.shipped("base")), tmp_path)
    ids = np.array([[5, 300, 17, 4, 999, 2, 640]])
    here = training.model(ids).numpy()
    assert np.abs(logits(there.eval(), ids) - here).max() < 1e-3
    with training.model.disable_adapter():
        assert np.abs(training.model(ids).numpy() - here).max() > 0.1
