"""Bytes that no client library sends: each gets an answer below 500, or the connection is closed, and others go on."""

import contextlib
import gzip
import itertools
import json
import re
import shutil
import socket
import time

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from served import served  # noqa: E402 (after the skips)

from minilora.files.shipped import shipped  # noqa: E402

pytestmark = pytest.mark.slow
GOOD = {"prompt": "x", "max_tokens": 2, "temperature": 0}
POSTS = ("/v1/completions", "/v1/chat/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize",
         "/detokenize", "/ask")  # fmt: skip
HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    shutil.copytree(shipped("adapters/style-json"), folder / "style-json")
    with served(folder=folder, may_load=True, max_loras=2, max_cpu_loras=4) as (_, url):
        yield url


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def statuses(url, data, count=1, wait=1.5, pause=0.0):  # -> [int] of the answers to these bytes
    """Send bytes (with a pause behind each, where there is one); read `count` answers, or what comes before a wait."""
    host, port = url.removeprefix("http://").split(":")
    found = []
    with socket.create_connection((host, int(port)), timeout=wait) as connection, contextlib.suppress(OSError):
        for part in (data[i : i + 1] for i in range(len(data))) if pause else (data,):
            connection.sendall(part)
            time.sleep(pause)
        read = b""
        while len(found) < count and (piece := connection.recv(65536)):
            read += piece
            found = [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", read)]
    return found


def post(path, body, head=HEAD):  # -> bytes
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path.encode(), head, len(body), body)


def is_well(http):
    return http.post("/v1/completions", json=GOOD).status_code == 200


ODD = [
    b"[" * 50 + b"]" * 50, b'{"a":' * 2000 + b"1" + b"}" * 2000, b"9" * 400, b"-" + b"9" * 5000, b"1e400", b"-1e400",
    b"NaN", b"-Infinity", b"-0", b"1.5", b"true", b"null", b"{}", b"[]", b"[null]", b'""', b'"\\ud800"', b'"\\u0000"',
    b'"\xff"', b"0x10", b"'x'", b"[1, 2", b"[-1]", b"[[0], [99999999]]", b'["x", 1]', b'{"role": "user"}',
    b'[{"role": "user", "content": {"a": [1]}}]', b'[{"role": 1, "content": "x"}]', b'[{"content": "x"}]',
    b'[{"role": "user", "content": [{"type": "image_url"}]}]',
]  # fmt: skip
FIELDS = {
    "/v1/completions": ("prompt", "max_tokens", "n", "stop", "stream_options", "logprobs", "seed", "model"),
    "/v1/chat/completions": ("messages", "top_logprobs", "chat_template_kwargs"), "/tokenize": ("prompt", "messages"),
    "/detokenize": ("tokens",), "/ask": ("models", "messages"), "/v1/load_lora_adapter": ("lora_name", "lora_path"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "field"), [(path, field) for path, fields in FIELDS.items() for field in fields])
def test_no_value_of_a_field_is_a_fault_of_the_server(http, path, field):
    good = {"/v1/completions": GOOD, "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]}}
    good |= {"/ask": {"models": ["style-json"], "prompt": "x"}, "/detokenize": {}, "/tokenize": {}}
    rest = {k: v for k, v in good.get(path, {"lora_name": "m", "lora_path": "style-json"}).items() if k != field}
    rest |= {"max_tokens": 2} if "completions" in path and field != "max_tokens" else {}
    for value in ODD:
        body = json.dumps(rest).encode()[:-1] + (b", " if rest else b"") + b'"%b": %b}' % (field.encode(), value)
        reply = http.post(path, content=body, headers={"content-type": "application/json"})
        assert reply.status_code < 500, (path, body[:200], reply.text[:200])
        if reply.status_code >= 400:
            error = reply.json()["error"]
            assert error["code"] == reply.status_code and "\n" not in error["message"]


@pytest.mark.parametrize("path", POSTS)
def test_no_kind_of_body_is_a_fault_of_the_server(http, path):
    text = json.dumps(GOOD | {"lora_name": "m"})
    kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
    ]
    kinds += ["application/json; charset=utf-16", "application/xml", "application/json, text/plain", "", "a" * 4000]
    kinds += ["application/vnd.api+json", "APPLICATION/JSON"]
    bodies = [text.encode(), text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), gzip.compress(text.encode())]
    bodies += [b"prompt=x", b"--x\r\n\r\n", b"\0" * 100, b"\xff" * 100, b'{"prompt": "x", "prompt": "y"}']
    bodies += [b'{"model": "base", "model": ["base"], "prompt": "x"}', b"{" * 5000, b'{"\\ud800": 1}', b"[]", b"1 2"]
    for kind, body in [(k, bodies[0]) for k in kinds] + [("application/json", b) for b in bodies]:
        reply = http.post(path, content=body, headers={"content-type": kind, "content-encoding": "identity"})
        assert reply.status_code < 500, (path, kind, body[:80], reply.text[:200])
    reply = http.post(path, content=bodies[3], headers={"content-type": "application/json", "content-encoding": "gzip"})
    assert reply.status_code == 400


def test_of_a_key_that_is_written_twice_the_last_counts(http):
    body = b'{"prompt": "x", "max_tokens": 1, "max_tokens": 3, "ignore_eos": true}'
    reply = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.json()["usage"]["completion_tokens"] == 3


def chunked(*lines):
    return b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"\r\n".join(lines)


BODY = json.dumps(GOOD).encode()
SIZE = b"%x" % len(BODY)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (chunked(SIZE, BODY, b"0", b"", b""), [200]), (chunked(SIZE + b";ext=1", BODY, b"0", b"", b""), [200]),
        (chunked(SIZE, BODY, b"0", b"Trailer: x", b"", b""), [200]),
        (chunked(b"1", BODY[:1], b"%x" % (len(BODY) - 1), BODY[1:], b"0", b"", b""), [200]),
        (chunked(b"zz", BODY, b"0", b"", b""), [400]), (chunked(b"-1", BODY), [400]), (chunked(b"f" * 40, BODY), [400]),
        (chunked(SIZE, BODY), []), (chunked(b"0", b"", b""), [400]), (chunked(b""), []),
    ],
)  # fmt: skip
def test_a_body_in_chunks_is_read_or_refused(url, http, data, expected):
    assert statuses(url, data) == expected
    assert is_well(http)


HEADS = [
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n", HEAD + b"Content-Length: +5\r\n",
    HEAD + b"Content-Length: 0x10\r\n", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    HEAD + b"Transfer-Encoding: gzip\r\n", HEAD + b"Transfer-Encoding: chunked, chunked\r\n", HEAD + b"no colon\r\n",
    HEAD + b": empty\r\n", HEAD + b"X: a\r\n folded\r\n", HEAD + b"X: \0\r\n", HEAD + b"X\xff: \xff\r\n",
    HEAD + b"Host: other\r\n", b"Host: evil.example\r\n", b"Host: localhost@evil.example\r\n", b"Host: [::1\r\n",
    b"Host:\r\n", b"", HEAD + b"Expect: 100-continue\r\n", HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    HEAD + b"Connection: close, keep-alive\r\n", HEAD + b"Range: bytes=0-1\r\n",
    HEAD + b"X: " + b"a" * 70_000 + b"\r\n",
    HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(2000)), HEAD + b"Authorization: Bearer \xe9\r\n",
    HEAD + b"Authorization: " + b"B" * 9000 + b"\r\n", HEAD + b"X-Forwarded-For: " + b"1," * 5000 + b"\r\n",
    HEAD + b"Origin: null\r\n", HEAD + b"Cookie: " + b"a=b; " * 3000 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("head", HEADS, ids=[str(i) for i in range(len(HEADS))])
def test_no_header_is_a_fault_of_the_server(url, http, head):
    own = b"" if b"Length" in head or b"Transfer" in head else b"Content-Length: %d\r\n" % len(BODY)
    found = statuses(url, b"POST /v1/completions HTTP/1.1\r\n" + head + own + b"\r\n" + BODY)
    assert all(code < 500 for code in found), found
    assert is_well(http)


LINES = [
    b"GET /", b"GET", b"", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0", b"GET / HTTP/9.9",
    b"TRACE / HTTP/1.1", b"CONNECT localhost:1 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"HEAD /v1/models HTTP/1.1",
    b"DELETE /v1/models HTTP/1.1", b"FOO / HTTP/1.1", b"get / HTTP/1.1", b"GET http://evil.example/ HTTP/1.1",
    b"GET //v1/models HTTP/1.1", b"GET /v1/models/\xff HTTP/1.1", b"GET /v1/models/%ff%00 HTTP/1.1",
    b"GET /v1/models/" + b"a" * 60_000 + b" HTTP/1.1", b"GET /?" + b"a=b&" * 9000 + b" HTTP/1.1",
    b"GET /a b HTTP/1.1", b"GET \t/ HTTP/1.1", b"GET /v1/models;x HTTP/1.1", b"GET /v1/models#x HTTP/1.1",
    b"PUT /v1/completions HTTP/1.1", b"GET /v1/models/..%5c..%5cx HTTP/1.1", b"GET /metrics?\xe9 HTTP/1.1",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=[str(i) for i in range(len(LINES))])
def test_no_first_line_is_a_fault_of_the_server(url, http, line):
    found = statuses(url, line + b"\r\nHost: localhost\r\n\r\n")
    assert all(code < 500 for code in found), found
    assert is_well(http)


@pytest.mark.parametrize("stream", [False, True])
def test_requests_that_are_sent_at_once_on_one_connection_are_answered_in_order(url, stream):
    bodies = [GOOD | {"max_tokens": 1 + i, "stream": stream, "ignore_eos": True} for i in range(12)]
    assert statuses(url, b"".join(post("/v1/completions", body) for body in bodies), 12, wait=20) == [200] * 12


def test_a_wrong_request_between_good_ones_ends_its_connection_alone(url, http):
    good = post("/v1/completions", GOOD)
    found = statuses(url, good + b"\x00\x01garbage\r\n\r\n" + good, 3)
    assert all(code in (200, 400) for code in found)
    assert is_well(http)


def test_a_client_that_sends_a_byte_at_a_time_is_answered(url):
    data = post("/v1/completions", GOOD)
    assert statuses(url, data, wait=10, pause=0.005) == [200]


def test_many_connections_that_say_nothing_hold_up_nobody(url, http):
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for number in range(150):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            connection.sendall(post("/v1/completions", GOOD)[: number % 60])
        assert is_well(http)
    assert is_well(http)


@pytest.mark.parametrize("path", POSTS)
def test_pairs_of_odd_values_are_no_fault_of_the_server(http, path):
    keys = ("model", "prompt", "messages", "lora_name", "lora_path", "stream", "echo", "top_p", "temperature")
    values = ["\u202e", "a" * 300, "..", "__base__", " ", 2**63, -1, 0.1, [[[]]], {"a": {}}, False]
    for number, (one, other) in enumerate(itertools.permutations(keys, 2)):
        body = {one: values[number % len(values)], other: values[(number // 3) % len(values)], "max_tokens": 1}
        reply = http.post(path, json=body)
        assert reply.status_code < 500, (path, body, reply.text[:200])
