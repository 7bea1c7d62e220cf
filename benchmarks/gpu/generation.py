"""Greedy generation with a cache of keys and values, here and by transformers, on the same device, in turns.

Both have the same random weights and prompts, and no token ends a row. They add in another order, so a token may differ
where two logits are nearly equal. The row says which new token is the first that differs.
"""

import numpy as np

from ..models import Size, config_of
from ..step import middle_half, ratios
from .device import in_turns, tf32_products
from .measurements import Measurement
from .profile import summary, traced
from .sides import both, random_weights, torch_device


def measure(width, layers, heads, vocab, rows, prompt, new, seconds):
    """A row for each number of prompts in `rows`: `new` tokens behind prompts of `prompt` tokens, all in float32."""
    tf32_products(False)
    size = Size(width, layers, heads, heads, vocab, 1, prompt + new)
    model, theirs = both(size, random_weights(config_of("llama", size)))
    model.eval(), theirs.eval()
    for n in rows:
        ids = np.random.default_rng(3).integers(0, vocab, (n, prompt))
        here, there = generator_here(model, ids, new), generator_there(theirs, ids, new)
        difference = first_difference(here()[:, prompt:], there()[:, prompt:])
        times = in_turns({"here": here, "torch": there}, seconds, warm=1)
        yield {
            "width": width, "layers": layers, "rows": n, "prompt": prompt, "new": new, **ratios(times),
            "first_difference": difference,
            **{side: step_of(function, new) for side, function in (("each_here", here), ("each_torch", there))},
        }  # fmt: skip


def generator_here(model, ids, new):  # -> function that returns the tokens (n, T), prompt included
    return lambda: np.stack(model.generate(ids, new))


def generator_there(theirs, ids, new):  # -> the same in transformers
    import torch

    tensor = torch.from_numpy(ids).to(torch_device())
    theirs.generation_config.eos_token_id = None
    options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(tensor)}
    return lambda: theirs.generate(input_ids=tensor, **options).cpu().numpy()


def first_difference(ours, theirs):  # (n, new), (n, new) -> index of the first token that differs in any row, or None
    columns = np.flatnonzero((ours != theirs).any(axis=0))
    return int(columns[0]) if columns.size else None


def step_of(function, new):  # -> what a token of all rows takes: launches and waits; None where none was seen
    found = summary(traced(function, 1), new)
    return {name: found.get(name) for name in ("launches", "waits", "kernels")}


def row(r):
    speed = {side: r["rows"] * r["new"] / r[side] * 1e3 for side in ("here", "torch")}
    each = [r[f"each_{side}"]["launches"] for side in ("here", "torch")]
    launches = " ".join(f"{'-' if n is None else f'{n:.0f}':>14}" for n in each)
    same = "all" if r["first_difference"] is None else f"first {r['first_difference']}"
    return (f"{r['width']:>5} {r['layers']:7} {r['rows']:5} {speed['here']:14.0f} {speed['torch']:14.0f}"
            f" {1 / r['here/torch']:12.2f} {middle_half([1 / q for q in reversed(r['quartiles'])]):>12}"
            f" {launches}  {same:>9}")  # fmt: skip


GENERATION = Measurement(
    measure,
    "width  layers  rows  tokens/s here   transformers  here/theirs  middle half  launches here   transformers  same",
    row,
    [{"width": width, "layers": layers, "heads": heads, "vocab": 8192, "rows": [1, 16], "prompt": 32, "new": 64,
      "seconds": 4}
     for width, layers, heads in ((768, 4, 12), (2048, 16, 32))],
    [{"width": 64, "layers": 2, "heads": 4, "vocab": 128, "rows": [1, 2], "prompt": 4, "new": 4, "seconds": 0.1}],
)  # fmt: skip
