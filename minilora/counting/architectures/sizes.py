"""The whole numbers of a config.json, under any of their spellings, each one checked."""

from ...errors import ConfigError, FormatError

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
            raise self.wrong(name, value, f"a whole number of {low} to {high:,}")
        return value

    def given(self, name):
        """The value under any spelling, or None. Two spellings that disagree are refused."""
        found = {k: self.data[k] for k in (name, *SPELLINGS.get(name, ())) if self.data.get(k) is not None}
        values = list(found.values())
        if any(v != values[0] for v in values[1:]):
            raise FormatError(f"{self.where}: {' and '.join(f'{k} = {clip(v)}' for k, v in found.items())} disagree")
        return values[0] if values else None

    def flag(self, name, default):  # -> bool
        value = self.given(name)
        if value is not None and type(value) is not bool:
            raise self.wrong(name, value, "true or false")
        return default if value is None else value

    def text(self, name, default):  # -> str
        value = self.given(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, value, "a word")
        return default if value is None else value

    def wrong(self, name, value, expected):  # -> FormatError
        return FormatError(f"{self.where}: {name} = {clip(value)}, expected {expected}")

    def refuse(self, name, usual):
        """A setting that would change the weights in a way that is not described here."""
        value = self.given(name)
        if value is not None and value != usual:
            raise ConfigError(f"{self.where}: {name} = {clip(value)} is not supported, only {usual}")

    def kv_heads(self, default=None):
        """Heads of keys and values. default: what the family assumes where nothing is said; null always means as many
        as the queries have."""
        H = self("num_attention_heads")
        K = self("num_key_value_heads", H if "num_key_value_heads" in self.data else default or H)
        if H % K:
            raise ConfigError(f"{self.where}: num_attention_heads {H} is not a multiple of num_key_value_heads {K}")
        return K

    def head_dim(self):
        """The width of one head: stated, or hidden_size / num_attention_heads."""
        d, heads = self("hidden_size"), self("num_attention_heads")
        if self.given("head_dim") is None and d % heads:
            raise ConfigError(f"{self.where}: hidden_size {d} is not a multiple of num_attention_heads {heads}")
        return self("head_dim", d // heads)


def clip(value):  # -> str: on one line, however long it is
    return repr(value)[:40]
