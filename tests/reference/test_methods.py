"""Every method beside PEFT: its adapters open here, ours open there, to the same logits, gradients and merged model."""

import numpy as np
import pytest

pytest.importorskip("peft")

from checkpoints import edit_json
from peft_reference import IDS, build, close, gradients, logits, ours, peft, quietly, randomize, theirs, torch

from minilora import AdamW, LoraConfig, PeftModel, Tensor, get_peft_model
from minilora.adapters.layer import AdaptedLayer
from minilora.methods.adalora import AdaLoraConfig
from minilora.methods.dora import Dora
from minilora.methods.ia3 import IA3Config
from minilora.methods.prefix_tuning import PrefixTuningConfig
from minilora.methods.prompt_tuning import PromptTuningConfig
from minilora.methods.vera import VeraConfig
from minilora.models.context import Context
from minilora.nn import Linear

pytestmark = pytest.mark.reference

ALL = {"llama": ["q_proj", "o_proj", "down_proj", "up_proj"], "gpt2": ["c_attn", "c_proj", "c_fc"]}
ALL |= {"tied": ALL["llama"], "qwen2": ALL["llama"]}  # q 24 -> 40 and o 40 -> 24; GPT-2's attn.c_proj is square
FEEDFORWARD = {"llama": ["down_proj"], "tied": ["down_proj"], "qwen2": ["down_proj"], "gpt2": ["mlp.c_proj"]}
KINDS = ("llama", "tied", "qwen2", "gpt2")


def options(method, kind):
    """The fields of a configuration, the same for PEFT and here."""
    targets = {"target_modules": list(ALL[kind]), "fan_in_fan_out": kind == "gpt2"}
    lora = {"r": 3, "lora_alpha": 5}
    return {
        "dora": targets | lora | {"use_dora": True},
        "dora rslora": targets | lora | {"use_dora": True, "use_rslora": True},
        "dora embedding": {"target_modules": ["wte" if kind == "gpt2" else "embed_tokens"], "use_dora": True} | lora,
        "adalora": targets | {"init_r": 4, "target_r": 2, "total_step": 10, "orth_reg_weight": 0.0, "lora_alpha": 5},
        "vera": targets | {"r": 5, "d_initial": 0.3},
        "ia3": targets | {"feedforward_modules": FEEDFORWARD[kind], "target_modules": ALL[kind] + FEEDFORWARD[kind]},
    }[method]


PEFTS = {"adalora": peft.AdaLoraConfig, "vera": peft.VeraConfig, "ia3": peft.IA3Config}
OURS = {"adalora": AdaLoraConfig, "vera": VeraConfig, "ia3": IA3Config}
METHODS = ("dora", "dora rslora", "dora embedding", "adalora", "vera", "ia3")
each = pytest.mark.parametrize("method", METHODS)
each_kind = pytest.mark.parametrize("kind", KINDS)


def pefts(method, kind, folder):
    """PEFT's model with a random adapter, saved in `folder`/theirs."""
    build(kind, folder / "base")
    config = PEFTS.get(method, peft.LoraConfig)(**options(method, kind))
    model, _ = quietly(peft.get_peft_model, theirs(folder / "base"), config)
    generator = torch.Generator().manual_seed(3)
    for name, p in model.named_parameters():
        if p.requires_grad:
            noise = torch.randn(p.shape, generator=generator)
            p.data = p.data * (1 + 0.3 * noise) if "magnitude" in name or "ia3" in name else noise * 0.2
    quietly(model.save_pretrained, str(folder / "theirs"))
    return model.eval()


def named_as_pefts(name):
    return name + ".weight" if "magnitude_vector." in name and not name.endswith(".weight") else name


@each
@each_kind
def test_an_adapter_from_peft_gives_pefts_logits_gradients_and_merged_model(method, kind, tmp_path):
    reference = pefts(method, kind, tmp_path)
    model = PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "theirs", is_trainable=True).eval()
    assert close(logits(model), logits(reference))
    found, loss = gradients(model)
    expected, their_loss = gradients(reference)
    assert abs(loss - their_loss) < 1e-4
    assert {named_as_pefts(n) for n in found} == expected.keys()
    largest = max(abs(g).max() for g in expected.values())
    for name, gradient in found.items():
        assert abs(gradient - expected[named_as_pefts(name)]).max() <= 3e-4 * max(1, largest), name
    ties = method == "dora embedding" and kind in ("tied", "gpt2")  # PEFT's merge changes the tied head too
    expected_merged = logits(model) if ties else logits(quietly(reference.merge_and_unload)[0])
    assert close(logits(model.merge_and_unload()), expected_merged, 2e-4)


@each
@each_kind
def test_an_adapter_from_here_opens_in_peft_with_our_logits(method, kind, tmp_path):
    build(kind, tmp_path / "base")
    config = OURS.get(method, LoraConfig)(**options(method, kind))
    model = get_peft_model(ours(tmp_path / "base"), config, seed=4).eval()
    rng = np.random.default_rng(6)
    for name, p in model.named_parameters():
        if p.requires_grad:
            noise = rng.standard_normal(p.shape).astype(np.float32)
            p.data = p.data * (1 + 0.3 * noise) if "magnitude" in name or "ia3" in name else noise * np.float32(0.2)
    model.save_pretrained(tmp_path / "ours")
    reference, notes = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "ours"))
    assert not [n for n in notes if "missing" in n or "unexpected" in n.lower()], notes
    assert close(logits(model), logits(reference))


@each
@each_kind
def test_the_trainable_and_all_parameters_are_counted_as_by_peft(method, kind, tmp_path):
    build(kind, tmp_path / "base")
    config = PEFTS.get(method, peft.LoraConfig)(**options(method, kind))
    reference, _ = quietly(peft.get_peft_model, theirs(tmp_path / "base"), config)
    mine = get_peft_model(ours(tmp_path / "base"), OURS.get(method, LoraConfig)(**options(method, kind)))
    trainable, total = reference.get_nb_trainable_parameters()
    ranknums = sum("ranknum" in n for n, _ in reference.named_parameters())  # AdaLoRA's init_r, as a frozen parameter
    assert mine.get_nb_trainable_parameters() == (trainable, total - ranknums)


@each
@each_kind
def test_a_new_adapter_leaves_the_model_as_it_was_as_pefts_does(method, kind, tmp_path):
    build(kind, tmp_path / "base")
    plain = ours(tmp_path / "base")
    mine = get_peft_model(ours(tmp_path / "base"), OURS.get(method, LoraConfig)(**options(method, kind)))
    assert close(logits(mine), logits(plain), 1e-5)


@each
@each_kind
def test_merging_and_unmerging_gives_back_the_bits(method, kind, tmp_path):
    pefts(method, kind, tmp_path)
    model = PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "theirs")
    before, weights = logits(model), [p.data.copy() for p in model.get_base_model().parameters()]
    model.merge_adapter()
    assert close(logits(model), before, 2e-4)
    model.unmerge_adapter()
    assert all(np.array_equal(p.data, w) for p, w in zip(model.get_base_model().parameters(), weights, strict=True))
    assert np.array_equal(logits(model), before)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_pissa_starts_from_the_part_that_peft_takes_out_of_the_base(kind, tmp_path):
    build(kind, tmp_path / "base")
    fields = {"r": 3, "lora_alpha": 5, "target_modules": list(ALL[kind]), "fan_in_fan_out": kind == "gpt2"}
    mine = get_peft_model(ours(tmp_path / "base"), LoraConfig(init_lora_weights="pissa", **fields))
    config = peft.LoraConfig(init_lora_weights="pissa", **fields)
    reference, _ = quietly(peft.get_peft_model, theirs(tmp_path / "base"), config)
    modules = dict(reference.base_model.model.named_modules())
    for path, method in mine.base_model.adapters["default"].methods.items():
        delta = modules[path].get_delta_weight("default").detach().numpy()
        delta = delta.T if kind == "gpt2" else delta
        assert close(method.scaling * (method.B0.data @ method.A0.data), delta, 1e-4), path


@pytest.mark.parametrize("start", ["pissa", "olora"])
@each_kind
def test_a_trained_pissa_or_olora_opens_in_peft_on_the_pristine_base(start, kind, tmp_path):
    build(kind, tmp_path / "base")
    fields = {"r": 3, "lora_alpha": 5, "target_modules": list(ALL[kind]), "fan_in_fan_out": kind == "gpt2"}
    model = get_peft_model(ours(tmp_path / "base"), LoraConfig(init_lora_weights=start, **fields)).eval()
    rng = np.random.default_rng(6)
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data + rng.standard_normal(p.shape).astype(np.float32) * np.float32(0.1)
    model.save_pretrained(tmp_path / "ours")
    reference, _ = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "ours"))
    assert close(logits(model), logits(reference))


@each_kind
def test_an_adalora_that_was_trained_and_pruned_here_opens_in_peft(kind, tmp_path):
    build(kind, tmp_path / "base")
    model = get_peft_model(ours(tmp_path / "base"), AdaLoraConfig(**options("adalora", kind)), seed=1).train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(1, 11):
        model.loss(IDS, IDS).backward()
        optimizer.step()
        model.update_and_allocate(step)
        optimizer.zero_grad()
    ranks = model.base_model.adapters["default"].ranks().values()
    assert sum(ranks) == 2 * len(ranks) and len(set(ranks)) > 1
    model.eval().save_pretrained(tmp_path / "ours")
    reference, _ = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "ours"))
    assert close(logits(model), logits(reference))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_prompt_learning_has_pefts_gradients_and_our_files_open_there(method, kind, tmp_path):
    build(kind, tmp_path / "base")
    config, own = {
        "prefix": (peft.PrefixTuningConfig, PrefixTuningConfig),
        "prompt": (peft.PromptTuningConfig, PromptTuningConfig),
    }[method]
    reference, _ = quietly(
        peft.get_peft_model, theirs(tmp_path / "base"), config(task_type="CAUSAL_LM", num_virtual_tokens=4)
    )
    quietly(reference.save_pretrained, str(tmp_path / "theirs"))
    model = PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "theirs", is_trainable=True)
    assert close(logits(model), logits(reference.eval()))
    (gradient,), loss = [g for g in gradients(model)[0].values()], gradients(model)[1]
    (expected,), their_loss = [g for g in gradients(reference)[0].values()], gradients(reference)[1]
    assert abs(loss - their_loss) < 1e-4 and close(gradient, expected, 3e-4)

    mine = get_peft_model(ours(tmp_path / "base"), own(task_type="CAUSAL_LM", num_virtual_tokens=4), seed=5)
    mine.save_pretrained(tmp_path / "ours")
    opened, _ = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "ours"))
    assert close(logits(mine), logits(opened.eval()))


def test_the_padding_token_gets_a_gradient_here_and_none_from_the_embeddings_of_transformers(tmp_path):
    build("llama", tmp_path / "base")
    edit_json(tmp_path / "base" / "config.json", pad_token_id=7)
    reference = quietly(
        peft.get_peft_model, theirs(tmp_path / "base"), peft.LoraConfig(target_modules=["embed_tokens"])
    )[0]
    quietly(randomize(reference).save_pretrained, str(tmp_path / "theirs"))
    model = PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "theirs", is_trainable=True)
    (mine,), (their,) = ([g for n, g in gradients(m)[0].items() if "embedding_A" in n] for m in (model, reference))
    assert (IDS == 7).any() and mine[:, 7].any() and not their[:, 7].any()
    mine[:, 7] = 0
    assert close(mine, their, 3e-4)


NETWORKS = {
    "prefix": lambda: peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=7
    ),
    "p-tuning": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=9),
}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", NETWORKS)
def test_what_a_network_in_front_made_is_read_and_our_file_of_it_opens_there_without_a_warning(method, kind, tmp_path):
    build(kind, tmp_path / "base")
    reference, _ = quietly(peft.get_peft_model, theirs(tmp_path / "base"), NETWORKS[method]())
    quietly(reference.save_pretrained, str(tmp_path / "theirs"))
    model = PeftModel.from_pretrained(ours(tmp_path / "base"), tmp_path / "theirs")
    assert close(logits(model), logits(reference.eval()))
    model.save_pretrained(tmp_path / "ours")
    opened, notes = quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "ours"))
    assert notes == quietly(peft.PeftModel.from_pretrained, theirs(tmp_path / "base"), str(tmp_path / "theirs"))[1]
    assert close(logits(model), logits(opened.eval()))


# ---- several DoRA adapters on one layer, in float64


MASKS = {name: (np.random.default_rng(i).random((2, 5, 7)) > 0.5) * 2.0 for i, name in enumerate("ab")}


class FixedDropout(torch.nn.Module):
    """PEFT's dropout with a mask that is known."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        return x * torch.tensor(MASKS[self.name])


def two_doras(active, dropped=False):
    """One linear layer with the DoRA adapters a and b, in PEFT and here: two functions (x, dy) -> output, gradients."""
    options = {
        "a": {"r": 3, "lora_alpha": 5, "use_dora": True},
        "b": {"r": 2, "lora_alpha": 7, "use_dora": True, "use_rslora": True},
    }
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    torch_layer = torch.nn.Linear(7, 11).double()
    configs = [peft.LoraConfig(target_modules=["lin"], **options[name]) for name in "ab"]
    reference = peft.get_peft_model(torch.nn.ModuleDict({"lin": torch_layer}), configs[0], "a")
    reference.add_adapter("b", configs[1])
    reference.base_model.set_adapter(list(active))
    adapted = reference.base_model.model["lin"].double().train(dropped)
    layer = Linear(7, 11, bias=True)
    layer.weight.data, layer.bias.data = (p.detach().numpy().copy() for p in (torch_layer.weight, torch_layer.bias))
    for parameter in layer.parameters():
        parameter.requires_grad = False
    ours = AdaptedLayer(layer, "lin")
    for name in "ab":
        method = ours.adapters[name] = Dora.beside(layer, LoraConfig(**options[name]))
        method.name, method.dropout = name, 0.5 * dropped
        for parameter in method.parameters.values():
            parameter.data = parameter.data * 0.5 + rng.standard_normal(parameter.shape)
        their = adapted.lora_A[name].weight, adapted.lora_B[name].weight, adapted.lora_magnitude_vector[name].weight
        for mine, p in zip(method.parameters.values(), their, strict=True):
            p.data = torch.tensor(mine.data)
        if dropped:
            adapted.lora_dropout[name] = FixedDropout(name)

    def run_theirs(x, dy):
        x = torch.tensor(x, requires_grad=True)
        y = adapted(x)
        y.backward(torch.tensor(dy))
        theirs = [
            p.grad.numpy()
            for name in "ab"
            for p in (
                adapted.lora_A[name].weight,
                adapted.lora_B[name].weight,
                adapted.lora_magnitude_vector[name].weight,
            )
        ]
        return [y.detach().numpy(), x.grad.numpy(), *theirs]

    def run_ours(x, dy):
        x = Tensor(x, requires_grad=True)
        y = ours(x, Context(adapters=tuple(active), training=dropped))
        y.backward(dy)
        return [y.data, x.grad, *(p.grad for name in "ab" for p in ours.adapters[name].parameters.values())]

    return run_theirs, run_ours


def batch():
    rng = np.random.default_rng(5)
    return rng.standard_normal((2, 5, 7)), rng.standard_normal((2, 5, 11))


@pytest.mark.parametrize("active", ["ab", "ba"])
def test_two_dora_adapters_compose_in_their_order_as_in_peft(active):
    theirs, ours = (run(*batch()) for run in two_doras(active))
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, rtol=1e-12, atol=1e-12)
    other_order = two_doras(active[::-1])[1](*batch())
    assert abs(ours[0] - other_order[0]).max() > 0.1


def test_a_bias_of_b_in_front_of_a_dora_acts_as_in_peft_and_is_merged_right_only_here(tmp_path):
    build("qwen2", tmp_path / "base")
    shared = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj"], "init_lora_weights": False}
    reference = quietly(
        peft.get_peft_model, theirs(tmp_path / "base"), peft.LoraConfig(lora_bias=True, **shared), "bias"
    )[0]
    quietly(reference.add_adapter, "dora", peft.LoraConfig(use_dora=True, **shared))
    generator = torch.Generator().manual_seed(0)
    for name, p in reference.named_parameters():
        if "magnitude" in name or "lora_B.bias.bias" in name:
            p.data = torch.rand(p.shape, generator=generator) + 0.5
    quietly(reference.eval().save_pretrained, str(tmp_path / "theirs"))
    model = PeftModel(ours(tmp_path / "base"))
    for name in ("bias", "dora"):
        model.load_adapter(tmp_path / "theirs" / name, name)
    reference.base_model.set_adapter(["bias", "dora"])
    model.set_adapter(["bias", "dora"])
    expected = logits(reference)
    assert close(logits(model), expected)
    model.merge_adapter()
    quietly(reference.base_model.merge_adapter, ["bias", "dora"])
    assert close(logits(model), expected, 2e-4) and not close(logits(reference), expected, 1e-2)


def test_two_dora_adapters_whose_dropout_acts_add_up_as_in_peft(monkeypatch):
    monkeypatch.setattr(Dora, "drop", lambda self, x, context: x * Tensor(MASKS[self.name]))
    theirs, ours = (run(*batch()) for run in two_doras("ab", dropped=True))
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, rtol=1e-12, atol=1e-12)
    other_order = two_doras("ba", dropped=True)[1](*batch())
    assert np.allclose(ours[0], other_order[0], rtol=1e-12, atol=1e-12)
