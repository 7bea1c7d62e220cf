"""Which values the fields of a LoraConfig may have. From a file or from a person, a wrong one is refused by name."""

import re

from ..errors import ConfigError

TASK_TYPES = ("CAUSAL_LM", "SEQ_CLS", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")  # PEFT's


def check_fields(config):
    """Raises ConfigError naming the first field that cannot be, or that is not supported."""
    for name, (fits, expected) in RULES.items():
        value = getattr(config, name)
        if not fits(value):
            raise ConfigError(f"{name} = {repr(value)[:80]}: expected {expected}{_why_no_pattern(value)}")
    where = (config.layers_to_transform, config.layers_pattern)
    if isinstance(config.target_modules, str) and where != (None, None):
        raise ConfigError("layers_to_transform and layers_pattern need target_modules as a list of names")
    if config.layers_pattern and config.layers_to_transform is None:
        raise ConfigError("layers_pattern says where the layers are; layers_to_transform must say which")


def _why_no_pattern(value):
    """What is wrong with a string as a regular expression; "" when nothing is, or when it is no string."""
    try:
        re.compile(value if isinstance(value, str) else "")
    except (re.error, OverflowError, RecursionError) as error:
        return f" ({error})"
    return ""


def _is_int(v):
    return isinstance(v, int) and not isinstance(v, bool)


def _is_rank(v):
    return _is_int(v) and v >= 1


def _is_number(v):
    return isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e30  # neither nan nor inf


def _is_names(v):
    return isinstance(v, list) and all(isinstance(n, str) and n for n in v)


def _is_pattern(inside):
    """Whether a string is a regular expression in its place, the expression `inside`."""

    def check(v):
        try:
            return isinstance(v, str) and bool(re.compile(inside.replace("{}", v)))
        except (re.error, OverflowError, RecursionError):
            return False

    return check


def _is_either(*kinds):
    return lambda v: v is None or any(fits(v) for fits in kinds)


def _is_list_of(fits):
    return lambda v: isinstance(v, list) and all(map(fits, v))


def _is_patterned(fits):  # {path ending: value}
    key_fits = _is_pattern(r"(.*\.)?({})$")
    return lambda v: v is None or isinstance(v, dict) and all(key_fits(k) and fits(x) for k, x in v.items())


def _is_one_of(*known):
    return lambda v: any(v is k or (isinstance(v, str) and v == k) for k in known)


_TARGETS = _is_either(_is_names, _is_pattern("{}"))
_LAYERS = _is_pattern(r"(?:^|.*?\.){}\.(?P<idx>\d+)\.")

RULES = {  # field -> whether a value fits, what is expected
    "r": (_is_rank, "a whole number of at least 1"),
    "lora_alpha": (_is_number, "a number"),
    "lora_dropout": (lambda v: _is_number(v) and 0 <= v < 1, "a number p with 0 <= p < 1"),
    "target_modules": (_TARGETS, "a list of names or a regular expression"),
    "exclude_modules": (_TARGETS, "a list of names or a regular expression"),
    "rank_pattern": (_is_patterned(_is_rank), "{regular expression: whole number of at least 1}"),
    "alpha_pattern": (_is_patterned(_is_number), "{regular expression: number}"),
    "layers_to_transform": (_is_either(_is_int, _is_list_of(_is_int)), "an index or a list of indices"),
    "layers_pattern": (_is_either(_LAYERS, _is_list_of(_LAYERS)), "the name of the list of layers, or several"),
    "modules_to_save": (_is_either(_is_names), "a list of names"),
    "init_lora_weights": (_is_one_of(True, False, "gaussian"), "True, False or 'gaussian'"),
    "use_rslora": (_is_one_of(True, False), "True or False"),
    "fan_in_fan_out": (_is_one_of(True, False), "True or False"),
    "bias": (_is_one_of("none"), "'none': biases stay frozen, training them is not supported"),
    "task_type": (_is_one_of(None, *TASK_TYPES), "one of " + ", ".join(TASK_TYPES)),
    "base_model_name_or_path": (_is_either(lambda v: isinstance(v, str)), "a name or a path"),
}
