"""The whole numbers of a config.json, under any of their spellings, each one checked."""

from ..errors import ConfigError, FormatError

SPELLINGS = {  # Hugging Face's usual name -> the older ones
    "hidden_size": ("n_embd", "d_model", "n_embed"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head", "num_heads"),
    "intermediate_size": ("n_inner", "ffn_dim", "d_ff"),
    "max_position_embeddings": ("n_positions",),
    "head_dim": ("d_kv",),
}
LARGEST = 2**31 - 1
MOST_LAYERS = 10_000
REQUIRED = object()


class Sizes:
    """`sizes("hidden_size")` is that number. A missing one is an error, unless the family has a default."""

    def __init__(self, data, where):
        self.data, self.where = data, where

    def __call__(self, name, default=REQUIRED, low=1):  # -> int
        value = self.given(name)
        if value is None:
            if default is REQUIRED:
                raise FormatError(f"{self.where}: {name!r} is missing")
            return default
        high = MOST_LAYERS if "layers" in name else LARGEST
        if type(value) is not int or not low <= value <= high:
            raise FormatError(f"{self.where}: {name} = {str(value)[:40]}, expected a whole number of {low} to {high:,}")
        return value

    def given(self, name):
        """The value under any spelling, or None. Two spellings that disagree are refused."""
        found = {k: self.data[k] for k in (name, *SPELLINGS.get(name, ())) if self.data.get(k) is not None}
        values = list(found.values())
        if any(v != values[0] for v in values):
            raise FormatError(f"{self.where}: {' and '.join(f'{k} = {v}' for k, v in found.items())} disagree")
        return values[0] if values else None

    def flag(self, name, default):  # -> bool
        value = self.given(name)
        if value is not None and type(value) is not bool:
            raise FormatError(f"{self.where}: {name} = {str(value)[:40]}, expected true or false")
        return default if value is None else value

    def text(self, name, default):  # -> str
        value = self.given(name)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"{self.where}: {name} = {str(value)[:40]}, expected a word")
        return default if value is None else value

    def head_dim(self):
        """The width of one head: stated, or hidden_size / num_attention_heads."""
        d, heads = self("hidden_size"), self("num_attention_heads")
        if self.given("head_dim") is None and d % heads:
            raise ConfigError(f"{self.where}: hidden_size {d} is not a multiple of num_attention_heads {heads}")
        return self("head_dim", d // heads)
