"""Chat templates: the form in which a model expects its messages. They are jinja programs, so they run in a sandbox."""

import functools
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, FormatError, first_line
from ..files.atomic import read_json, read_utf8
from .encoding import PairEncoder, end_of_answer
from .rows import keys_with_content
from .tokenizer import TextTokenizer, read_token_settings
from .tokenizer_classes import default_tokens, token_text

TURNS = (("user", "prompt"), ("assistant", "response"))
PROBE = "Qprobe"  # an answer that no template writes of its own accord
A_DAY = datetime(2024, 7, 26)  # in training `strftime_now` says this day always: tomorrow's run has the same bits


class ChatTemplate:
    """A template and the special tokens that it may write.

    source: jinja text. special_tokens: {"bos_token": "<s>", ...}, none by default. Raises FormatError when the template
    does not parse, ConfigError when jinja2 is not installed (it comes with minilora[hf]).
    """

    def __init__(self, source: str, special_tokens: dict[str, str] | None = None):
        if not source.strip():
            raise FormatError("the chat template is empty")
        self.source, self.special_tokens = source, dict(special_tokens or {})
        self._template = _compile(source)

    @classmethod
    def from_folder(cls, *folders: str | Path) -> "ChatTemplate":
        """Read a model's template: from chat_template.jinja, else tokenizer_config.json, else chat_template.json.

        folders: of adapters, then of the base. The first that has a template has its say; the special tokens are those
        of all folders. Raises ConfigError when no folder has a template.
        """
        source = first_template(*folders)
        if source is None:
            where = "chat_template.jinja, or chat_template in tokenizer_config.json"
            raise ConfigError(f"{folders[-1]} has no chat template ({where}); use plain prompts (drop --chat)")
        return cls(source, template_tokens(*folders))

    def render(self, messages: list[dict], add_generation_prompt: bool = True, **variables: Any) -> str:
        """The text of a conversation ([{"role": ..., "content": ...}, ...]), as transformers' apply_chat_template.

        add_generation_prompt: end with the text that opens the assistant's turn. variables: whatever else the template
        uses (enable_thinking, tools, ...). Raises DataError when `messages` is not a conversation, or the template
        refuses it.
        """
        messages = _plain_messages(messages)
        names = {"tools": None, "documents": None} | self.special_tokens | variables
        bounded: Any = self._template.environment
        bounded.begin()
        try:
            text = self._template.render(messages=messages, add_generation_prompt=add_generation_prompt, **names)
            text.encode()
        except Exception as error:  # the template's own raise_exception, a sandbox violation, a missing key
            raise DataError(f"the chat template refuses these messages: {first_line(error, 200)}") from error
        if not text:
            raise DataError("the chat template writes nothing for these messages")
        return text

    def encode(self, messages: list[dict], tokenizer: TextTokenizer, **options: Any) -> list[int]:
        """The ids of `render(messages, **options)`, with nothing in front: the template itself writes any BOS."""
        return tokenizer.encode(self.render(messages, **options))

    def check_keys(self, keys: list[str]) -> None:
        """Raises DataError for a key whose content the template would drop, since it does not read it."""
        for key in keys:
            if not re.search(rf"\b{re.escape(key)}\b", self.source):  # "thinking" is not in "enable_thinking"
                raise DataError(f'the chat template has no place for "{key[:60]}"')

    @functools.cached_property
    def encode_pair(self) -> PairEncoder:
        """Function example, tokenizer -> (prompt ids, response ids); see `pair_texts`."""
        return PairEncoder(self.pair_texts)

    def pair_texts(self, example: dict, tokenizer: TextTokenizer) -> tuple[list[int], str, str, list[int]]:
        """The texts of {"messages": ..., "tools": ...} or {"prompt": ..., "response": ...}, for PairEncoder.

        The prompt ends with the text that opens the last answer; the response is that answer with its end mark, or
        with the end token when the template writes no mark behind an answer. A generation prompt that opens more than
        a written answer has, such as `<think>`, is kept: that is what will be asked. Raises DataError when the template
        writes an answer differently from how it opens one, or has no place for tools.
        """
        if "text" in example:
            raise DataError('a row with "text" has no turns; leave out chat')
        messages = example.get("messages") or [{"role": role, "content": example[key]} for role, key in TURNS]
        variables: dict[str, Any] = {"strftime_now": A_DAY.strftime}
        self.check_keys([key for key in ("tools",) if example.get(key)] + keys_with_content(messages))
        if example.get("tools"):
            variables["tools"] = example["tools"]
        before = self.render(messages[:-1], **variables)
        whole = self.render(messages, add_generation_prompt=False, **variables)
        if not whole.startswith(before):
            whole = before + self._answer_as_asked(messages, before, variables)
        return [], before, whole[len(before) :], end_of_answer(tokenizer, self.behind_answer)[1]

    @functools.cached_property
    def behind_answer(self) -> str:
        """The text that the template writes behind the last answer, "" when it has none or refuses the question."""
        try:
            return self._around_answer([{"role": "user", "content": "?"}, {"role": "assistant"}], {})[1]
        except DataError:
            return ""

    def _around_answer(self, messages, variables) -> tuple[str, str]:
        """What is written before and behind the content of the last message."""
        probed = [*messages[:-1], {"role": messages[-1]["role"], "content": PROBE}]
        before, found, behind = self.render(probed, add_generation_prompt=False, **variables).rpartition(PROBE)
        return (before, behind) if found else ("", "")

    def _answer_as_asked(self, messages, before, variables) -> str:
        """The answer, where the generation prompt `before` opens more than a written answer begins with."""
        opened, behind = self._around_answer(messages, variables)
        asked = self.render(messages[:-1], add_generation_prompt=False, **variables)
        if not opened or not opened.startswith(asked) or not before.startswith(opened):
            raise DataError(
                f"the chat template's generation prompt ends with {before[-20:]!r}, "
                "but a rendered assistant message starts differently"
            )
        more = before[len(opened) :].strip()  # "<think>"; a content that begins so has it once
        answer = messages[-1]["content"]
        return (answer.strip().removeprefix(more).lstrip("\n") if answer.strip().startswith(more) else answer) + behind


def template_tokens(*folders: str | Path) -> dict[str, str]:
    """The special tokens that a template may write: every NAME_token that the folders' files or the class name.

    folders: of adapters, then of the base; the first that names a token has its say.
    """
    named = read_token_settings(folders[-1])
    settings = default_tokens(Path(folders[-1]), named) | named  # null in a file: none, in spite of the class
    for folder in reversed(folders[:-1]):
        settings |= {key: token for key, token in read_token_settings(folder).items() if token is not None}
    extra = settings.get("extra_special_tokens")
    settings |= extra if isinstance(extra, dict) else {}
    tokens = {key: token_text(token) for key, token in settings.items() if key.endswith("_token")}
    return {key: text for key, text in tokens.items() if text is not None}


def first_template(*folders: str | Path) -> str | None:
    """The source of the chat template in the first of the folders that has one; None when none has."""
    return next((source for folder in folders if (source := find_template(folder)) is not None), None)


def find_template(folder: str | Path) -> str | None:
    """The source of the chat template in a folder; None when there is none."""
    file, legacy = Path(folder) / "chat_template.jinja", Path(folder) / "chat_template.json"
    if file.is_file():
        return read_utf8(file)
    template = read_token_settings(folder).get("chat_template")
    if template is None and legacy.is_file():
        template = read_json(legacy).get("chat_template")
    if isinstance(template, list):  # [{"name": "default", "template": ...}, {"name": "tool_use", ...}]
        defaults = [t.get("template") for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = defaults[-1] if defaults else None
    if not isinstance(template, str | None):
        raise FormatError(f"{folder}: chat_template is a {type(template).__name__}, expected text")
    return template


def _plain_messages(messages):
    """The messages as plain JSON values without keys that are None: templates test whether a key exists."""
    try:
        messages = json.loads(json.dumps(messages))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"messages must be plain JSON values: {error}") from error
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise DataError('messages must be a list of {"role": ..., "content": ...}, at least one')
    return [{key: value for key, value in m.items() if value is not None} for m in messages]


def _compile(source):
    """The template in an environment like that of transformers (utils/chat_template_utils.py of 5.23)."""
    try:
        import jinja2
        import jinja2.nodes
        from jinja2.ext import Extension, loopcontrols
    except ImportError as error:
        raise ConfigError("chat templates need jinja2: install minilora[hf]") from error
    if tuple(int(n) for n in re.findall(r"\d+", jinja2.__version__)[:3]) < (3, 1, 6):
        raise ConfigError(f"jinja2 {jinja2.__version__} has an unsafe sandbox; chat templates need 3.1.6 or later")

    from .template_bounds import BoundedEnvironment  # here: it needs jinja2

    class Generation(Extension):
        """{% generation %} ... {% endgeneration %} marks the assistant's words; it does not change the text."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    class Namespace(jinja2.utils.Namespace):
        """`namespace` without names that begin with an underscore: those lead out of the sandbox."""

        def __init__(*args, **values):  # a template may name a value "self"
            for name in dict(*args[1:], **values):
                Namespace.check(name)
            jinja2.utils.Namespace.__init__(*args, **values)

        def __setitem__(self, name, value):
            Namespace.check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        def __repr__(self):  # jinja's writes all that is in it, and in what that holds
            return "<Namespace>"

        @staticmethod
        def check(name):
            if str(name).startswith("_"):
                raise jinja2.exceptions.SecurityError(f"namespace attribute {name!r} begins with an underscore")

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "namespace": Namespace,
    }
    try:
        return environment.from_string(source)
    except Exception as error:  # also Python's, of the code that jinja makes: blocks nested too deep, huge numbers
        line = getattr(error, "lineno", None)
        raise FormatError(f"the chat template does not parse: {first_line(error)} (line {line})") from error
