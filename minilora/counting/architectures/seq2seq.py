"""Models of an encoder and a decoder, each as the list of its weights. See llamas.py for the letters."""

from ...errors import ConfigError
from .parts import WeightSpec, embedding, head, layers, linear, norm


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


def whisper(c):
    """Speech to text: two convolutions over the sound, then layers as in the decoder; keys have no bias."""
    d = c("d_model")
    yield WeightSpec("model.encoder.conv1", "conv", (d, c("num_mel_bins"), 3), d, reads="sound")
    yield WeightSpec("model.encoder.conv2", "conv", (d, d, 3), d, reads="conv1", feeds="activation")
    yield embedding("model.encoder.embed_positions", c("max_source_positions"), d)
    yield embedding("model.decoder.embed_tokens", c("vocab_size"), d)
    yield embedding("model.decoder.embed_positions", c("max_target_positions"), d)
    for stack in ("encoder", "decoder"):
        m = c(f"{stack}_ffn_dim")
        for at in layers(f"model.{stack}.layers", c(f"{stack}_layers")):
            yield from _whisper_attention(f"{at}.self_attn", d, "norm 1", "norm 1", d if stack == "decoder" else 0)
            if stack == "decoder":
                yield from _whisper_attention(f"{at}.encoder_attn", d, "norm 2", "encoder", d)
            yield linear(f"{at}.fc1", d, m, True, reads="norm 3", feeds="activation")
            yield linear(f"{at}.fc2", m, d, True, reads="activation")
            yield norm(f"{at}.final_layer_norm", d)
        yield norm(f"model.{stack}.layer_norm", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"), path="proj_out")


def _whisper_attention(at, d, query_reads, others_read, cached):
    yield norm(f"{at}_layer_norm", d)
    yield linear(f"{at}.k_proj", d, d, reads=others_read, feeds="attention", cached=cached)
    yield linear(f"{at}.v_proj", d, d, True, reads=others_read, feeds="attention", cached=cached)
    yield linear(f"{at}.q_proj", d, d, True, reads=query_reads, feeds="attention")
    yield linear(f"{at}.out_proj", d, d, True, reads=f"attention over {others_read}")
