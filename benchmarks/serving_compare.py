"""Eight requests at once, here and with transformers and PEFT: python -m benchmarks.serving_compare

The same base, adapters and prompts in one process, in turns, each library on one thread. CPU time, so that other
programs do not count. "base": eight rows of the base. "eight adapters": each row has its own, here in the engine, there
with PEFT's `adapter_names`. "merge and swap": one request after another, its adapter merged before and unmerged after.
"""

import tempfile
from pathlib import Path

import click
import numpy as np

import minilora as ml

from .floor import interleaved
from .models import SIZES, build
from .options import OneLine, Several, need_reference
from .serving import PROMPT, ask, new_engine, write_adapters

ROWS = 8
TARGETS = {"lesson": 1.5, "768": 0.95}  # tokens a second of base rows, against transformers


@click.command(cls=OneLine)
@click.option("--sizes", type=Several(SIZES), default="lesson,768", show_default=True)
@click.option("--targets", type=Several(["qv", "all-linear"]), default="qv,all-linear", show_default=True)
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(2, 400), help="New tokens of each row.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(3))
def main(sizes, targets, tokens, repeats):
    """Tokens a second at batch 8, and their ratio."""
    need_reference()
    import torch

    torch.set_num_threads(1)
    click.echo(f"{ROWS} prompts of {PROMPT} tokens, {tokens} new tokens each; tokens/s of CPU time on one thread")
    click.echo("size    adapters    case             here   there  here/there  target")
    for size in sizes:
        for names in targets:
            show(size, names, tokens, repeats)


def show(size, names, tokens, repeats):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        build("llama", SIZES[size]).save_pretrained(folder / "base")
        write_adapters(folder, lambda: build("llama", SIZES[size]), names, ROWS)
        times = interleaved(here(folder, size, tokens) | there(folder, tokens), repeats)
    for case in ("base", "eight adapters", "merge and swap"):
        rates = [ROWS * tokens / np.median(times[case, where]) for where in ("here", "there")]
        ratio = np.median(times[case, "there"] / times[case, "here"])
        target = TARGETS[size] if case == "base" else ""
        click.echo(f"{size:7} {names:11} {case:15} {rates[0]:6,.0f} {rates[1]:7,.0f} {ratio:11.2f} {target!s:>7}")


def here(folder, size, tokens):
    model = build("llama", SIZES[size]).eval()
    swapped = ml.PeftModel.from_pretrained(build("llama", SIZES[size]), folder / "0", "0").eval()
    for number in range(1, ROWS):
        swapped.load_adapter(folder / str(number), str(number))
    engine = new_engine(model, folder, ROWS, ROWS)

    def answer(adapters):
        sequences = [ask(engine, adapter, count=tokens, seed=seed) for seed, adapter in enumerate(adapters)]
        engine.take()
        while engine.is_busy:
            engine.step()
        assert all(len(s.tokens) == tokens for s in sequences)

    def swap():
        for number in range(ROWS):
            swapped.set_adapter(str(number))
            swapped.merge_adapter()
            swapped.generate(prompts()[number], tokens)
            swapped.unmerge_adapter()

    return {
        ("base", "here"): lambda: answer([None] * ROWS),
        ("eight adapters", "here"): lambda: answer(range(ROWS)),
        ("merge and swap", "here"): swap,
    }


def there(folder, tokens):
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    def base():
        return AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()

    def with_adapters():
        model = peft.PeftModel.from_pretrained(base(), folder / "0", "0")
        for number in range(1, ROWS):
            model.load_adapter(folder / str(number), str(number))
        return model.eval()

    plain, mixed, swapped = base(), with_adapters(), with_adapters()
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    ids = torch.tensor(prompts())

    def generate(model, ids, **more):
        with torch.no_grad():
            found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options, **more)
        assert found.shape[1] == ids.shape[1] + tokens

    def swap():
        for number in range(ROWS):
            swapped.set_adapter(str(number))
            swapped.merge_adapter()
            generate(swapped, ids[number : number + 1])
            swapped.unmerge_adapter()

    return {
        ("base", "there"): lambda: generate(plain, ids),
        ("eight adapters", "there"): lambda: generate(mixed, ids, adapter_names=[str(n) for n in range(ROWS)]),
        ("merge and swap", "there"): swap,
    }


def prompts():  # (ROWS, PROMPT)
    return np.stack([np.random.default_rng(seed).integers(2, 1024, PROMPT) for seed in range(ROWS)])


if __name__ == "__main__":
    main()
