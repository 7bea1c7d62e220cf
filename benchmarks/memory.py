"""`python -m benchmarks.memory`: peak memory of a training step here and in torch + PEFT, every case in a new process.

Needs the `reference` extra (psutil comes with it) and glibc. The command reads the memory every millisecond during
two full steps, and subtracts from its peak the memory after a step on eight tokens (weights and libraries). "resident"
is the figure of the system; "allocated" is the memory that the C library has handed out and not got back.

With --ways it measures full fine-tuning, LoRA, and LoRA on a base in fewer bits, with and without checkpointing and a
chunked loss, beside what `minilora params` predicts: see memory_ways.py. Measured cases are kept in
results/memory-ways.json, and the command goes on where it stopped.
"""

import sys

import click

from minilora.files.atomic import write_text

from .memory_ways import draw, measure_all, results, table
from .memory_ways import measure as measure_way
from .models import SIZES
from .options import OneLine, Several, environment, need_reference, output_of
from .paper import with_table
from .peak_memory import PeakMemory
from .running import HERE


@click.command(cls=OneLine)
@click.option("--sizes", default="lesson,256,768", show_default=True, type=Several(SIZES))
@click.option("--here", nargs=3, hidden=True, help="Measure one case in this process: side, model, size.")
@click.option("--ways", is_flag=True, help="Weights included, for each method and way to train, beside predictions.")
@click.option("--way", nargs=4, hidden=True, help="Measure one such case in this process: side, size, method, way.")
def main(sizes, here, ways, way):
    """MiB of memory that a step takes beside weights and libraries."""
    if here:
        print(*measure(*here))
        return
    if way:
        print(measure_way(*way))
        return
    need_reference()
    if ways:
        store = results()
        measure_all(sizes, [sys.executable, "-m", __spec__.name, "--way"], store)
        draw(store, HERE / "figures" / "memory-ways.png")
        page = HERE / "RESULTS.md"
        write_text(page, with_table(page.read_text(encoding="utf-8"), "memory-ways", table(store)))
        click.echo(table(store))
        return
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


if __name__ == "__main__":
    main()
