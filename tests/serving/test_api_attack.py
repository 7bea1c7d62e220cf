"""Clients that are slow, rude or broken: they get an answer or nothing, and others go on."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from served import served  # noqa: E402 (after the skips)

from minilora.files.shipped import shipped  # noqa: E402

pytestmark = pytest.mark.slow
LONG = {"model": "style-json", "prompt": "x", "max_tokens": 450, "ignore_eos": True, "temperature": 0}


@pytest.fixture(scope="module")
def lora_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    for name in ("style-json", "style-crier"):
        shutil.copytree(shipped(f"adapters/{name}"), folder / name)
    return folder


@pytest.fixture(scope="module")
def running(lora_dir):
    with served(folder=lora_dir, may_load=True, max_loras=2, max_cpu_loras=4) as (server, url):
        yield server, url


@pytest.fixture
def http(running):
    with httpx.Client(base_url=running[1], timeout=30) as client:
        yield client


def dial(running):
    connection = socket.create_connection(("127.0.0.1", int(running[1].rpartition(":")[2])), timeout=30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    return connection


def request(body, path="/v1/completions", **headers):  # -> bytes
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": len(data)} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def comes_to_rest(server, seconds=10):
    """Whether nothing runs and no adapter is in use, soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not server.engine.is_busy and not any(v.leases for v in list(server.pool.versions.values())):
            return True
        time.sleep(0.05)
    return False


def is_well(http):
    return (
        http.post("/v1/completions", json={"model": "style-crier", "prompt": "x", "max_tokens": 2}).status_code == 200
    )


def test_a_client_that_never_reads_holds_up_nobody_and_goes_without_a_trace(running, http):
    with dial(running) as connection:
        connection.sendall(request(LONG | {"stream": True, "n": 4}))
        time.sleep(0.3)
        assert is_well(http)
    assert comes_to_rest(running[0])


def test_a_client_that_sends_half_a_request_holds_up_nobody(running, http):
    with dial(running) as connection:
        connection.sendall(request(LONG)[:60])
        assert is_well(http)
    with dial(running) as connection:
        connection.sendall(request(LONG)[:-5])
        assert is_well(http)
    assert comes_to_rest(running[0])


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_rows(running, http, stream):
    with dial(running) as connection:
        connection.sendall(request(LONG | {"stream": stream, "n": 3}))
        time.sleep(0.2)
    assert comes_to_rest(running[0]) and is_well(http)


def test_a_client_that_closes_its_sending_side_is_served_or_dropped_but_never_kept(running, http):
    with dial(running) as connection:
        connection.sendall(request(LONG | {"max_tokens": 20}))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert comes_to_rest(running[0]) and is_well(http)


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt": "x", "max_tokens": ' + b"9" * 10_000 + b"}",
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "top_p": Infinity}',
        b'{"prompt": "x", "seed": 1e999}',
        b'{"prompt": "x", "stop": ["' + b"a" * 100_000 + b'", 3]}',
        b"\xef\xbb\xbf{}",
        b"null",
        b'"x"',
        b"",
    ],
)
def test_no_body_is_more_than_400(http, body):
    reply = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400 and "\n" not in reply.json()["error"]["message"]


def test_a_body_without_a_length_is_bounded_too(running, http):
    def pieces():
        yield b'{"prompt": "'
        for _ in range(20):
            yield b"x" * 2**20
        yield b'"}'

    try:
        reply = http.post("/v1/completions", content=pieces(), headers={"content-type": "application/json"})
        assert reply.status_code in (400, 413)
    except httpx.WriteError:  # the server hung up in the middle of it
        pass
    assert is_well(http)


@pytest.mark.parametrize("length", ["-1", "x", str(10**12), "5, 6"])
def test_a_length_that_is_a_lie_is_refused(running, http, length):
    with dial(running) as connection:
        connection.sendall(request({"prompt": "x", "max_tokens": 1}, **{"Content-Length": length}))
        first = connection.recv(4096).split(b"\r\n")[0]
    assert first == b"" or first.split()[1] in (b"400", b"413")
    assert is_well(http)


def test_a_request_without_a_host_is_refused(running):
    with dial(running) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert connection.recv(4096).split()[1] in (b"400", b"403")


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/%00", "/v1//completions"])
def test_no_path_leads_to_a_file(http, path):
    assert http.get(path).status_code == 404


def test_a_folder_that_changes_under_a_stream_changes_the_next_answer_alone(running, http, lora_dir):
    shutil.copytree(lora_dir / "style-json", lora_dir / "mine")
    body = LONG | {"model": "mine", "max_tokens": 300}
    right = http.post("/v1/completions", json=body).json()["choices"][0]["text"]
    texts = []
    with http.stream("POST", "/v1/completions", json=body | {"stream": True}) as reply:
        for number, line in enumerate(reply.iter_lines()):
            if number == 4:
                shutil.rmtree(lora_dir / "mine")
                shutil.copytree(lora_dir / "style-crier", lora_dir / "mine")
            if line.startswith("data: {"):
                texts.append(json.loads(line[6:])["choices"][0]["text"])
    after, other = (
        http.post("/v1/completions", json=body | {"model": name}).json()["choices"][0]["text"]
        for name in ("mine", "style-crier")
    )
    assert "".join(texts) == right != after == other


def test_loads_and_unloads_under_load_leave_every_answer_whole(running, http):
    right = {
        name: http.post("/v1/completions", json=LONG | {"model": name, "max_tokens": 30}).json()["choices"][0]["text"]
        for name in ("style-json", "style-crier")
    }
    found, ends = [], threading.Event()

    def client():
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not ends.is_set():
                reply = own.post("/v1/completions", json=LONG | {"model": "turn", "max_tokens": 30})
                found.append((reply.status_code, reply.json().get("choices", [{}])[0].get("text")))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(12):
        path = ("style-json", "style-crier")[turn % 2]
        load = {"lora_name": "turn", "lora_path": path, "load_inplace": True}
        assert http.post("/v1/load_lora_adapter", json=load).status_code == 200
        time.sleep(0.1)
        if turn % 3 == 2:
            assert http.post("/v1/unload_lora_adapter", json={"lora_name": "turn"}).status_code == 200
    ends.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in found} <= {200, 404}
    assert {text for status, text in found if status == 200} == set(right.values())
    assert comes_to_rest(running[0])


def test_sigterm_ends_the_command_within_five_seconds_whatever_its_clients_do():
    command = [sys.executable, "-m", "minilora", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            url = process.stdout.readline().split()[1]
            clients = [dial((None, url.rstrip("/"))) for _ in range(6)]
            for number, connection in enumerate(clients):  # streams that are read, not read, half a request, nothing
                body = request(LONG | {"stream": number < 4, "n": 2})
                connection.sendall(body if number < 5 else body[:40])
            first = clients[0].recv(100)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            read = b""
            while data := clients[0].recv(65536):
                read += data
            process.wait(10)
            assert time.monotonic() - began <= 5
            assert first.startswith(b"HTTP/1.1 200") and b"data: " in read
            out, err = process.communicate()
            assert "Traceback" not in out + err
        finally:
            process.kill()
            for connection in clients:
                connection.close()
