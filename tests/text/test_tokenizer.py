"""tokenizer.json of a folder: which token ends a text, and what is refused."""

import base64
import json
import sys

import pytest
from commands import tokenizer_text
from foreign_tokenizers import LLAMA2, saved, sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from minilora.errors import DataError, FormatError, MissingFileError
from minilora.files.atomic import read_json
from minilora.files.shipped import shipped
from minilora.text.encoding import encode_pair, encode_prompt, encode_text
from minilora.text.tokenizer import TextTokenizer, load_tokenizer

FOX = "The quick brown fox jumps over the lazy dog. " * 200


@pytest.mark.parametrize("named", ["<end>", {"content": "<end>", "lstrip": False}])
def test_the_end_token_is_the_one_that_the_folder_names(tmp_path, named):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2, "<|endoftext|>", "<end>"), eos_token=named)
    assert tokenizer.eos_id == tokenizer.inner.token_to_id("<end>")
    assert encode_pair({"prompt": "a", "response": "b"}, tokenizer)[1][-1] == tokenizer.eos_id


@pytest.mark.parametrize("settings", [{}, {"eos_token": None}, {"eos_token": "<not a token>"}, {"eos_token": 3}])
def test_without_a_name_that_the_tokenizer_knows_the_end_is_one_of_the_usual(tmp_path, settings):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2), **settings)
    assert tokenizer.eos_id == tokenizer.inner.token_to_id("</s>")


def test_settings_of_a_tokenizer_that_are_no_object_are_refused(tmp_path):
    sentencepiece(*LLAMA2).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(FormatError, match="tokenizer_config.json: expected a JSON object"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("other", ["tokenizer.model", "vocab.json"])
def test_a_folder_with_an_older_form_of_tokenizer_says_how_to_convert_it(tmp_path, other):
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(MissingFileError, match=rf"no tokenizer.json in .*only {other}.*AutoTokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"truncation": {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}},
        {
            "padding": {
                "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                "pad_type_id": 0, "pad_token": "<|pad|>",
            }
        },
    ],
)  # fmt: skip
def test_truncation_and_padding_that_a_trainer_left_in_the_file_are_off(tmp_path, settings):
    (tmp_path / "tokenizer.json").write_text(json.dumps(read_json(shipped("tokenizer.json")) | settings), "utf-8")
    tokenizer, plain = load_tokenizer(tmp_path), load_tokenizer(shipped("tokenizer.json"))
    assert encode_text(FOX, tokenizer).tolist() == plain.encode(FOX)
    assert encode_prompt("Where?", tokenizer) == encode_prompt("Where?", plain)


def test_the_special_tokens_map_names_the_end_where_the_settings_are_silent_or_older(tmp_path):
    sentencepiece(*LLAMA2, "<end>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": {"content": "<end>"}}', encoding="utf-8")
    assert load_tokenizer(tmp_path).decode([load_tokenizer(tmp_path).eos_id]) == ""
    assert load_tokenizer(tmp_path).inner.id_to_token(load_tokenizer(tmp_path).eos_id) == "<end>"
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")
    assert load_tokenizer(tmp_path).inner.id_to_token(load_tokenizer(tmp_path).eos_id) == "<end>"


@pytest.mark.parametrize(("legacy", "pieces"), [({}, 0), ({"legacy": False}, 0), ({"legacy": True}, 1)])
def test_a_llama_tokenizer_puts_no_space_behind_a_special_token(tmp_path, legacy, pieces):
    tokenizer = saved(tmp_path, sentencepiece(*LLAMA2), tokenizer_class="LlamaTokenizer", **legacy)
    tokens = [tokenizer.inner.id_to_token(i) for i in tokenizer.encode("x</s>\ny")]
    assert tokens == ["\u2581", "x", "</s>", *["\u2581"] * pieces, "<0x0A>", "y"]


@pytest.mark.parametrize(
    "model",
    [
        models.WordLevel({"cat": 0}, unk_token="?"),
        models.WordPiece({"cat": 0}),
        models.Unigram([("cat", 0.0), ("c", -9.0), ("a", -9.0), ("t", -9.0)]),
    ],
)
def test_a_tokenizer_without_an_unknown_token_reads_its_words_and_refuses_others_in_one_line(model):
    inner = Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = TextTokenizer(inner)
    assert tokenizer.encode("cat") == [0]
    with pytest.raises(DataError, match="cannot encode this text") as caught:
        tokenizer.encode("dog")
    assert "\n" not in str(caught.value)


def test_the_start_of_a_tokenizer_that_does_not_know_the_letter_a_is_found():
    inner = Tokenizer(models.WordLevel({"cat": 0, "<s>": 1}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens(["<s>"])
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    assert TextTokenizer(inner).start == [1]


def test_half_of_a_pair_of_surrogates_is_no_text():
    with pytest.raises(DataError, match="cannot encode this text"):
        load_tokenizer(shipped("tokenizer.json")).encode("\ud800")


@pytest.mark.parametrize(
    "change", [{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}], ids=lambda c: next(iter(c))
)
def test_a_panic_of_the_library_is_one_line_and_reports_nothing(tmp_path, capfd, change):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(tokenizer_text()) | change), encoding="utf-8")
    with pytest.raises(FormatError, match="not a tokenizer.json: Precompiled"):
        load_tokenizer(path)
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "after\n"


def test_a_regular_expression_that_takes_too_long_is_one_line_and_reports_nothing(capfd):
    inner = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("(a|aa)+$"), "isolated")
    tokenizer = TextTokenizer(inner)
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_all([text])):
        with pytest.raises(DataError, match="cannot encode .*: Onig: Regex search error"):
            encode("a" * 60 + "b")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "after\n"


def with_steps(part, steps, tmp_path):
    path = tmp_path / "tokenizer.json"
    data = json.loads(tokenizer_text()) | {part: {"type": "Sequence", f"{part}s": steps}}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def replace(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


def charsmap(*texts):  # an empty table of rules, and the texts that a rule may write
    table = bytes(1024)
    return base64.b64encode(len(table).to_bytes(4, "little") + table + "\0".join(texts).encode()).decode()


@pytest.mark.parametrize(
    ("part", "steps"),
    [
        ("normalizer", [replace({"String": "a"}, "a" * 10)] * 12),
        ("normalizer", [replace({"Regex": "."}, "aa")] * 30),
        ("normalizer", [{"type": "Prepend", "prepend": "a" * 5_000_000}]),
        ("normalizer", [{"type": "Sequence", "normalizers": [replace({"String": ""}, "abcd")] * 9}]),
        ("decoder", [replace({"String": "a"}, "a" * 10)] * 12),
        ("normalizer", [{"type": "ByteLevel"}] * 30),
        ("normalizer", [replace({"String": " "}, "\ufdfa"), {"type": "NFKD"}] * 30),
        ("normalizer", [{"type": "Precompiled", "precompiled_charsmap": charsmap("a" * 5_000_000)}]),
        ("decoder", [{"type": "BPEDecoder", "suffix": ""}] * 30),
        ("decoder", [{"type": "CTC", "pad_token": "p", "word_delimiter_token": "", "cleanup": False}] * 30),
    ],
)
def test_steps_that_make_a_text_very_much_longer_are_refused(tmp_path, part, steps):
    with pytest.raises(FormatError, match=f"its {part} can make a text .* times as long, expected at most 1000$"):
        load_tokenizer(with_steps(part, steps, tmp_path))


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
EACH = {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False}


def pairs(*marks):
    return [{"type": "Metaspace", "replacement": mark, "prepend_scheme": "always", "split": True} for mark in marks]


def template(single, ids=()):
    names = {"x": {"id": "x", "ids": list(ids), "tokens": ["x"] * len(ids)}} if ids else {}
    both = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {"type": "TemplateProcessing", "single": single, "pair": both, "special_tokens": names}


@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BYTES] * 30}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [EACH, *pairs("x"), EACH, *pairs("y")] * 15}),
        ("post_processor", template([{"Sequence": {"id": "A", "type_id": 0}}] * 5000)),
        ("post_processor", template([{"SpecialToken": {"id": "x", "type_id": 0}}] * 100, [0] * 100)),
    ],
)
def test_pre_tokenizers_and_templates_that_make_very_many_tokens_are_refused(tmp_path, part, step):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(tokenizer_text()) | {part: step}), encoding="utf-8")
    with pytest.raises(FormatError, match=f"its {part} can make a text .* times as long, expected at most 1000$"):
        load_tokenizer(path)


def test_the_normalizer_of_albert_is_not_refused(tmp_path):
    steps = [
        replace({"String": "``"}, '"'),
        {"type": "NFKD"},
        {"type": "StripAccents"},
        {"type": "Lowercase"},
        {"type": "Precompiled", "precompiled_charsmap": charsmap("\u0635" * 18)},
        replace({"Regex": " {2,}"}, " "),
    ]
    load_tokenizer(with_steps("normalizer", steps, tmp_path))


def test_steps_of_usual_tokenizers_are_not_refused(tmp_path):
    steps = [
        {"type": "Prepend", "prepend": "\u2581"},
        replace({"String": " "}, "\u2581"),
        replace({"Regex": " +"}, " "),
    ]
    assert load_tokenizer(with_steps("normalizer", steps, tmp_path)).encode("a")


@pytest.mark.parametrize("encode", ["encode", "encode_all", "encode_text"])
def test_a_word_of_millions_of_letters_is_refused_before_it_takes_gigabytes(encode):
    tokenizer, text = load_tokenizer(shipped("tokenizer.json")), "a few words and " + "ACGT" * 2**19 + "A"
    ask = {"encode": tokenizer.encode, "encode_all": lambda t: tokenizer.encode_all([t]),
           "encode_text": lambda t: encode_text(t, tokenizer)}  # fmt: skip
    said = "^the text has 2,097,153 characters without a space or line break, expected at most 2,097,152: break it"
    with pytest.raises(DataError, match=said):
        ask[encode](text)


@pytest.mark.parametrize("id", [2**32 - 1, 2**31 - 1, 2**24])
def test_an_id_that_no_model_can_have_is_refused(tmp_path, id):
    with pytest.raises(FormatError, match=f"it has the id {id:,}, and no model has so many rows"):
        load_tokenizer(with_words(tmp_path, {"a": id}))


def test_ids_that_are_left_out_count_as_rows(tmp_path):
    tokenizer = load_tokenizer(with_words(tmp_path, {"a": 0, "b": 7}))
    assert tokenizer.vocab_size == 8 and tokenizer.encode("b") == [7]


def with_words(folder, vocab):  # -> a tokenizer.json
    model, path = {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}, folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(tokenizer_text()) | {"model": model, "added_tokens": []}), encoding="utf-8")
    return path
