"""The encoders, bare (no task head), and T5 with both its stacks, each as the list of its weights. See decoders.py."""

from ...errors import ConfigError
from .parts import WeightSpec, embedding, head, layers, linear, norm


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


def t5(c):
    """T5, v1.1 and Flan: no biases; an encoder and a decoder of the same width, one embedding for both.

    The published v1.1 and Flan checkpoints have a head of their own (tie_word_embeddings false in their config.json);
    transformers 5 ties it when it builds the model from the config alone, and unties it when it loads the checkpoint.
    """
    d, hd, m = c("hidden_size"), c("head_dim"), c("intermediate_size")
    inner = c("num_attention_heads") * hd
    activation = c.text("feed_forward_proj")
    if activation not in ("relu", "gelu", "silu", "gated-gelu", "gated-silu"):
        raise ConfigError(f"{c.where}: feed_forward_proj {activation!r} is not known; gated-gelu or relu")
    yield embedding("shared", c("vocab_size"), d)
    depth = c("num_hidden_layers")
    for stack, count in (("encoder", depth), ("decoder", c("num_decoder_layers", depth))):
        for at in layers(f"{stack}.block", count):
            yield from _t5_attention(f"{at}.layer.0.SelfAttention", d, inner, stack == "decoder", "norm 1", "norm 1")
            if at.endswith(".0"):
                rows = c("relative_attention_num_buckets")
                path = f"{at}.layer.0.SelfAttention.relative_attention_bias"
                yield embedding(path, rows, c("num_attention_heads"))
            yield norm(f"{at}.layer.0.layer_norm", d, bias=False)
            if stack == "decoder":
                yield from _t5_attention(f"{at}.layer.1.EncDecAttention", d, inner, True, "norm 2", "encoder")
                yield norm(f"{at}.layer.1.layer_norm", d, bias=False)
            last = f"{at}.layer.{1 if stack == 'encoder' else 2}"
            for name in ("wi_0", "wi_1") if activation.startswith("gated") else ("wi",):
                yield linear(f"{last}.DenseReluDense.{name}", d, m, reads="norm 3", feeds="activation")
            yield linear(f"{last}.DenseReluDense.wo", m, d, reads="activation")
            yield norm(f"{last}.layer_norm", d, bias=False)
        yield norm(f"{stack}.final_layer_norm", d, bias=False)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))


def _t5_attention(at, d, inner, cached, query_reads, others_read):
    kept = inner if cached else 0
    yield linear(f"{at}.q", d, inner, reads=query_reads, feeds="attention")
    yield linear(f"{at}.k", d, inner, reads=others_read, feeds="attention", cached=kept)
    yield linear(f"{at}.v", d, inner, reads=others_read, feeds="attention", cached=kept)
    yield linear(f"{at}.o", inner, d, reads=f"attention over {others_read}")
