"""The keys of a config.json, each checked as it is taken; a key that is left and may change results is refused."""

import re
import sys

from ..errors import ConfigError, FormatError

# null: no window; as many heads as for queries; no cap
NULL_IS_A_VALUE = ("sliding_window", "num_key_value_heads", "attn_logit_softcapping", "final_logit_softcapping")

# Keys that change no result here: dropout of the base (an adapter has its own), heads for other tasks, splitting a
# product over devices, the origin of the file.
HARMLESS = re.compile(
    r"initializer_range|pretraining_tp|\w+_dropout|\w+_pdrop|summary_\w+|task_specific_params|transformers\.js_config"
    r"|n_ctx|n_special|_\w+|unsloth_\w+|transformers_version|is_llama_config"
)
# Any other key whose name contains one of these is refused unless its value is neutral (0, 1, false, null, empty).
MAY_CHANGE_RESULTS = re.compile(
    r"scal|cap|multipl|rotary|rope|window|bias|norm|expert|quant|sparse|sink|alibi|clip|activation|layer_types|cross"
    r"|encoder|upcast|prefix|residual|hidden_act|prun"
)


def is_neutral(value):  # whether a model that ignores the key computes the same
    if isinstance(value, list) and all(v == "full_attention" for v in value):
        return True
    return value is not True and value in (None, False, 0, 1, "", {})


def short(value):
    return repr(value)[:40]


class Keys:
    """The keys of a configuration. Each is checked as it is taken; `finish` looks at those that are left.

    A key that is missing or null has the family's default, else the default that the method is given; without either it
    is an error.
    """

    def __init__(self, data, where, defaults=None):
        self.data, self.where, self.defaults = dict(data), where, defaults or {}

    def take(self, key, default=None):
        value = self.data.pop(key, None)
        return default if value is None else value

    def integer(self, key, *default, low=1, high=2**31 - 1):
        return self._checked(
            key, default, f"a whole number of {low} to {high}", lambda v: type(v) is int and low <= v <= high
        )

    def number(self, key, *default):
        def good(v):
            return type(v) in (int, float) and 0 < v <= sys.float_info.max  # false for nan

        return self._checked(key, default, "a finite number above 0", good)

    def word(self, key, default=None):
        return self._checked(key, (default,), "a name", lambda v: isinstance(v, str))

    def flag(self, key):
        return self._checked(key, (False,), "true or false", lambda v: type(v) is bool)

    def only(self, key, *known):
        """A key with a single supported value, under the names `known`; missing means that value."""
        value = self.take(key, known[0])
        if value not in known:
            names = " or ".join(map(str, known))
            raise ConfigError(f"{self.where}: {key} {short(value)} is not supported, only {names}")

    def token_ids(self):
        def one(v):
            return type(v) is int and v >= 0

        def several(v):
            return one(v) or isinstance(v, list) and all(map(one, v))

        found = {}
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if type(self.data.get(key)) is int and self.data[key] == -1:  # some tools write -1 for "none"
                self.data[key] = None
            good, expected = (several, "a token id or a list of them") if key == "eos_token_id" else (one, "a token id")
            found[key] = self._checked(key, (None,), expected, good)
        return found

    def _checked(self, key, default, expected, good):
        given = key in self.data
        value = self.data.pop(key, None)
        if value is None:
            if key in self.defaults and not (given and key in NULL_IS_A_VALUE):
                return self.defaults[key]
            if default:
                return default[0]
            raise FormatError(f"{self.where}: {key!r} is missing")
        if not good(value):
            raise FormatError(f"{self.where}: {key} = {short(value)}, expected {expected}")
        return value

    def finish(self):
        """Refuse a key that was not taken and may change results."""
        for key, value in self.data.items():
            if MAY_CHANGE_RESULTS.search(key) and not HARMLESS.fullmatch(key) and not is_neutral(value):
                key_value = f"{short(key)} = {short(value)}"
                raise ConfigError(f"{self.where}: {key_value} may change the computation and is not supported")
