"""The server over HTTP: OpenAI's and vLLM's routes."""

import contextlib
import dataclasses
import json
import logging
import time
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from ..errors import ConfigError, UnknownNameError, printable
from . import protocol
from .answers import Answers, Chat, Completion, EventStream, Post, respond, side_by_side
from .asking import Asking
from .engine import Engine
from .guard import HANDLERS, Guard
from .metrics import Metrics
from .protocol import ChatRequest, CompletionRequest


class Server:
    """What the routes need: the engine, how base and adapters are asked, and the settings of the command."""

    def __init__(self, engine: Engine, tokenizer, base: Path, name: str, *, may_load=False, api_key=None):
        self.engine, self.pool, self.tokenizer, self.base, self.name = engine, engine.pool, tokenizer, base, name
        self.may_load, self.api_key = may_load, api_key
        self.asking = Asking.of(base, base, engine.model.config, tokenizer)
        self.metrics = Metrics(name, engine)
        self.pool.observe = self.metrics.load.observe
        self.began, self._warned = int(time.time()), False
        self.post: Any = None  # a Post, once an event loop runs

    def lease(self, model: str | None):  # -> Version or None, Asking
        """Who answers to `model`: an adapter, kept until it is released, or the base."""
        if not model or model == self.name:
            return None, self.asking
        version = self.pool.lease(model)
        return version, version.about

    def token_text(self, token: int) -> str:
        return self.tokenizer.decode([token]) or self.tokenizer.inner.id_to_token(token) or ""

    def cards(self) -> list[dict]:
        """The models that answer: the base, then folders that are not loaded, then what is loaded."""

        def card(name, root, parent):
            return {
                "id": name, "object": "model", "created": self.began, "owned_by": "minilora", "root": root,
                "parent": parent, "max_model_len": self.engine.max_model_len, "permission": [],
            }  # fmt: skip

        found = self.pool.names()
        adapters = [card(name, str(path), self.name) for name, path, _ in found if name != self.name]
        hidden = [path for name, path, _ in found if name == self.name]
        return [card(self.name, str(self.base), None) | self._warning(hidden), *adapters]

    def _warning(self, hidden):  # [folder with the name of the base, put there after the start] -> more of its card
        if not hidden:
            return {}
        said = f"{printable(hidden[0])} has the name of the base, which answers: rename the folder to serve it"
        if not self._warned:
            logging.getLogger(__name__).warning(said)
        self._warned = True
        return {"warning": said}


def create_app(server: Server, host: str = "127.0.0.1") -> FastAPI:
    """The application. host: the address it will listen on; on a loopback address the Host header is checked."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        server.post = Post()
        server.engine.after_step = server.post.send
        server.engine.start()
        yield
        await run_in_threadpool(server.engine.stop)

    app = FastAPI(title="minilora", lifespan=lifespan, docs_url=None, redoc_url=None, responses=protocol.ERRORS)
    app.add_middleware(Guard, server=server, host=host)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)

    @app.get("/health", response_class=Response)
    def health():
        return Response(status_code=503 if server.engine.failure else 200)

    @app.get("/version")
    def version():
        return {"version": metadata.version("minilora")}

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics_text():
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=HTMLResponse)
    def page():
        text = resources.files("minilora.serving").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(
            text, headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src data:"}
        )

    @app.get("/v1/models")
    def models():
        return {"object": "list", "data": server.cards()}

    @app.get("/v1/models/{name:path}")
    def model(name: str):
        card = next((c for c in server.cards() if c["id"] == name), None)
        if card is None:
            raise UnknownNameError(f"The model `{printable(name[:100])}` does not exist.")
        return card

    @app.get("/adapters")
    def adapters():
        return pool_state(server)

    @app.post("/v1/completions", responses=protocol.STREAMS)
    async def completions(body: CompletionRequest, request: Request):
        body.check()
        version, asking, prompts = await run_in_threadpool(_prepared, server, body, body.prompts())
        answers = Answers(server)
        max_tokens = 16 if body.max_tokens is None else body.max_tokens
        answers.submit(prompts, body, version, asking, max_tokens, body.logprobs, bool(body.echo))
        shape = Completion(server, body, answers, prompts)
        return await respond(shape, request)

    @app.post("/v1/chat/completions", responses=protocol.STREAMS)
    async def chat(body: ChatRequest, request: Request):
        body.check()
        version, asking, prompts = await run_in_threadpool(_prepared, server, body, None)
        room = max(1, server.engine.max_model_len - len(prompts[0]))
        asked = body.max_completion_tokens or body.max_tokens or room
        answers = Answers(server)
        answers.submit(prompts, body, version, asking, asked, (body.top_logprobs or 0) if body.logprobs else None)
        return await respond(Chat(server, body, answers, prompts), request)

    @app.post("/ask", responses=protocol.STREAMS)
    async def ask(body: protocol.AskRequest):
        answers = Answers(server)

        async def submit(name):
            one = body.of(name, is_base=name == server.name)
            one.check()
            prompts = one.prompts() if isinstance(one, CompletionRequest) else None
            version, asking, prompts = await run_in_threadpool(_prepared, server, one, prompts)
            answers.submit(prompts, one, version, asking, body.max_tokens)

        return EventStream(answers, side_by_side(answers, dict.fromkeys(body.models), submit))

    @app.post("/tokenize")
    def tokenize(body: protocol.TokenizeRequest):
        if (body.prompt is None) == (body.messages is None):
            raise ConfigError("expected either prompt or messages")
        version, asking = server.lease(body.model)
        try:
            if body.messages is not None:
                ids = asking.prompt(protocol.plain_messages(body.messages), server.tokenizer)
            else:
                ids = _encoded(server, body.prompt or "", body.add_special_tokens)
        finally:
            server.pool.release(version)
        found: dict[str, Any] = {"count": len(ids), "max_model_len": server.engine.max_model_len, "tokens": ids}
        if body.return_token_strs:
            found["token_strs"] = [server.tokenizer.inner.id_to_token(i) for i in ids]
        return found

    @app.post("/detokenize")
    def detokenize(body: protocol.DetokenizeRequest):
        server.pool.release(server.lease(body.model)[0])  # all have one tokenizer, but an unknown name is a mistake
        _check_ids(server, body.tokens)
        return {"prompt": server.tokenizer.decode(body.tokens)}

    @app.get("/tokenizer_info")
    def tokenizer_info():
        file = server.base / "tokenizer_config.json"
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        eos = server.tokenizer.eos_id
        template = server.asking.template
        settings.setdefault("eos_token", None if eos is None else server.tokenizer.inner.id_to_token(eos))
        return settings | {"chat_template": None if template is None else template.source}

    if server.may_load:

        @app.post("/v1/load_lora_adapter", responses=protocol.SAYS)
        def load(body: protocol.LoadRequest):
            if not body.lora_name or not body.lora_path:
                raise ConfigError("both 'lora_name' and 'lora_path' need to be provided to load a LoRA adapter.")
            if body.lora_name == server.name:
                raise ConfigError(f"{printable(str(body.lora_name))!r} is the name of the base")
            loaded = server.pool.add(body.lora_name, server.pool.inside(body.lora_path), body.load_inplace)
            server.engine.wake()
            return PlainTextResponse(f"Success: LoRA adapter '{loaded.name}' added successfully.")

        @app.post("/v1/unload_lora_adapter", responses=protocol.SAYS)
        def unload(body: protocol.UnloadRequest):
            if not body.lora_name or not isinstance(body.lora_name, str):
                raise ConfigError("'lora_name' needs to be provided to unload a LoRA adapter.")
            server.pool.remove(body.lora_name)
            server.engine.wake()
            return PlainTextResponse(f"Success: LoRA adapter '{printable(body.lora_name)}' removed successfully.")

    return app


def pool_state(server: Server) -> dict:
    """What the page shows: where each adapter is, what it costs, and what was evicted last."""
    active = {v.name for v in list(server.pool.active.values()) if not v.dropped}
    versions = {v.name: v for v in list(server.pool.versions.values()) if not v.dropped}
    found = []
    for name in (card["id"] for card in server.cards()[1:]):
        version = versions.get(name)
        found.append({
            "name": name, "in_slot": name in active, "in_memory": version is not None,
            "bytes": version and version.bytes, "load_ms": version and 1e3 * version.seconds,
        })  # fmt: skip
    steps = server.engine.counts["steps"]
    return {
        "base": server.name, "adapters": found, "evicted": server.pool.evicted[-8:], "slots": server.pool.max_loras,
        "step_ms": 1e3 * server.engine.counts["step_seconds"] / steps if steps else None,
    }  # fmt: skip


def _prepared(server, body, prompts):  # -> Version or None, Asking, [token ids]
    """Who answers, and what is asked as tokens. Nothing is kept when this raises."""
    _check_ids(server, body.stop_token_ids or [])
    version, asking = server.lease(body.model)
    try:
        if prompts is None:
            return (
                version,
                asking,
                [asking.prompt(protocol.plain_messages(body.messages), server.tokenizer, body.chat_template_kwargs)],
            )
        plain = dataclasses.replace(asking, behind="")  # no template writes anything behind the text
        return version, plain, [_encoded(server, p, body.add_special_tokens) for p in prompts]
    except BaseException:
        server.pool.release(version)
        raise


def _encoded(server, prompt: str | list[int], add_special_tokens: bool) -> list[int]:
    if isinstance(prompt, str):
        return (server.tokenizer.start if add_special_tokens else []) + server.tokenizer.encode(prompt)
    _check_ids(server, prompt)
    return prompt


def _check_ids(server, ids):
    size = server.engine.model.config.vocab_size
    if wrong := [i for i in ids if not 0 <= i < size]:
        raise ConfigError(f"token id {wrong[0]} is out of vocabulary: expected 0 to {size - 1}")
