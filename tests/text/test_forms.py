"""The form of a prompt: its tokens, the form that a training noted, where an answer begins and ends."""

import json

import pytest
from commands import make_base

import minilora as ml
from minilora.errors import UnknownNameError
from minilora.text.encoding import encode_pair
from minilora.text.forms import end_tokens, form_trained_on, pair_encoder, prompt_encoder, text_after, written_end
from minilora.text.tokenizer import TextTokenizer, load_tokenizer


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / "base")


def test_plain_text_and_a_frame_get_the_bos_of_the_tokenizer_and_a_chat_template_does_not(base):
    pytest.importorskip("jinja2")
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(base)
    tokenizer.inner.post_processor = TemplateProcessing(single="<|pad|> $A", special_tokens=[("<|pad|>", 1)])
    tokenizer = TextTokenizer(tokenizer.inner)
    (base / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    ids = tokenizer.encode("apple")
    assert prompt_encoder("plain", tokenizer, base)("apple") == [1, *ids]
    assert prompt_encoder("framed", tokenizer, base)("apple") == [1, *tokenizer.encode("apple\n")]
    assert prompt_encoder("chat", tokenizer, base)("apple") == ids


def test_an_example_is_encoded_in_the_frame_or_in_the_chat_template(base):
    pytest.importorskip("jinja2")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}.{% endfor %}", encoding="utf-8")
    example, tokenizer = {"prompt": "apple", "response": "cake"}, load_tokenizer(base)
    assert pair_encoder("framed", base) is encode_pair
    prompt, response = pair_encoder("chat", base)(example, tokenizer)
    assert (tokenizer.decode(prompt), tokenizer.decode(response)) == ("apple.", "cake.")


def test_a_form_that_does_not_exist_is_refused_with_the_nearest(base):
    with pytest.raises(UnknownNameError, match="no form 'famed' of a prompt; there are: framed"):
        prompt_encoder("famed", load_tokenizer(base), base)
    with pytest.raises(UnknownNameError, match="no form 'plain'"):
        pair_encoder("plain", base)


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ({"task": "sql", "chat": False}, "framed"),
        ({"jsonl": ["a"], "text": []}, "framed"),
        ({"jsonl": ["a"], "chat": True}, "chat"),
        ({"examples": 3}, "framed"),
        ({"text": ["a"], "jsonl": []}, "plain"),
        ({"text": []}, None),
        ({}, None),
    ],
)
def test_the_settings_of_a_training_tell_the_form_of_its_examples(settings, form):
    assert form_trained_on(settings) == form


def test_every_end_token_that_the_folder_names_ends_a_text(base):
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}), encoding="utf-8")
    model, tokenizer = ml.load_pretrained(base), load_tokenizer(base)
    model.config.eos_token_id = 5
    assert end_tokens(model.config, tokenizer, base) == [tokenizer.eos_id, 5, 7, 9]


def test_a_space_before_the_first_new_word_is_kept_by_a_tokenizer_that_drops_it():
    class Dropping:  # as sentencepiece: the space in front of a text is not part of it
        def decode(self, ids):
            return "".join(" ab"[i] for i in ids).lstrip(" ")

    assert text_after([1], [1, 0, 2], Dropping()) == " b"


def test_a_chat_ends_where_its_training_ended_also_with_a_mark_that_is_spelled_in_letters(base):
    """T2 of the field: the mark `<|im_end|>` is no token of the base, the end token is `<|endoftext|>`."""
    pytest.importorskip("jinja2")
    from chat_templates import MARKED

    (base / "chat_template.jinja").write_text(MARKED, encoding="utf-8")
    examples = [{"prompt": f"Say {w}", "response": w} for w in ("cat", "dog", "cow", "hen")] * 2
    model = ml.finetune(
        base, examples=examples, chat=True, method="full", lr=0.02, steps=80, batch_size=8, progress=False
    ).model  # fmt: skip
    tokenizer, behind = load_tokenizer(base), written_end("chat", base)
    prompt = prompt_encoder("chat", tokenizer, base)("Say cat")
    ends = end_tokens(model.config, tokenizer, base, behind)
    [row] = model.generate([prompt], 40, eos_token_id=ends)
    assert text_after(prompt, row, tokenizer, behind) == "cat"


def test_a_mark_of_one_letter_ends_nothing_and_is_no_part_of_an_answer_that_the_end_token_ends():
    class Letters:
        eos_id = 0

        def decode(self, ids):
            return "".join(chr(i) for i in ids if i)

    assert text_after([65], [65, *b"a.b"], Letters(), ".") == "a.b"
    assert text_after([65], [65, *b"a.b."], Letters(), ".") == "a.b."
    assert text_after([65], [65, *b"a.b.", 0], Letters(), ".") == "a.b"
    assert text_after([65], [65, *b"a<|x|>b"], Letters(), "<|x|>\n") == "a"


def test_a_plain_prompt_has_no_end_token_of_the_tokenizer(base):
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_tokenizer(base)
    tokenizer.inner.post_processor = TemplateProcessing(
        single="<|pad|> $A <|endoftext|>", special_tokens=[("<|pad|>", 1), ("<|endoftext|>", 0)]
    )
    tokenizer = TextTokenizer(tokenizer.inner)
    assert prompt_encoder("plain", tokenizer, base)("apple") == [1, *tokenizer.encode("apple")]
