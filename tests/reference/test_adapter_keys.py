"""Every field that PEFT's LoraConfig has, set in a file: the model here follows as PEFT's, or the field is refused."""

import dataclasses
import json

import pytest

pytest.importorskip("peft")

from peft_reference import build, close, logits, ours, peft, quietly, randomize, theirs

from minilora import LoraConfig, PeftModel
from minilora.adapters.registry import ADAPTERS
from minilora.errors import MiniloraError

pytestmark = pytest.mark.reference

VALUES = {  # field -> values to try beside PEFT's default
    "peft_type": ["LOHA", "lora"],
    "task_type": ["CAUSAL_LM", "FEATURE_EXTRACTION"],
    "auto_mapping": [{"base_model_class": "X", "parent_library": "y"}],
    "peft_version": ["0.1", "99.0"],
    "base_model_name_or_path": ["another/base"],
    "revision": ["main"],
    "inference_mode": [False],
    "r": [3],
    "lora_alpha": [3],
    "lora_dropout": [0.5],
    "target_modules": [["q_proj"], "all-linear"],
    "exclude_modules": [["v_proj"], "nothing"],
    "fan_in_fan_out": [True],
    "bias": ["all", "lora_only"],
    "use_rslora": [True],
    "modules_to_save": [["lm_head"]],
    "init_lora_weights": [
        False, "gaussian", "eva", "olora", "pissa", "pissa_niter_4", "corda", "loftq", "orthogonal", "mica", "lora_ga"
    ],
    "layers_to_transform": [1, [0, 2]],
    "layers_pattern": ["layers"],
    "rank_pattern": [{"q_proj": 2}],
    "alpha_pattern": [{"q_proj": 3}],
    "megatron_config": [{"a": 1}],
    "megatron_core": ["another.core"],
    "trainable_token_indices": [[3, 5], {"lm_head": [3]}],
    "loftq_config": [{"loftq_bits": 4}],
    "eva_config": [{"rho": 1.5}],
    "corda_config": [{"corda_method": "kpm"}],
    "lora_ga_config": [{"direction": "ArBr"}],
    "use_dora": [True],
    "velora_config": [{"num_groups": 2}],
    "alora_invocation_tokens": [[3, 5]],
    "use_qalora": [True],
    "qalora_group_size": [8],
    "monteclora_config": [{"num_samples": 2}],
    "layer_replication": [[[0, 2], [1, 3]]],
    "runtime_config": [{"ephemeral_gpu_offload": True}],
    "lora_bias": [True],
    "target_parameters": [["mlp.up_proj.weight"]],
    "use_bdlora": [{"nblocks": 2}],
    "arrow_config": [{"top_k": 2}],
    "kasa_config": [{"beta": 0.1}],
    "ensure_weight_tying": [True],
}  # fmt: skip
OWN = {field.name for field in dataclasses.fields(LoraConfig)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, and an adapter that PEFT made for it."""
    folder = tmp_path_factory.mktemp("keys")
    build("llama", folder / "base")
    config = peft.LoraConfig(r=4, lora_alpha=10, target_modules=["q_proj", "v_proj"])
    model = randomize(quietly(peft.get_peft_model, theirs(folder / "base"), config)[0])
    quietly(model.save_pretrained, str(folder / "adapter"))
    return folder


def there(folders):
    """PEFT's logits, or None when it cannot load the adapter."""
    try:
        model, said = quietly(peft.PeftModel.from_pretrained, theirs(folders / "base"), str(folders / "adapter"))
        return None if any("missing adapter keys" in note for note in said) else logits(model.eval())
    except Exception:
        return None


def here(folders):
    """Our logits, or the line that refuses the adapter."""
    try:
        return logits(quietly(PeftModel.from_pretrained, ours(folders / "base"), folders / "adapter")[0].eval())
    except MiniloraError as error:
        return str(error)


def test_the_list_has_every_field_of_peft():
    assert {field.name for field in dataclasses.fields(peft.LoraConfig)} == VALUES.keys()


@pytest.mark.parametrize("field", VALUES)
def test_a_field_of_lora_config_is_honoured_or_refused_by_its_name(field, folders):
    path = folders / "adapter" / "adapter_config.json"
    plain = path.read_text(encoding="utf-8")
    usual = here(folders)
    assert close(usual, there(folders))
    try:
        for value in VALUES[field]:
            path.write_text(json.dumps(json.loads(plain) | {field: value}), encoding="utf-8")
            found = here(folders)
            if isinstance(found, str):  # what is honoured may not fit the tensors, which are then named
                assert field in found or field in OWN, (value, found)
                continue
            expected = there(folders)
            assert close(found, usual if expected is None else expected), value
    finally:
        path.write_text(plain, encoding="utf-8")


@pytest.mark.parametrize("peft_type", [kind.value for kind in peft.PeftType if kind.value not in ADAPTERS])
def test_a_method_that_is_not_here_is_refused_by_its_name(peft_type, folders):
    path = folders / "adapter" / "adapter_config.json"
    plain = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(json.loads(plain) | {"peft_type": peft_type}), encoding="utf-8")
        assert f"peft_type '{peft_type}' is not supported" in here(folders)
    finally:
        path.write_text(plain, encoding="utf-8")
