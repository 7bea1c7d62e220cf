"""The decoders that are not built like Llama, each as the list of its weights. See llamas.py for the letters."""

from .parts import embedding, head, layers, linear, norm


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


def falcon(c):
    """One norm, two, or one before each half; one head for keys and values, some, or as many as for queries."""
    d, H, bias = c("hidden_size"), c("num_attention_heads"), c.flag("bias")
    m, hd, new = c("ffn_hidden_size", 4 * d), c.head_dim(), c.flag("new_decoder_architecture")
    K = c("num_kv_heads", H) if new else 1 if c.flag("multi_query") else H
    if not c.flag("parallel_attn"):
        norms = ("post_attention_layernorm", "input_layernorm")
    elif c("num_ln_in_parallel_attn", 2 if new else 1) == 2:
        norms = ("ln_attn", "ln_mlp")
    else:
        norms = ("input_layernorm",)
    mlp_reads = "norm 1" if len(norms) == 1 else "norm 2"
    yield embedding("transformer.word_embeddings", c("vocab_size"), d)
    for at in layers("transformer.h", c("num_hidden_layers")):
        fused, cached = (H + 2 * K) * hd, 2 * K * hd
        yield linear(
            f"{at}.self_attention.query_key_value", d, fused, bias, reads="norm 1", feeds="attention", cached=cached
        )  # fmt: skip
        yield linear(f"{at}.self_attention.dense", d, d, bias, reads="attention")
        yield linear(f"{at}.mlp.dense_h_to_4h", d, m, bias, reads=mlp_reads, feeds="activation")
        yield linear(f"{at}.mlp.dense_4h_to_h", m, d, bias, reads="activation")
        for name in norms:
            yield norm(f"{at}.{name}", d)
    yield norm("transformer.ln_f", d)
    yield head(d, c("vocab_size"), tied=c.flag("tie_word_embeddings"))
