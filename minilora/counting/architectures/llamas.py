"""Llama and the families built like it, each as the list of its weights. Names as in transformers 5.

`c` is the configuration: c("hidden_size") is a number of its config.json, or what the family assumes where that is
silent (files/families.DEFAULTS). d: width, m: width inside the MLP, H heads of width hd, K of them for keys and
values.
"""

from .parts import embedding, head, layers, linear, norm


def decoder(c, layer, bias=False, inside="model", tied=None):
    """Embedding, layers, last norm and head. layer: c, "model.layers.0" -> the weights of that layer; bias: of the
    last norm; inside: the path of all but the head; tied: whether the head is, by default as the file says."""
    d, vocabulary = c("hidden_size"), c("vocab_size")
    yield embedding(f"{inside}.embed_tokens", vocabulary, d)
    for at in layers(f"{inside}.layers", c("num_hidden_layers")):
        yield from layer(c, at)
    yield norm(f"{inside}.norm", d, bias=bias)
    yield head(d, vocabulary, tied=c.flag("tie_word_embeddings") if tied is None else tied)


def attention(c, at, reads="norm 1", qkv_bias=False, bias=None, head_norms=False):
    """q, k, v and o. bias: of all four, by default as the file says; head_norms: an RMSNorm on each head of q and k."""
    d, H, K, hd = c("hidden_size"), c("num_attention_heads"), c.kv_heads(), c.head_dim()
    bias = c.known_flag("attention_bias") if bias is None else bias
    of_qkv = {"bias": bias or qkv_bias, "reads": reads, "feeds": "attention"}
    yield linear(f"{at}.self_attn.q_proj", d, H * hd, **of_qkv)
    yield linear(f"{at}.self_attn.k_proj", d, K * hd, cached=K * hd, **of_qkv)
    yield linear(f"{at}.self_attn.v_proj", d, K * hd, cached=K * hd, **of_qkv)
    yield linear(f"{at}.self_attn.o_proj", H * hd, d, bias, reads="attention")
    if head_norms:
        yield norm(f"{at}.self_attn.q_norm", hd, bias=False, times=H)
        yield norm(f"{at}.self_attn.k_norm", hd, bias=False, times=K)


def mlp(c, at, reads="norm 2"):
    """gate, up and down."""
    d, m, bias = c("hidden_size"), c("intermediate_size"), c.known_flag("mlp_bias")
    yield linear(f"{at}.mlp.gate_proj", d, m, bias, reads=reads, feeds="activation")
    yield linear(f"{at}.mlp.up_proj", d, m, bias, reads=reads, feeds="activation")
    yield linear(f"{at}.mlp.down_proj", m, d, bias, reads="activation")


def norms(c, at, *names, bias=False):
    for name in names:
        yield norm(f"{at}.{name}_layernorm", c("hidden_size"), bias=bias)


def llama(c):
    """Llama, Mistral, Gemma, SmolLM3 and Granite: they differ in what config.json may say, and in what it means."""
    return decoder(c, llama_layer)


def llama_layer(c, at, **more):
    yield from norms(c, at, "input")
    yield from attention(c, at, **more)
    yield from norms(c, at, "post_attention")
    yield from mlp(c, at)


def qwen2(c):
    """Biases on q, k and v, none on o."""
    return decoder(c, lambda c, at: llama_layer(c, at, qkv_bias=True))


def qwen3(c):
    return decoder(c, lambda c, at: llama_layer(c, at, head_norms=True))


def gemma2(c):
    return decoder(c, gemma_layer)


def gemma3_text(c, **more):
    return decoder(c, lambda c, at: gemma_layer(c, at, head_norms=True), **more)


def gemma_layer(c, at, **more):
    """Norms before and after each half."""
    yield from norms(c, at, "input")
    yield from attention(c, at, **more)
    yield from norms(c, at, "post_attention", "pre_feedforward")
    yield from mlp(c, at)
    yield from norms(c, at, "post_feedforward")


def olmo2(c):
    return decoder(c, olmo2_layer)


def olmo2_layer(c, at):
    """Norms after each half alone, and of the whole of q and k."""
    hd = c.head_dim()
    yield from attention(c, at, reads="input")
    yield norm(f"{at}.self_attn.q_norm", c("num_attention_heads") * hd, bias=False)
    yield norm(f"{at}.self_attn.k_norm", c.kv_heads() * hd, bias=False)
    yield from norms(c, at, "post_attention")
    yield from mlp(c, at, reads="middle")
    yield from norms(c, at, "post_feedforward")


def phi3(c):
    return decoder(c, phi3_layer)


def phi3_layer(c, at):
    """q, k, v in one matrix, and gate, up in another."""
    d, m, H, K, hd = c("hidden_size"), c("intermediate_size"), c("num_attention_heads"), c.kv_heads(), c.head_dim()
    fused = (H + 2 * K) * hd
    yield from norms(c, at, "input")
    yield linear(f"{at}.self_attn.qkv_proj", d, fused, reads="norm 1", feeds="attention", cached=2 * K * hd)
    yield linear(f"{at}.self_attn.o_proj", H * hd, d, reads="attention")
    yield from norms(c, at, "post_attention")
    yield linear(f"{at}.mlp.gate_up_proj", d, 2 * m, reads="norm 2", feeds="activation")
    yield linear(f"{at}.mlp.down_proj", m, d, reads="activation")


def starcoder2(c):
    return decoder(c, starcoder2_layer, bias=True)


def starcoder2_layer(c, at):
    """LayerNorms, an MLP of two matrices, biases everywhere."""
    d, m, bias = c("hidden_size"), c("intermediate_size"), c.flag("use_bias")
    yield from norms(c, at, "input", bias=True)
    yield from attention(c, at, bias=bias)
    yield from norms(c, at, "post_attention", bias=True)
    yield linear(f"{at}.mlp.c_fc", d, m, bias, reads="norm 2", feeds="activation")
    yield linear(f"{at}.mlp.c_proj", m, d, bias, reads="activation")
