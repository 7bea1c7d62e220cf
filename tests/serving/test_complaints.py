"""Twenty-two complaints about servers of many adapters (vLLM, SGLang, TGI, LoRAX, llama.cpp, PEFT), one test each.

A number in a name is that of the complaint; the line below it says where it was made and what went wrong there.
"""

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from engines import CONFIGS, SIZES, asked, base, engine_of, expected, run
from safetensors.numpy import load_file, save_file
from tiny import random_ids, tiny_llama

import minilora as ml
from minilora.adapters import files
from minilora.adapters.mixed import Rows
from minilora.adapters.resident import Resident
from minilora.errors import ConfigError, MiniloraError, UnknownNameError

PROMPT = random_ids(1, (9,), 200)


def save(folder, config=CONFIGS["a"], seed=0, model=None):
    ml.get_peft_model(model or base(), config, seed=seed).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Adapters a, b and c of one base."""
    for seed, name in enumerate("abc"):
        save(tmp_path / name, CONFIGS[name], seed)
    return tmp_path


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Ten adapters, 0 to 9."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(10):
        save(folder / str(seed), replace(CONFIGS["a"], r=1 + seed % 4), seed)
    return folder


def answer(engine, adapter, prompt=PROMPT, count=6):
    sequence, deltas = asked(engine, prompt, adapter, max_tokens=count)
    run(engine)
    assert deltas[-1].error is None
    return sequence.tokens


def test_one_a_reload_under_the_same_name_answers_as_the_new_adapter_alone(folder):
    # vllm#42125: a cache keyed by the name of the adapter answered from the old one
    engine = engine_of(folder)
    engine.pool.add("x", folder / "a")
    before = answer(engine, "x"), answer(engine, None)
    engine.pool.add("x", folder / "b", replace=True)
    assert answer(engine, "x") == expected(folder, PROMPT, "b", 6) != before[0] == expected(folder, PROMPT, "a", 6)
    assert answer(engine, None) == before[1] == expected(folder, PROMPT, None, 6)


def test_two_a_reload_reads_the_files_once_however_many_steps_follow(folder, monkeypatch):
    # vllm#33791: the flag of a reload stayed set, so that every step read the disk
    reads, read = [], files.read_adapter_tensors
    monkeypatch.setattr(files, "read_adapter_tensors", lambda *args: reads.append(args) or read(*args))
    engine = engine_of(folder)
    engine.pool.add("x", folder / "a")
    engine.pool.add("x", folder / "b", replace=True)
    assert len(answer(engine, "x", count=20)) == 20 and len(reads) == 2


def test_three_an_unload_frees_what_the_load_took(folder):
    # vllm#54839: an unload forgot the name and kept the weights
    engine = engine_of(folder)
    engine.pool.add("kept", folder / "b")
    answer(engine, "kept")

    def held():
        pool = engine.pool
        arrays = [stack for stacks in pool.resident._stacks.values() for stack in stacks]
        return sum(v.bytes for v in pool.versions.values()), len(pool.active), len(arrays), len(pool.entries)

    before = held()
    for _ in range(50):
        engine.pool.add("c2", folder / "c")
        answer(engine, "c2", count=1)
        assert held() > before
        engine.pool.remove("c2")
        engine.step()
        assert held() == before


def test_four_an_unload_leaves_running_requests_as_they_began_and_new_ones_get_none(folder):
    # vllm#13698: a load or unload while requests ran crashed, or gave tokens of two versions in one answer
    engine = engine_of(folder)
    engine.pool.add("x", folder / "a")
    running, _ = asked(engine, PROMPT, "x", max_tokens=20)
    engine.take()
    for _ in range(5):
        engine.step()
    engine.pool.remove("x")
    with pytest.raises(UnknownNameError):
        engine.pool.lease("x")
    engine.pool.add("x", folder / "b")
    later, _ = asked(engine, PROMPT, "x", max_tokens=20)
    run(engine)
    assert running.tokens == expected(folder, PROMPT, "a", 20)
    assert later.tokens == expected(folder, PROMPT, "b", 20)


def test_five_every_way_in_which_a_request_ends_gives_its_adapter_back(folder):
    # sglang#36894: an unload waited for a count that never fell, after n > 1, an abort or an error
    engine = engine_of(folder)
    for _ in range(3):  # n = 3
        asked(engine, PROMPT, "a", max_tokens=4)
    gone, _ = asked(engine, PROMPT, "a", max_tokens=40)
    with pytest.raises(ConfigError):
        asked(engine, np.array([9**6]), "b", max_tokens=4)
    engine.take()
    engine.step()
    engine.cancel(gone)
    run(engine)
    failed = next(v for v in engine.pool.versions.values() if v.name == "b")  # whoever took it gives it back
    engine.pool.release(failed)
    assert [v.leases for v in engine.pool.versions.values()] == [0, 0]
    engine.pool.remove("a")
    engine.step()
    assert [v.name for v in engine.pool.versions.values()] == ["b"]


def test_six_more_adapters_than_slots_and_the_base_in_one_burst_are_all_answered(many):
    # sglang#23141: as many adapters as slots and one request of the base ended the server
    engine = engine_of(many, max_loras=3)
    asks = [(name, asked(engine, PROMPT, name, max_tokens=3)[0]) for name in (*"0123", None)]
    run(engine)
    for name, sequence in asks:
        assert sequence.tokens == expected(many, PROMPT, name, 3)


def test_seven_a_flood_for_one_adapter_does_not_starve_another(folder):
    # vllm#16876: a popular adapter was reused for ever while the head of the queue waited
    engine = engine_of(folder, max_loras=1, max_rows=2)
    for _ in range(2):
        asked(engine, PROMPT, "a", max_tokens=3)
    engine.take()
    engine.step()
    other, _ = asked(engine, PROMPT, "b", max_tokens=3)
    steps = 0
    while len(other.tokens) < 3:
        asked(engine, PROMPT, "a", max_tokens=3)
        engine.take()
        engine.step()
        steps += 1
        assert steps < 60


def test_eight_adapters_beyond_the_slots_are_answered_too(many):
    # vllm#11077: adapters beyond max_loras could not be used
    engine = engine_of(many, max_loras=2, max_cpu_loras=4)
    rng = np.random.default_rng(0)
    for name in map(str, rng.integers(0, 10, 20)):
        assert answer(engine, name, count=3) == expected(many, PROMPT, name, 3)
    assert len(engine.pool.versions) <= 4 and engine.pool.evictions > 5


def test_nine_an_unknown_name_and_an_adapter_that_matches_no_module_are_never_answered_by_the_base(folder):
    # TGI#2505, vllm#34186: both were answered by the base, with 200
    tensors = load_file(folder / "a" / files.TENSORS)
    first = next(iter(tensors))
    tensors["base_model.model.other." + first] = tensors.pop(first)
    save_file(tensors, folder / "a" / files.TENSORS)
    pool = engine_of(folder).pool
    with pytest.raises(UnknownNameError, match="`nobody` does not exist"):
        pool.lease("nobody")
    with pytest.raises(MiniloraError, match=f"other.{first}".replace(".", r"\.")):
        pool.lease("a")


def test_ten_copies_of_modules_are_refused_by_name_and_trained_tokens_act(folder):
    # vllm#9280, peft#2422: modules_to_save and trainable_token_indices were ignored, or crashed
    save(folder / "copy", replace(CONFIGS["a"], modules_to_save=["lm_head"]))
    model = ml.get_peft_model(base(), replace(CONFIGS["a"], trainable_token_indices=[int(PROMPT[0]), 7]), seed=0)
    for name, p in model.named_parameters():
        if "trainable_tokens" in name:
            p.data = p.data + 3.0
    model.save_pretrained(folder / "tokens")
    engine = engine_of(folder)
    with pytest.raises(ConfigError, match=r"'copy' has modules_to_save \['lm_head'\]"):
        engine.pool.lease("copy")
    found = answer(engine, "tokens")
    assert found == expected(folder, PROMPT, "tokens", 6) != expected(folder, PROMPT, "a", 6)


def test_eleven_another_base_is_told_by_shapes_and_values_and_never_by_the_name_of_its_folder(folder):
    # lorax#172: a path that differed was refused, and another width crashed the engine
    save(folder / "wide", model=tiny_llama(dtype=np.float64, **SIZES, hidden_size=20))
    save(folder / "other", model=tiny_llama(9, dtype=np.float64, **SIZES))
    config = json.loads((folder / "a" / files.CONFIG).read_text())
    (folder / "a" / files.CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "/another/place"}))
    engine = engine_of(folder)
    running, _ = asked(engine, PROMPT, "b", max_tokens=6)
    for name, said in (("wide", "wrong shape"), ("other", "trained on another base")):
        with pytest.raises(MiniloraError, match=said):
            engine.pool.lease(name)
    run(engine)
    assert running.tokens == expected(folder, PROMPT, "b", 6)
    assert answer(engine, "a") == expected(folder, PROMPT, "a", 6)


def harmed(folder, name, *, tensors=None, **fields):
    """A copy of adapter a that is broken; tensors: what becomes of them."""
    shutil.copytree(folder / "a", folder / name)
    path = folder / name / files.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    if tensors is not None:
        save_file(tensors(load_file(folder / "a" / files.TENSORS)), folder / name / files.TENSORS)


def test_twelve_no_bad_adapter_disturbs_what_runs(folder):
    # vllm PR #11727: a bad adapter ended the engine
    harmed(folder, "nan", tensors=lambda t: {k: v * np.float32(np.nan) for k, v in t.items()})
    harmed(folder, "no B", tensors=lambda t: {k: v for k, v in t.items() if "lora_B" not in k})
    harmed(folder, "rank 0", r=0)
    harmed(folder, "huge", r=10**6)
    harmed(folder, "short")
    data = (folder / "short" / files.TENSORS).read_bytes()
    (folder / "short" / files.TENSORS).write_bytes(data[: len(data) // 2])
    engine = engine_of(folder)
    good, _ = asked(engine, PROMPT, "b", max_tokens=10)
    engine.take()
    engine.step()
    for name in ("nan", "no B", "rank 0", "huge", "short"):
        with pytest.raises(MiniloraError):
            engine.pool.add(f"{name} 2", folder / name)
        with pytest.raises(MiniloraError):
            engine.pool.lease(name)
        engine.step()
    run(engine)
    assert good.tokens == expected(folder, PROMPT, "b", 10)
    assert [v.name for v in engine.pool.versions.values()] == ["b"]


@pytest.mark.parametrize(
    "fields",
    [
        {"use_rslora": True}, {"lora_alpha": 2}, {"rank_pattern": {"v_proj": 1}, "alpha_pattern": {"q_proj": 11}},
    ],
)  # fmt: skip
def test_thirteen_the_scale_is_that_of_the_training(tmp_path, fields):
    # sglang#40835: use_rslora, alpha / rank and the patterns were ignored
    save(tmp_path / "x", replace(CONFIGS["a"], **fields))
    save(tmp_path / "plain", replace(CONFIGS["a"], lora_alpha=5))
    prompt = np.array([3, 4, 5])
    assert_logits_equal(tmp_path, ["x", "plain", None], prompt)


def assert_logits_equal(folder, names, prompt, tolerance=1e-12, dtype=np.float64):
    """Log-probabilities of every token of the prompt, asked in one batch, beside those of the model alone."""
    engine = engine_of(folder, dtype=dtype, max_loras=8)
    rows = [asked(engine, prompt, name, max_tokens=1, logprobs=0, echo=True)[0] for name in names]
    run(engine)
    worst = 0.0
    for name, row in zip(names, rows, strict=True):
        model = base(dtype).eval()
        model = model if name is None else ml.PeftModel.from_pretrained(model, folder / name)
        logits = model(prompt[None]).numpy()[0].astype(np.float64)
        log_p = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        log_p -= logits.max(-1, keepdims=True)
        right = log_p[np.arange(len(prompt) - 1), prompt[1:]]
        found = np.array([lp.value for lp in row.prompt_logprobs[1:]])
        worst = max(worst, np.abs(found - right).max())
    assert worst <= tolerance
    return worst


def test_fourteen_several_ranks_and_none_in_one_batch_are_each_as_alone(tmp_path):
    # TensorRT-LLM#3684: different ranks, or rows with and without an adapter, crashed or gave random tokens
    for rank in (1, 4, 12):
        save(tmp_path / f"r{rank}", replace(CONFIGS["a"], r=rank), seed=rank)
    engine = engine_of(tmp_path)
    asks = [(name, asked(engine, PROMPT, name, max_tokens=6)[0]) for name in (None, "r1", "r4", "r12", "r1")]
    run(engine)
    for name, sequence in asks:
        assert sequence.tokens == expected(tmp_path, PROMPT, name, 6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_fifteen_a_batch_gives_what_its_rows_give_alone_to_a_known_tolerance(folder, dtype, tolerance):
    # sglang#27097: tokens changed with the batch at temperature 0
    names = ["a", None, "b", "c", "a"]
    for name in "abc":
        save(folder / name, CONFIGS[name], model=base(dtype))
    assert_logits_equal(folder, names, PROMPT, tolerance, dtype)
    engine = engine_of(folder, dtype=dtype)
    asks = [(name, asked(engine, PROMPT, name, max_tokens=8)[0]) for name in names]
    run(engine)
    for name, sequence in asks:
        assert sequence.tokens == expected(folder, PROMPT, name, 8, dtype)


def test_sixteen_two_clients_with_two_adapters_do_not_change_each_others(folder):
    # llama.cpp#10374: the adapter was a global setting, changed under running requests
    engine, found = engine_of(folder), {}
    engine.start()

    def client(name):
        for _ in range(10):
            ended = threading.Event()
            sequence, deltas = asked(engine, PROMPT, name, max_tokens=6, ended=ended)
            ended.wait(30)
            found.setdefault(name, set()).add(tuple(sequence.tokens))

    threads = [threading.Thread(target=client, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.stop()
    assert found == {name: {tuple(expected(folder, PROMPT, name, 6))} for name in "ab"}


def test_seventeen_the_base_is_the_base_to_the_bit_whatever_was_loaded(folder):
    # llama.cpp#28674: an adapter that was loaded and not asked for acted all the same
    def logprobs(engine):
        sequence, _ = asked(engine, PROMPT, None, max_tokens=1, logprobs=3, echo=True)
        run(engine)
        return sequence.prompt_logprobs

    fresh, used = engine_of(folder), engine_of(folder)
    for name in "abc":
        answer(used, name)
    assert logprobs(used) == logprobs(fresh)


@pytest.mark.parametrize("name", ["../x", "/etc", "..", "link", "a\0b", "", "a/../b"])
def test_eighteen_no_name_or_path_leads_out_of_the_folder(folder, tmp_path_factory, name):
    # vllm PR #46287: an absolute path, `..` or a link was followed
    outside = save(tmp_path_factory.mktemp("outside") / "x")
    (folder / "link").symlink_to(outside)
    pool = engine_of(folder).pool
    with pytest.raises(UnknownNameError):
        pool.lease(name)
    with pytest.raises(ConfigError, match="lora_path"):
        pool.inside("../" + name if name == "a/../b" else name)
    assert not pool.versions


def test_nineteen_one_folder_under_two_names_is_two_adapters(folder):
    # sglang#13771: two names of one path shared their state
    engine = engine_of(folder)
    engine.pool.add("one", folder / "a")
    engine.pool.add("two", folder / "a")
    right = answer(engine, "one")
    engine.pool.remove("one")
    engine.step()
    assert answer(engine, "two") == right == expected(folder, PROMPT, "a", 6)


def test_twenty_a_token_outside_the_vocabulary_is_refused(folder):
    # vllm PR #6227: ids of an adapter's own added tokens read beyond the embedding
    engine = engine_of(folder)
    for token in (SIZES["vocab_size"], -1):
        with pytest.raises(ConfigError, match="out of vocabulary"):
            asked(engine, [3, token], None, max_tokens=1)
    assert len(answer(engine, None, [SIZES["vocab_size"] - 1], 1)) == 1


def test_twenty_one_rows_of_the_base_do_nothing_for_adapters_and_no_rank_is_padded(folder, monkeypatch):
    # vllm#9143: enabling LoRA slowed the base, and the cost followed the highest rank
    calls = []
    monkeypatch.setattr(Rows, "__init__", lambda *a, **o: calls.append(a))
    engine = engine_of(folder)
    held = engine.pool.lease("a")
    assert engine.pool.activate(held)
    answer(engine, None)
    assert calls == []
    ranks = {stack.A.shape[1] for stacks in engine.pool.resident._stacks.values() for stack in stacks}
    assert ranks == {CONFIGS["a"].r} and isinstance(engine.pool.resident, Resident)


def test_twenty_two_a_stream_has_one_finish_reason_and_no_empty_pieces_before_it(folder):
    # vllm-mlx#101 and #628, vllm#13087: no end, an end without a reason, empty pieces while a stop text was looked for
    engine = engine_of(folder)
    whole, deltas = asked(engine, PROMPT, "a", max_tokens=12)
    run(engine)
    text = "".join(d.text for d in deltas)
    assert [d.finish_reason for d in deltas[:-1]] == [None] * (len(deltas) - 1) and deltas[-1].finish_reason == "length"
    stop = text[5:8]
    _, cut = asked(engine, PROMPT, "a", max_tokens=12, stop=(stop,))
    run(engine)
    assert "".join(d.text for d in cut) == text[: text.index(stop)]
    assert [d.finish_reason for d in cut if d.finish_reason] == ["stop"]
