"""`python -m benchmarks.data`: the way of data to the first step. Seconds for 200,000 rows, memory for a text.

Both are whole commands of one step, `minilora train --jsonl` and `minilora train --text`, on made-up data and the
shipped base; seconds are CPU time. With --against FOLDER, a checkout of another version takes turns. Not on Windows.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from .options import OneLine, Refused, environment

ROOT = Path(__file__).parents[1]
WORDS = "harbour boat tide bell cake apple lives on the near where does sell steps chapel café 3 12 naïve .".split(" ")


def make_rows(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt, response = (" ".join(rng.choice(WORDS, n)) for n in rng.integers(8, 24, 2))
            file.write(json.dumps({"prompt": f"{number} {prompt}", "response": response}) + "\n")


def make_text(path: Path, size: int) -> None:
    rng = np.random.default_rng(1)
    lines = [" ".join(rng.choice(WORDS, rng.integers(5, 30))) for _ in range(2_000)]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            file.write("\n".join(rng.permutation(lines)) + "\n")


def train(root: Path, *options: str) -> tuple[float, float]:  # -> CPU seconds, peak memory of all children in bytes
    """One step of training by the version in `root`."""
    with tempfile.TemporaryDirectory() as out:
        settings = ("--steps", "1", "--batch-size", "32", "--no-plot", "--out", f"{out}/out")
        command = [sys.executable, "-m", "minilora", "train", *options, *settings]
        began = children()
        process = subprocess.Popen(command, cwd=root, env=environment(1),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
        _, said = process.communicate()
        if process.returncode:
            raise Refused(said.strip().splitlines()[-1])
        used = children()
        seconds = used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime
        return seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def children():
    return resource.getrusage(resource.RUSAGE_CHILDREN)


@click.command(cls=OneLine)
@click.option("--rows", default=200_000, show_default=True, type=click.IntRange(1), help="Rows of the JSONL file.")
@click.option(
    "--megabytes", default=20, show_default=True, type=click.IntRange(1), help="Size of the text, in millions of bytes."
)
@click.option(
    "--against", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A checkout of another version."
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Turns that each version takes with the rows.",
)
def main(rows, megabytes, against, rounds):
    """Measure the way of data to the first step."""
    if against and not (against / "minilora" / "__init__.py").is_file():  # the installed version would be measured
        raise Refused(f"--against {against}: no checkout of minilora, which has minilora/__init__.py")
    with tempfile.TemporaryDirectory() as folder:
        jsonl, text, small = (Path(folder) / name for name in ("rows.jsonl", "text.txt", "small.txt"))
        make_text(small, 100_000)
        make_text(text, megabytes * 1_000_000)
        _, alone = train(ROOT, "--text", str(small))  # first: the peak is that of all children so far
        seconds, peak = train(ROOT, "--text", str(text))
        size = text.stat().st_size
        print(f"{size / 1e6:.0f} MB of text: {seconds:.0f} s, {(peak - alone) / size:.1f} bytes of memory per byte")
        make_rows(jsonl, rows)
        versions = {"this version": ROOT} | ({str(against): against} if against else {})
        times = {name: [] for name in versions}
        for _ in range(rounds):
            for name, root in versions.items():
                times[name].append(train(root, "--jsonl", str(jsonl))[0])
        for name, found in times.items():
            print(f"{rows:,} rows, {name}: {np.median(found):.1f} s")
        if against:
            ratios = np.array(times["this version"]) / np.array(times[str(against)])
            print(f"ratio, median of {rounds}: {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
