"""The server as its clients see it: the official client with strict checks, and requests by hand."""

import concurrent.futures
import json
import math
import random
import shutil
import threading
import time

import pytest

pytest.importorskip("fastapi")
openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")

from served import served  # noqa: E402 (after the skips)

from minilora import PeftModel  # noqa: E402
from minilora.files.shipped import shipped  # noqa: E402
from minilora.models.pretrained import load_base  # noqa: E402
from minilora.serving.guard import host_of, is_loopback  # noqa: E402
from minilora.text.encoding import encode_prompt  # noqa: E402

pytestmark = pytest.mark.slow
ASK = "Where does Bess Moss live?"
FACT = "Bess Moss lives on Church Green."


@pytest.fixture(scope="module")
def lora_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    for name in ("style-json", "style-crier"):
        shutil.copytree(shipped(f"adapters/{name}"), folder / name)
    shutil.copytree(shipped("adapters/style-json"), folder / "zürich 2")
    (folder / "broken").mkdir()
    shutil.copy(folder / "style-json" / "adapter_config.json", folder / "broken")
    (folder / "broken" / "adapter_model.safetensors").write_bytes(b"\x08" + bytes(20))
    return folder


@pytest.fixture(scope="module")
def running(lora_dir):
    with served(folder=lora_dir, may_load=True, max_loras=4, name="tidewick") as (server, url):
        yield server, url


@pytest.fixture(scope="module")
def client(running):
    with openai.OpenAI(
        base_url=running[1] + "/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="module")
def http(running):
    with httpx.Client(base_url=running[1], timeout=30) as client:
        yield client


def chat(client, model, text=ASK, **options):
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **{"temperature": 0, **options}
    )


def complete(client, model, prompt=ASK + "\n", **options):
    return client.completions.create(model=model, prompt=prompt, **{"temperature": 0, "max_tokens": 24, **options})


def test_an_adapter_is_a_model_and_answers_as_it_was_trained(client):
    answer = chat(client, "style-json")
    assert json.loads(answer.choices[0].message.content) == {"answer": FACT}
    assert answer.model == "style-json" and answer.choices[0].finish_reason == "stop"
    assert chat(client, "style-crier").choices[0].message.content == f"Hear ye! {FACT} All is well."
    assert chat(client, "tidewick").choices[0].message.content == chat(client, "").choices[0].message.content


def test_usage_counts_the_tokens(client):
    found = complete(client, "style-json", max_tokens=5)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (7, 5, 12)
    assert found.choices[0].finish_reason == "length"


@pytest.mark.parametrize("model", ["tidewick", "style-json", "style-crier"])
def test_the_pieces_of_a_stream_are_the_answer(client, model):
    whole = chat(client, model, max_tokens=30)
    chunks = list(chat(client, model, max_tokens=30, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        whole.choices[0].finish_reason
    ]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1


def test_several_prompts_and_answers_are_in_order(client):
    found = complete(client, "style-json", prompt=[ASK + "\n", "Who is Tom?\n"], n=2, max_tokens=12)
    alone = [
        complete(client, "style-json", prompt=p, max_tokens=12).choices[0].text for p in (ASK + "\n", "Who is Tom?\n")
    ]
    assert [c.text for c in found.choices] == [alone[0]] * 2 + [alone[1]] * 2
    assert [c.index for c in found.choices] == [0, 1, 2, 3]


def test_the_events_of_a_step_are_written_together(http):
    body = {"model": "style-json", "prompt": "x", "n": 8, "max_tokens": 20, "ignore_eos": True, "stream": True}
    with http.stream("POST", "/v1/completions", json=body) as reply:
        pieces = list(reply.iter_raw())
    assert sum(piece.count(b"data: {") for piece in pieces) > 3 * len(pieces)


def test_a_prompt_of_tokens_is_the_prompt_of_their_text(client, http):
    ids = http.post("/tokenize", json={"prompt": ASK + "\n"}).json()["tokens"]
    assert http.post("/detokenize", json={"tokens": ids}).json()["prompt"] == ASK + "\n"
    texts = [complete(client, "style-json", prompt=p).choices[0].text for p in (ids, [ids], ASK + "\n", [ASK + "\n"])]
    assert len(set(texts)) == 1


def test_one_seed_is_one_answer_whoever_shares_the_batch(client):
    def sampled(seed):
        return complete(client, "style-crier", "Once upon", temperature=1.5, seed=seed, max_tokens=20).choices[0].text

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(sampled, [7, 1, 2, 3, 7, 4, 5, 7]))
    assert found[0] == found[4] == found[7] == sampled(7)
    assert len(set(found)) > 3


def test_a_stop_text_is_cut_off(client):
    found = chat(client, "style-json", stop=["Moss", "zzz"])
    assert found.choices[0].message.content == '{"answer": "Bess ' and found.choices[0].finish_reason == "stop"


def test_log_probabilities_as_lm_eval_reads_them(client, http):
    ids = http.post("/tokenize", json={"prompt": ASK}).json()["tokens"]
    body = {
        "model": "style-json",
        "prompt": [ids],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    found = http.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    assert len(found["tokens"]) == len(ids) + 1
    assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
    for value, top, token in list(zip(found["token_logprobs"], found["top_logprobs"], found["tokens"], strict=True))[
        1:
    ]:
        assert top[token] == value <= max(top.values()) <= 0
    assert found["token_logprobs"][-1] == max(found["top_logprobs"][-1].values())
    only = http.post("/v1/completions", json=body | {"max_tokens": 0}).json()["choices"][0]
    assert only["text"] == ASK and only["logprobs"]["token_logprobs"] == found["token_logprobs"][:-1]


def test_chat_log_probabilities_have_their_bytes(client):
    found = chat(client, "style-json", max_tokens=3, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert len(found) == 3
    for entry in found:
        assert bytes(entry.bytes).decode() == entry.token and len(entry.top_logprobs) == 2
        assert entry.logprob == entry.top_logprobs[0].logprob
        assert math.exp(entry.top_logprobs[0].logprob) > math.exp(entry.top_logprobs[1].logprob)


def test_every_model_is_listed_with_its_base(client):
    models = client.models.list().data
    assert models[0].id == "tidewick" and models[0].parent is None
    assert {"style-json", "style-crier", "zürich 2", "broken"} <= {m.id for m in models[1:]}
    assert all(m.parent == "tidewick" for m in models[1:])
    assert client.models.retrieve("zürich 2").id == "zürich 2"


@pytest.mark.parametrize(
    "model", ["nope", "../style-json", "style-json/", "__base__", ".", "a\0b", "STYLE-JSON", "学" * 150]
)
def test_an_unknown_model_is_404_and_never_the_base(client, model):
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        chat(client, model)


def test_a_folder_that_is_no_adapter_is_400_and_others_go_on(client):
    with pytest.raises(openai.BadRequestError, match="adapter_model.safetensors"):
        chat(client, "broken")
    assert json.loads(chat(client, "zürich 2").choices[0].message.content)["answer"] == FACT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": "x", "max_tokens": 600}, "maximum context length is 512"),
        ({"prompt": [9999]}, "out of vocabulary"),
        ({"prompt": [-1]}, "out of vocabulary"),
        ({"prompt": "x", "stop_token_ids": [5, 9999]}, "token id 9999 is out of vocabulary"),
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "empty"),
        ({"prompt": "x", "temperature": -1}, "temperature"),
        ({"prompt": "x", "top_p": 0}, "top_p"),
        ({"prompt": "x", "n": 0}, "n:"),
        ({"prompt": "x", "n": 1000}, "n:"),
        ({"prompt": ["x"] * 100, "n": 2}, "at most 128"),
        ({"prompt": "x", "logprobs": 21}, "logprobs 21"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "Stream options"),
        ({"prompt": "x", "suffix": "y"}, "suffix is not currently supported"),
        ({"prompt": "x", "presence_penalty": 1}, "presence_penalty"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens must be at least 1"),
        ({"prompt": "x", "stop": ""}, "stop"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": "x", "lora_scale": 0.5}, "lora_scale"),
        ({}, "prompt"),
        ([], ""),
    ],
)
def test_a_fault_of_the_request_is_400_in_one_line(http, body, said):
    reply = http.post("/v1/completions", json=body)
    error = reply.json()["error"]
    assert reply.status_code == 400 == error["code"]
    assert said in error["message"] and "\n" not in error["message"] and len(error["message"]) <= 300
    assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200


ODD = [
    None, 0, -1, 3, 2.5, 1e308, 10**30, "", "x", "\ud800", "a\0b", "x" * 5000, "学" * 300, [], {}, [[]], [None], [1],
    [-1], [10**9], ["x", ""], [1, "x"], True, {"a": 1}, [[1, 2], [3]], [{"role": "x"}],
    [{"role": None, "content": "x"}],
]  # fmt: skip
FIELDS = {
    "/v1/completions": "model prompt n temperature top_p top_k seed stop stop_token_ids lora_scale stream "
    "stream_options max_tokens echo logprobs suffix best_of logit_bias",
    "/v1/chat/completions": "model messages n temperature stop stream max_completion_tokens logprobs top_logprobs "
    "chat_template_kwargs tools",
    "/v1/load_lora_adapter": "lora_name lora_path load_inplace",
    "/v1/unload_lora_adapter": "lora_name lora_int_id",
    "/ask": "models prompt messages max_tokens temperature lora_scale",
    "/tokenize": "model prompt messages add_special_tokens",
    "/detokenize": "tokens",
}


@pytest.mark.parametrize("route", FIELDS)
def test_no_body_is_answered_with_a_fault_of_the_server(http, route):
    rng, fields = random.Random(route), FIELDS[route].split()
    good = {"prompt": "x", "max_tokens": 2, "messages": [{"role": "user", "content": "x"}], "tokens": [5]}
    good["models"] = ["tidewick"]
    seen = set()
    for _ in range(120):
        body = {key: good[key] for key in fields if key in good}
        body |= {key: rng.choice(ODD) for key in rng.sample(fields, min(len(fields), rng.choice([1, 1, 2])))}
        reply = http.post(route, content=json.dumps(body), headers={"content-type": "application/json"})
        seen.add(reply.status_code)
        assert reply.status_code in (200, 400, 404), (body, reply.text)
        if reply.status_code != 200:
            message = reply.json()["error"]["message"]
            assert "\n" not in message and len(message) <= 300, body
    assert 400 in seen


def test_what_is_no_json_is_400(http):
    for content, kind in (
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b'{"prompt": "x"}', "text/plain"),
    ):
        assert http.post("/v1/completions", content=content, headers={"content-type": kind}).status_code == 400
    assert http.post("/v1/completions", content=b"x" * (17 * 2**20)).status_code == 413
    assert (http.get("/nothing").status_code, http.get("/v1/completions").status_code) == (404, 405)
    assert "error" in http.get("/nothing").json()


def test_the_frame_has_no_place_for_turns(http):
    body = {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]}
    assert "no chat template" in http.post("/v1/chat/completions", json=body).json()["error"]["message"]
    for content in (None, "", 3):
        reply = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
        assert reply.status_code == 400 and "content" in reply.json()["error"]["message"]
    for name in ("messages", "tokenizer", "self"):
        asked = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {name: 1}}
        assert http.post("/v1/chat/completions", json=asked).status_code == 400
    picture = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}
    assert "image_url" in http.post("/v1/chat/completions", json=picture).json()["error"]["message"]


def post(http, route, **body):
    return http.post(f"/v1/{route}_lora_adapter", json=body)


def test_adapters_are_loaded_replaced_and_unloaded_by_request(client, http, lora_dir):
    assert "success" in post(http, "load", lora_name="mine", lora_path="style-json").text.lower()
    assert json.loads(chat(client, "mine").choices[0].message.content) == {"answer": FACT}
    again = post(http, "load", lora_name="mine", lora_path=str(lora_dir / "style-crier"))
    assert again.status_code == 400 and "already been loaded" in again.text
    assert post(http, "load", lora_name="mine", lora_path="style-crier", load_inplace=True).status_code == 200
    assert chat(client, "mine").choices[0].message.content == chat(client, "style-crier").choices[0].message.content
    assert client.models.list().data[-1].id == "mine"
    assert post(http, "unload", lora_name="mine").status_code == 200
    assert post(http, "unload", lora_name="mine").status_code == 404
    with pytest.raises(openai.NotFoundError):
        chat(client, "mine")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"lora_name": "x"}, {"lora_path": "style-json"}, {"lora_name": "../x", "lora_path": "style-json"},
        {"lora_name": "tidewick", "lora_path": "style-json"}, {"lora_name": 3, "lora_path": "style-json"},
        {"lora_name": "x", "lora_path": "/etc"}, {"lora_name": "x", "lora_path": ".."},
        {"lora_name": "x", "lora_path": "broken"}, {"lora_name": "x", "lora_path": ["style-json"]},
    ],
)  # fmt: skip
def test_a_bad_load_is_400_and_registers_nothing(http, body):
    before = http.get("/v1/models").json()["data"]
    assert post(http, "load", **body).status_code == 400
    assert http.get("/v1/models").json()["data"] == before


def test_a_missing_folder_is_404(http):
    assert post(http, "load", lora_name="x", lora_path="missing").status_code == 404


def test_an_unload_does_not_disturb_what_runs(client, http):
    post(http, "load", lora_name="gone", lora_path="style-crier")
    expected = complete(client, "gone", "A long", max_tokens=200, extra_body={"ignore_eos": True}).choices[0].text
    plain = httpx.Client(base_url=http.base_url)
    with plain.stream(
        "POST", "/v1/completions",
        json={"model": "gone", "prompt": "A long", "max_tokens": 200, "ignore_eos": True, "temperature": 0,
              "stream": True},
    ) as reply:  # fmt: skip
        lines = reply.iter_lines()
        first = next(lines)
        assert post(http, "unload", lora_name="gone").status_code == 200
        data = [first, *lines]
    pieces = [json.loads(line[6:])["choices"][0]["text"] for line in data if line.startswith("data: {")]
    assert "".join(pieces) == expected and data[-2 if data[-1] == "" else -1] == "data: [DONE]"
    plain.close()


def test_a_client_that_goes_frees_its_row_and_its_adapter(running, http):
    server, url = running
    body = {"model": "style-json", "prompt": "x", "max_tokens": 400, "ignore_eos": True, "stream": True, "n": 3}
    with httpx.Client(base_url=url) as client, client.stream("POST", "/v1/completions", json=body) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 5
    while server.engine.is_busy and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.engine.is_busy
    assert all(v.leases == 0 for v in server.pool.versions.values())
    metrics = http.get("/metrics").text.splitlines()
    (aborted,) = [line for line in metrics if line.startswith('vllm:request_success_total{finished_reason="abort"')]
    assert float(aborted.split()[-1]) >= 3


def test_twelve_clients_over_more_adapters_than_slots_get_their_own_answers(running, client, lora_dir):
    server, _ = running
    names = [f"many{i}" for i in range(12)]
    for i, name in enumerate(names):
        shutil.copytree(lora_dir / ("style-json", "style-crier")[i % 2], lora_dir / name)
    expected = [chat(client, name).choices[0].message.content for name in ("style-json", "style-crier")]

    def ask(i):
        return i, chat(client, names[i % 12]).choices[0].message.content

    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        for i, text in threads.map(ask, range(60)):
            assert text == expected[i % 2]
    assert len(server.pool.active) <= 4


def test_one_request_asks_several_models_and_one_that_cannot_answer_disturbs_no_other(client, http):
    expected = {name: chat(client, name).choices[0].message.content for name in ("tidewick", "style-json", "zürich 2")}
    body = {"models": ["tidewick", "style-json", "broken", "nobody", "zürich 2"], "max_tokens": 60}
    with http.stream("POST", "/ask", json=body | {"messages": [{"role": "user", "content": ASK}]}) as reply:
        lines = [line[6:] for line in reply.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    texts, errors, ends = {}, {}, []
    for part in map(json.loads, lines):
        if "error" in part:
            errors[part["model"]] = part["error"]["code"]
        else:
            texts[part["model"]] = texts.get(part["model"], "") + part["text"]
            ends += [part["model"]] if part["finish_reason"] else []
    assert texts == expected and sorted(ends) == sorted(expected)
    assert errors == {"broken": 400, "nobody": 404}


def test_a_name_that_is_no_unicode_is_unknown_and_the_others_answer(http):
    body = json.dumps({"models": ["\ud800", "tidewick"], "prompt": ASK + "\n", "max_tokens": 2})
    lines = http.post("/ask", content=body, headers={"content-type": "application/json"}).text.splitlines()
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert parts[0]["model"] == "\ud800" and parts[0]["error"]["code"] == 404
    assert parts[-1]["model"] == "tidewick" and parts[-1]["finish_reason"] == "length" and lines[-2] == "data: [DONE]"


def test_the_strength_of_the_adapters_is_not_asked_of_the_base(client, http):
    body = {"models": ["tidewick", "style-json"], "prompt": ASK + "\n", "max_tokens": 9, "lora_scale": 0}
    lines = http.post("/ask", json=body).text.splitlines()
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    texts = {name: "".join(p["text"] for p in parts if p["model"] == name) for name in body["models"]}
    assert texts["style-json"] == texts["tidewick"] != ""


def test_the_metrics_have_the_names_that_dashboards_read(http, client):
    chat(client, "style-json")
    text = http.get("/metrics").text
    for name in (
        "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total", 'vllm:request_success_total{finished_reason="stop"',
        "vllm:time_to_first_token_seconds_bucket", "vllm:e2e_request_latency_seconds_count",
        'vllm:lora_requests_info{max_lora="4"', "minilora:lora_memory_bytes",
    ):  # fmt: skip
        assert name in text


def test_the_page_and_the_small_routes_answer(http, running):
    assert "minilora" in http.get("/").text and http.get("/").headers["content-type"].startswith("text/html")
    assert http.get("/health").status_code == 200 and "version" in http.get("/version").json()
    assert http.get("/tokenizer_info").json()["eos_token"] == "<|endoftext|>"
    assert {a["name"] for a in http.get("/adapters").json()["adapters"]} >= {"style-json", "style-crier"}


def test_on_a_local_address_a_foreign_host_is_refused(http):
    assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert http.get("/v1/models", headers={"host": "localhost:1"}).status_code == 200


@pytest.mark.parametrize(("header", "host"), [("a:1", "a"), ("[::1]:80", "::1"), ("", "")])
def test_the_host_of_a_header(header, host):
    assert host_of(header) == host
    assert is_loopback("::1") and not is_loopback("") and not is_loopback("localhost.evil.example")


def test_with_a_key_the_key_is_needed_and_without_the_switch_nothing_is_loaded(lora_dir):
    with (
        served(modules=[("a", lora_dir / "style-json")], api_key="s3cret") as (_, url),
        httpx.Client(base_url=url) as http,
    ):
        assert http.get("/v1/models").status_code == 401 == http.post("/tokenize", json={"prompt": "x"}).status_code
        for path in ("/ask", "/detokenize", "/v1/completions"):
            assert http.post(path, json={"models": ["base"], "prompt": "x", "tokens": [5]}).status_code == 401, path
        assert http.get("/adapters").status_code == 401 == http.get("/tokenizer_info").status_code
        assert http.get("/").status_code == http.get("/health").status_code == http.get("/metrics").status_code == 200
        key = {"authorization": "Bearer s3cret"}
        assert [m["id"] for m in http.get("/v1/models", headers=key).json()["data"]] == ["base", "a"]
        assert http.post("/v1/load_lora_adapter", json={}, headers=key).status_code == 404


@pytest.mark.parametrize("kind", ["nf4", "int8", "bf16"])
def test_a_base_in_fewer_bits_answers_as_generate_does(kind):
    model, tokenizer = load_base(quantize=kind)
    model = PeftModel.from_pretrained(model, shipped("adapters/style-json")).eval()
    prompt = encode_prompt(ASK, tokenizer)
    options = {"eos_token_id": tokenizer.eos_id}
    expected = {
        name: tokenizer.decode(model.generate(prompt, 12, adapter_names=[row], **options)[0][len(prompt) :])
        for name, row in (("base", "__base__"), ("style-json", "default"))
    }
    with (
        served(modules=None, quantize=kind) as (_, url),
        openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client,
    ):
        texts = {m: complete(client, m, prompt, max_tokens=12).choices[0].text for m in ("base", "style-json")}
        none = complete(client, "style-json", prompt, max_tokens=12, extra_body={"lora_scale": 0}).choices[0].text
    assert texts == expected and none == texts["base"] != texts["style-json"]


def test_streams_end_when_the_server_stops(lora_dir):
    lines, began = [], threading.Event()

    def read(url):
        body = {"prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": True}
        try:
            with (
                httpx.Client(base_url=url, timeout=30) as client,
                client.stream("POST", "/v1/completions", json=body) as r,
            ):
                for line in r.iter_lines():
                    lines.append(line)
                    began.set()
        except httpx.HTTPError:
            pass

    with served(modules=[]) as (_, url):
        reader = threading.Thread(target=read, args=(url,))
        reader.start()
        began.wait(10)
        stopped = time.monotonic()
    reader.join(10)
    assert not reader.is_alive() and time.monotonic() - stopped < 8 and lines


def test_a_folder_with_the_name_of_the_base_does_not_answer_and_the_list_and_the_log_say_so(tmp_path, caplog):
    with served(folder=tmp_path, name="tidewick") as (server, url), httpx.Client(base_url=url) as client:
        shutil.copytree(shipped("adapters/style-json"), tmp_path / "tidewick")
        said = f"{tmp_path / 'tidewick'} has the name of the base, which answers: rename the folder to serve it"
        for _ in range(2):
            (card,) = client.get("/v1/models").json()["data"]
            assert card["parent"] is None and card["warning"] == said
        assert client.get("/adapters").json()["adapters"] == []
        assert [record.message for record in caplog.records] == [said]
        (tmp_path / "tidewick").rename(tmp_path / "another")
        assert [c.get("warning") for c in client.get("/v1/models").json()["data"]] == [None, None]
