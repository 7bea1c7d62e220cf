"""Chat templates: rendered in a sandbox as transformers renders them, tokenized without a second BOS."""

import json
import sys

import pytest
from chat_templates import CHATS, MARKED, TOKENS

pytest.importorskip("jinja2")

from minilora.errors import ConfigError, DataError, FormatError, MiniloraError
from minilora.text.chat_template import ChatTemplate
from minilora.text.encoding import end_of_answer
from minilora.text.tokenizer import TextTokenizer

ASK = CHATS["one question"]


def folder_with(folder, **files):
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_a_template_writes_the_messages_and_opens_the_answer():
    text = ChatTemplate(MARKED).render(ASK)
    assert text == "<|im_start|>user\n Where is the harbour? <|im_end|>\n<|im_start|>assistant\n"


def test_without_the_generation_prompt_the_text_ends_with_the_last_message():
    assert ChatTemplate(MARKED).render(ASK, add_generation_prompt=False).endswith("<|im_end|>\n")


def test_the_beginning_of_sequence_stands_once():
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    inner = Tokenizer(models.WordLevel({"<s>": 0, "?": 1, "harbour": 2}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens([AddedToken("<s>", special=True)])
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    assert inner.encode("harbour").ids == [0, 2]
    template = ChatTemplate("{{ bos_token }}{{ messages[0].content }}", TOKENS)
    assert template.encode([{"role": "user", "content": "harbour"}], TextTokenizer(inner)) == [0, 2]


# ---- conversations to learn from


def byte_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return TextTokenizer(inner)


def test_what_is_learned_is_the_last_answer_with_the_mark_that_ends_it():
    tokenizer = byte_tokenizer()
    messages = [*ASK, {"role": "assistant", "content": "There."}, ASK[0], {"role": "assistant", "content": "Here."}]
    prompt, response = ChatTemplate(MARKED).encode_pair({"messages": messages}, tokenizer)
    assert tokenizer.decode(prompt) == ChatTemplate(MARKED).render(messages[:-1])
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(response) == "Here.<|im_end|>\n"


def test_a_pair_is_a_question_of_the_user_and_an_answer_of_the_assistant():
    messages = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    tokenizer, template = byte_tokenizer(), ChatTemplate(MARKED)
    pair = template.encode_pair({"prompt": "Where?", "response": "Here."}, tokenizer)
    assert pair == template.encode_pair({"messages": messages}, tokenizer)


def test_a_template_that_opens_an_answer_otherwise_than_it_writes_one_is_refused():
    source = "{{ messages[-1].content }}{% if add_generation_prompt %}ANSWER{% endif %}"
    with pytest.raises(DataError, match="generation prompt ends with 'Where.ANSWER'"):
        ChatTemplate(source).encode_pair({"prompt": "Where?", "response": "Here."}, byte_tokenizer())


# ---- what ends an answer

OPEN = "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}### assistant:\n"


def marked_tokenizer(*added, end="<|endoftext|>"):
    inner = byte_tokenizer().inner
    inner.add_special_tokens(["<|endoftext|>", *added])
    return TextTokenizer(inner, end)


def test_a_mark_that_the_template_writes_ends_the_answer_and_nothing_is_appended():
    tokenizer = marked_tokenizer("<|im_end|>")
    _, response = ChatTemplate(MARKED).encode_pair({"prompt": "Say cat", "response": "cat"}, tokenizer)
    mark = tokenizer.inner.token_to_id("<|im_end|>")
    assert response == [*tokenizer.encode("cat"), mark, *tokenizer.encode("\n")]
    assert end_of_answer(tokenizer, ChatTemplate(MARKED).behind_answer) == (mark, [])


@pytest.mark.parametrize("source", [OPEN, MARKED])
def test_an_answer_without_a_mark_of_the_template_ends_with_the_end_token(source):
    tokenizer = marked_tokenizer()
    _, response = ChatTemplate(source).encode_pair({"prompt": "Say cat", "response": "cat"}, tokenizer)
    assert response[-1] == tokenizer.eos_id and response.count(tokenizer.eos_id) == 1
    assert end_of_answer(tokenizer, ChatTemplate(source).behind_answer) == (tokenizer.eos_id, [tokenizer.eos_id])


def test_an_end_token_that_the_template_writes_itself_is_there_once():
    tokenizer = marked_tokenizer()
    source = "{% for m in messages %}{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}"
    template = ChatTemplate(source, {"eos_token": "<|endoftext|>"})
    _, response = template.encode_pair({"prompt": "Say cat", "response": "cat"}, tokenizer)
    assert response == [*tokenizer.encode("cat"), tokenizer.eos_id]


def test_what_stands_behind_an_answer_is_unknown_where_the_template_refuses_to_write_one():
    assert ChatTemplate("{{ raise_exception('no') }}").behind_answer == ""


# ---- a generation prompt that opens more than a written answer


@pytest.mark.parametrize(("content", "learned"), [("cat", "cat"), ("<think>\nhm</think>cat", "hm</think>cat")])
def test_a_reasoning_template_is_trained_on_what_will_be_asked(content, learned):
    source = MARKED.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n'")
    source = source.replace("message['content']", "message['content'].split('</think>')[-1]")
    template, tokenizer = ChatTemplate(source), byte_tokenizer()
    prompt, response = template.encode_pair({"prompt": "Say cat", "response": content}, tokenizer)
    assert tokenizer.decode(prompt) == template.render([{"role": "user", "content": "Say cat"}])
    assert tokenizer.decode(prompt).endswith("assistant\n<think>\n")
    assert tokenizer.decode(response) == learned + "<|im_end|>\n"


# ---- the day, tools


def test_the_day_does_not_change_what_is_trained():
    template, tokenizer = ChatTemplate("{{ strftime_now('%d %b %Y') }}" + MARKED), byte_tokenizer()
    prompt, _ = template.encode_pair({"prompt": "a", "response": "b"}, tokenizer)
    assert tokenizer.decode(prompt).startswith("26 Jul 2024")


def test_tools_reach_the_template():
    source, tokenizer = "{% if tools %}{{ tools | tojson }}{% endif %}" + MARKED, byte_tokenizer()
    messages = [*ASK, {"role": "assistant", "content": "There."}]
    example = {"messages": messages, "tools": [{"name": "look"}]}
    prompt, _ = ChatTemplate(source).encode_pair(example, tokenizer)
    assert tokenizer.decode(prompt).startswith('[{"name": "look"}]')
    with pytest.raises(DataError, match='no place for "tools"'):
        ChatTemplate(MARKED).encode_pair(example, tokenizer)


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "tool_calls"])
def test_what_a_message_has_beside_its_text_reaches_the_template_or_is_refused(key):
    messages, tokenizer = [*ASK, {"role": "assistant", "content": "There.", key: "Hm."}], byte_tokenizer()
    with pytest.raises(DataError, match=f'no place for "{key}"'):
        ChatTemplate(MARKED).encode_pair({"messages": messages}, tokenizer)
    known = {"name": "Bo", "tool_call_id": "7", "id": "m1", key: None}
    assert ChatTemplate(MARKED).encode_pair({"messages": [*ASK, messages[-1] | known]}, tokenizer)[1]
    assert ChatTemplate(MARKED + "{# " + key + " #}").encode_pair({"messages": messages}, tokenizer)[1]


def test_a_key_of_a_message_is_looked_for_as_a_whole_word_of_the_template():
    messages, tokenizer = [*ASK, {"role": "assistant", "content": "There.", "thinking": "Hm."}], byte_tokenizer()
    template = MARKED + "{% if enable_thinking %}{% endif %}"
    with pytest.raises(DataError, match='no place for "thinking"'):
        ChatTemplate(template).encode_pair({"messages": messages}, tokenizer)


def test_an_empty_template_and_one_that_writes_nothing_are_refused():
    with pytest.raises(FormatError, match="the chat template is empty"):
        ChatTemplate(" ")
    with pytest.raises(DataError, match="writes nothing for these messages"):
        ChatTemplate("{# #}").render(ASK)


def test_half_of_a_pair_of_surrogates_in_a_template_is_refused():
    with pytest.raises(DataError, match="refuses"):
        ChatTemplate(r"{{ '\ud800' }}").render(ASK)


# ---- where a template is found


def test_a_jinja_file_comes_before_the_tokenizers_settings(tmp_path):
    folder_with(tmp_path, chat_template__jinja="file é", tokenizer_config__json={"chat_template": "setting"})
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == "file é"


def test_the_template_in_the_tokenizers_settings_is_used(tmp_path):
    folder_with(tmp_path, tokenizer_config__json={"chat_template": "{{ bos_token }}!", "bos_token": "<b>"})
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == "<b>!"


def test_of_several_named_templates_the_default_is_used(tmp_path):
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    folder_with(tmp_path, tokenizer_config__json={"chat_template": named})
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == "plain"


def test_the_old_file_of_its_own_is_used_when_there_is_nothing_else(tmp_path):
    folder_with(tmp_path, chat_template__json={"chat_template": "old"}, tokenizer_config__json={})
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == "old"


@pytest.mark.parametrize(("more", "end"), [({}, "<old>"), ({"added_tokens_decoder": {}}, "<e>")])
def test_special_tokens_are_read_as_text_or_as_an_object_and_from_both_files(tmp_path, more, end):
    folder_with(
        tmp_path,
        chat_template__jinja="{{ bos_token }}{{ eos_token }}{{ pad_token }}",
        special_tokens_map__json={"eos_token": "<old>", "pad_token": "<p>"},
        tokenizer_config__json={"bos_token": {"content": "<b>", "lstrip": False}, "eos_token": "<e>"} | more,
    )  # as in transformers, the map is the newer word unless the settings list added_tokens_decoder
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == f"<b>{end}<p>"


def test_a_model_without_a_template_is_named(tmp_path):
    with pytest.raises(ConfigError, match="has no chat template"):
        ChatTemplate.from_folder(tmp_path)


@pytest.mark.parametrize("found", [3, {"a": 1}, [{"name": "default", "template": 3}]])
def test_a_template_that_is_no_text_is_refused(tmp_path, found):
    folder_with(tmp_path, tokenizer_config__json={"chat_template": found})
    with pytest.raises(FormatError, match="chat_template is a"):
        ChatTemplate.from_folder(tmp_path)


def test_a_list_without_a_default_counts_as_no_template(tmp_path):
    folder_with(tmp_path, tokenizer_config__json={"chat_template": [{"name": "rag", "template": "x"}, 3, {"name": []}]})
    with pytest.raises(ConfigError, match="has no chat template"):
        ChatTemplate.from_folder(tmp_path)


def test_without_jinja_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"minilora\[hf\]"):
        ChatTemplate("x")


def test_a_jinja_with_known_holes_in_its_sandbox_is_refused(monkeypatch):
    monkeypatch.setattr("jinja2.__version__", "3.1.5")
    with pytest.raises(ConfigError, match="3.1.6"):
        ChatTemplate("x")


# ---- what goes wrong


@pytest.mark.parametrize("source", ["{% for %}", "{{ ", "{% generation %}", "{{ a | nofilter }}", "{% unknown %}"])
def test_a_template_that_does_not_parse_is_refused_in_one_line(source):
    with pytest.raises(FormatError, match="does not parse") as caught:
        ChatTemplate(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append({}) }}", "{{ messages[0].update(a=1) }}",
     "{{ raise_exception.__globals__.json }}", "{{ '{0.__class__}'.format(messages) }}{{ 1 / 0 }}",
     "{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "{{ namespace(__init__=1) }}",
     "{{ lipsum.__globals__['os'].system('true') }}", "{{ cycler.__init__.__globals__ }}",
     "{{ range(10 ** 9) | list }}", "{{ messages[0].content.nope.nope }}", "{{ dict.mro() }}",
     "{{ raise_exception('no\ngood') }}"],
)  # fmt: skip
def test_a_template_that_reaches_out_of_the_sandbox_or_fails_is_refused_in_one_line(source):
    with pytest.raises(DataError, match="refuses") as caught:
        ChatTemplate(source).render(ASK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "messages", [[], None, "hello", [3], [{"content": "x"}], {"role": "user"}, [{"role": object()}]]
)
def test_what_is_not_a_conversation_is_refused(messages):
    with pytest.raises(MiniloraError, match="messages"):
        ChatTemplate(MARKED).render(messages)


BOTH = "{{ bos_token }}|{{ eos_token }}|{{ image_token }}"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "||"),
        ({"tokenizer_class": "LlamaTokenizer"}, "<s>|</s>|"),
        ({"tokenizer_class": "LlamaTokenizer", "bos_token": None, "eos_token": "<e>"}, "|<e>|"),
        ({"tokenizer_class": "GPT2TokenizerFast"}, "<|endoftext|>|<|endoftext|>|"),
        ({"image_token": {"content": "<i>"}}, "||<i>"),
        ({"extra_special_tokens": {"image_token": "<i>"}, "add_bos_token": True}, "||<i>"),
    ],
)
def test_a_template_writes_the_tokens_of_the_class_and_of_any_name_as_transformers_does(tmp_path, settings, text):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    folder_with(tmp_path, chat_template__jinja=BOTH, tokenizer_config__json=settings)
    assert ChatTemplate.from_folder(tmp_path).render(ASK) == text


def test_the_tokens_of_the_base_class_give_way_to_those_of_an_adapter(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    (base / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    folder_with(base, chat_template__jinja=BOTH, config__json={"model_type": "qwen2"})
    assert ChatTemplate.from_folder(adapter, base).render(ASK) == "|<|endoftext|>|"
    folder_with(adapter, tokenizer_config__json={"eos_token": "<e>", "bos_token": None})
    assert ChatTemplate.from_folder(adapter, base).render(ASK) == "|<e>|"
