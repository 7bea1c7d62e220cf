"""Ways to add an adapter for each row, in one layer: python -m benchmarks.serving_ways

The three of minilora/adapters/mixed.py, and a fourth that S-LoRA's table measures (its "bmm" with padding and copy):
every adapter is padded to the highest rank, and A and B of every row are copied in every call. CPU time of one thread.
"""

import click
import numpy as np

from minilora.adapters.mixed import Segment, Stack, gather, loop

from .floor import interleaved
from .options import OneLine

ROW = "{:>6} {:>6} {:>10} {:>8} {:>8} {:>9} {:>12} {:>16}"


@click.command(cls=OneLine)
@click.option("--width", default=768, show_default=True, type=click.IntRange(8, 8192))
@click.option("--rows", default=64, show_default=True, type=click.IntRange(1, 256))
@click.option("--repeats", default=15, show_default=True, type=click.IntRange(3))
def main(width, rows, repeats):
    """Milliseconds of one layer with an adapter of its own for each row."""
    click.echo(
        f"{rows} rows, a layer of {width} x {width}; ms of CPU time; the layer itself without adapters for scale"
    )
    click.echo(ROW.format("tokens", "rank", "layer", "loop", "gather", "segments", "padded copy", "copy / segments"))
    for tokens in (1, 16):
        for rank, highest in ((8, 8), (8, 64)):
            show(width, rows, tokens, rank, highest, repeats)


def show(width, rows, tokens, rank, highest, repeats):
    """Every adapter has `rank`; those of the padded copy have places for `highest`, because one adapter needs them."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    W, x, y = random(width, width), random(rows, tokens, width), random(rows, tokens, width)
    A, B, s = random(rows, rank, width), random(rows, rank, width), np.ones(rows, np.float32)
    slots = np.arange(rows)
    stack, segment = Stack(A, B * s[:, None, None]), Segment(slice(0, rows), slice(0, rows), 1, 0)
    times = interleaved(
        {
            "layer": lambda: x.reshape(-1, width) @ W.T,
            "loop": lambda: loop(y, x, slots, A, B, s),
            "gather": lambda: gather(y, x, slots, A, B, s),
            "segments": lambda: stack.add(y, x, segment, None),
            "padded": lambda: padded(y, x, slots, list(A), list(B), s, highest),
        },
        repeats,
    )
    ms = {name: f"{1e3 * np.median(t):.2f}" for name, t in times.items()}
    ratio = np.median(times["padded"] / times["segments"])
    shown = f"{rank}/{highest}"
    click.echo(
        ROW.format(tokens, shown, *(ms[n] for n in ("layer", "loop", "gather", "segments", "padded")), f"{ratio:.1f}")
    )


def padded(y, x, slots, As, Bs, s, highest):
    """y_i += s_a · (x_i A_aᵀ) B_a with every A and B copied into arrays of the highest rank first."""
    rows = len(slots)
    A, B = (np.zeros((rows, highest, n), np.float32) for n in (x.shape[-1], y.shape[-1]))
    for i, a in enumerate(slots):
        A[i, : len(As[a])], B[i, : len(Bs[a])] = As[a], Bs[a]
    y += ((x @ A.swapaxes(1, 2)) * s[slots][:, None, None]) @ B


if __name__ == "__main__":
    main()
