"""A method is one file and one line of a table: IA3 on the input of a feedforward module, written here, is enough for
adding, training, saving, loading, merging and counting."""

from dataclasses import dataclass

import numpy as np
import pytest
from tiny import random_ids, tiny_llama

from minilora import get_peft_model
from minilora.adapters import registry
from minilora.adapters.model import PeftModel
from minilora.autograd import Tensor
from minilora.errors import ConfigError
from minilora.gradcheck import gradcheck
from minilora.methods import fields
from minilora.methods.base import Adapter, Method, PeftConfig, Place
from minilora.models.context import Context
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minilora.nn import Linear

IDS = random_ids()


# ---- the whole of a method


@dataclass
class IA3Config(PeftConfig):
    target_modules: list | str | None = None
    exclude_modules: list | str | None = None
    layers_to_transform: int | list | None = None
    layers_pattern: list | str | None = None
    modules_to_save: list | None = None
    fan_in_fan_out: bool = False
    feedforward_modules: list | None = None
    base_model_name_or_path: str | None = None

    peft_type = "IA3"
    rules = {name: fields.SHARED_RULES[name] for name in ("target_modules", "exclude_modules", "modules_to_save")}
    harmless = frozenset(("peft_type", "inference_mode"))


class IA3(Method):
    """y = W (l ⊙ x): a scale l (1, in) on the input of a frozen layer."""

    names = ("ia3_l",)

    @staticmethod
    def shapes(place, config):
        return {"ia3_l": (1, place.shape[1])}

    def start(self, base, generator):
        return {"ia3_l": np.ones(self.parameters["ia3_l"].shape)}

    def input(self, x, context):
        return x * self.parameters["ia3_l"]

    def merged(self, weight, bias, base):
        return weight * self.parameters["ia3_l"].data, bias


class IA3Adapter(Adapter):
    config_class = IA3Config
    kinds = {"linear": IA3}
    adapts = "IA3 adapts linear layers"


# ---- what everything else makes of it


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(registry.ADAPTERS, "IA3", IA3Adapter)


def scaled(model=None, **options):
    """A model whose down projections are adapted, l not all ones."""
    config = IA3Config(target_modules=["down_proj"], feedforward_modules=["down_proj"], **options)
    model = get_peft_model(model or tiny_llama(), config)
    rng = np.random.default_rng(5)
    for p in model.parameters():
        if p.requires_grad:
            p.data = rng.uniform(0.5, 1.5, p.shape).astype(p.dtype)
    return model


def scales(model):
    return [p.data for p in model.parameters() if p.requires_grad]


def test_a_new_adapter_changes_nothing_at_the_start():
    config = IA3Config(target_modules=["down_proj"])
    assert np.array_equal(get_peft_model(tiny_llama(), config)(IDS).data, tiny_llama()(IDS).data)


def test_the_logits_are_those_of_the_scaled_matrices():
    plain, model = tiny_llama(), scaled()
    for block, scale in zip(plain.model.layers, scales(model), strict=True):
        block.mlp.down_proj.weight.data = block.mlp.down_proj.weight.data * scale
    assert np.allclose(model(IDS).data, plain(IDS).data, atol=1e-5)


def test_the_gradient_is_that_of_central_differences():
    base = Linear(5, 4).init(0, np.float64)
    method = IA3.beside(base, IA3Config())

    def f(x, scale):
        method.parameters["ia3_l"] = scale
        return base(method.input(x, Context()))

    rng = np.random.default_rng(0)
    gradcheck(f, [Tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 5), (1, 5))])


def test_only_the_scales_learn_and_they_are_counted_by_their_shapes():
    model = scaled()
    places = [Place.of(layer.path, layer.base_layer) for layer in model.base_model.layers]
    counted = sum(int(np.prod(s)) for place in places for s in IA3Adapter.shapes(place, IA3Config()).values())
    assert model.get_nb_trainable_parameters()[0] == counted == 2 * model.config.intermediate_size
    model.loss(IDS, IDS).backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_a_saved_adapter_is_loaded_to_the_same_bits(tmp_path):
    model = scaled()
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert again.peft_config["default"] == model.peft_config["default"]
    assert np.array_equal(again(IDS).data, model(IDS).data)


def test_merging_gives_the_same_function_and_unmerging_the_same_bits():
    model = scaled()
    apart = model(IDS).data
    before = [layer.base_layer.weight for layer in model.base_model.layers]
    model.merge_adapter()
    assert np.allclose(model(IDS).data, apart, atol=1e-5)
    model.unmerge_adapter()
    assert all(layer.base_layer.weight is w for layer, w in zip(model.base_model.layers, before, strict=True))


def test_a_layer_that_the_method_does_not_adapt_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"model.embed_tokens \(embedding\) cannot be adapted: IA3 adapts linear"):
        get_peft_model(tiny_llama(), IA3Config(target_modules=["embed_tokens"]))


def test_a_transposed_base_is_adapted_as_any_other():
    sizes = GPT2Config(vocab_size=29, n_embd=16, n_layer=2, n_head=4, n_positions=32)
    model = GPT2LMHeadModel(sizes).init(0)
    model = get_peft_model(model, IA3Config(target_modules=["mlp.c_proj"], fan_in_fan_out=True))
    for p in model.parameters():
        p.data = p.data * np.float32(1.5) if p.requires_grad else p.data
    apart = model(IDS).data
    assert np.allclose(model.merge_and_unload()(IDS).data, apart, atol=1e-5)


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(ConfigError, match="peft_type 'LOHA' is not supported, only "):
        registry.config_class("LOHA")
