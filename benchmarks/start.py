"""`python -m benchmarks.start`: seconds to import; with --install from an empty virtual environment to an adapter.

Import times are medians of the CPU time of new processes, called in turn (not on Windows); torch in every fifth round
only. --install makes two environments with pip (with the installed version of torch), trains an adapter in each for ten
steps, and takes minutes and gigabytes.
"""

import importlib.metadata
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from .options import OneLine, need_reference

ROOT = Path(__file__).parents[1]
IMPORTS = {
    "nothing": "pass",
    "numpy": "import numpy",
    "minilora": "import minilora",
    "minilora + files": "import minilora; minilora.load_pretrained",  # opening a model loads more modules
    "torch + peft": "import torch, transformers, peft; transformers.AutoModelForCausalLM",
}
BASE = """
from benchmarks.models import SIZES, build
build("llama", SIZES["lesson"]).save_pretrained("base")
"""
HERE = """
import numpy as np, minilora as ml
model = ml.load_pretrained("base")
model = ml.get_peft_model(model, ml.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])).train()
optimizer = ml.AdamW([p for p in model.parameters() if p.requires_grad])
ids = np.random.default_rng(0).integers(0, 1024, (16, 128))
for _ in range(10):
    model.loss(ids, ids).backward()
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained("adapter")
"""
THERE = """
import torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, get_peft_model
model = AutoModelForCausalLM.from_pretrained("base", dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])).train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
ids = torch.randint(0, 1024, (16, 128))
for _ in range(10):
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained("adapter")
"""


@click.command(cls=OneLine)
@click.option("--repeats", default=25, show_default=True, type=click.IntRange(3))
@click.option("--install", is_flag=True, help="Also time two new environments, up to the first trained adapter.")
def main(repeats, install):
    """Import times; with --install, minutes and disk to the first adapter."""
    need_reference()
    times = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as folder:  # compiled once, as an installed package is
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPYCACHEPREFIX": folder}
        for i in range(-1, repeats):
            for name, code in IMPORTS.items():
                if "torch" in name and i >= 0 and i % 5:
                    continue
                before = cpu_of_children()
                subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL, env=env)
                if i >= 0:
                    times[name].append(cpu_of_children() - before)
    bare = float(np.median(times.pop("nothing")))
    import_times = {name: float(np.median(t)) - bare for name, t in times.items()}
    for name, t in import_times.items():
        print(
            f"import {name:16} {t:6.3f} s, {t / import_times['numpy']:6.2f} times numpy; Python's own start not counted"
        )
    if install:
        torch = f"torch=={importlib.metadata.version('torch').partition('+')[0]}"
        print("to the first adapter    install s  train s  disk MiB")
        for name, packages, code in (
            ("minilora", [[str(ROOT)]], HERE),
            ("torch + PEFT", [[torch], ["transformers", "peft"]], THERE),
        ):
            print(f"{name:22} {'{:10.0f} {:8.1f} {:9.0f}'.format(*to_first_adapter(packages, code))}", flush=True)


def cpu_of_children():  # -> seconds
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def to_first_adapter(packages, code):  # -> seconds to install, seconds to train, MiB on disk
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{BASE}"],
                       cwd=folder, check=True)  # fmt: skip
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        python = next(p for p in (folder / "env/bin/python", folder / "env/Scripts/python.exe") if p.exists())
        for some in packages:
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-cache-dir", *some], check=True)
        installed = time.perf_counter() - began
        disk = sum(p.stat().st_size for p in (folder / "env").rglob("*") if p.is_file() and not p.is_symlink())
        return installed, seconds([python, "-c", code], folder), disk / 2**20


def seconds(command, folder=None):
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
