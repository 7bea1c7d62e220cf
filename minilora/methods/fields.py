"""Which values the fields of a configuration may have. A wrong one is refused by name, from a file or from a person.

A rule is a pair: a function that accepts good values, and the words for what is expected.
"""

import contextlib
from collections.abc import Iterator

from ..errors import ConfigError
from ..files import patterns

SIZES = ("r", "init_r", "num_virtual_tokens")  # fields that say how large an adapter is
MOST_NUMBERS = 2**40  # of an adapter; some systems promise more memory than they have
TASK_TYPES = ("CAUSAL_LM", "SEQ_CLS", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")  # PEFT's


def check_fields(config):
    """Check a configuration against its rules. Raises ConfigError that names the first wrong field."""
    for name, (fits, expected) in config.rules.items():
        value = getattr(config, name)
        if not fits(value):
            raise ConfigError(f"{name} = {repr(value)[:80]}: expected {expected}{_why_no_pattern(value)}")
    layers, pattern = (getattr(config, name, None) for name in ("layers_to_transform", "layers_pattern"))
    if isinstance(getattr(config, "target_modules", None), str) and (layers, pattern) != (None, None):
        raise ConfigError("layers_to_transform and layers_pattern need target_modules as a list of names")
    if pattern and layers is None:
        raise ConfigError("layers_pattern says where the layers are; layers_to_transform must say which")


@contextlib.contextmanager
def within_memory(config, numbers: int) -> Iterator[None]:
    """The block fills an adapter of so many numbers. Raises ConfigError naming its size when memory is too small."""
    try:
        if numbers > MOST_NUMBERS:
            raise MemoryError
        yield
    except MemoryError as error:
        sizes = {name: getattr(config, name) for name in SIZES if hasattr(config, name)}
        name = max(sizes, key=lambda name: sizes[name])
        raise ConfigError(
            f"{name} = {sizes[name]}: the adapter has {numbers:,} parameters, which do not fit into memory"
        ) from error


def _why_no_pattern(value):
    """Why a string is no regular expression; "" when it is one, or when the value is not a string."""
    why = patterns.mistake(value) if isinstance(value, str) else ""
    return f" ({why})" if why else ""


def _is_int(v):
    return isinstance(v, int) and not isinstance(v, bool)


def _is_rank(v):
    return _is_int(v) and v >= 1


def _is_number(v):
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e30  # neither nan nor inf


def _is_names(v):
    return isinstance(v, list) and all(isinstance(n, str) and n for n in v)


def _is_pattern(inside):
    """Accepts a string that is a regular expression in its place {} of the expression `inside`."""

    return lambda v: isinstance(v, str) and not patterns.mistake(inside.replace("{}", v))


def _is_none_or(*kinds):
    return lambda v: v is None or any(fits(v) for fits in kinds)


def _is_list_of(fits):
    return lambda v: isinstance(v, list) and all(map(fits, v))


def one_of(*known):
    """The rule for a field with a few values."""
    words = " or ".join(map(repr, known))
    return (lambda v: any(v is k or (isinstance(v, str) and v == k) for k in known), words)


def pattern_of(rule):
    """The rule for {path ending: value}, where every value fits `rule`."""
    fits, expected = rule
    key_fits = _is_pattern(r"(.*\.)?({})$")
    return (
        lambda v: (
            v is None
            or isinstance(v, dict)
            and len(v) <= patterns.MOST
            and all(key_fits(k) and fits(x) for k, x in v.items())
        ),
        f"{{regular expression: {expected.removeprefix('a ')}}}, at most {patterns.MOST:,} of them",
    )


RANK = (_is_rank, "a whole number of at least 1")
NUMBER = (_is_number, "a number")
PROBABILITY = (lambda v: _is_number(v) and 0 <= v < 1, "a number p with 0 <= p < 1")
FLAG = one_of(True, False)
COUNT = (lambda v: _is_int(v) and v >= 0, "a whole number of at least 0")
SHARE = (lambda v: _is_number(v) and 0 < v < 1, "a number between 0 and 1")
NOT_NEGATIVE = (lambda v: _is_number(v) and v >= 0, "a number of at least 0")


def _is_tokens(v):
    return isinstance(v, list) and all(_is_int(i) and i >= 0 for i in v) and len(set(v)) == len(v)


TOKENS = (
    lambda v: (
        v is None
        or _is_tokens(v)
        or isinstance(v, dict)
        and all(isinstance(name, str) and name and tokens and _is_tokens(tokens) for name, tokens in v.items())
    ),
    "a list of token ids of at least 0, each once, or {name of an embedding or head: such a list}",
)
TEXT = (_is_none_or(lambda v: isinstance(v, str)), "a text")


def optional(rule):
    """The rule for a field that may be None."""
    fits, expected = rule
    return (lambda v: v is None or fits(v), expected)


_TARGETS = (_is_none_or(_is_names, _is_pattern("{}")), "a list of names or a regular expression")
_LAYERS = _is_pattern(r"(?:^|.*?\.){}\.(?P<idx>\d+)\.")

SHARED_RULES = {  # fields that methods on layers share
    "target_modules": _TARGETS,
    "exclude_modules": _TARGETS,
    "layers_to_transform": (_is_none_or(_is_int, _is_list_of(_is_int)), "an index or a list of indices"),
    "layers_pattern": (_is_none_or(_LAYERS, _is_list_of(_LAYERS)), "the name of the list of layers, or several"),
    "modules_to_save": (_is_none_or(_is_names), "a list of names"),
    "fan_in_fan_out": FLAG,
    "bias": (one_of("none")[0], "'none': biases stay frozen, training them is not supported"),
    "task_type": (one_of(None, *TASK_TYPES)[0], "one of " + ", ".join(TASK_TYPES)),
    "base_model_name_or_path": (TEXT[0], "a name or a path"),
}


def rules_without(*names):
    """The shared rules of a method that lacks some of these fields."""
    return {name: rule for name, rule in SHARED_RULES.items() if name not in names}
