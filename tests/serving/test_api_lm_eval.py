"""The requests of lm-evaluation-harness (local-completions, local-chat-completions), read as it reads the answers."""

import math

import numpy as np
import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from served import served  # noqa: E402 (after the skips)

from minilora import PeftModel  # noqa: E402
from minilora.autograd import no_grad  # noqa: E402
from minilora.files.shipped import shipped  # noqa: E402
from minilora.models.pretrained import load_base  # noqa: E402

pytestmark = pytest.mark.slow
PAIRS = [("Where does Bess Moss live?\n", "Bess Moss lives on Church Green."), ("Where does Bess Moss live?\n", "No."),
         ("Q", "A")]  # fmt: skip
SETTINGS = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}


@pytest.fixture(scope="module")
def http():
    with served(modules=None) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        yield client


def tokens_of(http, text):  # as its RemoteTokenizer asks
    return http.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()["tokens"]


def loglikelihoods(http, model, pairs):  # -> [(sum of log-probabilities, whether greedy decoding gives it)]
    """As lm_eval.models.openai_completions parses them."""
    contexts = [tokens_of(http, context) for context, _ in pairs]
    prompts = [c + tokens_of(http, answer) for c, (_, answer) in zip(contexts, pairs, strict=True)]
    reply = http.post("/v1/completions", json={"model": model, "prompt": prompts} | SETTINGS).json()
    found = []
    for choice, context in zip(sorted(reply["choices"], key=lambda c: c["index"]), contexts, strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][len(context) : -1]
        tops = choice["logprobs"]["top_logprobs"][len(context) : -1]
        greedy = all(value == max(top.values()) for value, top in zip(logprobs, tops, strict=True))
        found.append((sum(logprobs), greedy))
    return found


def test_its_log_likelihoods_are_those_of_the_model(http):
    model, tokenizer = load_base()
    model = PeftModel.from_pretrained(model, shipped("adapters/style-json")).eval()
    for name, row in (("base", "__base__"), ("style-json", "default")):
        for (context, answer), (value, greedy) in zip(PAIRS, loglikelihoods(http, name, PAIRS), strict=True):
            start, whole = len(tokenizer.encode(context)), tokenizer.encode(context) + tokenizer.encode(answer)
            with no_grad():
                logits = model(np.array([whole]), adapter_names=[row]).numpy()[0].astype(np.float64)
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            right = [log_p[i - 1, whole[i]] for i in range(start, len(whole))]
            best = [int(log_p[i - 1].argmax()) for i in range(start, len(whole))]
            assert math.isclose(value, sum(right), abs_tol=1e-4)
            assert greedy == (best == whole[start:])


def test_one_token_follows_the_prompt_also_when_it_is_the_end(http):
    prompt = tokens_of(http, PAIRS[0][0] + PAIRS[0][1])  # the base ends here
    choice = http.post("/v1/completions", json={"model": "base", "prompt": [prompt]} | SETTINGS).json()["choices"][0]
    assert choice["finish_reason"] == "stop" and len(choice["logprobs"]["tokens"]) == len(prompt) + 1


def test_its_remote_tokenizer_finds_the_end_token(http):
    info = http.get("/tokenizer_info").json()
    assert info["eos_token"] == "<|endoftext|>"
    assert http.post("/detokenize", json={"tokens": tokens_of(http, "One, two.")}).json()["prompt"] == "One, two."


def test_its_generations_end_before_a_stop_text(http):
    body = {"model": "style-json", "prompt": tokens_of(http, PAIRS[0][0]), "temperature": 0, "seed": 1234}
    text = http.post("/v1/completions", json=body | {"max_tokens": 64}).json()["choices"][0]["text"]
    cut = http.post("/v1/completions", json=body | {"max_tokens": 64, "stop": [text[4:7], "\n\n"]}).json()
    assert cut["choices"][0]["text"] == text[:4]


def test_its_chat_requests_have_no_more_than_four_stop_texts(http):
    body = {"messages": [{"role": "user", "content": "Where does Bess Moss live?"}], "model": "style-crier"}
    body |= {"max_tokens": 64, "temperature": 0, "stop": ["well", "a", "b", "c"], "seed": 1234}
    text = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert text == "He"  # before the first of them in "Hear ye!"
