"""SmolLM2-135M-Instruct, made as docs/real-model.md says, where MINILORA_REAL_MODEL names its folder."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import minilora as ml
from minilora.autograd import no_grad

pytestmark = pytest.mark.reference
FOLDER = os.environ.get("MINILORA_REAL_MODEL")
if not FOLDER:
    pytest.skip("MINILORA_REAL_MODEL names no folder", allow_module_level=True)
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PEOPLE = "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo June Kim Leo".split()
PLACES = "Oslo Rome Lima Cairo Kyoto Quito Paris Delhi".split()


def test_its_logits_are_those_of_transformers():
    theirs = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    ids = np.random.default_rng(0).integers(0, theirs.config.vocab_size, (2, 32))
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(ids)).logits.numpy()
    with no_grad():
        found = ml.load_pretrained(FOLDER)(ids).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("quantize", [(), ("--quantize", "nf4"), ("--quantize", "int8")], ids=" ".join)
def test_it_knows_the_capital_of_france(minilora, quantize):
    result = minilora("generate", "--base", FOLDER, *quantize, "--chat", "--prompt", "What is the capital of France?")
    assert result.code == 0 and "Paris" in result.out


@pytest.mark.parametrize("quantize", [(), ("--quantize", "nf4")], ids=" ".join)
def test_thirty_steps_teach_it_a_json_form(minilora, tmp_path, quantize):
    rows = []
    for n, name in enumerate(PEOPLE):
        for m, city in enumerate(PLACES):
            answer = json.dumps({"name": name, "city": city, "age": 20 + n + m})
            turns = [("user", f"{name} lives in {city} and is {20 + n + m}."), ("assistant", answer)]
            rows.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
    (tmp_path / "cards.jsonl").write_text("\n".join(rows), encoding="utf-8")
    out, began = Path(tmp_path / "cards-lora"), time.process_time()
    options = ("--steps", 30, "--batch-size", 4, "--lr", 0.001, "--no-plot", "--out", out)
    assert minilora("train", tmp_path / "cards.jsonl", "--chat", "--base", FOLDER, *quantize, *options).code == 0
    assert time.process_time() - began < 240  # seconds of two cores: two minutes
    result = minilora("generate", "--adapter", out, *quantize, "--prompt", "Zoe lives in Bern and is 41.")
    assert json.loads(result.out) == {"name": "Zoe", "city": "Bern", "age": 41}
