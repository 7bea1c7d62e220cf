"""Chat templates beside transformers."""

import json
import random

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


NAMED = "{{ bos_token }}{{ unk_token }}{{ pad_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
SPECIAL = ["<|endoftext|>", "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<|im_end|>", "<mask>"]


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "Qwen2Tokenizer", "LlamaTokenizer", "GemmaTokenizer", None])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gpt2", "gemma2", "mistral", None])
def test_a_folder_writes_the_special_tokens_that_transformers_takes_from_its_files_and_its_class(
    tmp_path, name, model_type
):
    inner = Tokenizer(models.BPE({text: i for i, text in enumerate(SPECIAL)}, []))
    inner.add_special_tokens(SPECIAL)
    inner.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text(NAMED + "{{ image_token }}{{ boi_token }}", encoding="utf-8")
    if model_type:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    rng = random.Random(f"{name} {model_type}")
    for _ in range(4):
        settings = {"tokenizer_class": name} if name else {}
        for key in ("bos_token", "eos_token", "unk_token", "pad_token", "image_token"):
            settings |= rng.choice([{}, {key: rng.choice(SPECIAL)}, {key: None}])
        settings |= rng.choice([{}, {"extra_special_tokens": {"boi_token": "<mask>"}}])
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        chat = [{"role": "user", "content": "a"}]

        def attempt(call):
            try:
                return call()
            except Exception:
                return "refused"

        expected = attempt(lambda: theirs.apply_chat_template(chat, tokenize=False))  # noqa: B023
        assert attempt(lambda: ChatTemplate.from_folder(tmp_path).render(chat)) == expected, settings  # noqa: B023
