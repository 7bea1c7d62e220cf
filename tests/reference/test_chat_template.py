"""Chat templates beside transformers."""

import pytest
from tokenizers import Tokenizer, models

pytest.importorskip("jinja2")

from chat_templates import CHATS, TEMPLATES, TOKENS

from minilora.text.chat_template import ChatTemplate

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("options", [{}, {"add_generation_prompt": False}, {"tools": [{"name": "f"}]},
                                     {"enable_thinking": False, "date_string": "1 May"}], ids=str)  # fmt: skip
def test_the_text_is_what_transformers_writes(name, chat, options):
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **TOKENS)
    tokenizer.chat_template = TEMPLATES[name]
    given = {"add_generation_prompt": True} | options

    def attempt(call):
        try:
            return call()
        except Exception as error:
            return "refused" if "alternate" in str(error) else repr(error)

    theirs = attempt(lambda: tokenizer.apply_chat_template(CHATS[chat], tokenize=False, **given))
    ours = attempt(lambda: ChatTemplate(TEMPLATES[name], TOKENS).render(CHATS[chat], **given))
    assert ours == theirs and not ours.startswith(("DataError", "KeyError"))
