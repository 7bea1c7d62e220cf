"""`python -m benchmarks.gpu`: what this package does on a CUDA device, beside PyTorch on the same one.

Needs a device, CuPy, and torch (a CUDA build), transformers and PEFT. Each case runs in its own process. When one
fails, the command prints so, measures the rest and returns 1.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import click

from minilora.cli import end_tidily
from minilora.errors import nearest

from ..options import OneLine, Refused
from .measurements import NAMES, measurement_named

LIBRARIES = ("torch", "transformers", "peft")


@click.command(cls=OneLine, help=f"Measure WHAT, or all: {', '.join(NAMES)}.")
@click.argument("names", metavar="[WHAT]...", nargs=-1)
@click.option("--small", is_flag=True, help="A rehearsal: the same code at sizes that take seconds.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Append the rows to this file, as JSON.")
@click.option("--case", type=int, hidden=True, help="Measure this case in this process, and print its rows.")
def main(names, small, out, case):
    if unknown := [name for name in names if name not in NAMES]:
        raise Refused(f"no measurement {unknown[0]!r}; there are: {nearest(unknown[0], NAMES)}")
    if case is not None:
        measure_here(names[0], small, case)
        return
    if missing := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]:
        raise Refused(f"{', '.join(missing)} not installed: pip install '.[reference]'")
    require_device()
    if out:
        make_ready(out)
    failed = [name for name in dict.fromkeys(names or NAMES) if not measured(name, small, out)]
    if failed:
        raise click.ClickException(f"not measured in full: {', '.join(failed)}")


def require_device():
    """Raises Refused in one line where CuPy sees no device, or PyTorch is built for none."""
    from minilora.backend import require_cupy
    from minilora.errors import ConfigError

    try:
        require_cupy("cuda")
    except ConfigError as error:
        raise Refused(str(error)) from None
    import torch

    if torch.version.cuda is None:
        raise Refused("PyTorch is built without CUDA, so the other side would run on the CPU; install a CUDA build")


def make_ready(out):
    """End the last line of the file `out`, which a killed process may have begun. Raises OSError before the first case
    is measured when the file cannot be written."""
    with out.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")


def measured(name, small, out):  # -> whether every case ran to its end
    """Measure each case in a process, append its rows to the file `out`, and print them as a table."""
    measurement = measurement_named(name)
    print(f"\n{name}\n{measurement.head}", flush=True)
    codes = []
    for case in range(len(measurement.small if small else measurement.cases)):
        with subprocess.Popen(
            command_of(name, case, small), stdout=subprocess.PIPE, text=True, encoding="utf-8"
        ) as child:
            try:
                for line in child.stdout:
                    show(line, measurement, out)
            except BaseException:  # Ctrl-C, SIGTERM, a full disk: the device is free for the next command
                child.kill()
                raise
        codes.append(child.returncode)
        if child.returncode:
            print(f"{name}, case {case}: failed with code {child.returncode}", flush=True)
    return not any(codes)


def show(line, measurement, out):
    """Save a row, then print its line of the table; print a library's own output as it is."""
    try:
        row = json.loads(line) if line.startswith("{") else None
    except ValueError:  # a library's, or the half of a row whose process was killed
        row = None
    if row is None:
        print(line.rstrip("\n"), flush=True)
        return
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.write(line)
    print(measurement.row(row), flush=True)


def command_of(name, case, small):
    return [sys.executable, "-m", __package__, name, "--case", str(case)] + ["--small"] * small


def measure_here(name, small, case):
    """Print the rows of one case, one JSON object a line."""
    from .device import described

    measurement = measurement_named(name)
    sizes = (measurement.small if small else measurement.cases)[case]
    about = {"what": name, "small": small, **described()}
    for row in measurement.measure(**sizes):
        print(json.dumps(about | row), flush=True)


if __name__ == "__main__":
    end_tidily()
    main()
