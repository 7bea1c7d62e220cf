"""Arguments of a wrong type, or too small, refused by name. The types are those of the hints of a function or class."""

import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import ConfigError

LEAST = {  # the lowest value of a whole number that has this name, where nothing else checks it
    "warmup": 0, "seed": 0, "virtual_tokens": 1, "vocab": 1, "width": 1, "layers": 1, "heads": 1, "kv_heads": 1,
    "mlp": 1, "context": 1, "length": 1, "vocab_size": 1, "hidden_size": 1, "intermediate_size": 1,
    "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 0, "head_dim": 0,
    "max_position_embeddings": 1, "n_embd": 1, "n_layer": 1, "n_head": 1, "n_positions": 1, "n_inner": 0,
}  # fmt: skip
LARGEST = 2**31 - 1  # of the numbers in LEAST; not of a seed
WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", Path: "a path",
         types.NoneType: "None", dict: "a dict"}  # fmt: skip


def check_arguments(function: Callable, values: Mapping[str, Any], where: str = "") -> None:
    """Check `values` against the hints of the parameters of `function`. What is not in `values` is left out.

    Raises ConfigError that begins with `where` and names the first wrong one.

    >>> def train(steps: int, lr: float | None = None): ...
    >>> check_arguments(train, {"steps": 3, "lr": "0.1"})
    Traceback (most recent call last):
    minilora.errors.ConfigError: lr = '0.1': expected a number or None
    """
    for name, hint in _hints(function).items():
        if name in values and not _fits(values[name], hint):
            expected = " or ".join(dict.fromkeys(_words(hint)))
            raise ConfigError(f"{where}{name} = {repr(values[name])[:80]}: expected {expected}")
        if isinstance(values.get(name), int) and values[name] < LEAST.get(name, values[name]):
            raise ConfigError(f"{where}{name} = {str(values[name])[:80]}: expected at least {LEAST[name]}")
        if isinstance(values.get(name), int) and name in LEAST and name != "seed" and values[name] > LARGEST:
            raise ConfigError(f"{where}{name} = {str(values[name])[:80]}: expected at most {LARGEST:,}")


@cache
def _hints(function):
    hints = get_type_hints(function)
    return {name: hints[name] for name in inspect.signature(function).parameters if name in hints}


def _fits(value, hint):
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value if inner)
    if (
        isinstance(kind, type) and kind is not str and issubclass(kind, Iterable)
    ):  # its elements: their reader checks them
        return isinstance(value, kind) and not isinstance(value, str | bytes)
    return isinstance(value, kind) if isinstance(kind, type) and kind is not object else True


def _words(hint):  # -> list of str
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return [word for one in inner for word in _words(one)]
    if inner:
        return ["a list of " + " or ".join(f"{word.partition(' ')[2]}s" for word in _words(inner[0]))]
    return [WORDS.get(kind, getattr(kind, "__name__", str(kind)))]
