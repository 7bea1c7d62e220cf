"""The forms in which people write training examples, and what each becomes: a prompt, a response and any messages.

Every key of a row is used, known to hold no content for the model, or refused by name.
"""

import functools
import json
from collections.abc import Sequence
from typing import Any

from ..errors import DataError, listed

FORMS = {  # name: (keys that make a row of this form, keys that it may also have)
    "messages": (("messages",), ("tools", "system")),
    "conversations": (("conversations",), ("tools", "system")),  # ShareGPT
    "instruction and output": (("instruction", "output"), ("input", "context", "system")),  # Alpaca
    "instruction and response": (("instruction", "response"), ("context", "input", "system")),  # Dolly
    "prompt and response": (("prompt", "response"), ("input", "context", "system", "tools")),
    "prompt and completion": (("prompt", "completion"), ("input", "context", "system", "tools")),  # TRL
    "text": (("text",), ()),
}
ROLES = ("system", "user", "assistant", "tool")
SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
    "assistant": "assistant", "system": "system", "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
ABOUT = {  # keys that tell about a row; those in the last line are what the metrics of the shipped tasks read
    "id", "_id", "idx", "index", "uid", "uuid", "key", "hash", "row_id", "prompt_id", "conversation_id", "thread_id",
    "source", "url", "dataset", "split", "subset", "config", "category", "topic", "tags", "tag", "type", "task",
    "task_type", "lang", "language", "license", "author", "model", "created", "created_at", "date", "timestamp",
    "version", "meta", "metadata", "difficulty", "quality", "score", "rating", "label",
    "name", "kind", "value", "slots",
}  # fmt: skip
NOT_LEARNED = ("train", "training", "trainable", "loss")  # keys by which other tools leave out a message or row
NO = (False, 0, "false", "no")
TEXT_PARTS = ("text", "input_text", "output_text")  # types of parts of a message that are text

NEEDED = {form: frozenset(needed) for form, (needed, _) in FORMS.items()}
USED = {form: ABOUT.union(needed, other) for form, (needed, other) in FORMS.items()}  # every key of a row that is read


class Example(dict):
    """A checked example: "prompt" and "response", and "messages", "tools" or "text" if the row has them.

    form: a name of FORMS. where: its place, for errors: "a.jsonl, line 3" or "example 3".
    """

    __slots__ = ("form", "where")  # a file has hundreds of thousands of them


def read_row(value, where: str) -> Example:
    """The example in a row. Raises DataError without the place; the caller knows it."""
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {json_type(value)}")
    form, read, about, others = _plan(tuple(value))
    _check_meant(value)
    example = Example(read(value, FORMS[form][0]))
    for key in about:
        example[key] = value[key]
    example.form, example.where = form, where
    for key in others:
        extra = value[key]
        if _has_content(extra):
            if not (key == "text" and _has_all(extra, value, FORMS[form][0])):  # Alpaca has the row twice
                names = listed([*FORMS[form][0], *FORMS[form][1]], 8)
                raise DataError(
                    f'"{key[:60]}" would not be used: a row with {form} has {names}; remove it or rename it'
                )
    return example


@functools.lru_cache(maxsize=64)
def _plan(keys: tuple[str, ...]) -> tuple:  # of a row: most rows of a file have the same keys
    """(form, the function that reads it, the keys that tell about the row, those that no form reads)."""
    form = row_form(dict.fromkeys(keys))
    read = {"messages": _read_chat, "conversations": _read_chat, "text": _read_text}.get(form, _read_pair)
    return form, read, [key for key in keys if key in ABOUT], [key for key in keys if key not in USED[form]]


def every_answer(example: dict) -> list[dict]:
    """The example once for each answer in its conversation, which then ends with that answer; not those of weight 0.

    All keep the same "prompt", so that a split of the data leaves them together.
    """
    messages = example.get("messages", [])
    ends = [
        n for n, m in enumerate(messages[:-1], start=1)
        if n > 1 and m["role"] == "assistant" and (m.get("content") or "").strip() and m.get("weight", 1)
    ]  # fmt: skip
    parts = []
    for end in ends:
        part = Example(example | {"messages": messages[:end], "response": messages[end - 1]["content"]})
        part.form, part.where = getattr(example, "form", ""), getattr(example, "where", "")
        parts.append(part)
    return [*parts, example]


def row_form(value: dict) -> str:
    """The name of the form, of FORMS. Raises DataError for a row of no form."""
    for name, needed in NEEDED.items():
        if value.keys() >= needed:
            return name
    near = max(FORMS.values(), key=lambda keys: (sum(k in value for k in keys[0]), keys[0] == ("prompt", "response")))
    missing = next(key for key in near[0] if key not in value)
    keys = ", ".join(repr(key[:60]) for key in list(value)[:6]) or "no keys"
    raise DataError(f'no "{missing}"; expected {", ".join(FORMS)}; found {keys}')


def recognised(examples: Sequence[Any]) -> str:
    """The forms of the examples in words, such as "prompt and response" or "messages, text"."""
    return ", ".join(dict.fromkeys(example.form for example in examples))


def json_type(value) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")


def _check_meant(value: dict) -> None:
    """Raises DataError for a row that other tools would not learn, or not whole."""
    if value.get("weight", 1) != 1:
        raise DataError(f'"weight" is {str(value["weight"])[:20]}, expected 1: remove the row, or weigh its messages')
    for key in NOT_LEARNED:
        if value.get(key) in NO:
            raise DataError(f'"{key}" is {json.dumps(value[key])}: another tool would not learn this row; remove it')
    if value.get("label") is False:  # as TRL's rows of good and bad answers have it
        raise DataError('"label" is false: this is an answer that must not be learned; remove the row')


def _has_content(value) -> bool:
    return bool(value) and isinstance(value, str | list | dict)


def _has_all(text, value: dict, keys) -> bool:
    return isinstance(text, str) and all(isinstance(value[key], str) and value[key].strip() in text for key in keys)


def _text(value: dict, key: str) -> str:
    if not isinstance(value[key], str):
        raise DataError(f'"{key}" is {json_type(value[key])}, expected a string')
    return value[key]


def _read_pair(value, keys) -> dict:
    question, answer = keys
    if isinstance(value[question], list) and isinstance(value[answer], list):  # both as messages, as TRL has them
        return _from_messages(_system(value) + value[question] + value[answer], _tools(value))
    prompt, response = _text(value, question), _text(value, answer)
    for key in ("input", "context"):
        if value.get(key):
            prompt += "\n" + _text(value, key)
    if not response.strip():
        raise DataError(f'"{answer}" is empty: there is nothing to learn')
    system, tools = _system(value), _tools(value)
    if system or tools:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return _from_messages(system + turns, tools)
    return {"prompt": prompt, "response": response}


def _read_text(value, keys) -> dict:
    text = _text(value, "text")
    if not text.strip():
        raise DataError('"text" is empty: there is nothing to learn')
    return {"prompt": "", "response": text, "text": text}


def _read_chat(value, keys) -> dict:
    messages = value[keys[0]]
    if not isinstance(messages, list):
        raise DataError(f'"{keys[0]}" is {json_type(messages)}, expected a list of at least two')
    return _from_messages(_system(value) + [_from_sharegpt(m) for m in messages], _tools(value))


def _from_sharegpt(message):
    """{"from": "human", "value": ...} -> {"role": "user", "content": ...}; any other message as it is."""
    if not isinstance(message, dict) or "from" not in message or "value" not in message:
        return message
    rest = {key: kept for key, kept in message.items() if key not in ("from", "value")}
    sender = message["from"]
    return {
        "role": SHAREGPT_ROLES.get(sender, sender) if isinstance(sender, str) else sender,
        "content": message["value"],
    } | rest


def _system(value) -> list[dict]:
    return [{"role": "system", "content": _text(value, "system")}] if value.get("system") else []


def _tools(value) -> list:
    tools = value.get("tools") or []
    if isinstance(tools, str):  # some files hold them as JSON in a string
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise DataError('"tools" is a string that is not JSON, expected a list') from error
    if not isinstance(tools, list):
        raise DataError(f'"tools" is {json_type(tools)}, expected a list')
    return tools


def _from_messages(messages: list, tools: list) -> dict:
    messages = [check_message(number, message) for number, message in enumerate(messages, start=1)]
    if len(messages) < 2:
        raise DataError(f'"messages" has {len(messages)}, expected a list of at least two: one to read, one to learn')
    last = messages[-1]
    if last["role"] != "assistant" or not (last.get("content") or "").strip():
        raise DataError("the last message must be the assistant's and not empty: the model learns to write it")
    if last.get("weight", 1) == 0:
        raise DataError("the last message has weight 0: there is nothing to learn")
    messages = [{key: kept for key, kept in m.items() if key != "weight" or kept == 0} for m in messages]
    prompt = "\n".join(m.get("content") or "" for m in messages[:-1])
    example = {"prompt": prompt, "response": last["content"], "messages": messages}
    return example | ({"tools": tools} if tools else {})


def joined_parts(content: Any) -> Any:
    """The text of a content that is a list of parts, as OpenAI's files have it; any other content as it is.

    Raises DataError for a part that is no text, such as a picture.
    """
    if not isinstance(content, list):
        return content
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else json_type(part)
        if kind not in TEXT_PARTS or not isinstance(part.get("text"), str):
            raise DataError(f"content of type {str(kind)[:40]!r}, and only text is read")
    return "".join(part["text"] for part in content)


def check_message(number: int, message) -> dict:
    parts = message.get("content") if isinstance(message, dict) else None
    if isinstance(parts, list) and parts and all(isinstance(part, dict) for part in parts):
        try:
            message = message | {"content": joined_parts(parts)}
        except DataError as error:
            raise DataError(f"message {number} has {error}") from error
    calls = isinstance(message, dict) and message.get("role") == "assistant" and message.get("tool_calls")
    if not isinstance(message, dict) or not (isinstance(message.get("content"), str) or calls):
        raise DataError(f'message {number} must be an object with "role" and a string "content"')
    if message.get("role") not in ROLES:
        role = repr(message.get("role"))[:60]
        raise DataError(f"message {number} has role {role}, expected one of {', '.join(ROLES)}")
    if message.get("weight", 1) not in (0, 1):
        raise DataError(f"message {number} has weight {str(message['weight'])[:20]}, expected 0 or 1")
    for key in NOT_LEARNED:
        if message.get(key) in NO:
            raise DataError(
                f'message {number} has "{key}": {json.dumps(message[key])}; '
                'write "weight": 0 for an answer that is not learned'
            )
    return {key: kept for key, kept in message.items() if kept is not None}


def keys_with_content(messages: list[dict]) -> list[str]:
    """The keys of messages that hold content beside their text: a form that has no place for one would drop it."""
    known = ABOUT | {"role", "content", "weight", "tool_call_id"}
    return list(dict.fromkeys(k for m in messages for k, kept in m.items() if k not in known and _has_content(kept)))
