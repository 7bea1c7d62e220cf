"""An adapter for each row, and the engine of the server, on a device."""

import threading

import numpy as np
import pytest
from engines import CONFIGS, asked, base, expected, run
from many_adapters import IDS, NAMES, many_adapters
from places import assert_close, is_all_on
from tiny import tiny_gpt2, tiny_llama

import minilora as ml
from minilora.adapters.inject import AdaptedModel
from minilora.autograd import no_grad
from minilora.serving.engine import Engine
from minilora.serving.pool import Pool


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2], ids=["llama", "gpt2"])
def test_a_batch_with_an_adapter_for_each_row_has_the_logits_of_the_cpu(device, make):
    logits = []
    for to in ("cpu", device):
        model = many_adapters(make, np.float32).to(to)
        with no_grad():
            logits.append(model(IDS, adapter_names=NAMES).data)
    assert_close(logits[1], logits[0], 1e-3)


def test_a_batch_with_an_adapter_for_each_row_is_continued_as_on_the_cpu(device):
    prompts = [[1 + i % 7, 4, 2][: 1 + i % 3] for i in range(len(NAMES))]
    here, there = (
        many_adapters(dtype=np.float32).to(to).generate(prompts, 4, adapter_names=NAMES) for to in ("cpu", device)
    )
    assert [row.tolist() for row in there] == [row.tolist() for row in here]


# ---- the engine

PROMPTS = [[5, 9, 2], [7], [1, 2, 3, 4, 5, 6], [8, 8], [3, 1, 4, 1], [9, 2, 6], [5, 3], [6, 6, 6, 1]]
ADAPTERS = [None, "a", "b", "c", "d", "h", "v", "i"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (name, config) in enumerate(CONFIGS.items()):
        ml.get_peft_model(base(np.float32), config, seed=seed).save_pretrained(folder / name)
    return folder


def engine_on(device, folder, max_loras=8, max_rows=8, **options):
    model = base(np.float32).to(device).eval()
    return Engine(model, Pool(AdaptedModel(model), max_loras, 8, folder=folder), max_rows, **options)


def tokens(sequences):
    return [sequence.tokens for sequence, _ in sequences]


def test_the_engine_answers_rows_of_several_adapters_with_the_tokens_of_the_model_alone(device, folder):
    engine = engine_on(device, folder)
    sequences = [asked(engine, p, a, max_tokens=6) for p, a in zip(PROMPTS, ADAPTERS, strict=True)]
    run(engine)
    assert is_all_on(engine.model, "cuda:0")
    assert tokens(sequences) == [expected(folder, p, a, 6, np.float32) for p, a in zip(PROMPTS, ADAPTERS, strict=True)]


def test_sequences_that_come_and_go_are_answered_as_on_the_cpu(device, folder):
    """More sequences than rows, of different lengths, with fewer slots than adapters: rows and slots change places."""
    answers = []
    for to in ("cpu", device):
        engine = engine_on(to, folder, max_loras=2, max_rows=3)
        sequences = [
            asked(engine, p, a, max_tokens=2 + i % 4, temperature=0.8 * (i % 2), seed=i, logprobs=2, echo=i == 3)
            for i, (p, a) in enumerate(zip(PROMPTS, ADAPTERS, strict=True))
        ]
        run(engine)
        answers.append(tokens(sequences))
    assert answers[1] == answers[0]


def test_an_adapter_acts_at_another_strength_in_one_row_as_on_the_cpu(device, folder):
    answers = []
    for to in ("cpu", device):
        engine = engine_on(to, folder)
        sequences = [asked(engine, PROMPTS[0], name, max_tokens=5, scale=scale) for name, scale in
                     (("a", 0.5), ("a", 1.0), ("b", 2.0), ("c", 0.0))]  # fmt: skip
        run(engine)
        answers.append(tokens(sequences))
    assert answers[1] == answers[0]


def answer_of_a_thread(device, folder):
    engine, ended = engine_on(device, folder), threading.Event()
    engine.start()
    try:
        sequence, _ = asked(engine, PROMPTS[0], "a", ended, max_tokens=4)
        assert ended.wait(120)  # the first use of a kernel compiles it
    finally:
        engine.stop()
    return sequence.tokens


def test_an_engine_in_a_thread_of_its_own_answers_on_the_device(device, folder):
    assert answer_of_a_thread(device, folder) == expected(folder, PROMPTS[0], "a", 4, np.float32)


def test_an_engine_in_a_thread_of_its_own_answers_on_a_device_that_is_not_the_first(second, folder):
    assert answer_of_a_thread(second, folder) == expected(folder, PROMPTS[0], "a", 4, np.float32)
