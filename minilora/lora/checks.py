"""Which values the fields of a LoraConfig may have. From a file or from a person, a wrong one is refused by name."""

import math
import re

from ..errors import ConfigError

TASK_TYPES = ("CAUSAL_LM", "SEQ_CLS", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")  # PEFT's


def check_fields(config):
    """Raises ConfigError naming the first field that cannot be, or that is not supported."""
    for name, fits, expected in _RULES:
        value = getattr(config, name)
        if not fits(value):
            raise ConfigError(f"{name} = {value!r}: expected {expected}")
    for name in ("rank_pattern", "alpha_pattern"):
        for key, value in (getattr(config, name) or {}).items():
            if not (_is_rank if name == "rank_pattern" else _is_number)(value):
                expected = "a whole number of at least 1" if name == "rank_pattern" else "a number"
                raise ConfigError(f"{name}[{key!r}] = {value!r}: expected {expected}")
    if isinstance(config.target_modules, str) and (config.layers_to_transform is not None or config.layers_pattern):
        raise ConfigError("layers_to_transform and layers_pattern need target_modules as a list of names")
    if config.layers_pattern and config.layers_to_transform is None:
        raise ConfigError("layers_pattern says where the layers are; layers_to_transform must say which")


def _is_int(v):
    return isinstance(v, int) and not isinstance(v, bool)


def _is_rank(v):
    return _is_int(v) and v >= 1


def _is_number(v):
    return isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)


def _is_pattern(v):
    try:
        return isinstance(v, str) and bool(re.compile(rf"(.*\.)?({v})$"))
    except (re.error, OverflowError, RecursionError):
        return False


def _is_names(v):
    return isinstance(v, list) and all(isinstance(n, str) and n for n in v)


_RULES = [  # field, whether a value fits, what is expected
    ("r", _is_rank, "a whole number of at least 1"),
    ("lora_alpha", _is_number, "a number"),
    ("lora_dropout", lambda v: _is_number(v) and 0 <= v < 1, "a number p with 0 <= p < 1"),
    *(
        (name, lambda v: v is None or _is_names(v) or _is_pattern(v), "a list of names or a regular expression")
        for name in ("target_modules", "exclude_modules")
    ),
    *(
        (name, lambda v: v is None or (isinstance(v, dict) and all(map(_is_pattern, v))), "{regular expression: value}")
        for name in ("rank_pattern", "alpha_pattern")
    ),
    (
        "layers_to_transform",
        lambda v: v is None or _is_int(v) or (isinstance(v, list) and all(map(_is_int, v))),
        "an index or a list of indices",
    ),
    (
        "layers_pattern",
        lambda v: v is None or _is_pattern(v) or (_is_names(v) and all(map(_is_pattern, v))),
        "the name of the list of layers, or several",
    ),
    ("modules_to_save", lambda v: v is None or _is_names(v), "a list of names"),
    ("init_lora_weights", lambda v: v is True or v is False or v == "gaussian", "True, False or 'gaussian'"),
    ("use_rslora", lambda v: isinstance(v, bool), "True or False"),
    ("fan_in_fan_out", lambda v: isinstance(v, bool), "True or False"),
    ("bias", lambda v: v == "none", "'none': biases stay frozen, training them is not supported"),
    ("task_type", lambda v: v is None or v in TASK_TYPES, "one of " + ", ".join(TASK_TYPES)),
    ("base_model_name_or_path", lambda v: v is None or isinstance(v, str), "a name or a path"),
]
