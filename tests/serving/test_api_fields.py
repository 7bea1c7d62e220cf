"""Fields of requests one by one: what OpenAI's and vLLM's clients may send is honoured, or refused by its name."""

import json
import shutil

import pytest

pytest.importorskip("fastapi")
openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx")

from served import served  # noqa: E402 (after the skips)

from minilora.files.shipped import shipped  # noqa: E402

pytestmark = pytest.mark.slow
ASK = [{"role": "user", "content": "Where does Bess Moss live?"}]
POSTS = {"/v1/completions": {"prompt": "x", "max_tokens": 2}, "/v1/chat/completions": {"messages": ASK}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for name in ("anna", "half", "half 2"):
        shutil.copytree(shipped("adapters/style-json"), folder / name)
    (folder / "half" / "adapter_model.safetensors").unlink()
    (folder / "half 2" / "adapter_config.json").unlink()
    return folder


@pytest.fixture(scope="module")
def http(folder):
    with (
        served(folder=folder, may_load=True, api_key="Key 1") as (_, url),
        httpx.Client(base_url=url, timeout=30, headers={"authorization": "Bearer Key 1"}) as client,
    ):
        yield client


def events(http, path, **body):
    with http.stream("POST", path, json=body | {"stream": True}) as reply:
        lines = [line[6:] for line in reply.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("include_stop_str_in_output", True), ("skip_special_tokens", False), ("min_tokens", 3), ("min_p", 0.1),
        ("response_format", {"type": "json_object"}), ("bad_words", ["x"]), ("allowed_token_ids", [5]),
        ("use_beam_search", True), ("truncate_prompt_tokens", 1), ("prompt_logprobs", 1), ("return_token_ids", True),
        ("guided_regex", "a+"), ("guided_json", {"type": "object"}), ("structured_outputs", {"regex": "a"}),
        ("length_penalty", 2), ("repetition_penalty", 1.1), ("logit_bias", {"5": 1}), ("lora_path", "anna"),
        ("adapter_id", "anna"), ("modalities", ["audio"]),
    ],
)  # fmt: skip
def test_a_field_that_would_change_the_answer_is_refused_by_name(http, path, field, value):
    reply = http.post(path, json=POSTS[path] | {field: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == f"{field} is not currently supported"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("echo", True), ("add_generation_prompt", False), ("continue_final_message", True),
        ("functions", [{"name": "f"}]), ("chat_template", "{{ messages }}"),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("add_special_tokens", True),
    ],
)  # fmt: skip
def test_a_field_that_would_change_a_conversation_is_refused_by_name(http, field, value):
    reply = http.post("/v1/chat/completions", json={"messages": ASK, field: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == f"{field} is not currently supported"


def test_fields_with_the_values_that_they_have_anyway_pass(http):
    usual = {
        "n": None, "stop": None, "seed": None, "stream": None, "best_of": 1, "suffix": None, "logit_bias": {},
        "user": "u", "presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "length_penalty": 1.0,
        "min_p": 0, "min_tokens": 0, "skip_special_tokens": True, "spaces_between_special_tokens": True,
        "use_beam_search": False,
        "response_format": {"type": "text"}, "modalities": ["text"], "include_stop_str_in_output": False,
        "add_generation_prompt": True, "tools": [], "tool_choice": "none", "parallel_tool_calls": True, "store": False,
        "metadata": {"a": "b"}, "service_tier": "auto", "ignore_eos": False, "return_token_ids": None, "top_k": 0,
    }  # fmt: skip
    for path, body in POSTS.items():
        reply = http.post(path, json=body | usual)
        assert reply.status_code == 200 and len(reply.json()["choices"]) == 1, reply.text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("stop", "", "stop: expected a text, or a list of at most 16 texts, none of them empty"),
        ("stop", ["x"] * 17, "stop: expected a text, or a list of at most 16 texts, none of them empty"),
        ("prompt", {"a": 1}, "prompt: expected a text, token ids, or a list of texts or of token ids"),
        ("prompt", ["x", 1], "prompt: expected a text, token ids, or a list of texts or of token ids"),
        ("n", "x", "n: Input should be a valid integer, unable to parse string as an integer"),
        ("stop_token_ids", ["x"], "stop_token_ids.0: Input should be a valid integer"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_what_was_expected(http, field, value, said):
    error = http.post("/v1/completions", json={"prompt": "x", field: value}).json()["error"]
    assert error["message"] == said and error["param"] == said.partition(":")[0]


@pytest.mark.parametrize("path", POSTS)
def test_the_usage_may_be_asked_for_in_every_chunk(http, path):
    body = POSTS[path] | {"n": 2, "max_tokens": 3, "ignore_eos": True}
    wanted = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, last = events(http, path, **body, stream_options=wanted)
    assert last["choices"] == [] and last["usage"] == http.post(path, json=body).json()["usage"]
    prompt = last["usage"]["prompt_tokens"]
    for index in range(2):
        own = [chunk["usage"] for chunk in chunks if chunk["choices"][0]["index"] == index]
        counts = [usage["completion_tokens"] for usage in own]
        assert counts == sorted(counts) and counts[-1] == 3
        assert all(usage["total_tokens"] == prompt + usage["completion_tokens"] for usage in own)
    assert {chunk.get("usage") for chunk in events(http, path, **body, stream_options={})} == {None}


@pytest.mark.parametrize("model", ["half", "half 2"])
def test_a_half_copied_folder_is_400(http, model):
    for reply in (
        http.post("/v1/completions", json={"model": model, "prompt": "x"}),
        http.post("/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": model}),
    ):
        assert reply.status_code == 400 and "is no whole adapter" in reply.json()["error"]["message"]


def test_messages_are_tokens_as_they_are_asked(http):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Where does "}, {"type": "text", "text": "it?"}]}]
    whole = [{"role": "user", "content": "Where does it?"}]
    found = [http.post("/tokenize", json={"messages": messages}).json() for messages in (parts, whole)]
    assert found[0] == found[1]
    asked = http.post("/v1/chat/completions", json={"messages": parts, "max_tokens": 1}).json()
    assert asked["usage"]["prompt_tokens"] == found[0]["count"]


@pytest.mark.parametrize(("path", "body"), [("/tokenize", {"prompt": "x"}), ("/detokenize", {"tokens": [5]})])
def test_the_tokens_of_an_unknown_model_are_404(http, path, body):
    assert http.post(path, json=body | {"model": "anna"}).status_code == 200
    assert http.post(path, json=body | {"model": "nobody"}).status_code == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer Key 1", 200),
        ("bearer Key 1", 200),
        ("Key 1", 401),
        ("Basic Key 1", 401),
        ("Bearer Key", 401),
        ("", 401),
    ],
)
def test_the_key_is_that_of_the_scheme_bearer(http, header, status):
    assert http.get("/v1/models", headers={"authorization": header}).status_code == status


@pytest.mark.parametrize(
    ("path", "status"), [("/health", 200), ("/", 200), ("/v1/models", 200), ("/v1/completions", 405), ("/nothing", 404)]
)
def test_a_head_is_a_get_without_its_body(http, path, status):
    reply = http.head(path)
    assert reply.status_code == status and reply.content == b""
    assert reply.headers["content-length"] == http.get(path).headers["content-length"]
