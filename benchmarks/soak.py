"""A server under everything that clients do, for minutes: python -m benchmarks.soak --minutes 5

Clients ask, stream, leave in the middle, read slowly, load, unload and replace adapters, copy broken ones into the
server's folder, change folders, and send nonsense: at random from a seed, and only to a server that this command
starts on this machine. At its end the memory must be flat, nothing may run, and a question must have the answer that it
had at the start.
"""

import contextlib
import http.client
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click

from minilora.files.shipped import shipped

from .options import OneLine, Refused

QUESTION = {"messages": [{"role": "user", "content": "Where does Bess Moss live?"}], "temperature": 0}
ROWS = 16
GROWTH = 1.05, 8 * 2**20  # the memory at the end may be this many times that at half time, or this many bytes more


@click.command(cls=OneLine)
@click.option("--minutes", default=5.0, show_default=True, type=click.FloatRange(0.05, 240))
@click.option("--clients", default=6, show_default=True, type=click.IntRange(1, 32))
@click.option("--adapters", default=24, show_default=True, type=click.IntRange(2, 1000), help="Folders of the server.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def main(minutes, clients, adapters, seed):
    """Exit code 0: all was well. 2: the first thing that was not."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for number in range(adapters):
            copy_adapter(folder, f"a{number}", number)
        with serving(folder) as (process, port):
            soak(Soak(folder, process.pid, port, adapters), minutes, clients, seed)


def copy_adapter(folder, name, which):
    """One of the two shipped adapters under this name, as a whole: never half there."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        shutil.copytree(shipped(f"adapters/{('style-json', 'style-crier')[which % 2]}"), Path(made) / name)
        (Path(made) / name).rename(folder / name)


@contextlib.contextmanager
def serving(folder):  # -> process, port
    """`minilora serve` with few slots and little memory, so that adapters are evicted all the time."""
    command = [sys.executable, "-m", "minilora", "serve", "--port", "0", "--lora-dir", str(folder)]
    command += [
        "--allow-runtime-lora-updating",
        "--max-loras",
        "4",
        "--max-cpu-loras",
        "8",
        "--max-num-seqs",
        str(ROWS),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            yield process, int(process.stdout.readline().split()[1].rstrip("/").rpartition(":")[2])
        finally:
            process.terminate()


class Soak:
    """The clients of one server, and what they saw."""

    def __init__(self, folder, pid, port, adapters):
        self.folder, self.pid, self.port, self.adapters = folder, pid, port, adapters
        self.seen, self.faults = Counter(), []
        self.files = threading.Lock()  # two clients do not change one folder at once

    def memory(self):  # -> bytes
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def send(self, method, path, body=None, raw=None):  # -> status, text
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = raw if raw is not None else None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"})
            reply = connection.getresponse()
            status, text = reply.status, reply.read().decode("utf-8", "replace")
        finally:
            connection.close()
        self.note(status, path, body, text)
        return status, text

    def note(self, status, path, body, text=""):
        self.seen[f"{path.split('?')[0]} {status}"] += 1
        if status >= 500 and status != 503:
            self.faults.append(f"{path} {json.dumps(body)[:150]} was answered with {status}: {text[:150]}")

    def answer(self, model):
        status, text = self.send("POST", "/v1/chat/completions", QUESTION | {"model": model, "max_tokens": 30})
        return json.loads(text)["choices"][0]["message"]["content"] if status == 200 else None

    def fill_the_cache(self):
        """Write every place of every row once: memory that a cache takes later would look like a leak."""
        body = {"prompt": "x", "n": ROWS, "max_tokens": 500, "ignore_eos": True}
        self.send("POST", "/v1/completions", body)

    # ---- what a client may do

    def ask(self, rng):
        name = f"a{rng.randrange(self.adapters)}"
        body = {"model": rng.choice([name, name, "base"]), "prompt": "x y z " * rng.randrange(1, 30)}
        body |= {"max_tokens": rng.randrange(1, 40), "n": rng.choice([1, 1, 3]), "temperature": rng.choice([0, 1.0])}
        self.send("POST", "/v1/completions", body)

    def stream(self, rng, leave=False, slowly=False):
        body = {"model": f"a{rng.randrange(self.adapters)}", "prompt": "x", "max_tokens": 60, "stream": True}
        body |= {"ignore_eos": True, "n": rng.choice([1, 2])}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            reply = connection.getresponse()
            self.note(reply.status, "/v1/completions", body)
            for _ in range(rng.randrange(8) if leave else 10**6):
                if not reply.readline():
                    break
                time.sleep(0.02 if slowly else 0)
        finally:
            connection.close()

    def leave(self, rng):
        self.stream(rng, leave=True)

    def read_slowly(self, rng):
        self.stream(rng, slowly=True)

    def hang_up_before_the_answer(self, rng):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"model": "a0", "prompt": "x", "max_tokens": 200, "ignore_eos": True})
        connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        time.sleep(rng.random() / 10)
        connection.close()

    def load(self, rng):
        body = {"lora_name": f"m{rng.randrange(6)}", "lora_path": f"a{rng.randrange(self.adapters)}"}
        self.send("POST", "/v1/load_lora_adapter", body | {"load_inplace": rng.random() < 0.7})

    def unload(self, rng):
        names = [f"m{rng.randrange(6)}", f"a{rng.randrange(self.adapters)}"]
        self.send("POST", "/v1/unload_lora_adapter", {"lora_name": rng.choice(names)})

    def ask_a_loaded_one(self, rng):
        self.answer(f"m{rng.randrange(6)}")

    def break_a_folder(self, rng):
        name = f"bad{rng.randrange(3)}"
        with self.files:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            copy_adapter(self.folder, name, 0)
            tensors = self.folder / name / "adapter_model.safetensors"
            data = bytearray(tensors.read_bytes())
            if rng.random() < 0.5:
                data = data[: rng.randrange(len(data))]
            else:
                for _ in range(20):
                    data[rng.randrange(2000)] = rng.randrange(256)
            tensors.write_bytes(data)
        self.answer(name)

    def change_a_folder(self, rng):
        with self.files:
            name = f"a{rng.randrange(2, self.adapters)}"
            shutil.rmtree(self.folder / name)
            copy_adapter(self.folder, name, rng.randrange(2))

    def send_nonsense(self, rng):
        odd = [None, -1, 1e300, "", "../..", "a\0b", [], {}, "x" * 3000, [[]], True]
        keys = "model prompt messages max_tokens n temperature stop stream lora_name lora_path logprobs".split()
        path = rng.choice(["/v1/completions", "/v1/chat/completions", "/v1/load_lora_adapter", "/tokenize"])
        raw = bytes(rng.randrange(256) for _ in range(rng.randrange(200))) if rng.random() < 0.3 else None
        self.send("POST", path, {key: rng.choice(odd) for key in rng.sample(keys, 3)}, raw)

    def look(self, rng):
        self.send("GET", rng.choice(["/v1/models", "/metrics", "/adapters", "/health", "/", "/nothing"]))


ACTIONS = ("ask", "ask", "ask", "stream", "leave", "read_slowly", "hang_up_before_the_answer", "load", "unload",
           "ask_a_loaded_one", "break_a_folder", "change_a_folder", "send_nonsense", "look")  # fmt: skip


def soak(server, minutes, clients, seed):
    """Let clients act for the time; raises Refused with the first fault."""
    before = [server.answer(model) for model in ("base", "a0", "a1")]
    server.fill_the_cache()
    began, memory = time.monotonic(), [server.memory()]

    def client(number):
        rng = random.Random(f"{seed} {number}")
        while time.monotonic() - began < 60 * minutes and not server.faults:
            action = rng.choice(ACTIONS)
            try:
                getattr(server, action)(rng)
            except Exception as error:
                server.faults.append(f"{action}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1, minutes))
        memory.append(server.memory())
    half, end = max(memory[: len(memory) // 2 + 1]), memory[-1]
    settle(server)
    requests = sum(server.seen.values())
    click.echo(f"{requests:,} requests in {minutes:g} minutes: {dict(sorted(server.seen.items()))}")
    click.echo(f"memory: at most {half / 2**20:.1f} MiB in the first half, {end / 2**20:.1f} at the end")
    after = [server.answer(model) for model in ("base", "a0", "a1")]
    if server.faults:
        raise Refused(server.faults[0])
    if after != before or None in before:
        raise Refused(f"answers changed: {before} became {after}")
    if end > max(half * GROWTH[0], half + GROWTH[1]):
        raise Refused(f"memory grew from {half:,} to {end:,} bytes in the second half")
    click.echo("all was well")


def settle(server):
    """Wait until nothing runs; a server that never does is a fault."""
    for _ in range(100):
        text = server.send("GET", "/metrics")[1]
        values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_requests_")]
        if values == [0, 0]:
            return
        time.sleep(0.1)
    server.faults.append("requests run although all clients are gone")


if __name__ == "__main__":
    main()
