"""Models that read images and write text, each as the list of its weights. See llamas.py for the letters."""

from .encoders import sides
from .llamas import gemma3_text
from .parts import WeightSpec, embedding, layers, linear, norm, parameter


def gemma3(c):
    """Gemma 3 of 4B and more: SigLIP for images, a projection to the width of the text, and the text model."""
    seen, text = c.inner("vision_config", "siglip_vision_model"), c.inner("text_config", "gemma3_text")
    yield from siglip(seen, "model.vision_tower")
    yield parameter(
        "model.multi_modal_projector.mm_input_projection_weight", seen("hidden_size"), text("hidden_size")
    )  # fmt: skip
    yield norm("model.multi_modal_projector.mm_soft_emb_norm", seen("hidden_size"), bias=False)
    yield from gemma3_text(text, inside="model.language_model", tied=c.flag("tie_word_embeddings"))


def siglip(c, at):
    """An encoder of patches. Its head, which Gemma 3 leaves out, makes one vector of an image."""
    d, m, (height, width), patch = c("hidden_size"), c("intermediate_size"), sides(c, "image_size"), c("patch_size")
    yield WeightSpec(
        f"{at}.embeddings.patch_embedding", "conv", (d, c("num_channels"), patch, patch), d, reads="image"
    )  # fmt: skip
    yield embedding(f"{at}.embeddings.position_embedding", (height // patch) * (width // patch), d)
    for layer in layers(f"{at}.encoder.layers", c("num_hidden_layers")):
        yield norm(f"{layer}.layer_norm1", d)
        for name in ("k_proj", "v_proj", "q_proj"):
            yield linear(f"{layer}.self_attn.{name}", d, d, True, reads="norm 1", feeds="attention")
        yield linear(f"{layer}.self_attn.out_proj", d, d, True, reads="attention")
        yield norm(f"{layer}.layer_norm2", d)
        yield linear(f"{layer}.mlp.fc1", d, m, True, reads="norm 2", feeds="activation")
        yield linear(f"{layer}.mlp.fc2", m, d, True, reads="activation")
    yield norm(f"{at}.post_layernorm", d)
    if c.flag("vision_use_head"):
        yield parameter(f"{at}.head.probe", 1, 1, d)
        yield parameter(f"{at}.head.attention.in_proj_weight", 3 * d, d)
        yield parameter(f"{at}.head.attention.in_proj_bias", 3 * d)
        yield linear(f"{at}.head.attention.out_proj", d, d, True, reads="one vector", times=0)
        yield norm(f"{at}.head.layernorm", d, times=0)
        yield linear(f"{at}.head.mlp.fc1", d, m, True, reads="one vector", times=0)
        yield linear(f"{at}.head.mlp.fc2", m, d, True, reads="one vector", times=0)
