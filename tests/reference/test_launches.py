"""How many operations PyTorch eager + PEFT calls for a step and for a token: RESULTS.md has them beside ours."""

from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

pytestmark = pytest.mark.reference
NO_KERNEL = {"_unsafe_view", "_reshape_alias", "lift_fresh", "detach", "_local_scalar_dense"}  # the last waits
PAGE = Path(__file__).parents[2] / "benchmarks" / "RESULTS.md"


class Operations(TorchDispatchMode):
    """Counts what is called inside the block, without views."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.partition("::")[2]
        if not function.is_view and name not in NO_KERNEL:
            self.found[name] += 1
        return function(*args, **kwargs or {})


def model_of(targets):
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    return model if targets is None else peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=targets))


def of_a_step(targets):
    model, ids = model_of(targets).train(), torch.randint(0, 64, (2, 7))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, foreach=True)  # foreach: as on a card
    for _ in range(2):  # the first makes the optimizer's buffers
        with Operations() as step:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return step.found.total()


@pytest.mark.parametrize(
    ("row", "targets"),
    [("on `q_proj` and `v_proj`", ["q_proj", "v_proj"]), ("on every linear layer", "all-linear"), ("full step", None)],
)
def test_a_step_calls_as_many_operations_as_the_page_says(row, targets):
    assert of_a_step(targets) == pytest.approx(on_the_page(row), rel=0.05)  # versions of the libraries differ


def test_a_token_calls_as_many_operations_as_the_page_says():
    more, fewer = of_tokens(6), of_tokens(5)
    assert more - fewer == pytest.approx(on_the_page("a new token"), rel=0.05)


def of_tokens(n):  # of greedy generation
    model, prompt = model_of(["q_proj", "v_proj"]).eval(), torch.tensor([[3, 1, 4]])
    with Operations() as operations:
        model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=n, min_new_tokens=n)
    return operations.found.total()


def on_the_page(row):  # -> PyTorch's number in this row of the table of launches
    lines = PAGE.read_text(encoding="utf-8").partition("operations of PyTorch eager")[2].splitlines()
    return next(int(line.split("|")[3]) for line in lines if line.count("|") == 4 and row in line.split("|")[1])
