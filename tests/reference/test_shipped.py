"""The shipped base and what is trained on it: transformers and PEFT compute the same and write the same."""

import numpy as np
import pytest

pytestmark = pytest.mark.reference
pytest.importorskip("torch")
pytest.importorskip("peft")

from peft_reference import logits, ours, peft, quietly, theirs, torch, transformers  # noqa: E402

import minilora as ml  # noqa: E402
from minilora.cli import tour  # noqa: E402
from minilora.course.lab.own_lora import lora_from  # noqa: E402
from minilora.course.mutants import solution  # noqa: E402
from minilora.tasks.shipped import get_task  # noqa: E402
from minilora.text.batches import PairBatches, pad_pairs  # noqa: E402
from minilora.text.encoding import frame  # noqa: E402
from minilora.text.tokenizer import load_tokenizer  # noqa: E402
from minilora.training.loop import train  # noqa: E402
from minilora.training.optim import AdamW  # noqa: E402

TASK, STEPS, NEW = get_task("style-json"), 12, 24
BASE = ml.shipped("base")
TOKENIZER = load_tokenizer(BASE)
PROMPTS = [TOKENIZER.encode(frame(e["prompt"])) for e in TASK.examples("test")[:6]]
IDS, _ = pad_pairs([(p, []) for p in PROMPTS], TOKENIZER.pad_id)
TARGETS = {"all-linear": "all-linear", "q and v": ["q_proj", "v_proj"], "embedding": ["embed_tokens", "o_proj"]}


def batches(seed=3):
    return PairBatches(TASK.examples("train"), TOKENIZER, 8, 512, np.random.default_rng(seed))


def trained_here(targets):
    config = ml.LoraConfig(r=4, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM")
    model = ml.get_peft_model(ours(BASE), config, seed=1)
    train(model, batches(), AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3), STEPS)
    return model


def trained_there(targets):
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM")
    model = quietly(peft.get_peft_model, theirs(BASE), config)[0].train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    for _, (ids, labels) in zip(range(STEPS), batches(), strict=False):
        model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def text_here(model):
    rows = model.generate(PROMPTS, NEW, eos_token_id=TOKENIZER.eos_id)
    return [TOKENIZER.decode(row) for row in rows]


def text_there(model):
    """What transformers writes and its own tokenizer reads, prompt by prompt."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    options = {"max_new_tokens": NEW, "do_sample": False}
    rows = [model.generate(input_ids=torch.tensor([p]), **options)[0] for p in PROMPTS]
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def opened_there(folder):
    return quietly(peft.PeftModel.from_pretrained, theirs(BASE), folder)[0].eval()


def assert_same(here, there):
    plain = logits(ours(BASE), IDS)
    assert abs(logits(here, IDS) - logits(there, IDS)).max() < 1e-4
    assert abs(logits(here, IDS) - plain).max() > 0.1, "the adapter must matter"
    assert text_here(here) == text_there(there)


def test_transformers_opens_the_shipped_base_to_our_logits_and_text():
    assert abs(logits(ours(BASE), IDS) - logits(theirs(BASE), IDS)).max() < 1e-4
    assert text_here(ours(BASE)) == text_there(theirs(BASE))


def test_transformers_reads_the_shipped_tokenizer_with_its_end_and_padding():
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    examples = TASK.examples("test")[:50]
    assert len(examples) == 50
    for example in examples:
        for text in (frame(example["prompt"]), example["response"]):
            assert tokenizer(text).input_ids == TOKENIZER.encode(text)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (TOKENIZER.eos_id, TOKENIZER.pad_id)


@pytest.mark.parametrize("targets", TARGETS)
def test_an_adapter_trained_here_on_the_shipped_base_gives_our_logits_and_text_in_peft(targets, tmp_path):
    model = trained_here(TARGETS[targets])
    model.save_pretrained(tmp_path)
    assert_same(model, opened_there(tmp_path))


def test_an_adapter_computed_by_a_readers_functions_opens_in_peft_too(tmp_path):
    functions = [solution(6, name)[0] for name in ("lora_forward", "lora_gradients", "input_gradient")]
    model, _ = lora_from(*functions, r=4, alpha=12)
    train(model, batches(), AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3), STEPS)
    model.save_pretrained(tmp_path)
    assert_same(model, opened_there(tmp_path))


@pytest.mark.parametrize("targets", TARGETS)
def test_an_adapter_trained_in_peft_on_the_shipped_base_gives_its_logits_and_text_here(targets, tmp_path):
    model = trained_there(TARGETS[targets])
    quietly(model.save_pretrained, str(tmp_path))
    assert_same(ml.PeftModel.from_pretrained(ours(BASE), tmp_path), model)


@pytest.mark.parametrize("targets", ["all-linear", "embedding"])
def test_a_merged_shipped_base_gives_our_logits_and_text_in_transformers(targets, tmp_path):
    model = trained_here(TARGETS[targets]).merge_and_unload()
    model.save_pretrained(tmp_path, tokenizer_from=BASE)
    assert_same(model, theirs(tmp_path))


def test_the_adapters_of_the_tour_open_in_peft_to_the_same_logits_and_text(tmp_path, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(tour, "STEPS", STEPS)
    show = Console(quiet=True)
    model, _ = tour.wrap(ours(BASE), seed=0)
    histories = {name: tour.learn(show, model, TOKENIZER, get_task(name), seed=0) for name in tour.TASKS}
    tour.save(show, model, tmp_path, histories)
    there = opened_there(tmp_path / tour.TASKS[0])
    quietly(there.load_adapter, tmp_path / tour.TASKS[1], "second")
    for name, loaded in zip(tour.TASKS, ("default", "second"), strict=True):
        model.set_adapter(name)
        there.set_adapter(loaded)
        assert_same(model, there)
