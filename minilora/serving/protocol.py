"""OpenAI's requests and answers as JSON, with vLLM's additions: checked here, built here, and nothing else."""

import math
from collections.abc import Sequence as Many
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from ..errors import ConfigError
from ..text.rows import joined_parts
from .requests import Delta, Logprob, Sampling

MOST_LOGPROBS = 20
MOST_ANSWERS = 128  # n times the prompts of one request
NEVER = -9999.0  # what vLLM writes for a log-probability of minus infinity: JSON has no infinity

# fields that OpenAI or vLLM has and this server has not: refused unless they are null, 0, false or empty
UNSUPPORTED = frozenset(
    "presence_penalty frequency_penalty logit_bias min_p min_tokens suffix tools functions bad_words allowed_token_ids "
    "use_beam_search truncate_prompt_tokens prompt_logprobs return_token_ids include_stop_str_in_output guided_json "
    "guided_regex guided_choice guided_grammar structured_outputs logits_processors echo add_special_tokens documents "
    "chat_template continue_final_message audio lora_path adapter_id".split()
)
USUAL = {  # the same, with the value that changes nothing
    "repetition_penalty": 1, "length_penalty": 1, "skip_special_tokens": True, "spaces_between_special_tokens": True,
    "add_generation_prompt": True, "response_format": {"type": "text"}, "modalities": ["text"],
}  # fmt: skip

Id = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[int, BeforeValidator(lambda n: 1 if n is None else n), Field(ge=1, le=MOST_ANSWERS)]
Stop = Annotated[str, StringConstraints(min_length=1)]
EXPECTED = {  # of a field that may be one of several things
    "stop": "a text, or a list of at most 16 texts, none of them empty",
    "prompt": "a text, token ids, or a list of texts or of token ids",
}


class Options(BaseModel):
    """What both kinds of request have. An unknown field is ignored, as vLLM does; one that would change the answer
    and is not supported is refused."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str | None = None
    n: Number = 1  # null: 1, as in OpenAI's description
    temperature: float | None = Field(1.0, ge=0, le=1e6)
    top_p: float | None = Field(1.0, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=2**31)  # 0 and -1: all
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stop_token_ids: Annotated[list[Id], Field(max_length=128)] | None = None
    ignore_eos: bool = False
    lora_scale: float = Field(1.0, ge=-100, le=100)  # of minilora alone: by which the adapter's update is multiplied
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None

    def check(self) -> None:
        """Raises ConfigError for fields that contradict each other or are not supported."""
        if self.stream_options is not None and not self.stream:
            raise ConfigError("Stream options can only be defined when `stream=True`.")
        for name, value in (self.model_extra or {}).items():
            usual = self.n if name == "best_of" else USUAL.get(name)
            changes = bool(value) if name in UNSUPPORTED else usual is not None and value not in (None, usual)
            if changes:
                raise ConfigError(f"{name} is not currently supported")

    @property
    def usage_wanted(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def usage_in_chunks(self) -> bool:
        return self.usage_wanted and bool((self.stream_options or {}).get("continuous_usage_stats"))

    def sampling(self, max_tokens: int, logprobs: int | None) -> Sampling:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k if self.top_k and self.top_k > 0 else None,
            seed=None if self.seed is None else self.seed % 2**63,
            stop=tuple(stop),
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            logprobs=logprobs,
        )


class CompletionRequest(Options):
    """POST /v1/completions"""

    prompt: str | list[Id] | list[str] | list[list[Id]]
    max_tokens: Count | None = 16
    echo: bool | None = False
    logprobs: int | None = None
    add_special_tokens: bool = True

    def prompts(self) -> list[str | list[int]]:
        """The prompts apart. Raises ConfigError when there is none, or too much is asked at once."""
        prompt: Any = self.prompt
        one = isinstance(prompt, str) or (prompt and isinstance(prompt[0], int))
        found: Any = [prompt] if one else prompt
        if not found or any(not p for p in found):
            raise ConfigError("the prompt is empty: expected at least one token")
        if len(found) * self.n > MOST_ANSWERS:
            raise ConfigError(f"{len(found)} prompts times n = {self.n}: at most {MOST_ANSWERS} answers a request")
        return found

    def check(self) -> None:
        super().check()
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise ConfigError(f"logprobs {self.logprobs}: expected 0 to {MOST_LOGPROBS}")
        if self.max_tokens == 0 and not self.echo:
            raise ConfigError("max_tokens must be at least 1, got 0.")


class ChatRequest(Options):
    """POST /v1/chat/completions"""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        super().check()
        if self.top_logprobs is not None and not 0 <= self.top_logprobs <= MOST_LOGPROBS:
            raise ConfigError(f"top_logprobs {self.top_logprobs}: expected 0 to {MOST_LOGPROBS}")
        if self.top_logprobs and not self.logprobs:
            raise ConfigError("top_logprobs needs logprobs to be true")


def plain_messages(messages: list[dict]) -> list[dict]:
    """Messages whose content is text: parts of text are joined. Raises DataError for pictures and sounds."""
    return [{**m, "content": joined_parts(m["content"])} if "content" in m else m for m in messages]


class AskRequest(BaseModel):
    """POST /ask, of minilora alone: one question to several models at once, for the page. A browser opens only six
    connections to a server, so a class of thirty adapters needs one request for all."""

    models: Annotated[list[str], Field(min_length=1, max_length=MOST_ANSWERS)]
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    prompt: str = ""
    max_tokens: int = Field(64, ge=1, lt=2**31)
    temperature: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    lora_scale: float = Field(1.0, ge=-100, le=100, allow_inf_nan=False)  # of the adapters

    def of(self, name: str, is_base: bool) -> CompletionRequest | ChatRequest:
        """The request to one of them: chat where there are messages."""
        fields: dict[str, Any] = {"model": name, "max_tokens": self.max_tokens, "temperature": self.temperature}
        fields["lora_scale"] = 1.0 if is_base else self.lora_scale
        if self.messages is None:
            return CompletionRequest(prompt=self.prompt, **fields)
        return ChatRequest(messages=self.messages, **fields)


class LoadRequest(BaseModel):
    """POST /v1/load_lora_adapter"""

    lora_name: Any = None
    lora_path: Any = None
    load_inplace: bool = False


class UnloadRequest(BaseModel):
    """POST /v1/unload_lora_adapter"""

    lora_name: Any = None
    lora_int_id: Any = None


class TokenizeRequest(BaseModel):
    """POST /tokenize"""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class DetokenizeRequest(BaseModel):
    """POST /detokenize"""

    model: str | None = None
    tokens: list[Id]


class Mistake(BaseModel):
    """What `ErrorBody` holds."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(BaseModel):
    """The answer to a request that cannot be answered."""

    error: Mistake


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "A fault of the request"},
    503: {"model": ErrorBody, "description": "Busy or stopping; Retry-After says when to try again"},
}
STREAMS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
SAYS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}


# ---- answers


def error(message: str, status: int, kind: str, param: str | None = None) -> dict:
    """OpenAI's shape of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def usage(prompt_tokens: int, completion_tokens: int) -> dict:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def finite(value: float | None) -> float | None:
    return NEVER if value is not None and not math.isfinite(value) else value


def completion_logprobs(found: Many[Logprob], token_text, offset: int = 0) -> dict:
    """logprobs of /v1/completions. token_text: id -> text; offset: where the first token begins in the text."""
    tokens = [token_text(lp.token) for lp in found]
    offsets = [offset]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    tops: list[dict | None] = []
    for lp, token in zip(found, tokens, strict=True):
        if lp.value is None:
            tops.append(None)
            continue
        top: dict = {}
        for other, value in lp.top:
            top.setdefault(token_text(other), finite(value))
        top.setdefault(token, finite(lp.value))
        tops.append(top)
    return {
        "text_offset": offsets[: len(tokens)],
        "token_logprobs": [finite(lp.value) for lp in found],
        "tokens": tokens,
        "top_logprobs": tops,
    }


def chat_logprobs(found: Many[Logprob], token_text) -> dict:
    """logprobs of /v1/chat/completions."""

    def entry(token, value):
        text = token_text(token)
        return {"token": text, "logprob": finite(value), "bytes": list(text.encode())}

    return {
        "content": [entry(lp.token, lp.value) | {"top_logprobs": [entry(*pair) for pair in lp.top]} for lp in found]
    }


def completion_choice(index: int, text: str, delta: Delta, logprobs: dict | None) -> dict:
    return {
        "index": index,
        "text": text,
        "logprobs": logprobs,
        "finish_reason": delta.finish_reason,
        "stop_reason": delta.stop_reason,
    }


def chat_choice(index: int, text: str, delta: Delta, logprobs: dict | None) -> dict:
    message = {"role": "assistant", "content": text}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": delta.finish_reason,
        "stop_reason": delta.stop_reason,
    }


def chat_chunk_choice(index: int, text: str | None, delta: Delta | None, logprobs: dict | None) -> dict:
    """delta None: the first chunk of an answer, which says whose it is."""
    content = {"role": "assistant", "content": ""} if delta is None else {"content": text} if text else {}
    reason = None if delta is None else delta.finish_reason
    stop = {} if delta is None else {"stop_reason": delta.stop_reason}
    return {"index": index, "delta": content, "logprobs": logprobs, "finish_reason": reason} | stop
