"""QLoRA: gradients of PEFT on bitsandbytes' own layers, on a CPU, against those here.

Rows are whole blocks of 64, because the AVX-512 kernel of bitsandbytes 0.50.2 reads wrong scales otherwise (see
test_quantization.py).
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
bnb = pytest.importorskip("bitsandbytes")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")  # transformers asks for it

import minilora as ml  # noqa: E402

pytestmark = [pytest.mark.reference, pytest.mark.slow]
BASES = {
    "nf4": {"bnb_4bit_quant_type": "nf4"},
    "nf4, double": {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": {"bnb_4bit_quant_type": "fp4"},
}
METHODS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
}
IDS = np.random.default_rng(3).integers(0, 60, (2, 12))


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    """A folder with a 4-bit checkpoint that transformers and bitsandbytes wrote."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base")
    model = transformers.LlamaForCausalLM(config)
    for p in model.parameters():
        p.data = torch.randn(p.shape) * (0.2 if p.ndim > 1 else 0.1) + (p.ndim == 1)
    model.save_pretrained(folder / "plain")
    quantization = transformers.BitsAndBytesConfig(load_in_4bit=True, **BASES[request.param])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "plain", dtype=torch.float32, quantization_config=quantization
    )
    model.save_pretrained(folder / "4bit")
    return folder / "4bit"


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_peft_on_linear4bit(base, tmp_path, method):
    config = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj", "down_proj"]} | METHODS[method]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = peft.get_peft_model(theirs, peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **config))
    assert isinstance(
        theirs.get_submodule("base_model.model.model.layers.0.self_attn.q_proj"), peft.tuners.lora.Linear4bit
    )
    theirs.save_pretrained(tmp_path)
    ours = ml.PeftModel.from_pretrained(ml.load_pretrained(base), tmp_path, is_trainable=True)
    loss = theirs.train()(input_ids=torch.from_numpy(IDS), labels=torch.from_numpy(IDS)).loss
    loss.backward()
    own = ours.train().loss(IDS, IDS)
    own.backward()
    assert own.item() == pytest.approx(loss.item(), abs=1e-5)
    expected, found = (
        {n.removesuffix(".weight"): np.asarray(p.grad) for n, p in model.named_parameters() if p.requires_grad}
        for model in (theirs, ours)
    )
    assert found.keys() == expected.keys() and found
    for name, g in expected.items():
        np.testing.assert_allclose(found[name], g, atol=1e-5 * abs(g).max(), err_msg=name)
