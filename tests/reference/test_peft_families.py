"""Adapters on Gemma and Phi-3 beside PEFT: scaled embeddings, fused matrices, capped heads."""

import numpy as np
import pytest

import minilora as ml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.reference

SIZES = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
GEMMA = {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 8}
KINDS = {
    "gemma2": (GEMMA | {"final_logit_softcapping": 2.0}, "q_proj,down_proj,embed_tokens,lm_head"),
    "gemma3_text": (GEMMA, "embed_tokens,o_proj,gate_proj"),
    "phi3": ({}, "qkv_proj,gate_up_proj,down_proj,embed_tokens"),
}
IDS = np.random.default_rng(0).integers(3, 61, (2, 9))


@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_peft_gives_its_logits_here_and_after_merging(kind, use_dora, tmp_path):
    options, targets = KINDS[kind]
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, **SIZES | options, attn_implementation="eager")
    base = transformers.AutoModelForCausalLM.from_config(config).eval()
    base.save_pretrained(tmp_path / "base")
    settings = {"r": 3, "lora_alpha": 7, "target_modules": targets.split(","), "use_dora": use_dora}
    wrapped = peft.get_peft_model(base, peft.LoraConfig(**settings)).eval()
    with torch.no_grad():
        for name, p in wrapped.named_parameters():
            if "magnitude" in name:
                p.mul_(torch.rand_like(p) + 0.5)
            elif "lora_" in name:
                p.normal_(0, 0.2)
        theirs = wrapped(torch.tensor(IDS)).logits.numpy()
    wrapped.save_pretrained(tmp_path / "adapter")
    plain = ml.load_pretrained(tmp_path / "base")
    model = ml.PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    np.testing.assert_allclose(model(IDS).numpy(), theirs, atol=2e-5)
    np.testing.assert_allclose(model.merge_and_unload()(IDS).numpy(), theirs, atol=5e-5)
