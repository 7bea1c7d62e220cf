"""`python -m benchmarks.memory`: peak memory of a training step here and in torch + PEFT, every case in a new process.

Needs the `reference` extra (psutil comes with it) and glibc. The command reads the memory every millisecond during
two full steps, and subtracts from its peak the memory after a step on eight tokens (weights and libraries). "resident"
is the figure of the system; "allocated" is the memory that the C library has handed out and not got back.
"""

import ctypes
import sys
import threading

import click

from .models import SIZES
from .options import OneLine, Several, environment, need_reference, output_of


@click.command(cls=OneLine)
@click.option("--sizes", default="lesson,256,768", show_default=True, type=Several(SIZES))
@click.option("--here", nargs=3, hidden=True, help="Measure one case in this process: side, model, size.")
def main(sizes, here):
    """MiB of memory that a step takes beside weights and libraries."""
    if here:
        print(*measure(*here))
        return
    need_reference()
    print("model  size     MiB        here  torch  here/torch  here full  torch full")
    for size in sizes:
        for kind in ("llama", "gpt2"):
            mib = {"resident": {}, "allocated": {}}
            for side in ("here", "torch", "here-full", "torch-full"):
                command = [sys.executable, "-m", __spec__.name, "--here", side, kind, size]
                for what, figure in zip(mib, output_of(command, environment(1)).split(), strict=True):
                    mib[what][side] = float(figure)
            for what, m in mib.items():
                print(f"{kind:6} {size:8} {what:9} {m['here']:5.0f} {m['torch']:6.0f} {m['here'] / m['torch']:11.2f}"
                      f" {m['here-full']:10.0f} {m['torch-full']:11.0f}", flush=True)  # fmt: skip


def measure(side, kind, size_name):  # -> MiB resident, MiB allocated
    from .models import SIZES, batch

    size = SIZES[size_name]
    step = (step_here if side.startswith("here") else step_there)(kind, size, side.endswith("full"))
    ids, labels = batch(size)
    step(ids[:1, :8], labels[:1, :8])  # libraries that load at first use
    with PeakMemory() as memory:
        step(ids, labels)
        step(ids, labels)
    return memory.mib


def step_here(kind, size, full):  # -> function (ids, labels)
    import minilora as ml
    from minilora.training.optim import AdamW

    from .models import QV, build

    model = build(kind, size)
    if not full:
        config = ml.LoraConfig(r=8, lora_alpha=16, target_modules=QV[kind], fan_in_fan_out=kind == "gpt2")
        model = ml.get_peft_model(model, config)
    model.train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad])

    def step(ids, labels):
        model.loss(ids, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def step_there(kind, size, full):
    import torch

    from .models import QV, adapted

    torch.set_num_threads(1)
    _, model = adapted(kind, size, QV[kind])
    if full:
        model = model.unload().requires_grad_(True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def step(ids, labels):
        model(input_ids=torch.from_numpy(ids), labels=torch.from_numpy(labels), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class PeakMemory:
    """Context: the rise of resident and allocated memory above their values at its start; `mib`, a pair, afterwards."""

    def __enter__(self):
        import psutil

        self._now = lambda: (psutil.Process().memory_info().rss, allocated())
        self._before = self._peak = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while not self._done.wait(0.001):
            self._peak = tuple(map(max, self._peak, self._now()))

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        self.mib = [(peak - before) / 2**20 for peak, before in zip(self._peak, self._before, strict=True)]


class Mallinfo2(ctypes.Structure):
    """The figures of glibc about its heap (malloc.h, since 2.33)."""

    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]  # fmt: skip


def allocated():  # -> bytes in use: on the heap, and mapped one by one
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd


if __name__ == "__main__":
    main()
