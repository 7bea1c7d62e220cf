"""The server beside PEFT: twelve clients over twenty-four adapters that PEFT made, in four slots."""

import concurrent.futures
import re

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from peft_reference import peft, quietly, theirs, torch  # noqa: E402
from served import served  # noqa: E402

from benchmarks import serving_compare  # noqa: E402
from minilora.files.shipped import shipped  # noqa: E402

pytestmark = [pytest.mark.reference, pytest.mark.slow]
CLIENTS, ADAPTERS, SLOTS, TOKENS = 12, 24, 4, 5
TIE = 1e-3  # two logits closer than this may change places with the shape of the batch
KINDS = [
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": "all-linear", "use_rslora": True},
    {"target_modules": ["o_proj", "down_proj"], "use_dora": True},
    {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 2}, "alpha_pattern": {"q_proj": 3}},
]


def prompts_of(number):
    return [np.random.default_rng([number, k]).integers(3, 900, 5 + 7 * k).tolist() for k in range(3)]


def answers_of_peft(model, number):  # -> [(tokens, how many of them are no tie)]
    """What PEFT generates, greedily, and up to where its two best logits differ clearly."""
    model.set_adapter(f"p{number}")
    found = []
    for prompt in prompts_of(number):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            whole = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
            logits = model(whole).logits[0, len(prompt) - 1 : -1].numpy()
        best = np.sort(logits, axis=-1)
        sure = next((i for i, row in enumerate(best) if row[-1] - row[-2] < TIE), len(best))
        found.append((whole[0, len(prompt) :].tolist(), sure))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of adapters of several methods, ranks and targets, and PEFT's own answers with each."""
    folder = tmp_path_factory.mktemp("peft")
    model = None
    for number in range(ADAPTERS):
        config = peft.LoraConfig(r=(4, 8, 6)[number % 3], lora_alpha=9, init_lora_weights=False, **KINDS[number % 4])
        if model is None:
            model, _ = quietly(peft.get_peft_model, theirs(shipped("base")), config, "p0")
        else:
            quietly(model.add_adapter, f"p{number}", config)
    generator = torch.Generator().manual_seed(3)
    for name, p in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            p.data = torch.randn(p.shape, generator=generator) * 0.08
    quietly(model.save_pretrained, str(folder))
    model.eval()
    return folder, {number: answers_of_peft(model, number) for number in range(ADAPTERS)}


def test_every_client_gets_what_peft_answers_with_its_adapter(made):
    folder, expected = made
    jobs = [(number, k) for k in range(3) for number in range(ADAPTERS)]
    with served(folder=folder, max_loras=SLOTS, max_cpu_loras=CLIENTS) as (server, url), httpx.Client() as client:

        def ask(job):
            number, k = job
            body = {"model": f"p{number}", "prompt": prompts_of(number)[k], "max_tokens": TOKENS, "temperature": 0}
            body |= {"logprobs": 0, "ignore_eos": True}
            reply = client.post(f"{url}/v1/completions", json=body, timeout=60).json()
            return reply["choices"][0]["logprobs"]["tokens"]

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            found = list(threads.map(ask, jobs))
        texts = {job: [server.token_text(t) for t in expected[job[0]][job[1]][0]] for job in jobs}
        assert server.pool.evictions > 0 and len(server.pool.active) <= SLOTS
    for (number, k), tokens in zip(jobs, found, strict=True):
        sure = expected[number][k][1]
        assert tokens[:sure] == texts[number, k][:sure], (number, k)
    assert sum(sure == TOKENS for answers in expected.values() for _, sure in answers) > 0.7 * len(jobs)
    assert len({tuple(tokens) for tokens in found}) > 0.9 * len(jobs)


def test_the_benchmark_beside_peft_has_a_line_for_each_case():
    result = CliRunner().invoke(
        serving_compare.main, ["--sizes", "lesson", "--targets", "qv", "--tokens", "2", "--repeats", "3"]
    )
    assert result.exit_code == 0, result.output
    cases = ("base", "eight adapters", "merge and swap")
    for case, line in zip(cases, result.stdout.splitlines()[-3:], strict=True):
        assert re.fullmatch(rf"lesson  qv +{case} +[\d,]+ +[\d,]+ +\d+\.\d\d +(1\.5)? *", line)
