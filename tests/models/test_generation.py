"""Decoding: the cache changes nothing, neighbours change nothing, sampling draws from the distribution it should."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SIZES, random_ids, tiny_llama, with_lora

from minilora.autograd import no_grad
from minilora.errors import ConfigError, MiniloraError, ShapeError
from minilora.models.cache import KVCache
from minilora.models.generation import Kept, generate, sample_tokens
from minilora.models.gpt2 import GPT2Config, GPT2LMHeadModel

V = SIZES["vocab_size"]
MODEL, ADAPTED = tiny_llama(), with_lora(tiny_llama(), "all-linear")
ABSOLUTE = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=16, n_layer=2, n_head=4, n_positions=32)).init(0)
for p in ABSOLUTE.parameters():
    p.data = p.data * np.float32(10)  # no near ties; and positions, which are learned here, count
tokens = st.integers(0, V - 1)
prompts = st.lists(st.lists(tokens, min_size=1, max_size=7), min_size=1, max_size=4)
some = settings(max_examples=20)


def uncached(model, prompt, n):
    """Greedy decoding that computes everything anew for every token."""
    ids = list(prompt)
    for _ in range(n):
        with no_grad():
            ids.append(int(model(np.array([ids])).data[0, -1].argmax()))
    return ids


# ---- the cache and the padding


@some
@given(st.lists(tokens, min_size=1, max_size=7), st.sampled_from([MODEL, ADAPTED, ABSOLUTE]))
def test_cached_and_uncached_decoding_give_the_same_tokens(prompt, model):
    assert model.generate(prompt, 5)[0].tolist() == uncached(model, prompt, 5)


@some
@given(prompts, st.sampled_from([MODEL, ADAPTED, ABSOLUTE]))
def test_what_follows_a_prompt_does_not_depend_on_its_neighbours(batch, model):
    together = model.generate(batch, 4)
    alone = [model.generate(prompt, 4)[0] for prompt in batch]
    assert [row.tolist() for row in together] == [row.tolist() for row in alone]


@some
@given(prompts, prompts)
def test_a_sampled_row_depends_on_its_place_and_the_seed_and_not_on_the_other_prompts(batch, others):
    options = {"temperature": 1.5, "top_p": 0.95, "seed": 5}
    together = MODEL.generate(batch[:1] + others, 4, **options)
    assert together[0].tolist() == MODEL.generate(batch[:1], 4, **options)[0].tolist()


def test_padding_is_never_looked_at():
    batch = [[3, 1, 4, 1, 5, 9], [2]]
    logits = []
    for filler in (0, 7):  # the token that stands in the padded places
        ids = np.array([[3, 1, 4, 1, 5, 9], [filler] * 5 + [2]])
        mask = np.array([[True] * 6, [False] * 5 + [True]])
        positions = np.array([range(6), [0] * 6])
        logits.append(MODEL(ids, mask=mask, positions=positions).data[1, -1])
    assert np.array_equal(*logits)
    np.testing.assert_allclose(logits[0], MODEL(np.array([batch[1]])).data[0, -1], rtol=1e-4, atol=1e-5)


# ---- what goes in and comes out


ARRAY = np.array([3, 1, 4])


@pytest.mark.parametrize("ids", [[3, 1, 4], (3, 1, 4), ARRAY, ARRAY[None], [[3, 1, 4]], [ARRAY.astype(np.uint8)]])
def test_prompts_may_be_lists_or_arrays_of_any_integer_type(ids):
    (row,) = MODEL.generate(ids, 2)
    assert row[:3].tolist() == [3, 1, 4]
    assert row.shape == (5,)
    assert row.dtype == np.int64


def test_the_prompt_is_not_changed():
    ids = random_ids()
    before = ids.copy()
    MODEL.generate(ids, 3)
    assert np.array_equal(ids, before)


def test_every_row_runs_to_max_new_tokens_without_an_end_token():
    assert [len(row) for row in MODEL.generate([[1, 2, 3], [4]], 6)] == [9, 7]


def test_a_row_ends_with_its_end_token_and_the_others_go_on():
    free = [row.tolist() for row in MODEL.generate([[3, 1, 4], [9, 2]], 8)]
    end = free[0][4]  # the second new token of the first row
    assert end != free[0][3]
    rows = [row.tolist() for row in MODEL.generate([[3, 1, 4], [9, 2]], 8, eos_token_id=end)]
    assert rows[0] == free[0][:5]
    stop = free[1].index(end, 2) + 1 if end in free[1][2:] else None
    assert rows[1] == free[1][:stop]


@pytest.mark.parametrize("ends", [lambda e: e, lambda e: [e, V + 5], lambda e: np.array([e])])
def test_end_tokens_may_be_one_or_several(ends):
    free = MODEL.generate([3, 1, 4], 6)[0].tolist()
    assert MODEL.generate([3, 1, 4], 6, eos_token_id=ends(free[3]))[0].tolist() == free[:4]


def test_an_end_token_in_the_prompt_ends_nothing():
    free = MODEL.generate([3, 1, 4], 3)[0].tolist()
    assert 1 not in free[3:]
    assert MODEL.generate([3, 1, 4], 3, eos_token_id=1)[0].tolist() == free


def test_no_forward_runs_after_every_row_has_ended():
    model, calls = tiny_llama(), []
    hidden = model.hidden
    model.hidden = lambda ids, context: calls.append(ids.shape) or hidden(ids, context)
    first = model.generate([3, 1, 4], 1)[0][-1]
    calls.clear()
    model.generate([3, 1, 4], 9, eos_token_id=int(first))
    assert calls == [(1, 3)]
    calls.clear()
    model.generate([3, 1, 4], 3)
    assert calls == [(1, 3), (1, 1), (1, 1)]  # the prompt once, then one token at a time


def test_generating_records_nothing_and_leaves_the_model_in_its_mode():
    model = with_lora(tiny_llama(), dropout=0.5)
    model.train()
    first = model.generate([3, 1, 4], 4)[0].tolist()  # no dropout while decoding, though the model trains
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert first == model.eval().generate([3, 1, 4], 4)[0].tolist()


@pytest.mark.parametrize(
    ("ids", "options", "said"),
    [
        ([], {}, "at least one prompt"),
        ([[]], {}, "non-empty"),
        ([[1], []], {}, "non-empty"),
        ([0.5, 1.5], {}, "integers"),
        (np.array([[[1]]]), {}, "integers"),
        ("hello", {}, "integers"),
        ([1, V], {}, f"id {V} is outside"),
        ([1, -1], {}, "id -1 is outside"),
        ([1], {"max_new_tokens": 0}, "max_new_tokens 0"),
        ([1], {"max_new_tokens": 2.5}, "max_new_tokens 2.5"),
        ([1], {"temperature": -0.1}, "temperature -0.1"),
        (5, {}, "at least one prompt"),
        (np.array(3), {}, "non-empty"),
        ([1], {"temperature": "a"}, "temperature a"),
        ([1], {"temperature": float("nan")}, "temperature nan"),
        ([1], {"temperature": float("inf")}, "temperature inf"),
        ([1], {"top_k": 0}, "top_k 0"),
        ([1], {"top_k": 1.5}, "top_k 1.5"),
        ([1], {"top_p": 0}, "top_p 0"),
        ([1], {"top_p": 1.01}, "top_p 1.01"),
        ([1], {"top_p": float("nan")}, "top_p nan"),
        ([1], {"seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(ids, options, said):
    with pytest.raises((ShapeError, ConfigError), match=said) as error:
        generate(MODEL, ids, **{"max_new_tokens": 2, **options})
    assert "\n" not in str(error.value)
    assert isinstance(error.value, MiniloraError)


# ---- sampling


class Recorder:
    """A stream that notes the probabilities it is asked to draw from."""

    def choice(self, n, p):
        self.p = p
        return int(p.argmax())


def reference(logits, temperature, top_k, top_p):
    """One row, as one would write it down: sort, keep the k first, then the fewest whose sum reaches p."""
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    order = sorted(range(len(p)), key=lambda i: -p[i])[:top_k]
    kept, total, mass = [], 0.0, p[order].sum()
    for i in order:
        kept.append(i)
        total += p[i] / mass
        if top_p is not None and total >= top_p:
            break
    result = np.zeros(len(p))
    result[kept] = p[kept] / p[kept].sum()
    return result


@given(
    st.lists(st.integers(-300, 300), min_size=2, max_size=12, unique=True),
    st.floats(0.3, 3),
    st.none() | st.integers(1, 15),
    st.none() | st.integers(1, 99).map(lambda n: n / 100 + 1e-4),
)
def test_top_k_and_top_p_keep_what_the_plain_reference_keeps(values, temperature, top_k, top_p):
    logits = np.array(values) / 100
    streams = [Recorder(), Recorder()]
    sample_tokens(np.stack([logits, logits[::-1]]).astype(np.float32), temperature, top_k, top_p, streams)
    for stream, row in zip(streams, (logits, logits[::-1]), strict=True):
        expected = reference(row.astype(np.float32).astype(np.float64), temperature, top_k, top_p)
        np.testing.assert_allclose(stream.p, expected, rtol=1e-9, atol=1e-12)


def test_temperature_zero_takes_the_likeliest_and_a_tiny_one_does_too_without_overflow():
    logits = np.array([[1.0, 3.0, 2.0], [5.0, -4.0, 0.0]], np.float32)
    streams = [np.random.default_rng(i) for i in range(2)]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for temperature in (0, 1e-320, 1e-300, 1e-12):
            assert sample_tokens(logits, temperature, None, None, streams).tolist() == [1, 0]


def test_a_temperature_may_be_a_number_of_numpy():
    wanted = generate(MODEL, [1, 2], 4, temperature=0.5)[0].tolist()
    for kind in (np.float32, np.float64):
        assert generate(MODEL, [1, 2], 4, temperature=kind(0.5))[0].tolist() == wanted


def test_a_temperature_above_zero_follows_the_probabilities():
    logits = np.log(np.array([[0.5, 0.3, 0.2]]))
    stream = [np.random.default_rng(0)]
    drawn = [sample_tokens(logits, 1.0, None, None, stream)[0] for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.5, 0.3, 0.2], atol=0.03)


def test_choosing_does_not_change_the_logits():
    logits = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    before = logits.copy()
    sample_tokens(logits, 0.7, 2, 0.9, [np.random.default_rng(0)] * 2)
    assert np.array_equal(logits, before)


def test_each_row_has_its_own_stream_and_a_seed_gives_the_same_tokens_again():
    options = {"temperature": 2.0, "seed": 11}
    rows = [row.tolist() for row in MODEL.generate([[3, 1]] * 3, 8, **options)]
    assert rows[0] != rows[1] != rows[2]
    assert rows == [row.tolist() for row in MODEL.generate([[3, 1]] * 3, 8, **options)]
    assert rows != [row.tolist() for row in MODEL.generate([[3, 1]] * 3, 8, temperature=2.0, seed=12)]


def test_top_k_of_one_is_greedy():
    greedy = MODEL.generate([3, 1, 4], 6)[0].tolist()
    assert MODEL.generate([3, 1, 4], 6, temperature=5.0, top_k=1)[0].tolist() == greedy


# ---- the cache itself: whose memory is it


# ---- tokens as they arrive, and a sequence that goes on


@some
@given(prompts)
def test_each_is_called_with_every_new_token_and_none_for_a_row_that_has_ended(batch):
    plain = MODEL.generate(batch, 5)
    end = int(plain[0][len(batch[0])])
    seen = []
    rows = MODEL.generate(batch, 5, eos_token_id=end, each=lambda tokens: seen.append(tokens))
    for i, (prompt, row) in enumerate(zip(batch, rows, strict=True)):
        assert [tokens[i] for tokens in seen if tokens[i] is not None] == row[len(prompt) :].tolist()


def test_each_ends_the_generation_when_it_returns_true():
    whole = MODEL.generate([3, 1, 4], 6)[0].tolist()
    seen = []
    [row] = MODEL.generate([3, 1, 4], 6, each=lambda tokens: seen.append(tokens) or len(seen) == 2)
    assert row.tolist() == whole[:5]


def counting_tokens(model, monkeypatch):
    """A list that gets how many tokens each forward of the model computes."""
    lengths, inner = [], getattr(model, "get_base_model", lambda: model)()
    hidden = inner.hidden
    monkeypatch.setattr(inner, "hidden", lambda ids, context: lengths.append(ids.shape[1]) or hidden(ids, context))
    return lengths


@some
@given(st.lists(st.lists(tokens, min_size=1, max_size=4), min_size=2, max_size=4), st.integers(0, 2), st.data())
def test_a_sequence_that_goes_on_gets_the_tokens_it_gets_anew(turns, which, data):
    model = [MODEL, ADAPTED, with_prefix()][which]
    kept, ids = Kept(), []
    for turn in turns:
        ids = ids[: data.draw(st.integers(0, len(ids)))] + turn  # a conversation may lose its end, or all
        [row] = model.generate(ids, 3, kept=kept)
        assert row.tolist() == model.generate(ids, 3)[0].tolist()
        ids = row.tolist()


@functools.cache
def with_prefix():
    from minilora.adapters.model import get_peft_model
    from minilora.methods.prefix_tuning import PrefixTuningConfig

    return get_peft_model(tiny_llama(), PrefixTuningConfig(num_virtual_tokens=3)).eval()


def test_only_new_tokens_are_computed(monkeypatch):
    lengths, kept = counting_tokens(MODEL, monkeypatch), Kept()
    [row] = MODEL.generate([3, 1, 4, 1], 3, kept=kept)
    MODEL.generate([*row.tolist(), 5], 1, kept=kept)
    assert lengths == [4, 1, 1, 2]  # the last new token was never an input


def test_what_ctrl_c_leaves_can_go_on(monkeypatch):
    kept, wanted = Kept(), MODEL.generate([3, 1, 4, 1], 4)[0].tolist()

    def interrupt(tokens):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MODEL.generate([3, 1, 4, 1], 4, kept=kept, each=interrupt)
    extend, calls = KVCache.extend, []

    def fail_once(cache, layer, *new):
        calls.append(layer)
        if len(calls) == 2:
            raise KeyboardInterrupt  # the first layer has its new keys already
        return extend(cache, layer, *new)

    monkeypatch.setattr(KVCache, "extend", fail_once)
    with pytest.raises(KeyboardInterrupt):
        MODEL.generate([3, 1, 4, 1], 4, kept=kept)
    assert MODEL.generate([3, 1, 4, 1], 4, kept=kept)[0].tolist() == wanted


def test_several_prompts_cannot_go_on():
    with pytest.raises(ConfigError, match="kept with 2 prompts: expected one"):
        MODEL.generate([[1], [2]], 1, kept=Kept())
