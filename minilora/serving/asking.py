"""How a model is asked over HTTP: the template or frame of an adapter, and the tokens that end its answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..text.chat_template import ChatTemplate, first_template
from ..text.encoding import encode_prompt
from ..text.forms import end_tokens, form_trained_on
from ..text.rows import keys_with_content
from ..text.tokenizer import TextTokenizer
from ..training.run import settings_in_history


@dataclass(frozen=True)
class Asking:
    """How the base or one adapter is asked.

    template  of the adapter, else of the base; None: a single message is framed as `generate --framed` does
    system    the system message that the adapter was trained with, for conversations without one
    ends      tokens that end an answer
    behind    the text that the template writes behind an answer: the answer ends before it. "" for plain prompts
    framed    whether the adapter was trained on framed prompts: a single message is framed in spite of the template
    """

    template: ChatTemplate | None
    system: str | None
    ends: frozenset
    behind: str = ""
    framed: bool = False

    @classmethod
    def of(cls, folder: Path, base: Path, config: Any, tokenizer: TextTokenizer) -> "Asking":
        """What the files of an adapter (or of the base itself) and of its base say. Raises MiniloraError."""
        template = None if first_template(folder, base) is None else ChatTemplate.from_folder(folder, base)
        behind = "" if template is None else template.behind_answer
        settings = settings_in_history(folder)
        ends = frozenset(end_tokens(config, tokenizer, base, behind))
        return cls(template, settings.get("system"), ends, behind, form_trained_on(settings) == "framed")

    def prompt(self, messages: list[dict], tokenizer: TextTokenizer, variables: dict | None = None) -> list[int]:
        """The token ids of a conversation. variables: more of them for the template.

        Raises ConfigError for a conversation that has no form here, DataError.
        """
        if reserved := sorted({"self", "messages", "tokenizer"} & (variables or {}).keys()):
            raise ConfigError(f"chat_template_kwargs: {reserved[0]!r} is not a variable of a template")
        alone = len(messages) == 1 and messages[0].get("role") == "user"
        if self.template is not None and not (self.framed and alone):
            self.template.check_keys(keys_with_content(messages))
            if self.system and messages and messages[0].get("role") != "system":
                messages = [{"role": "system", "content": self.system}, *messages]
            return self.template.encode(messages, tokenizer, **variables or {})
        if not alone:
            raise ConfigError(
                "this model has no chat template: expected one message of the user alone, without a system message or "
                "earlier turns"
            )
        if unread := keys_with_content(messages):
            raise ConfigError(f'this model has no chat template, and so no place for "{unread[0][:60]}"')
        content = messages[0].get("content")
        if not isinstance(content, str) or not content:
            raise ConfigError("content: expected the text of the message")
        return encode_prompt(content, tokenizer)
