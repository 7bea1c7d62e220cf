"""Parity with PEFT on models, sizes and options other than the fixtures: values, gradients, counts, files, warnings."""

import copy
import json

import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_cases import EXAMPLES  # noqa: E402
from peft_reference import (  # noqa: E402
    IDS,
    build,
    close,
    gradients,
    logits,
    ours,
    peft,
    quietly,
    randomize,
    theirs,
    torch,
)  # fmt: skip

from minilora import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from minilora.adapters.inspect import compare_base, read_adapter  # noqa: E402
from minilora.adapters.model import PeftModel as Ours  # noqa: E402

CASES = {
    "a list": ("llama", {"target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "all-linear": ("llama", {"target_modules": "all-linear"}),
    "all-linear, qwen2 biases": ("qwen2", {"target_modules": "all-linear", "r": 2}),
    "regex": ("llama", {"target_modules": r"model\.layers\.[02]\..*(k|up)_proj"}),
    "rslora": ("llama", {"target_modules": ["o_proj"], "use_rslora": True, "lora_alpha": 3}),
    "patterns": (
        "llama",
        {
            "target_modules": ["q_proj", "v_proj", "gate_proj"],
            "rank_pattern": {"layers.0.self_attn.q_proj": 2, "^model.layers.1.self_attn.v_proj": 3, "q_proj": 7},
            "alpha_pattern": {r"layers\.2.*": 11, "gate_proj": 2.5},
        },
    ),
    "layers": ("llama", {"target_modules": ["q_proj", "k_proj"], "layers_to_transform": [0, 2]}),
    "layers by pattern": (
        "llama",
        {"target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": ["blocks", "layers"]},
    ),
    "exclude": ("llama", {"target_modules": "all-linear", "exclude_modules": ["layers.1.mlp.up_proj", "o_proj"]}),
    "exclude by regex": ("llama", {"target_modules": ["up_proj", "v_proj"], "exclude_modules": r".*layers\.0.*"}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "head": ("llama", {"target_modules": ["lm_head", "v_proj"]}),
    "tied embedding": ("tied", {"target_modules": ["embed_tokens"]}),
    "tied head": ("tied", {"target_modules": ["lm_head", "q_proj"]}),
    "tied both": ("tied", {"target_modules": ["lm_head", "embed_tokens"]}),
    "copies": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]}),
    "copies of norms": ("llama", {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["norm"]}),
    "copy of a tied head": ("tied", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "gaussian": ("llama", {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"}),
    "no init": ("llama", {"target_modules": ["q_proj", "embed_tokens"], "init_lora_weights": False}),
    "task type": ("llama", {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}),
    "rank above the side": ("llama", {"target_modules": ["k_proj"], "r": 23}),
    "lora bias": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True}),
    "lora bias, rslora, random": (
        "gpt2",
        {
            "target_modules": ["c_proj", "c_attn"],
            "fan_in_fan_out": True,
            "lora_bias": True,
            "use_rslora": True,
            "init_lora_weights": False,
        },
    ),
    "tokens": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": [17, 3, 60]}),
    "tokens of a head": (
        "llama",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [4], "embed_tokens": [5, 6]}},
    ),
    "tokens, tied": ("tied", {"target_modules": ["q_proj"], "trainable_token_indices": [17, 3, 60]}),
    "tokens of a tied head alone": (
        "tied",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [17, 3]}},
    ),
    "tokens, tied, named twice": (
        "tied",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [8], "embed_tokens": [8]}},
    ),
    "tokens, tied, but others": (
        "tied",
        {"target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [8], "embed_tokens": [9]}},
    ),
    "gpt2 tokens": (
        "gpt2",
        {"target_modules": ["c_attn"], "fan_in_fan_out": True, "trainable_token_indices": {"wte": [7, 1]}},
    ),
    "gpt2": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "gpt2 all-linear": ("gpt2", {"target_modules": "all-linear", "fan_in_fan_out": True}),
    "gpt2 tables and head": ("gpt2", {"target_modules": ["wte", "wpe", "c_fc", "lm_head"], "fan_in_fan_out": True}),
    "gpt2 copies": (
        "gpt2",
        {"target_modules": ["c_proj"], "modules_to_save": ["ln_f", "wte", "h.1.mlp.c_fc"], "fan_in_fan_out": True},
    ),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """One folder per kind of base."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("llama", "tied", "qwen2", "gpt2")}
    for kind, folder in folders.items():
        build(kind, folder)
    return folders


def options_of(options):
    return {"r": 4, "lora_alpha": 10} | options


def pefts(folder, options, seed=0):
    """PEFT's model with random adapter values."""
    config = peft.LoraConfig(**options_of(options))
    model, _ = quietly(peft.get_peft_model, theirs(folder), config)
    return randomize(model, seed).eval()


def reloaded(base, folder):
    """PEFT's model from files; not always the model that was saved, see the test of sorted patterns."""
    return quietly(peft.PeftModel.from_pretrained, theirs(base), folder, is_trainable=True)[0].eval()


def save_quietly(model, folder):
    return quietly(model.save_pretrained, str(folder))[1]


@pytest.fixture(scope="module", params=CASES)
def from_peft(request, bases, tmp_path_factory):
    """(name of the case, PEFT's model from its own files, ours from the same files, what ours warned of)."""
    kind, options = CASES[request.param]
    folder = tmp_path_factory.mktemp("adapter")
    save_quietly(pefts(bases[kind], options), folder)
    reference = reloaded(bases[kind], folder)
    model, said = quietly(PeftModel.from_pretrained, ours(bases[kind]), folder, is_trainable=True)
    return request.param, reference, model, said


def test_an_adapter_from_peft_is_loaded_with_a_warning_only_where_a_rank_is_above_the_side(from_peft):
    case, _, _, said = from_peft
    assert len(said) == (case == "rank above the side")


def test_an_adapter_from_peft_gives_pefts_logits(from_peft, bases):
    case, reference, model, _ = from_peft
    assert close(logits(model), logits(reference))
    assert abs(logits(model) - logits(ours(bases[CASES[case][0]]))).max() > 1e-2  # the adapter does something


def test_an_adapter_from_peft_trains_as_many_parameters_as_there(from_peft):
    _, reference, model, _ = from_peft
    assert model.get_nb_trainable_parameters() == reference.get_nb_trainable_parameters()


def test_an_adapter_from_peft_gives_pefts_loss_and_gradients(from_peft):
    _, reference, model, _ = from_peft
    expected, loss = gradients(reference)
    found, our_loss = gradients(model)
    assert abs(our_loss - loss) <= 1e-4
    assert found and set(found) == set(expected)
    for name, gradient in found.items():
        assert abs(gradient - expected[name]).max() <= 1e-4 * max(abs(expected[name]).max(), 1e-2), name


def test_an_adapter_from_peft_merges_to_pefts_merged_logits(from_peft):
    case, reference, model, _ = from_peft
    alike = case in ("tokens, tied", "tokens, tied, named twice")
    if "tied" in CASES[case][0] and not alike or case == "gpt2 tables and head":
        pytest.skip("PEFT changes both ends of a tied matrix")
    merged = copy.deepcopy(reference).merge_and_unload()
    assert close(logits(copy.deepcopy(model).merge_and_unload()), logits(merged))


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_from_here_gives_peft_our_logits_without_a_warning_that_pefts_own_does_not_cause(
    case, bases, tmp_path
):
    kind, options = CASES[case]
    if case == "rank above the side":
        options = options | {"r": 20}
    reference = pefts(bases[kind], options, seed=3)
    save_quietly(reference, tmp_path / "theirs")
    model = get_peft_model(ours(bases[kind]), LoraConfig(**options_of(options)), seed=2)
    values = {n: p.detach().numpy() for n, p in reference.named_parameters()}
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data = values[name].copy()
    model.save_pretrained(tmp_path / "ours")

    _, usual = quietly(peft.PeftModel.from_pretrained, theirs(bases[kind]), tmp_path / "theirs")
    loaded, said = quietly(peft.PeftModel.from_pretrained, theirs(bases[kind]), tmp_path / "ours")
    assert set(said) <= set(usual)
    assert close(logits(loaded.eval()), logits(model))
    assert close(logits(loaded), logits(reference))
    written = json.loads((tmp_path / "ours" / "adapter_config.json").read_text(encoding="utf-8"))
    pefts_own = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text(encoding="utf-8"))
    for key in ("target_modules", "exclude_modules"):  # sets there; all-linear is shortened here and at 20 names there
        for config in (written, pefts_own):
            config[key] = sorted(config[key]) if isinstance(config[key], list) else config[key]
    differing = {key for key in written if written[key] != pefts_own[key]}
    allowed = {"auto_mapping"}
    if options["target_modules"] == "all-linear":
        allowed.add("target_modules")
    if case == "gpt2 tables and head":  # with both kinds of layer PEFT writes what the last one was
        allowed.add("fan_in_fan_out")
    assert differing <= allowed


@pytest.mark.parametrize("case", ["a list", "tied both", "gpt2 tables and head", "copies", "no init"])
def test_a_new_adapter_trains_as_many_parameters_under_the_same_names_as_pefts(case, bases):
    kind, options = CASES[case]
    model = get_peft_model(ours(bases[kind]), LoraConfig(**options_of(options)))
    reference = pefts(bases[kind], options)
    assert model.get_nb_trainable_parameters() == reference.get_nb_trainable_parameters()
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == {
        n: tuple(p.shape) for n, p in reference.named_parameters()
    }


def test_the_printed_line_is_pefts(bases, capsys):
    options = CASES["all-linear"][1]
    get_peft_model(ours(bases["llama"]), LoraConfig(**options_of(options))).print_trainable_parameters()
    mine = capsys.readouterr().out
    pefts(bases["llama"], options).print_trainable_parameters()
    assert capsys.readouterr().out == mine


def two_adapters(bases, tmp_path):
    """The same two adapters in PEFT's model and in ours."""
    reference = pefts(bases["llama"], {"target_modules": ["q_proj", "v_proj", "embed_tokens"]})
    reference.add_adapter("b", peft.LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "down_proj", "lm_head"]))
    randomize(reference, 1)
    save_quietly(reference, tmp_path)
    model = PeftModel.from_pretrained(ours(bases["llama"]), tmp_path)
    model.load_adapter(tmp_path / "b", "b")
    return reference, model


@pytest.mark.parametrize("names", [["default"], ["b"], ["default", "b"], ["b", "default"]])
def test_active_adapters_act_and_learn_as_in_peft(names, bases, tmp_path):
    reference, model = two_adapters(bases, tmp_path)
    reference.base_model.set_adapter(names)
    model.set_adapter(names)
    assert close(logits(model), logits(reference))
    expected, _ = gradients(reference)
    found, _ = gradients(model)
    assert found and set(found) == set(expected)
    assert all(close(found[n], expected[n]) for n in found)
    trainable = {n for n, p in reference.named_parameters() if p.requires_grad}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trainable


def test_disabling_deleting_and_unloading_do_as_in_peft(bases, tmp_path):
    reference, model = two_adapters(bases, tmp_path)
    with reference.disable_adapter(), model.disable_adapter():
        assert close(logits(model), logits(reference))
    reference.set_adapter("b")
    model.set_adapter("b")
    reference.delete_adapter("default")
    model.delete_adapter("default")
    assert close(logits(model), logits(reference))
    assert model.active_adapters == list(reference.active_adapters) == ["b"]
    assert close(logits(model.unload()), logits(reference.unload()))


def test_deleting_the_active_adapter_activates_the_one_that_peft_activates(bases, tmp_path):
    reference = pefts(bases["llama"], {"target_modules": ["q_proj", "v_proj"]})
    for name in ("c", "b"):
        reference.add_adapter(name, peft.LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj"]))
    save_quietly(randomize(reference, 1), tmp_path)
    model = PeftModel.from_pretrained(ours(bases["llama"]), tmp_path)
    for name in ("c", "b"):
        model.load_adapter(tmp_path / name, name)
    quietly(reference.delete_adapter, "default")
    model.delete_adapter("default")
    assert model.active_adapters == list(reference.active_adapters)
    assert close(logits(model), logits(reference))


def test_a_merged_subset_keeps_the_function_here_while_peft_drops_the_rest(bases, tmp_path):
    reference, model = two_adapters(bases, tmp_path)
    reference.base_model.set_adapter(["default", "b"])
    model.set_adapter(["default", "b"])
    before = logits(reference)
    reference.merge_adapter(["b"])
    model.merge_adapter(["b"])
    assert close(logits(model), before)
    assert not close(logits(reference), before, 1e-2)


def test_several_saved_adapters_lie_in_the_same_folders_as_pefts_and_load_there(bases, tmp_path):
    reference, model = two_adapters(bases, tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours")
    found = {p.relative_to(tmp_path / "ours") for p in (tmp_path / "ours").rglob("*.safetensors")}
    assert found == {p.relative_to(tmp_path / "theirs") for p in (tmp_path / "theirs").rglob("*.safetensors")}
    again, _ = quietly(peft.PeftModel.from_pretrained, theirs(bases["llama"]), tmp_path / "ours")
    quietly(again.load_adapter, tmp_path / "ours" / "b", "b")
    for name in ("default", "b"):
        again.set_adapter(name)
        reference.set_adapter(name)
        assert close(logits(again), logits(reference))


def test_a_model_merged_here_loads_in_transformers_with_both_ends_of_a_tied_matrix(bases, tmp_path):
    for kind, targets in (("tied", ["embed_tokens"]), ("tied", ["lm_head"]), ("gpt2", ["wte", "c_attn"])):
        folder = tmp_path / f"{kind}{targets[0]}"
        config = LoraConfig(
            r=3, lora_alpha=5, target_modules=targets, init_lora_weights=False, fan_in_fan_out=kind == "gpt2"
        )
        model = get_peft_model(ours(bases[kind]), config)
        expected = logits(model)
        model.merge_and_unload().save_pretrained(folder)
        assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
        assert close(logits(theirs(folder)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_adapters_saved_in_16_bits_load_as_peft_loads_them(dtype, bases, tmp_path):
    reference = pefts(bases["llama"], {"target_modules": ["q_proj", "embed_tokens"]})
    for name, p in reference.named_parameters():
        if "lora_" in name:
            p.data = p.data.to(dtype)
    save_quietly(reference, tmp_path)
    loaded, _ = quietly(peft.PeftModel.from_pretrained, theirs(bases["llama"]), tmp_path)
    model = PeftModel.from_pretrained(ours(bases["llama"]), tmp_path)
    assert close(logits(model), logits(loaded.eval()))


def test_sorted_patterns_change_pefts_own_adapter_when_it_is_loaded_again_and_not_ours(bases, tmp_path):
    """PEFT writes rank_pattern and alpha_pattern with sorted keys, although the first key that matches wins."""
    options = {"target_modules": ["q_proj", "v_proj"], "alpha_pattern": {"v_proj": 40, r"layers\.\d.*": 3}}
    reference = pefts(bases["llama"], options)
    save_quietly(reference, tmp_path / "theirs")
    assert not close(logits(reloaded(bases["llama"], tmp_path / "theirs")), logits(reference), 1e-2)

    model = get_peft_model(ours(bases["llama"]), LoraConfig(**options_of(options)))
    values = {n: p.detach().numpy() for n, p in reference.named_parameters()}
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data = values[name].copy()
    assert close(logits(model), logits(reference))
    model.save_pretrained(tmp_path / "ours")
    assert close(logits(reloaded(bases["llama"], tmp_path / "ours")), logits(reference))
    assert close(logits(PeftModel.from_pretrained(ours(bases["llama"]), tmp_path / "ours")), logits(reference))


def test_twenty_steps_of_gradient_descent_stay_together(bases, tmp_path):
    options = {"target_modules": ["q_proj", "v_proj", "gate_proj", "lm_head"], "modules_to_save": ["norm"]}
    reference = pefts(bases["llama"], options)
    save_quietly(reference, tmp_path)
    model = PeftModel.from_pretrained(ours(bases["llama"]), tmp_path, is_trainable=True)
    optimizer = torch.optim.SGD([p for p in reference.parameters() if p.requires_grad], lr=0.005)
    for _ in range(20):
        expected, loss = gradients(reference)
        optimizer.step()
        found, our_loss = gradients(model)
        assert abs(our_loss - loss) <= 1e-4
        for p in model.parameters():
            if p.grad is not None:
                p.data = p.data - p.grad * p.data.dtype.type(0.005)
    values = {n: p.detach().numpy() for n, p in reference.named_parameters() if p.requires_grad}
    assert values.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    assert values
    for name, p in model.named_parameters():
        if p.requires_grad:
            error = ((p.data - values[name]) ** 2).sum() ** 0.5 / (values[name] ** 2).sum() ** 0.5
            assert error <= 1e-4, name


SAVED_ALONG = {
    "lora": lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"], init_lora_weights=False),
    "adalora": lambda: peft.AdaLoraConfig(target_modules=["q_proj"], total_step=9, init_lora_weights=False),
    "vera": lambda: peft.VeraConfig(r=3, target_modules=["q_proj"], init_weights=False),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[], modules_to_save=["lm_head"]),
    "prompt tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    "prefix tuning": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("kind", ["llama", "tied"])
@pytest.mark.parametrize("method", SAVED_ALONG)
def test_embeddings_that_peft_saves_along_are_no_parameters_of_the_adapter(method, kind, bases, tmp_path):
    reference, _ = quietly(peft.get_peft_model, theirs(bases[kind]), SAVED_ALONG[method]())
    quietly(reference.save_pretrained, tmp_path, save_embedding_layers=True)
    found = read_adapter(tmp_path)
    assert found.parameters == reference.get_nb_trainable_parameters()[0]
    assert any("embed_tokens" in name for name in found.base_copies | found.frozen)
    loaded, _ = quietly(peft.PeftModel.from_pretrained, theirs(bases[kind]), tmp_path)
    model, _ = quietly(PeftModel.from_pretrained, ours(bases[kind]), tmp_path)
    assert close(logits(model)[:, -IDS.shape[1] :], logits(loaded.eval())[:, -IDS.shape[1] :])
    assert compare_base(found, bases[kind])[1] is None  # the copies are those of the base


def test_a_name_in_modules_to_save_that_matches_nothing_is_noted_as_the_adapter_loads(bases, tmp_path):
    reference = pefts(bases["gpt2"], {"target_modules": ["c_attn"], "fan_in_fan_out": True,
                                      "modules_to_save": ["lm_head", "embed_tokens"]})  # fmt: skip
    save_quietly(reference, tmp_path)
    model, said = quietly(PeftModel.from_pretrained, ours(bases["gpt2"]), tmp_path)
    assert [line.partition(":")[0] for line in said] == ["modules_to_save 'embed_tokens' matches no module"]
    assert close(logits(model), logits(reloaded(bases["gpt2"], tmp_path)))


LOADABLE = [
    "gpt2_default", "gpt2_fifo_alllinear", "gpt2_cproj_list", "llama_default", "llama_all", "llama_mts", "llama_emb",
    "llama_lmhead_target", "llama_tied_lmhead", "llama_patterns", "llama_layers", "llama_regex", "llama_rslora",
]  # fmt: skip
IGNORED = {"peft_version", "peft_type", "auto_mapping"}


@pytest.mark.parametrize("name", LOADABLE)
def test_the_examples_remade_with_values_load_to_pefts_logits(name, bases, tmp_path):
    kind = "gpt2" if name.startswith("gpt2") else "tied" if "tied" in name else "llama"
    config = EXAMPLES[name]["config"]
    options = {k: v for k, v in config.items() if k not in IGNORED}
    if any("layers.1.self_attn.v" in str(t) for t in options["target_modules"]):
        options["target_modules"] = [t for t in options["target_modules"] if "layers.1" in t]
    reference = pefts(bases[kind], options | {"inference_mode": False})
    save_quietly(reference, tmp_path)
    model = PeftModel.from_pretrained(ours(bases[kind]), tmp_path)
    assert isinstance(model, Ours) and close(logits(model), logits(reference))
    assert model.get_nb_trainable_parameters()[1] == reference.get_nb_trainable_parameters()[1]
