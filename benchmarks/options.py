"""Shared by the commands here: lists of names as options, one line for a mistake, exit code 2."""

import importlib.util
import os
import subprocess

import click

from minilora.errors import MiniloraError, nearest
from minilora.launcher import THREADS

REFERENCE = ("torch", "transformers", "peft", "threadpoolctl", "psutil")

AVX2 = {  # for OpenBLAS, the rest of NumPy, PyTorch, and the two libraries that PyTorch multiplies with
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


class Refused(click.ClickException):
    exit_code = 2


class OneLine(click.Command):
    """A command that reports a wrong option, file or process in one line."""

    def parse_args(self, ctx, args):
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise Refused(error.format_message()) from error

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (OSError, subprocess.CalledProcessError, MiniloraError) as error:
            raise Refused(" ".join(str(error).split())[:300]) from error


class Several(click.ParamType):
    """ "a,b" -> ["a", "b"], each among `known`; without `known` whole numbers of at least 1, still as text."""

    name = "a,b"

    def __init__(self, known=None):
        self.known = known

    def convert(self, value, param, ctx):
        names = value if isinstance(value, list) else [part.strip() for part in value.split(",")]
        for name in names:
            if self.known is None and not (name.isascii() and name.isdigit() and len(name) < 9 and int(name) >= 1):
                raise Refused(f"--{param.name}: {name!r} is not a whole number of at least 1")
            if self.known is not None and name not in self.known:
                raise Refused(f"--{param.name}: no {name!r}; there are: {nearest(name, self.known)}")
        return names


def environment(threads, avx2=False):  # -> dict
    """The environment of a measuring process: this many threads; each library's code for this processor, or for AVX2.

    Libraries read it when they are loaded. It drops the caller's own values of these variables.
    """
    free = {name: value for name, value in os.environ.items() if name not in {*AVX2, "OPENBLAS_L2_SIZE"}}
    return free | dict.fromkeys(THREADS, str(threads)) | (AVX2 if avx2 else {})


def output_of(command, env):  # -> str
    """The output of a measuring process. Raises Refused with its last line of error when it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        why = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise Refused(f"{' '.join(map(str, command[2:]))} failed: {why[-1][:200]}")
    return done.stdout


def need_reference():
    """Raises Refused with the packages that the comparison needs and that are not installed."""
    missing = [name for name in REFERENCE if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(f"{', '.join(missing)} not installed: pip install '.[reference]'")
