"""Reading and writing Hugging Face's config.json. A key that changes the computation is used, or refused by name.

The configuration is a plain dict of fields with the names of the configuration classes in models/; this file knows no
model.
"""

import re
import sys

from ..errors import ConfigError, FormatError, nearest

MAX_LAYERS = 1000

# What transformers assumes where config.json is silent (configuration_<type>.py of transformers 5.23), for loading a
# model and for counting one. A flag that a family does not list is one that its model ignores, or false.
DEFAULTS = {
    "llama": {"max_position_embeddings": 2048, "attention_bias": False, "mlp_bias": False},
    "mistral": {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096},
    "qwen3": {
        "max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096, "head_dim": 128,
        "attention_bias": False,
    },
    "gemma": {"num_key_value_heads": 16, "head_dim": 256, "tie_word_embeddings": True, "attention_bias": False},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True, "attention_bias": False},
    "gemma3_text": {
        "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "tie_word_embeddings": True, "attention_bias": False,
    },
    "gemma3": {"tie_word_embeddings": True},
    "siglip_vision_model": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16,
        "num_channels": 3, "vision_use_head": True,
    },
    "phi3": {},
    "olmo2": {"attention_bias": False},
    "smollm3": {"num_key_value_heads": 4, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False},
    "granite": {"attention_bias": False, "mlp_bias": False},
    "starcoder2": {"num_key_value_heads": 2, "tie_word_embeddings": True, "use_bias": True},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "num_key_value_heads": 4, "attention_bias": False, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "decoder_sparse_step": 1,
    },
    "gpt_oss": {
        "num_key_value_heads": 8, "head_dim": 64, "attention_bias": True, "num_local_experts": 128,
        "num_experts_per_tok": 4,
    },
    "phi": {},
    "gpt2": {"n_positions": 1024, "tie_word_embeddings": True},
    "gptj": {},
    "gpt_neox": {"attention_bias": True, "use_parallel_residual": True},
    "bloom": {"tie_word_embeddings": True},
    "opt": {
        "max_position_embeddings": 2048, "tie_word_embeddings": True, "enable_bias": True,
        "layer_norm_elementwise_affine": True, "do_layer_norm_before": True,
    },
    "falcon": {"tie_word_embeddings": True, "multi_query": True, "parallel_attn": True},
    "bert": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "roberta": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "deberta-v2": {
        "max_position_embeddings": 512, "type_vocab_size": 0, "position_biased_input": True, "norm_rel_ebd": "none",
        "max_relative_positions": -1, "position_buckets": -1, "conv_kernel_size": 0,
    },
    "xlm-roberta": {"max_position_embeddings": 512, "type_vocab_size": 2},
    "modernbert": {},
    "vit": {"image_size": 224, "patch_size": 16, "num_channels": 3, "qkv_bias": True},
    "whisper": {
        "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448, "tie_word_embeddings": True,
    },
    "t5": {
        "d_kv": 64, "relative_attention_num_buckets": 32, "feed_forward_proj": "relu", "tie_word_embeddings": True,
    },
}  # fmt: skip
LOADABLE = ("llama", "mistral", "qwen2", "qwen3", "gpt2")  # the families that have a model file here

# rope_type -> the numbers that it needs. Any other number in the dictionary is refused.
ROPE_KEYS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}

NULL_IS_A_VALUE = ("sliding_window", "num_key_value_heads")  # null: no window; as many heads as for queries

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


def fields_from_json(data: dict, where: str = "config.json") -> dict:
    """The configuration {"model_type": ..., field: value} that the keys of a config.json describe.

    where: the file's name, for errors. Raises FormatError for a missing key or an invalid value, ConfigError for a key
    or value that is not supported.
    """
    keys = _Keys(data, where)
    kind = keys.word("model_type")
    if kind is None:
        raise FormatError(f"{where}: no model_type; expected one of {', '.join(LOADABLE)}")
    if kind not in LOADABLE:
        raise ConfigError(f"{where}: model_type {_short(kind)} is not supported; known: {nearest(kind[:99], LOADABLE)}")
    keys.defaults = DEFAULTS[kind]
    fields = _gpt2(keys) if kind == "gpt2" else _llama(keys, kind)
    keys.finish()
    return fields


def fields_to_json(fields: dict) -> dict:
    """The content of a config.json for {"model_type": ..., field: value}, spelled so that transformers 4 and 5 read it.

    Raises ConfigError for a field that a config.json of this model_type cannot store.
    """
    kind = fields["model_type"]
    data = _gpt2_to_json(fields) if kind == "gpt2" else _llama_to_json(fields)
    stored = fields_from_json(data)
    if lost := [name for name in fields if stored[name] != fields[name]]:
        raise ConfigError(f"{', '.join(lost)} cannot be stored in a config.json of model_type {kind!r}")
    return data


def _llama(keys, kind):
    keys.only("hidden_act", "silu", "swish")
    heads, hidden, context = (
        keys.integer(k) for k in ("num_attention_heads", "hidden_size", "max_position_embeddings")
    )
    layers = keys.integer("num_hidden_layers", high=MAX_LAYERS)
    window, layer_types = _windows(keys, kind, layers)
    return dict(
        vocab_size=keys.integer("vocab_size"),
        hidden_size=hidden,
        intermediate_size=keys.integer("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys.integer("num_key_value_heads", heads),
        head_dim=keys.integer("head_dim", hidden // heads),
        max_position_embeddings=context,
        rms_norm_eps=keys.number("rms_norm_eps", 1e-6),
        rope_parameters=_rope(keys, context),
        tie_word_embeddings=keys.flag("tie_word_embeddings"),
        attention_bias="attention_bias" in keys.defaults and keys.flag("attention_bias"),
        qkv_bias=kind == "qwen2",
        mlp_bias="mlp_bias" in keys.defaults and keys.flag("mlp_bias"),
        qk_norm=kind == "qwen3",
        sliding_window=window,
        layer_types=layer_types,
        model_type=kind,
        **keys.token_ids(),
    )


def _gpt2(keys):
    keys.only("activation_function", "gelu_new", "gelu_pytorch_tanh")  # two names of one function
    keys.only("scale_attn_weights", True)
    return dict(
        vocab_size=keys.integer("vocab_size"),
        n_embd=keys.integer("n_embd"),
        n_layer=keys.integer("n_layer", high=MAX_LAYERS),
        n_head=keys.integer("n_head"),
        n_positions=keys.integer("n_positions"),
        n_inner=keys.integer("n_inner", 0),
        layer_norm_epsilon=keys.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=keys.flag("tie_word_embeddings"),
        model_type="gpt2",
        **keys.token_ids(),
    )


def _windows(keys, kind, layers):  # -> sliding_window or None, layer_types or None
    """The sliding window (tokens), and the attention type of each layer where they differ.

    Mistral's window is for every layer. Qwen's is off without use_sliding_window; it is for the layers that layer_types
    lists, or from layer max_window_layers on.
    """
    if kind == "llama":
        return None, None  # `finish` refuses a window in such a file
    window = keys.integer("sliding_window", None)
    if kind == "mistral":
        types, only = keys.take("layer_types"), "full_attention" if window is None else "sliding_attention"
        if types is not None and types != [only] * layers:
            raise ConfigError(f"{keys.where}: layer_types must list {only} for all {layers} layers, or be left out")
        return window, None
    first, use, types = keys.integer("max_window_layers", 28, low=0), keys.flag("use_sliding_window"), None
    if "layer_types" in keys.data:
        types = keys.take("layer_types")
    if not use:
        window = None
    if types is None:
        types = ["sliding_attention" if window and i >= first else "full_attention" for i in range(layers)]
    known = ("full_attention", "sliding_attention")
    if not isinstance(types, list) or len(types) != layers or any(t not in known for t in types):
        raise ConfigError(f"{keys.where}: layer_types must list {' or '.join(known)} for each of the {layers} layers")
    if window is None or "sliding_attention" not in types:
        return None, None
    return window, None if "full_attention" not in types else types


def _rope(keys, context):  # -> {"rope_type", "rope_theta", ...}
    """New files have rope_parameters; old ones have rope_theta, and rope_scaling with `rope_type` or `type`."""
    theta, old, new = (keys.take(k) for k in ("rope_theta", "rope_scaling", "rope_parameters"))
    rope = old or new or {}
    if not isinstance(rope, dict):
        raise FormatError(f"{keys.where}: the rotary settings are a {type(rope).__name__}, expected an object")
    rope = _Keys(rope, f"{keys.where}: rotary settings")
    old_kind = rope.word("type", "default")
    kind = rope.word("rope_type", old_kind)
    if kind not in ROPE_KEYS:
        raise ConfigError(f"{keys.where}: rope_type {_short(kind)} is not supported; known: {', '.join(ROPE_KEYS)}")
    rope.data.setdefault("rope_theta", 10000.0 if theta is None else theta)
    if kind == "llama3":
        rope.data.setdefault("original_max_position_embeddings", context)
    partial = rope.take("partial_rotary_factor", keys.take("partial_rotary_factor", 1))
    if partial != 1:
        raise ConfigError(f"{keys.where}: partial_rotary_factor {_short(partial)} is not supported, only 1")
    parameters = {"rope_type": kind, "rope_theta": rope.number("rope_theta")}
    parameters |= {key: rope.number(key) for key in ROPE_KEYS[kind]}
    if kind == "llama3" and parameters["high_freq_factor"] <= parameters["low_freq_factor"]:
        raise FormatError(f"{keys.where}: high_freq_factor must be above low_freq_factor")
    extra = [key for key, value in rope.data.items() if not _is_neutral(value)]
    if extra:
        raise ConfigError(f"{rope.where}: {_short(extra[0])} is not supported for rope_type {kind!r}")
    return parameters


def _llama_to_json(fields):
    kind, rope = fields["model_type"], dict(fields["rope_parameters"])
    theta, rope_kind = rope.pop("rope_theta"), rope.get("rope_type", "default")
    names = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    not_keys = ("rope_parameters", "qkv_bias", "qk_norm", "layer_types", "sliding_window")  # spelled below, or implied
    data = {key: value for key, value in fields.items() if key not in not_keys}
    data |= {
        "architectures": [f"{names[kind]}ForCausalLM"],
        "hidden_act": "silu",
        "rope_theta": theta,
        "rope_scaling": None if rope_kind == "default" else rope,
        "torch_dtype": "float32",
        "use_cache": True,
    }
    if kind != "llama":
        data["sliding_window"] = fields["sliding_window"]
    if kind in ("qwen2", "qwen3") and fields["sliding_window"]:
        types = fields["layer_types"] or ["sliding_attention"] * fields["num_hidden_layers"]
        data |= {"use_sliding_window": True, "max_window_layers": 0, "layer_types": types}
    for key in ("attention_bias", "mlp_bias"):
        if key not in DEFAULTS[kind]:
            del data[key]
    return data


def _gpt2_to_json(fields):
    return fields | {
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "torch_dtype": "float32",
        "use_cache": True,
    }


def _is_neutral(value):  # whether a model that ignores the key computes the same
    if isinstance(value, list) and all(v == "full_attention" for v in value):
        return True
    return value is not True and value in (None, False, 0, 1, "", {})


def _short(value):
    return repr(value)[:40]


class _Keys:
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
            raise ConfigError(f"{self.where}: {key} {_short(value)} is not supported, only {names}")

    def token_ids(self):
        def good(v):
            return type(v) is int and v >= 0 or isinstance(v, list) and all(type(i) is int and i >= 0 for i in v)

        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        return {k: self._checked(k, (None,), "a token id or a list of them", good) for k in names}

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
            raise FormatError(f"{self.where}: {key} = {_short(value)}, expected {expected}")
        return value

    def finish(self):
        """Refuse a key that was not taken and may change results."""
        for key, value in self.data.items():
            if MAY_CHANGE_RESULTS.search(key) and not HARMLESS.fullmatch(key) and not _is_neutral(value):
                key_value = f"{_short(key)} = {_short(value)}"
                raise ConfigError(f"{self.where}: {key_value} may change the computation and is not supported")
