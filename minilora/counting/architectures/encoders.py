"""The encoders, bare (no task head), each as the list of its weights. See llamas.py for the letters."""

from ...errors import ConfigError
from .parts import WeightSpec, embedding, layers, linear, norm, parameter
from .sizes import LARGEST


def bert(c):
    """BERT and RoBERTa: norms after the additions, so the layers read what the norm before them wrote."""
    c.refuse("add_cross_attention", False)
    d = c("hidden_size")
    yield embedding("embeddings.word_embeddings", c("vocab_size"), d)
    yield embedding("embeddings.position_embeddings", c("max_position_embeddings"), d)
    yield embedding("embeddings.token_type_embeddings", c("type_vocab_size"), d)
    yield norm("embeddings.LayerNorm", d)
    for at in layers("encoder.layer", c("num_hidden_layers")):
        yield from _encoder_layer(at, d, c("intermediate_size"), ("query", "key", "value"))
    yield linear("pooler.dense", d, d, True, reads="first token", times=0)


def _encoder_layer(at, d, m, names):
    for name in names:
        yield linear(f"{at}.attention.self.{name}", d, d, True, reads="input", feeds="attention")
    yield linear(f"{at}.attention.output.dense", d, d, True, reads="attention")
    yield norm(f"{at}.attention.output.LayerNorm", d)
    yield linear(f"{at}.intermediate.dense", d, m, True, reads="norm 1", feeds="activation")
    yield linear(f"{at}.output.dense", m, d, True, reads="activation")
    yield norm(f"{at}.output.LayerNorm", d)


def deberta_v2(c):
    """DeBERTa v2 and v3: an embedding of relative positions, their keys shared with the content's or not; XXL has a
    convolution beside the first layer."""
    d, m, H = c("hidden_size"), c("intermediate_size"), c("num_attention_heads")
    c.refuse("conv_groups", 1)
    if (hd := c("attention_head_size", d // H)) * H != d:
        raise ConfigError(f"{c.where}: {H} heads of attention_head_size {hd} are not hidden_size {d}")
    narrow = c("embedding_size", d)
    names = ["query_proj", "key_proj", "value_proj"]
    relative = c.flag("relative_attention")
    if relative and not c.flag("share_att_key"):
        kinds = c.given("pos_att_type") or []
        kinds = kinds.split("|") if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list):
            raise c.wrong("pos_att_type", kinds, "a list such as ['p2c', 'c2p'], or 'p2c|c2p'")
        names += ["pos_key_proj"] * ("c2p" in kinds) + ["pos_query_proj"] * ("p2c" in kinds)
    yield embedding("embeddings.word_embeddings", c("vocab_size"), narrow)
    if c.flag("position_biased_input"):
        yield embedding("embeddings.position_embeddings", c("max_position_embeddings"), narrow)
    if c("type_vocab_size", low=0):
        yield embedding("embeddings.token_type_embeddings", c("type_vocab_size"), narrow)
    if narrow != d:
        yield linear("embeddings.embed_proj", narrow, d, reads="embedding")
    yield norm("embeddings.LayerNorm", d)
    for at in layers("encoder.layer", c("num_hidden_layers")):
        yield from _encoder_layer(at, d, m, names)
    if relative:
        rows, buckets = c("max_relative_positions", low=-1), c("position_buckets", low=-1)
        rows = c("max_position_embeddings") if rows < 1 else rows
        yield embedding("encoder.rel_embeddings", 2 * (buckets if buckets > 0 else rows), d)
    if "layer_norm" in c.text("norm_rel_ebd").split("|"):
        yield norm("encoder.LayerNorm", d)
    if window := c("conv_kernel_size", low=0):
        yield WeightSpec("encoder.conv.conv", "conv", (d, d, window), d, reads="embedding")
        yield norm("encoder.conv.LayerNorm", d)


def modernbert(c):
    """Norms before each half, but none before the first; gate and up in one matrix."""
    d, m, bias, of_norms = c("hidden_size"), c("intermediate_size"), c.flag("attention_bias"), c.flag("norm_bias")
    of_mlp = c.flag("mlp_bias")
    if d % c("num_attention_heads"):
        raise ConfigError(f"{c.where}: hidden_size {d} is not a multiple of num_attention_heads")
    yield embedding("embeddings.tok_embeddings", c("vocab_size"), d)
    yield norm("embeddings.norm", d, of_norms)
    for at in layers("layers", c("num_hidden_layers")):
        if at != "layers.0":
            yield norm(f"{at}.attn_norm", d, of_norms)
        yield linear(f"{at}.attn.Wqkv", d, 3 * d, bias, reads="norm 1", feeds="attention")
        yield linear(f"{at}.attn.Wo", d, d, bias, reads="attention")
        yield norm(f"{at}.mlp_norm", d, of_norms)
        yield linear(f"{at}.mlp.Wi", d, 2 * m, of_mlp, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.Wo", m, d, of_mlp, reads="activation")
    yield norm("final_norm", d, of_norms)


def vit(c):
    """ViT: patches of an image in the place of tokens, one vector ahead of them, a learned one for each position."""
    d, m, bias = c("hidden_size"), c("intermediate_size"), c.flag("qkv_bias")
    (height, width), patch = sides(c, "image_size"), sides(c, "patch_size")
    positions = (height // patch[0]) * (width // patch[1]) + 1
    yield parameter("embeddings.cls_token", 1, 1, d)
    yield parameter("embeddings.position_embeddings", 1, positions, d)
    yield WeightSpec(
        "embeddings.patch_embeddings.projection", "conv", (d, c("num_channels"), *patch), d, reads="image"
    )  # fmt: skip
    for at in layers("layers", c("num_hidden_layers")):
        yield norm(f"{at}.layernorm_before", d)
        for name in ("q_proj", "k_proj", "v_proj"):
            yield linear(f"{at}.attention.{name}", d, d, bias, reads="norm 1", feeds="attention")
        yield linear(f"{at}.attention.o_proj", d, d, True, reads="attention")
        yield norm(f"{at}.layernorm_after", d)
        yield linear(f"{at}.mlp.fc1", d, m, True, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.fc2", m, d, True, reads="activation")
    yield norm("layernorm", d)
    yield linear("pooler.dense", d, c("pooler_output_size", d), True, reads="first token", times=0)


def sides(c, name: str) -> tuple:
    """(height, width): one number means a square."""
    value = c.given(name)
    value = c.assumed(name) if value is None else value
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or any(type(side) is not int or not 1 <= side <= LARGEST for side in sides):
        raise c.wrong(name, value, "a whole number, or a list of two")
    return tuple(sides)
