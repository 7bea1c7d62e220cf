"""The decoders that continue text, each as the list of its weights. Names as in transformers 5.

`c` is the configuration: c("hidden_size") is a number of its config.json, or what the family assumes where that is
silent (files/config_json.DEFAULTS). d: width, m: width inside the MLP, H heads of width hd, K of them for keys and
values.
"""

from .parts import embedding, head, layers, linear, norm


def llama(c, qkv_bias=False, qk_norm=False):
    """Llama and its family: RMSNorm, grouped-query attention, gate/up/down."""
    d, m, H, K, hd = c("hidden_size"), c("intermediate_size"), c("num_attention_heads"), c.kv_heads(), c.head_dim()
    attention_bias, mlp_bias = c.known_flag("attention_bias"), c.known_flag("mlp_bias")
    qkv_bias = qkv_bias or attention_bias
    yield embedding("model.embed_tokens", c("vocab_size"), d)
    for at in layers("model.layers", c("num_hidden_layers")):
        yield norm(f"{at}.input_layernorm", d, bias=False)
        yield linear(f"{at}.self_attn.q_proj", d, H * hd, qkv_bias, reads="norm 1", feeds="attention")
        yield linear(f"{at}.self_attn.k_proj", d, K * hd, qkv_bias, reads="norm 1", feeds="attention", cached=K * hd)
        yield linear(f"{at}.self_attn.v_proj", d, K * hd, qkv_bias, reads="norm 1", feeds="attention", cached=K * hd)
        yield linear(f"{at}.self_attn.o_proj", H * hd, d, attention_bias, reads="attention")
        if qk_norm:
            yield norm(f"{at}.self_attn.q_norm", hd, bias=False, times=H)
            yield norm(f"{at}.self_attn.k_norm", hd, bias=False, times=K)
        yield norm(f"{at}.post_attention_layernorm", d, bias=False)
        yield linear(f"{at}.mlp.gate_proj", d, m, mlp_bias, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.up_proj", d, m, mlp_bias, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.down_proj", m, d, mlp_bias, reads="activation")
    yield norm("model.norm", d, bias=False)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))


def qwen2(c):
    return llama(c, qkv_bias=True)  # on q, k and v, none on o


def qwen3(c):
    return llama(c, qk_norm=True)


def phi(c):
    """Attention and MLP side by side behind one LayerNorm; biases everywhere, on the head too."""
    d, m, H, hd = c("hidden_size"), c("intermediate_size"), c("num_attention_heads"), c.head_dim()
    K = c.kv_heads()
    yield embedding("model.embed_tokens", c("vocab_size"), d)
    for at in layers("model.layers", c("num_hidden_layers")):
        yield linear(f"{at}.self_attn.q_proj", d, H * hd, True, reads="norm", feeds="attention")
        yield linear(f"{at}.self_attn.k_proj", d, K * hd, True, reads="norm", feeds="attention", cached=K * hd)
        yield linear(f"{at}.self_attn.v_proj", d, K * hd, True, reads="norm", feeds="attention", cached=K * hd)
        yield linear(f"{at}.self_attn.dense", H * hd, d, True, reads="attention")
        if c.flag("qk_layernorm"):
            yield norm(f"{at}.self_attn.q_layernorm", hd, times=H)
            yield norm(f"{at}.self_attn.k_layernorm", hd, times=K)
        yield linear(f"{at}.mlp.fc1", d, m, True, reads="norm", feeds="activation")
        yield linear(f"{at}.mlp.fc2", m, d, True, reads="activation")
        yield norm(f"{at}.input_layernorm", d)
    yield norm("model.final_layernorm", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"), bias=True)


def gpt2(c):
    """Fused q, k, v in one matrix; stored (in, out) in its files, which changes no count."""
    c.refuse("add_cross_attention", False)
    d = c("hidden_size")
    m = c("intermediate_size", 4 * d)
    yield embedding("transformer.wte", c("vocab_size"), d)
    yield embedding("transformer.wpe", c("max_position_embeddings"), d)
    for at in layers("transformer.h", c("num_hidden_layers")):
        yield norm(f"{at}.ln_1", d)
        yield linear(f"{at}.attn.c_attn", d, 3 * d, True, reads="norm 1", feeds="attention", cached=2 * d)
        yield linear(f"{at}.attn.c_proj", d, d, True, reads="attention")
        yield norm(f"{at}.ln_2", d)
        yield linear(f"{at}.mlp.c_fc", d, m, True, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.c_proj", m, d, True, reads="activation")
    yield norm("transformer.ln_f", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))


def gptj(c):
    d = c("hidden_size")
    m = c("intermediate_size", 4 * d)
    yield embedding("transformer.wte", c("vocab_size"), d)
    for at in layers("transformer.h", c("num_hidden_layers")):
        yield norm(f"{at}.ln_1", d)
        yield linear(f"{at}.attn.k_proj", d, d, reads="norm", feeds="attention", cached=d)
        yield linear(f"{at}.attn.v_proj", d, d, reads="norm", feeds="attention", cached=d)
        yield linear(f"{at}.attn.q_proj", d, d, reads="norm", feeds="attention")
        yield linear(f"{at}.attn.out_proj", d, d, reads="attention")
        yield linear(f"{at}.mlp.fc_in", d, m, True, reads="norm", feeds="activation")
        yield linear(f"{at}.mlp.fc_out", m, d, True, reads="activation")
    yield norm("transformer.ln_f", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"), bias=True)


def gpt_neox(c):
    """GPT-NeoX and Pythia. The head is called embed_out in transformers 4 and in the published files."""
    d, m, bias = c("hidden_size"), c("intermediate_size"), c.flag("attention_bias")
    own_input = 0 if c.flag("use_parallel_residual") else 1  # side by side, both norms read the same x
    yield embedding("gpt_neox.embed_in", c("vocab_size"), d)
    for at in layers("gpt_neox.layers", c("num_hidden_layers")):
        yield norm(f"{at}.input_layernorm", d)
        yield norm(f"{at}.post_attention_layernorm", d, times=own_input)
        yield linear(f"{at}.attention.query_key_value", d, 3 * d, bias, reads="norm 1", feeds="attention", cached=2 * d)
        yield linear(f"{at}.attention.dense", d, d, bias, reads="attention")
        yield linear(f"{at}.mlp.dense_h_to_4h", d, m, True, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.dense_4h_to_h", m, d, True, reads="activation")
    yield norm("gpt_neox.final_layer_norm", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))


def bloom(c):
    d = c("hidden_size")
    yield embedding("transformer.word_embeddings", c("vocab_size"), d)
    yield norm("transformer.word_embeddings_layernorm", d)
    for at in layers("transformer.h", c("num_hidden_layers")):
        fused = f"{at}.self_attention.query_key_value"
        yield norm(f"{at}.input_layernorm", d)
        yield linear(fused, d, 3 * d, True, reads="norm 1", feeds="attention", cached=2 * d)
        yield linear(f"{at}.self_attention.dense", d, d, True, reads="attention")
        yield norm(f"{at}.post_attention_layernorm", d)
        yield linear(f"{at}.mlp.dense_h_to_4h", d, 4 * d, True, reads="norm 2", feeds="activation")
        yield linear(f"{at}.mlp.dense_4h_to_h", 4 * d, d, True, reads="activation")
    yield norm("transformer.ln_f", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))


def opt(c):
    """Positions have two rows more than the context. The 350M one embeds in 512 and projects to and from its width."""
    d, m, narrow = c("hidden_size"), c("intermediate_size"), c("word_embed_proj_dim", c("hidden_size"))
    bias, affine = c.flag("enable_bias"), c.flag("layer_norm_elementwise_affine")
    yield embedding("model.decoder.embed_tokens", c("vocab_size"), narrow)
    yield embedding("model.decoder.embed_positions", c("max_position_embeddings") + 2, d)
    if narrow != d:
        yield linear("model.decoder.project_out", d, narrow, reads="out of the layers")
        yield linear("model.decoder.project_in", narrow, d, reads="embedding")
    if affine and c.flag("do_layer_norm_before") and not c.flag("_remove_final_layer_norm"):
        yield norm("model.decoder.final_layer_norm", d)
    for at in layers("model.decoder.layers", c("num_hidden_layers")):
        yield linear(f"{at}.self_attn.k_proj", d, d, bias, reads="norm 1", feeds="attention", cached=d)
        yield linear(f"{at}.self_attn.v_proj", d, d, bias, reads="norm 1", feeds="attention", cached=d)
        yield linear(f"{at}.self_attn.q_proj", d, d, bias, reads="norm 1", feeds="attention")
        yield linear(f"{at}.self_attn.out_proj", d, d, bias, reads="attention")
        if affine:
            yield norm(f"{at}.self_attn_layer_norm", d)
        yield linear(f"{at}.fc1", d, m, bias, reads="norm 2", feeds="activation")
        yield linear(f"{at}.fc2", m, d, bias, reads="activation")
        if affine:
            yield norm(f"{at}.final_layer_norm", d)
    yield head(narrow, c("vocab_size"), tied=c.flag("tie_word_embeddings"))
