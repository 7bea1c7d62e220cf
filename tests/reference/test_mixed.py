"""A batch with an adapter for each row, beside PEFT's `adapter_names`."""

import numpy as np
import pytest

pytest.importorskip("peft")

from peft_reference import IDS, build, close, ours, peft, quietly, randomize, theirs, torch

from minilora import PeftModel
from minilora.autograd import no_grad

pytestmark = pytest.mark.reference
TARGETS = {"llama": ["q_proj", "o_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_rows_of_a_mixed_batch_equal_those_of_peft(kind, tmp_path):
    build(kind, tmp_path / "base")
    layers = {"target_modules": TARGETS[kind], "fan_in_fan_out": kind == "gpt2"}
    configs = {
        "a": peft.LoraConfig(r=3, lora_alpha=5, **layers),
        "b": peft.LoraConfig(r=6, lora_alpha=4, use_rslora=True, **layers),
        "c": peft.LoraConfig(r=3, lora_alpha=7, **layers | {"target_modules": TARGETS[kind][:1]}),
    }
    model, _ = quietly(peft.get_peft_model, theirs(tmp_path / "base"), configs["a"], "a")
    for name in ("b", "c"):
        quietly(model.add_adapter, name, configs[name])
    randomize(model)
    quietly(model.save_pretrained, str(tmp_path / "adapters"))
    here = PeftModel(ours(tmp_path / "base"))
    for name in configs:
        here.load_adapter(tmp_path / "adapters" / name, name)
    names = ["b", "__base__", "a", "c", "a"]
    ids = np.concatenate([IDS] * 3)[: len(names)]
    with torch.no_grad():
        expected = model.eval()(torch.tensor(ids), adapter_names=names).logits.numpy()
    with no_grad():
        found = here.eval()(ids, adapter_names=names).numpy()
    assert close(found, expected)
    assert all(
        np.abs(found[i] - found[j]).max() > 1e-3 for i in range(len(names)) for j in range(i) if names[i] != names[j]
    )
