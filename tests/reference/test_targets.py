"""Which modules a config chooses, at which rank and scale: the same as PEFT, for configs made at random."""

import copy
import re
import warnings

import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists  # noqa: E402
from peft_reference import peft, torch, transformers  # noqa: E402

from minilora import LoraConfig, get_peft_model  # noqa: E402
from minilora.adapters.targets import match_targets  # noqa: E402
from minilora.errors import ConfigError  # noqa: E402
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel  # noqa: E402
from minilora.models.llama import LlamaConfig, LlamaForCausalLM  # noqa: E402


def llama():
    return LlamaForCausalLM(LlamaConfig(17, 12, 10, 3, 2, 1, head_dim=4))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(17, n_embd=12, n_layer=3, n_head=2, n_positions=8))


def pefts_llama():
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "tie_word_embeddings": False}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=17, hidden_size=12, intermediate_size=10, num_hidden_layers=3, **sizes)
    )


def pefts_gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=17, n_positions=8, n_embd=12, n_layer=3, n_head=2)
    )


LEAVES = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head"],
    "gpt2": ["c_attn", "c_proj", "c_fc", "wte", "wpe", "lm_head"],
}
OURS = {"llama": llama, "gpt2": gpt2}
with torch.device("meta"):
    THEIRS = {"llama": pefts_llama(), "gpt2": pefts_gpt2()}
PATHS = {kind: [p for p, _ in make().named_modules() if p] for kind, make in OURS.items()}

NUMBERS = st.integers(0, 4).map(str)
PIECES = [
    "layers",
    "h",
    "model",
    "self_attn",
    "mlp",
    "attn",
    "proj",
    "transformer",
    r"\.",
    ".",
    ".*",
    r"\d",
    "[qv]",
    "|",
]


def names(kind):
    """Leaves, path endings and whole paths, some of them of nothing."""
    endings = st.sampled_from(PATHS[kind]).flatmap(
        lambda p: st.integers(0, p.count(".")).map(lambda i: ".".join(p.split(".")[i:]))
    )
    return st.sampled_from(LEAVES[kind]) | endings | st.sampled_from(["proj", "nothing", "0", "norm"])


def patterns(kind):
    """Regular expressions, some of them broken."""
    piece = st.sampled_from(PIECES) | st.sampled_from(LEAVES[kind]) | NUMBERS
    around = st.sampled_from(["{}", ".*{}", r".*\.{}", "({})", ".*({}).*", "^{}"])
    return st.builds(lambda form, parts: form.format("".join(parts)), around, st.lists(piece, min_size=1, max_size=4))


def options(kind):
    lists, indices = (
        st.lists(names(kind), min_size=1, max_size=4),
        st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=3),
    )
    return st.fixed_dictionaries(
        {"target_modules": lists | lists | patterns(kind)},
        optional={
            "exclude_modules": lists | patterns(kind),
            "layers_to_transform": st.none() | indices,
            "layers_pattern": st.sampled_from(["layers", "h", "blocks", ["h", "layers"], [], "(layers|h)"]),
            "rank_pattern": st.dictionaries(names(kind) | patterns(kind), st.integers(1, 5), max_size=3),
            "alpha_pattern": st.dictionaries(names(kind) | patterns(kind), st.integers(1, 40), max_size=3),
            "use_rslora": st.booleans(),
        },
    )


def sound_options(kind):
    """Configs that choose something, mostly."""
    leaves = st.lists(st.sampled_from(LEAVES[kind]), min_size=1, max_size=4)
    everything = st.sampled_from(["all-linear", r".*\.1\..*(proj|c_fc)", ".*(lm_head|c_attn|k_proj)"])
    keys = names(kind) | st.sampled_from([r"\d.*", ".*proj", "^model.layers.0.*", "h.1.*", "c_.*"])
    return st.fixed_dictionaries(
        {"target_modules": leaves | everything},
        optional={
            "exclude_modules": st.lists(names(kind), max_size=1),
            "rank_pattern": st.dictionaries(keys, st.integers(1, 4), max_size=3),
            "alpha_pattern": st.dictionaries(keys, st.integers(1, 40), max_size=3),
            "use_rslora": st.booleans(),
        },
    )


def pefts_choice(kind, given_options):
    """The paths of ours that PEFT's matching chooses, or None when PEFT refuses the config."""
    try:
        config = peft.LoraConfig(r=2, lora_alpha=5, **given_options)
        return config, [p for p in PATHS[kind] if check_target_module_exists(config, p)]
    except Exception:
        return None, None


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_configs_at_random_choose_the_modules_that_peft_chooses(kind):
    seen = {"chosen": 0, "nothing": 0, "refused": 0}

    @settings(max_examples=800)
    @given(options(kind))
    def check(given_options):
        config, expected = pefts_choice(kind, copy.deepcopy(given_options))
        try:
            mine = LoraConfig(r=2, lora_alpha=5, **given_options)
        except ConfigError as error:
            if expected is not None:  # PEFT does not notice a broken pattern that no path reaches
                assert re.search("regular expression|list of layers", str(error))
            seen["refused"] += 1
            return
        assert expected is not None
        try:
            found = match_targets(mine, PATHS[kind], [])
        except ConfigError:
            found = []
        assert found == expected
        seen["chosen" if found else "nothing"] += 1

    check()
    assert all(count > 50 for count in seen.values()), seen


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_configs_at_random_give_the_ranks_scales_and_counts_that_peft_gives(kind):
    seen = {True: 0, False: 0}

    @settings(max_examples=60)
    @given(sound_options(kind), st.lists(st.sampled_from(LEAVES[kind]), max_size=1))
    def check(given_options, saved):
        given_options |= {"modules_to_save": saved, "fan_in_fan_out": kind == "gpt2"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = pefts_model(kind, copy.deepcopy(given_options))
            try:
                mine = get_peft_model(OURS[kind](), LoraConfig(r=2, lora_alpha=5, **given_options))
            except ConfigError as error:
                if expected is not None:
                    assert re.search(STRICTER, str(error))
                return
        assert expected is not None
        layers = {layer.path: layer.adapters["default"] for layer in mine.base_model.layers}
        theirs = {
            name.removeprefix("base_model.model."): (layer.r["default"], layer.scaling["default"])
            for name, layer in expected.named_modules()
            if isinstance(layer, BaseTunerLayer)
        }
        assert {p: (a.r, a.scaling) for p, a in layers.items()} == theirs
        assert mine.get_nb_trainable_parameters()[0] == expected.get_nb_trainable_parameters()[0]
        seen[bool(saved)] += 1

    check()
    assert seen[True] > 5 and seen[False] > 5, seen


# a name that matches nothing, a rank above the smaller side, a copy of a module that holds others or has an adapter
STRICTER = "no module matches target|is above the smaller side|name those instead|cannot be both"


def pefts_model(kind, given_options):
    """PEFT's model without memory, or None when PEFT refuses."""
    try:
        with torch.device("meta"):
            return peft.get_peft_model(copy.deepcopy(THEIRS[kind]), peft.LoraConfig(r=2, lora_alpha=5, **given_options))
    except Exception:
        return None
