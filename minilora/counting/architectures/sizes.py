"""The whole numbers of a config.json, under any of their spellings, each one checked."""

from typing import Any

from ...errors import ConfigError, FormatError
from ...files.families import DEFAULTS

SPELLINGS = {  # Hugging Face's usual name -> the older ones
    "hidden_size": ("n_embd", "d_model", "n_embed"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head", "num_heads"),
    "intermediate_size": ("n_inner", "ffn_dim", "d_ff"),
    "max_position_embeddings": ("n_positions",),
    "head_dim": ("d_kv",),
    "num_local_experts": ("num_experts",),
}
LARGEST = 2**31 - 1
MOST_LAYERS = 10_000


class Sizes:
    """`sizes("hidden_size")` is that number: of the config.json, or what its family assumes where that is silent."""

    def __init__(self, data: dict, where: str, defaults: dict):
        self.data, self.where, self.defaults = data, where, defaults

    def __call__(self, name: str, default: int | None = None, low: int = 1) -> int:
        """default: follows from other sizes; it holds where neither the file nor the family says a number."""
        value = self.given(name)
        if value is None:
            value = self.assumed(name, default)
            if value is None:
                raise FormatError(f"{self.where}: {name!r} is missing")
            return value
        high = MOST_LAYERS if "layers" in name else LARGEST
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name, value, f"a whole number of {low} to {high:,}")
        return value

    def inner(self, name: str, kind: str) -> "Sizes":
        """The configuration of a model inside this one, with what its own family assumes."""
        value = self.given(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, value, "an object")
        return Sizes(value or {}, f"{self.where}: {name}", DEFAULTS[kind])

    def assumed(self, name: str, otherwise=None) -> Any:
        """What the family assumes, under any spelling of `name`."""
        return next((self.defaults[k] for k in spellings(name) if k in self.defaults), otherwise)

    def given(self, name: str):
        """The value under any spelling, or None. Two spellings that disagree are refused."""
        found = {k: self.data[k] for k in spellings(name) if self.data.get(k) is not None}
        values = list(found.values())
        if any(v != values[0] for v in values[1:]):
            raise FormatError(f"{self.where}: {' and '.join(f'{k} = {clip(v)}' for k, v in found.items())} disagree")
        return values[0] if values else None

    def flag(self, name: str) -> bool:
        value = self.given(name)
        if value is not None and type(value) is not bool:
            raise self.wrong(name, value, "true or false")
        return self.assumed(name, False) if value is None else value

    def known_flag(self, name: str) -> bool:
        """A flag that some families ignore, whatever the file says: those that have no default for it."""
        return name in self.defaults and self.flag(name)

    def text(self, name: str) -> str:
        value = self.given(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, value, "a word")
        return self.assumed(name) if value is None else value

    def wrong(self, name: str, value, expected: str) -> FormatError:
        return FormatError(f"{self.where}: {name} = {clip(value)}, expected {expected}")

    def refuse(self, name: str, usual):
        """A setting that would change the weights in a way that is not described here."""
        value = self.given(name)
        if value is not None and value != usual:
            raise ConfigError(f"{self.where}: {name} = {clip(value)} is not supported, only {usual}")

    def kv_heads(self) -> int:
        """Heads of keys and values. An explicit null means as many as the queries have."""
        H = self("num_attention_heads")
        K = H if self.data.get("num_key_value_heads", 0) is None else self("num_key_value_heads", H)
        if H % K:
            raise ConfigError(f"{self.where}: num_attention_heads {H} is not a multiple of num_key_value_heads {K}")
        return K

    def head_dim(self) -> int:
        """The width of one head: stated or assumed, or else hidden_size / num_attention_heads."""
        d, heads = self("hidden_size"), self("num_attention_heads")
        if self.given("head_dim") is None and self.assumed("head_dim") is None and d % heads:
            raise ConfigError(f"{self.where}: hidden_size {d} is not a multiple of num_attention_heads {heads}")
        return self("head_dim", d // heads)


def spellings(name: str) -> tuple:
    return (name, *SPELLINGS.get(name, ()))


def clip(value) -> str:
    """On one line, however long it is."""
    return repr(value)[:40]
