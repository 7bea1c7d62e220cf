"""The facts about families of models, beside the configuration classes of transformers."""

import pytest

from minilora.counting.architectures.catalog import FAMILIES
from minilora.files.families import DEFAULTS

constants = pytest.importorskip("peft.utils.constants")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

# read there by getattr, with a default
IN_THE_MODEL = {"norm_rel_ebd", "position_buckets", "conv_kernel_size", "vision_use_head"}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_a_family_assumes_is_what_transformers_assumes(kind):
    made = transformers.AutoConfig.for_model(kind)
    for key, value in DEFAULTS[kind].items():
        if key not in IN_THE_MODEL:
            assert getattr(type(made), key, None) == value or getattr(made, key) == value, key


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_default_targets_are_those_of_peft_or_every_linear_layer(kind):
    table = constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    assert FAMILIES[kind].targets == ",".join(table.get(kind, ["all-linear"]))
