"""Reading and writing Hugging Face's config.json. A key that changes the computation is used, or refused by name.

The configuration is a plain dict of fields with the names of the configuration classes in models/; this file knows no
model.
"""

from ..errors import ConfigError, FormatError, nearest
from .config_keys import Keys, is_neutral, short
from .families import DEFAULTS, LOADABLE

MAX_LAYERS = 1000

# rope_type -> the numbers that it needs. Any other number in the dictionary is refused.
ROPE_KEYS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def fields_from_json(data: dict, where: str = "config.json") -> dict:
    """The configuration {"model_type": ..., field: value} that the keys of a config.json describe.

    where: the file's name, for errors. Raises FormatError for a missing key or an invalid value, ConfigError for a key
    or value that is not supported.
    """
    keys = Keys(data, where)
    kind = keys.word("model_type")
    if kind is None:
        raise FormatError(f"{where}: no model_type; expected one of {', '.join(LOADABLE)}")
    if kind not in LOADABLE:
        raise ConfigError(f"{where}: model_type {short(kind)} is not supported; known: {nearest(kind[:99], LOADABLE)}")
    keys.defaults = DEFAULTS[kind]
    read = {"gpt2": _gpt2, "gemma2": _gemma, "gemma3_text": _gemma}.get(kind, _llama)
    fields = read(keys, kind)
    keys.finish()
    return fields


def fields_to_json(fields: dict) -> dict:
    """The content of a config.json for {"model_type": ..., field: value}, spelled so that transformers 4 and 5 read it.

    Raises ConfigError for a field that a config.json of this model_type cannot store.
    """
    kind = fields["model_type"]
    data = _gpt2_to_json(fields) if kind == "gpt2" else _llama_to_json(fields)
    if kind in ("gemma2", "gemma3_text"):
        data = _gemma_to_json(data)
    stored = fields_from_json(data)
    if lost := [name for name in fields if stored[name] != fields[name]]:
        raise ConfigError(f"{', '.join(lost)} cannot be stored in a config.json of model_type {kind!r}")
    return data


def _llama(keys, kind):
    if kind not in ("gemma2", "gemma3_text"):
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
        qk_norm=kind in ("qwen3", "gemma3_text"),
        sliding_window=window,
        layer_types=layer_types,
        model_type=kind,
        **keys.token_ids(),
    )


def _gemma(keys, kind):
    """As Llama's, with layers that take turns: one with a window, then one without; in Gemma 3 five, then one."""
    keys.only("hidden_activation", "gelu_pytorch_tanh", "gelu_new")
    keys.take("hidden_act")  # not read by these models
    keys.only("use_bidirectional_attention", False)
    every = 2 if kind == "gemma2" else keys.integer("sliding_window_pattern", 6)
    layers = keys.data.get("num_hidden_layers")
    if keys.data.get("layer_types") is None and type(layers) is int and 0 < layers <= MAX_LAYERS:
        keys.data["layer_types"] = ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(layers)]
    keys.data["use_sliding_window"] = True
    local = _local_rope(keys) if kind == "gemma3_text" else None
    caps = [keys.number(key, None) for key in ("attn_logit_softcapping", "final_logit_softcapping")]
    return _llama(keys, kind) | dict(
        query_pre_attn_scalar=keys.number("query_pre_attn_scalar"),
        attn_logit_softcapping=caps[0] if kind == "gemma2" else None,  # Gemma 3 does not read it
        final_logit_softcapping=caps[1],
        local_rope_theta=local,
    )


def _local_rope(keys):  # -> θ of the layers with a window
    """New files of Gemma 3 have rotary settings for each type of layer; those of the others are left for `_rope`."""
    local, new = keys.number("rope_local_base_freq", 10000.0), keys.data.get("rope_parameters")
    if isinstance(new, dict) and isinstance(new.get("full_attention"), dict):
        keys.data["rope_parameters"] = new["full_attention"]
        near = Keys(new.get("sliding_attention") or {}, f"{keys.where}: rotary settings of sliding_attention")
        near.only("rope_type", "default")
        local = near.number("rope_theta", local)
    if not keys.data.get("rope_parameters"):
        keys.data["rope_theta"] = 1e6 if keys.data.get("rope_theta") is None else keys.data["rope_theta"]
    return local


def _gpt2(keys, kind):
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

    Mistral's and Phi-3's window is for every layer. Qwen's is off without use_sliding_window; it is for the layers that
    layer_types lists, or from layer max_window_layers on.
    """
    if kind == "llama":
        return None, None  # `finish` refuses a window in such a file
    window = keys.integer("sliding_window", None)
    if kind in ("mistral", "phi3"):
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
    rope = Keys(rope, f"{keys.where}: rotary settings")
    old_kind = rope.word("type", "default")
    kind = rope.word("rope_type", old_kind)
    if kind not in ROPE_KEYS:
        raise ConfigError(f"{keys.where}: rope_type {short(kind)} is not supported; known: {', '.join(ROPE_KEYS)}")
    rope.data.setdefault("rope_theta", 10000.0 if theta is None else theta)
    if kind == "llama3":
        rope.data.setdefault("original_max_position_embeddings", context)
    partial = rope.take("partial_rotary_factor", keys.take("partial_rotary_factor", 1))
    if partial != 1:
        raise ConfigError(f"{keys.where}: partial_rotary_factor {short(partial)} is not supported, only 1")
    parameters = {"rope_type": kind, "rope_theta": rope.number("rope_theta")}
    parameters |= {key: rope.number(key) for key in ROPE_KEYS[kind]}
    if kind == "llama3" and parameters["high_freq_factor"] <= parameters["low_freq_factor"]:
        raise FormatError(f"{keys.where}: high_freq_factor must be above low_freq_factor")
    extra = [key for key, value in rope.data.items() if not is_neutral(value)]
    if extra:
        raise ConfigError(f"{rope.where}: {short(extra[0])} is not supported for rope_type {kind!r}")
    return parameters


def _llama_to_json(fields):
    kind, rope = fields["model_type"], dict(fields["rope_parameters"])
    theta, rope_kind = rope.pop("rope_theta"), rope.get("rope_type", "default")
    names = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "phi3": "Phi3"}
    names |= {"gemma2": "Gemma2", "gemma3_text": "Gemma3"}
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
    if kind in ("qwen2", "qwen3", "gemma2", "gemma3_text") and fields["sliding_window"]:
        types = fields["layer_types"] or ["sliding_attention"] * fields["num_hidden_layers"]
        data |= {"use_sliding_window": True, "max_window_layers": 0, "layer_types": types}
    for key in ("attention_bias", "mlp_bias"):
        if key not in DEFAULTS[kind]:
            del data[key]
    return data


def _gemma_to_json(data):
    local = data.pop("local_rope_theta")
    del data["hidden_act"]
    for key in ("use_sliding_window", "max_window_layers"):
        data.pop(key, None)
    return data | {"hidden_activation": "gelu_pytorch_tanh"} | ({"rope_local_base_freq": local} if local else {})


def _gpt2_to_json(fields):
    return fields | {
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "torch_dtype": "float32",
        "use_cache": True,
    }
