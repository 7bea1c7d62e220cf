"""The measurements by name. A new one is a Measurement in its own file and a line in the table NAMES."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """A function that measures, its table, and the sizes to measure.

    measure   (**case) -> rows, each a dict of JSON values. It may yield them: each is printed and saved at once
    head      the line above the table
    row       dict -> its line in the table
    cases     keyword arguments of `measure`; each case is measured in its own process, so one failure ends one case
    small     the same for a rehearsal, which takes seconds
    """

    measure: Callable[..., Iterable[dict]]
    head: str
    row: Callable[[dict], str]
    cases: list[dict]
    small: list[dict]


NAMES = {  # name on the command line -> where the Measurement is, in the order of a whole run
    "rates": "rates:RATES",
    "step": "step:STEP",
    "kernels": "kernels:KERNELS",
    "generation": "generation:GENERATION",
    "profile": "profile:PROFILE",
    "layers": "quantized:LAYERS",
    "qlora": "quantized:QLORA",
    "adapters": "adapters:ADAPTERS",
    "resident": "resident:RESIDENT",
}


def measurement_named(name: str) -> Measurement:
    """The Measurement of a name in NAMES."""
    module, _, attribute = NAMES[name].partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
