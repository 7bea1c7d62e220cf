"""minilora in a place where only NumPy can be installed, such as a browser: the libraries beside it are hidden."""

import subprocess
import sys

import pytest

HIDDEN = ("tokenizers", "safetensors", "ml_dtypes", "matplotlib", "click", "rich", "jinja2", "regex", "huggingface_hub")
BEGIN = f"""
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
TRAIN_SAVE_AND_LOAD = """
import tempfile
from minilora import LoraConfig, PeftModel, get_peft_model
from minilora.course.lab.tune import load_base, tune
from minilora.tasks.scoring import answers
model, words = load_base()
adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"]))
tune(adapted, words, "style-json", steps=2)
asked = ["Question: Where does Ada live?"]
said = answers(adapted, words, asked, 8)
with tempfile.TemporaryDirectory() as folder:
    adapted.save_pretrained(folder)
    again = PeftModel.from_pretrained(load_base()[0], folder)
    assert answers(again, words, asked, 8) == said
print("done")
"""
JUDGE = """
from minilora.course.judge import judge
from minilora.course.runner import exercise
def lora_forward(x, W, A, B, alpha, r):
    return x @ W.T + alpha / r * (x @ A.T) @ B.T
print("done" if judge(exercise("6.1"), lora_forward).state == "passed" else "failed")
"""


@pytest.mark.parametrize("program", [TRAIN_SAVE_AND_LOAD, JUDGE], ids=["train, save and load", "judge"])
def test_numpy_alone_is_enough_to(program):
    done = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("done\n"), done.stderr
