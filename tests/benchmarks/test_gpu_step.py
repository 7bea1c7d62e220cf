"""The measured training steps, rehearsed: the stand-in as CuPy, torch on the CPU, tiny sizes."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from benchmarks.gpu import step
from benchmarks.gpu.rates import PRECISIONS
from benchmarks.models import Size, config_of
from minilora.models.llama import LlamaForCausalLM

pytestmark = pytest.mark.reference
TINY = {"width": 32, "layers": 1, "heads": 2, "vocab": 64, "rows": 2, "tokens": 8, "square": 32, "seconds": 0}


@pytest.fixture
def rows(card):
    return list(step.measure(**TINY))


def test_each_way_to_train_is_measured_in_each_precision_and_both_sides_do_the_same(rows, card):
    assert [(r["trained"], r["precision"]) for r in rows] == [(t, p) for t in step.TRAINED for p in PRECISIONS]
    assert len({len(step.row(r)) for r in rows}) == 1
    for r in rows:
        assert r["first_difference"] < 1e-4 and r["loss_difference"] < 1e-4
        assert r["here_mib"] == 8 and r["rounds"] >= 5
    losses = {(r["trained"], r["precision"]): r["loss"] for r in rows}
    for trained in step.TRAINED:  # the CPU ignores TF32
        assert losses[trained, "float16"] != losses[trained, "float32"] == losses[trained, "tf32"]
    switched = [compute_type == 7 for _, compute_type in card.compute_types]
    assert switched == [False, True, False] + [False, True, False] * len(step.TRAINED)  # the rates, then the steps


def test_training_lowers_the_loss_of_both_sides(card):
    size = Size(32, 1, 2, 2, 64, 2, 8)
    model, theirs = step.both(size, step.random_weights(config_of("llama", size)), None)
    ids, labels = step.batch(size)
    for make, side in ((step.step_here, model), (step.step_there, theirs)):
        take = make(side, ids, labels, False)
        first = take().item()
        for _ in range(20):
            last = take().item()
        assert last < first - 0.01


def test_the_operations_of_a_step_are_those_of_its_products(card):
    size = Size(768, 4, 12, 12, 8192, 4, 512)
    tokens, head, layer = 4 * 512, 768 * 8192, 4 * 768**2 + 3 * 768 * 2112
    forward = 2 * (head + 4 * layer) + 4 * 4 * 512 * 768  # with the scores and their sums
    assert step.operations(size, "full") == tokens * 3 * forward
    lora = 3 * 2 * 8 * 4 * 2 * (768 + 768)
    assert step.operations(size, "q,v") == tokens * (3 * forward - 2 * (head + 4 * layer) + lora)


def test_the_largest_case_fits_on_a_card_of_78_gib_with_both_sides_loaded():
    case = max(step.STEP.cases, key=lambda case: case["width"])
    size = Size(
        case["width"], case["layers"], case["heads"], case["heads"], case["vocab"], case["rows"], case["tokens"]
    )
    numbers = sum(p.size for p in LlamaForCausalLM(config_of("llama", size)).parameters())
    weights = numbers * (4 + 4 + 8 + 2)  # with gradients, moments, and the copy in float16
    tokens, layer = size.batch * size.tokens, 20 * size.width + 4 * size.width * 11 // 4
    kept = size.layers * tokens * 4 * (layer + 3 * size.heads * size.tokens)  # generously
    assert 2 * (weights + kept) < 60 * 2**30
