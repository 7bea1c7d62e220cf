"""The commands on models made by transformers and adapters made by PEFT, beside what these two compute."""

import logging

import numpy as np
import pytest
from commands import tokenizer_text

from minilora.text.tokenizer import load_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.reference

SIZES = {"vocab_size": 290, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
KINDS = {  # model type, its options, targets of a first and of a second adapter
    "llama": ("llama", SIZES | {"head_dim": 10}, ["q_proj", "down_proj"], ["q_proj", "v_proj"]),
    "qwen2": ("qwen2", SIZES | {"tie_word_embeddings": True}, ["k_proj", "gate_proj"], ["o_proj"]),
    "gpt2": (
        "gpt2", {"vocab_size": 290, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64},
        ["c_attn", "c_fc"], ["attn.c_proj"],
    ),
}  # fmt: skip
PROMPTS = ["Hattie Sedge lives on", "The Blue Bell"]
IDS = np.random.default_rng(5).integers(2, 290, (2, 19))


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory):
    """(folder of the base, folders of two adapters, PeftModel with both), written by transformers and PEFT."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    family, sizes, *targets = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    config = transformers.AutoConfig.for_model(
        family, **sizes, bos_token_id=0, eos_token_id=0, pad_token_id=1, initializer_range=0.3
    )
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder / "base")
    (folder / "base" / "tokenizer.json").write_text(tokenizer_text(), encoding="utf-8")
    for i, (r, alpha) in enumerate([(3, 5), (2, 7)]):
        settings = peft.LoraConfig(
            r=r, lora_alpha=alpha, target_modules=targets[i], task_type="CAUSAL_LM",
            init_lora_weights=False, fan_in_fan_out=family == "gpt2",
        )  # fmt: skip
        if i == 0:
            model = peft.get_peft_model(model, settings, adapter_name="first")
        else:
            model.add_adapter("second", settings)
    model.save_pretrained(folder)  # each into a subfolder of its name
    return folder / "base", [folder / "first", folder / "second"], model.eval()


def use(model, *names):
    model.base_model.set_adapter(list(names))
    return model


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(torch.tensor(ids)).logits.numpy()


def joined(folders):
    return ",".join(map(str, folders))


@pytest.mark.parametrize("active", [("first",), ("first", "second")])
def test_generated_text_is_that_of_transformers_and_peft(minilora, case, active):
    base, adapters, theirs = case
    use(theirs, *active)
    tokenizer = load_tokenizer(base)
    given = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    out = minilora(
        "generate", "--base", base, "--adapter", joined(adapters[: len(active)]), *given, "--max-new-tokens", 20
    ).out
    wanted = ""
    for i, prompt in enumerate(PROMPTS):
        ids = torch.tensor([tokenizer.encode(prompt)])
        with torch.no_grad():
            row = theirs.generate(input_ids=ids, max_new_tokens=20, do_sample=False)[0]
        wanted += ("\n" if i else "") + f"==> {prompt} <==\n{tokenizer.decode(row[ids.shape[1] :])}\n"
    assert out == wanted


@pytest.mark.parametrize("active", [("first",), ("first", "second")])
def test_transformers_opens_a_merged_folder_to_the_logits_of_peft(minilora, case, active, tmp_path):
    base, adapters, theirs = case
    wanted = logits(use(theirs, *active))
    minilora("merge", "--base", base, "--adapter", joined(adapters[: len(active)]), "--out", tmp_path / "out")
    merged, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    assert np.abs(logits(merged) - wanted).max() < 1e-4
    with theirs.disable_adapter():
        assert np.abs(logits(theirs) - wanted).max() > 0.1, "the adapters must matter"


def test_norms_and_count_are_those_of_peft(minilora, case):
    base, (folder, _), theirs = case
    out = minilora("inspect", folder, "--base", base).out
    shown = {words[0]: words for words in map(str.split, out.splitlines()) if len(words) > 6}
    total = 0
    for name, module in theirs.base_model.model.named_modules():
        if "first" in getattr(module, "lora_A", ()):
            norm, weight = module.get_delta_weight("first").norm().item(), module.base_layer.weight.norm().item()
            found = [float(word.rstrip("%")) for word in shown[name][-3:]]
            assert found == pytest.approx([norm, weight, 100 * norm / weight], rel=1e-3)
            total += module.lora_A["first"].weight.numel() + module.lora_B["first"].weight.numel()
    assert f"{total:,} in " in out
    assert f" {total:,} " in minilora("adapters", folder).out


def test_the_count_of_a_base_is_that_of_transformers(minilora, case):
    base, _, _ = case
    count = transformers.AutoModelForCausalLM.from_pretrained(base).num_parameters()
    assert f" {count:,}" in next(line for line in minilora("inspect", base).out.splitlines() if "parameters" in line)
