"""Chat templates: how a model wants its messages written. They are programs in jinja, so they run in its sandbox."""

import json
import re
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError, DataError, FormatError
from ..files.atomic import read_json, read_utf8
from .encoding import encode_both

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
TURNS = (("user", "prompt"), ("assistant", "response"))


class ChatTemplate:
    """A template and the special tokens that it may write.

    source: jinja text. special_tokens: {"bos_token": "<s>", ...}. Raises FormatError when it does not parse,
    ConfigError without jinja2 (install minilora[hf]).
    """

    def __init__(self, source, special_tokens=None):
        self.source, self.special_tokens = source, dict(special_tokens or {})
        self._template = _compile(source)

    @classmethod
    def from_folder(cls, folder):
        """The template of a model: chat_template.jinja, or in tokenizer_config.json, or chat_template.json.

        Raises ConfigError when the folder has none.
        """
        folder = Path(folder)
        settings = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the second one has the last word
            settings |= read_json(folder / name) if (folder / name).is_file() else {}
        source = _find_template(folder, settings)
        tokens = {key: _token_text(settings.get(key)) for key in SPECIAL_TOKENS}
        return cls(source, {key: text for key, text in tokens.items() if text is not None})

    def render(self, messages, add_generation_prompt=True, **variables):  # list of {"role", "content"} -> str
        """The text of a conversation, as transformers' apply_chat_template writes it.

        add_generation_prompt: end with what opens the assistant's turn. variables: what else the template asks for
        (enable_thinking, tools, ...). Raises DataError for what is not a conversation, or what the template refuses.
        """
        messages = _plain_messages(messages)
        given = {"tools": None, "documents": None} | self.special_tokens | variables
        try:
            return self._template.render(messages=messages, add_generation_prompt=add_generation_prompt, **given)
        except Exception as error:  # the template's own raise_exception, a sandbox violation, a missing key
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise DataError(f"the chat template refuses these messages: {reason[0][:200]}") from error

    def encode(self, messages, tokenizer, **options):  # -> list of ids
        """The tokens of `render`. Nothing is put in front: the template writes the BOS itself where there is one.

        tokenizer: data.TextTokenizer, whose `encode` adds no special tokens.
        """
        return tokenizer.encode(self.render(messages, **options))

    def encode_pair(self, example, tokenizer):  # {"messages"} or {"prompt", "response"} -> (ids, ids)
        """(prompt ids, response ids) for training: all up to where the last answer opens; the answer with its end mark.

        Raises DataError when the template writes an answer otherwise than it opens one.
        """
        messages = example.get("messages") or [{"role": role, "content": example[key]} for role, key in TURNS]
        before, whole = self.render(messages[:-1]), self.render(messages, add_generation_prompt=False)
        if not whole.startswith(before):
            raise DataError(f"the chat template opens an answer with {before[-20:]!r}, but does not write one that way")
        return encode_both(before, whole[len(before) :], tokenizer)


def _find_template(folder, settings):  # -> str
    file, legacy = folder / "chat_template.jinja", folder / "chat_template.json"
    if file.is_file():
        return read_utf8(file)
    found = settings.get("chat_template")
    if found is None and legacy.is_file():
        found = read_json(legacy).get("chat_template")
    if isinstance(found, list):  # [{"name": "default", "template": ...}, {"name": "tool_use", ...}]
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    if found is None:
        where = "chat_template.jinja, or chat_template in tokenizer_config.json"
        raise ConfigError(f"{folder} has no chat template ({where}); ask it in plain text, without chat")
    if not isinstance(found, str):
        raise FormatError(f"{folder}: chat_template is a {type(found).__name__}, expected text")
    return found


def _token_text(token):  # "<s>", {"content": "<s>", ...} or None -> str or None
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _plain_messages(messages):
    """The messages as plain JSON values, keys that are None left out: templates test whether a key is there."""
    try:
        messages = json.loads(json.dumps(messages))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"messages must be plain JSON values: {error}") from error
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise DataError('messages must be a list of {"role": ..., "content": ...}, at least one')
    return [{key: value for key, value in m.items() if value is not None} for m in messages]


def _compile(source):
    """A template in the environment that transformers gives it (utils/chat_template_utils.py of 5.23)."""
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ConfigError("chat templates need jinja2: install minilora[hf]") from error
    if tuple(int(n) for n in re.findall(r"\d+", jinja2.__version__)[:3]) < (3, 1, 6):
        raise ConfigError(f"jinja2 {jinja2.__version__} has holes in its sandbox; chat templates need 3.1.6 or later")

    class Generation(Extension):
        """{% generation %} ... {% endgeneration %} marks what the assistant says; the text is the same without it."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    class Namespace(jinja2.utils.Namespace):
        """`namespace` without names that begin with an underscore, which are the way to Python's insides."""

        def __init__(*args, **values):
            for name in dict(*args[1:], **values):
                Namespace.check(name)
            jinja2.utils.Namespace.__init__(*args, **values)

        def __setitem__(self, name, value):
            Namespace.check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def check(name):
            if str(name).startswith("_"):
                raise jinja2.exceptions.SecurityError(f"namespace attribute {name!r} begins with an underscore")

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "namespace": Namespace,
    }
    try:
        return environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise FormatError(f"the chat template does not parse: {str(error)[:160]} (line {line})") from error
