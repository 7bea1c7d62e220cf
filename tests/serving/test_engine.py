"""The engine: many sequences in one batch, each answered as if it were alone."""

import numpy as np
import pytest
from engines import CONFIGS, SIZES, TOKENIZER, asked, base, engine_of, expected, run
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora.adapters import files
from minilora.errors import BusyError, ConfigError
from minilora.serving.engine import logprob_of, longest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every adapter of CONFIGS in it."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (name, config) in enumerate(CONFIGS.items()):
        ml.get_peft_model(base(), config, seed=seed).save_pretrained(folder / name)
    return folder


def test_sequences_that_come_and_go_are_answered_as_alone(folder):
    engine = engine_of(folder, max_loras=3, max_rows=4)
    rng = np.random.default_rng(1)
    cases = []
    for i, name in enumerate([None, "a", "b", "c", "a", None, "d", "v", "i", "b", "h", "a", "c", "v", None, "h"]):
        prompt = random_ids(i, (int(rng.integers(1, 30)),), SIZES["vocab_size"])
        count = int(rng.integers(1, 12))
        cases.append((prompt, name, count, asked(engine, prompt, name, max_tokens=count)[0]))
        if i % 3 == 0:
            engine.take()
            engine.step()
    run(engine)
    for prompt, name, count, sequence in cases:
        assert sequence.tokens == expected(folder, prompt, name, count), name
    assert not engine.pool.versions.keys() - {v.key for v in engine.pool.versions.values() if not v.leases}


def test_a_long_prompt_is_read_in_pieces_and_others_answer_meanwhile(folder):
    engine = engine_of(folder)
    engine.scheduler.piece = 5
    short, deltas = asked(engine, [3, 4], "a", max_tokens=8)
    long, _ = asked(engine, random_ids(2, (23,), 200), "b", max_tokens=3)
    engine.take()
    for _ in range(4):
        engine.step()
    assert (len(short.tokens), long.computed) == (5, 18)
    run(engine)
    assert long.tokens == expected(folder, random_ids(2, (23,), 200), "b", 3)
    assert "".join(d.text for d in deltas) == TOKENIZER.decode([t for t in short.tokens if t])


def test_prompts_of_about_one_length_are_read_in_one_forward(folder):
    engine = engine_of(folder)
    shapes, hidden = [], engine.model.hidden
    engine.model.hidden = lambda ids, context: shapes.append(ids.shape) or hidden(ids, context)
    asks = [(7, "a"), (20, "b"), (4, None), (5, "v"), (30, "a")]
    cases = [(p := random_ids(n, (n,), 200), name, asked(engine, p, name, max_tokens=3)[0]) for n, name in asks]
    engine.take()
    engine.step()
    assert shapes == [(3, 7), (2, 30), (5, 1)]
    run(engine)
    for prompt, name, sequence in cases:
        assert sequence.tokens == expected(folder, prompt, name, 3)


def test_the_deltas_are_the_answer_and_the_last_says_why_it_ended(folder):
    engine = engine_of(folder)
    sequence, deltas = asked(engine, [5, 6, 7], max_tokens=4)
    run(engine)
    assert [t for d in deltas for t in d.tokens] == sequence.tokens
    assert [d.finish_reason for d in deltas] == [None, None, None, "length"]


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(folder):
    engine = engine_of(folder)
    whole, deltas = asked(engine, [5, 6, 7], max_tokens=12)
    run(engine)
    text = "".join(d.text for d in deltas)
    stop = text[6:9]
    _, deltas = asked(engine, [5, 6, 7], max_tokens=12, stop=("zzz", stop))
    run(engine)
    assert "".join(d.text for d in deltas) == text[: text.index(stop)]
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", stop)
    assert all(stop[0] not in d.text or stop not in d.text for d in deltas)


def test_an_answer_does_not_depend_on_who_shares_the_batch(folder):
    engine = engine_of(folder)
    alone, _ = asked(engine, [9, 8], "a", temperature=1.0, seed=7, max_tokens=9)
    run(engine)
    again, _ = asked(engine, [9, 8], "a", temperature=1.0, seed=7, max_tokens=9)
    for i, name in enumerate(["b", None, "c"]):
        asked(engine, random_ids(i, (4 + i,), 200), name, temperature=1.0, seed=i, max_tokens=5)
    run(engine)
    assert again.tokens == alone.tokens and len(alone.tokens) > 2


def test_a_cancelled_sequence_leaves_the_batch_and_frees_its_adapter(folder):
    engine = engine_of(folder)
    sequence, deltas = asked(engine, [5, 6], "a", max_tokens=50)
    other, _ = asked(engine, [5, 6], "b", max_tokens=6)
    engine.take()
    engine.step()
    engine.cancel(sequence)
    run(engine)
    assert deltas[-1].finish_reason == "abort" and len(sequence.tokens) < 5
    assert sequence.lease.leases == 0
    assert other.tokens == expected(folder, [5, 6], "b", 6)


def test_log_probabilities_are_those_of_the_model(folder):
    engine = engine_of(folder)
    prompt = random_ids(4, (6,), 200)
    sequence, deltas = asked(engine, prompt, "d", max_tokens=3, logprobs=2, echo=True)
    run(engine)
    model = ml.PeftModel.from_pretrained(base().eval(), folder / "d")
    ids = np.concatenate([prompt, sequence.tokens])
    logits = model(ids[None]).numpy()[0]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = [*sequence.prompt_logprobs, *(lp for d in deltas for lp in d.logprobs)]
    assert found[0].value is None and len(found) == len(ids)
    for place, logprob in enumerate(found[1:], start=1):
        assert logprob.token == ids[place]
        assert logprob.value == pytest.approx(log_p[place - 1, ids[place]], abs=1e-10)
        assert [t for t, _ in logprob.top] == np.argsort(-log_p[place - 1])[:2].tolist()


def test_the_likeliest_tokens_are_in_order_and_none_are_possible():
    logits = np.log(np.array([0.1, 0.4, 0.2, 0.3]))
    assert [(t, pytest.approx(v)) for t, v in logprob_of(logits, 0, 2).top] == [(1, np.log(0.4)), (3, np.log(0.3))]
    assert logprob_of(logits, 0, 0).top == ()
    assert len(logprob_of(logits, 0, 9).top) == 4


@pytest.mark.parametrize(
    ("prompt", "sampling", "said"),
    [
        ([], {}, "the prompt is empty"),
        ([3, SIZES["vocab_size"]], {}, "is out of vocabulary"),
        ([-1], {}, "token id -1 is out of vocabulary"),
        ([3] * 60, {"max_tokens": 5}, "maximum context length is 64 tokens. However, you requested 65 tokens"),
    ],
)
def test_what_the_model_cannot_answer_is_refused_before_it_waits(folder, prompt, sampling, said):
    engine = engine_of(folder)
    with pytest.raises(ConfigError, match=said):
        asked(engine, np.array(prompt, dtype=np.int64), **sampling)
    assert not engine.is_busy


def test_an_adapter_whose_numbers_overflow_ends_its_own_requests_alone(folder, tmp_path):
    model = ml.get_peft_model(base(np.float32), CONFIGS["a"])  # each number is finite, the update is not
    for p in model.parameters():
        if p.requires_grad:
            p.data = np.full(p.shape, 1e38, dtype=p.dtype)
    model.save_pretrained(tmp_path / "huge")
    ml.get_peft_model(base(np.float32), CONFIGS["b"]).save_pretrained(tmp_path / "b")
    engine = engine_of(tmp_path, dtype=np.float32)
    _, bad = asked(engine, [5, 6], "huge", max_tokens=4)
    good, _ = asked(engine, [5, 6], "b", max_tokens=6)
    with np.errstate(all="ignore"):
        run(engine)
    assert bad[-1].finish_reason == "error" and "not finite" in str(bad[-1].error)
    assert good.tokens == expected(tmp_path, [5, 6], "b", 6, np.float32)


def test_a_step_without_memory_ends_its_sequences_and_the_next_are_answered(folder, monkeypatch):
    engine = engine_of(folder)
    _, long = asked(engine, [5, 6, 7, 8], "a", max_tokens=4)
    with monkeypatch.context() as patched:
        patched.setattr(engine.model, "hidden", lambda *args: bytearray(2**62))
        run(engine)
    assert long[-1].finish_reason == "error" and isinstance(long[-1].error, BusyError)
    assert str(long[-1].error).startswith("out of memory: shorter requests")
    short, _ = asked(engine, [5, 6], "a", max_tokens=6)
    run(engine)
    assert short.tokens == expected(folder, [5, 6], "a", 6)


def test_too_many_requests_are_refused(folder):
    engine = engine_of(folder, max_rows=1, max_waiting=2)
    for _ in range(3):
        asked(engine, [1, 2], max_tokens=2)
    with pytest.raises(BusyError, match="3 requests run or wait already"):
        asked(engine, [1, 2], max_tokens=2)
    run(engine)
    asked(engine, [1, 2], max_tokens=2)


def test_the_thread_answers_and_ends(folder):
    engine = engine_of(folder)
    engine.start()
    sequence, deltas = asked(engine, [5, 6, 7], "c", max_tokens=4)
    while not deltas or not deltas[-1].finish_reason:
        pass
    engine.stop()
    assert sequence.tokens == expected(folder, [5, 6, 7], "c", 4)
    with pytest.raises(BusyError, match="the engine ended"):
        asked(engine, [1])


def test_what_runs_when_the_engine_stops_is_aborted(folder):
    engine = engine_of(folder)
    _, deltas = asked(engine, [5, 6, 7], "c", max_tokens=40)
    engine._inbox.put(StopIteration)
    engine._run()
    assert deltas[-1].finish_reason == "abort"


def test_a_model_with_a_window_answers_up_to_the_window(folder):
    assert longest(base()) == 64
    assert longest(tiny_llama(sliding_window=9)) == 9
    with pytest.raises(ConfigError, match="max_model_len 65: expected 1 to 64"):
        engine_of(folder, max_model_len=65)


def test_the_files_of_the_pool_are_those_of_peft():
    assert (files.CONFIG, files.TENSORS) == ("adapter_config.json", "adapter_model.safetensors")


def test_the_strength_of_an_adapter_is_a_row_of_its_own(folder):
    engine = engine_of(folder)
    prompt = random_ids(6, (9,), 200)
    asks = {0.0: None, 1.0: "a", 2.0: None, -0.5: None}
    rows = {scale: asked(engine, prompt, "a", max_tokens=6, scale=scale)[0] for scale in asks}
    base_row, _ = asked(engine, prompt, max_tokens=6)
    run(engine)
    assert rows[0.0].tokens == base_row.tokens == expected(folder, prompt, None, 6)
    assert rows[1.0].tokens == expected(folder, prompt, "a", 6)
    model = ml.PeftModel.from_pretrained(base().eval(), folder / "a")
    for scale in (2.0, -0.5):
        model.set_scale("default", scale)
        assert rows[scale].tokens == model.generate(prompt, 6, eos_token_id=0)[0][len(prompt) :].tolist()


@pytest.mark.parametrize("adapter", [None, "d", "v", "i"])
def test_only_lora_has_a_strength(folder, adapter):
    engine = engine_of(folder)
    with pytest.raises(ConfigError, match="only LoRA adapters can be scaled"):
        asked(engine, [1, 2], adapter, scale=0.5)
