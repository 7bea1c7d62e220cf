"""Reading text and examples: what is accepted, and the one line that names what is wrong."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora.errors import DataError, FormatError, MiniloraError, MissingFileError
from minilora.files.shipped import shipped
from minilora.text.batches import encode_pairs
from minilora.text.encoding import encode_pair
from minilora.text.examples import read_jsonl, read_text
from minilora.text.tokenizer import load_tokenizer


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="file.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return to_file


def test_pairs_keep_the_fields_that_a_metric_needs(write):
    assert read_jsonl(write('{"prompt": "a", "response": "b", "slots": {"x": 1}}\n\n')) == [
        {"prompt": "a", "response": "b", "slots": {"x": 1}}
    ]


def test_the_chat_form_becomes_a_prompt_of_all_messages_but_the_last(write):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Yes."},
    ]
    path = write(json.dumps({"messages": messages}))
    assert read_jsonl(path) == [{"prompt": "Be brief.\nHello?", "response": "Yes.", "messages": messages}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a", "response": }', "not JSON"),
        ('{"prompt": "\\ud800", "response": "b"}', "half of a pair of surrogates"),
        ("[1, 2]", "expected a JSON object, found a list"),
        ("null", "found null"),
        ('{"prompt": "a"}', 'no "response"'),
        ('{"question": "a", "response": "b"}', "found 'question', 'response'"),
        ('{"prompt": 3, "response": "b"}', '"prompt" is a number, expected a string'),
        ('{"prompt": "a", "response": " "}', '"response" is empty'),
        ('{"messages": []}', "a list of at least two"),
        ('{"messages": [{"role": "usr", "content": "a"}]}', "message 1 has role 'usr'"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]}',
            "message 2 has role 'bot'",
        ),
        ('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}', "message 2 must be an object"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
            "must be the assistant's",
        ),
    ],
)
def test_a_bad_line_is_named_by_its_number(write, line, said):
    path = write('{"prompt": "a", "response": "b"}\n\n' + line + "\n")
    with pytest.raises(DataError, match="line 3: ") as caught:
        read_jsonl(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_json_array_of_examples_is_read_as_examples(write, name):
    rows = [{"prompt": "a", "response": "b"}, {"instruction": "c", "output": "d"}]
    found = read_jsonl(write(json.dumps(rows, indent=2), name))
    assert found == [rows[0], {"prompt": "c", "response": "d"}]
    with pytest.raises(DataError, match=r"a.jsonl?, example 2: no \"output\""):
        read_jsonl(write(json.dumps([rows[0], {"instruction": "c"}]), name))


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x7f"])
def test_a_line_ends_at_a_line_feed_alone(write, mark):
    example = {"prompt": f"a{mark}b", "response": f"c{mark}"}
    assert read_jsonl(write(json.dumps(example, ensure_ascii=False) + "\n")) == [example]


def test_an_error_names_the_file_and_line_of_the_example_also_when_it_is_encoded(write):
    files = [
        write('{"prompt": "a", "response": "b"}\n', "1.jsonl"),
        write('\n{"text": "' + "word " * 99 + '"}', "2.jsonl"),
    ]
    examples = [example for file in files for example in read_jsonl(file)]
    with pytest.raises(DataError, match=r"2.jsonl, line 2 \(\d+ tokens\)"):
        encode_pairs(examples, load_tokenizer(shipped("tokenizer.json")), encode_pair, 40)


def test_a_line_of_a_hundred_thousand_characters_is_not_repeated(write):
    path = write(json.dumps({"prompt": "a", "x" * 100_000: "b"}))
    with pytest.raises(DataError) as caught:
        read_jsonl(path)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_an_empty_file_of_examples_is_refused(write):
    with pytest.raises(DataError, match="is empty"):
        read_jsonl(write("\n \n"))


def test_an_empty_text_is_refused_by_name(write):
    with pytest.raises(DataError, match="two.txt is empty"):
        read_text([write("words", "one.txt"), write("", "two.txt")])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_jsonl(tmp_path / "absent.jsonl")


def test_a_folder_is_not_a_text(tmp_path):
    with pytest.raises(MissingFileError, match="is a folder"):
        read_text(tmp_path)


def test_text_that_is_not_utf8_is_refused(write):
    with pytest.raises(DataError, match="not UTF-8"):
        read_text(write(b"caf\xe9", "latin.txt"))


def test_several_texts_are_parted_by_the_end_token(write):
    tokenizer = load_tokenizer(shipped("tokenizer.json"))
    ids = tokenizer.encode(read_text([write("one", "1.txt"), write("two", "2.txt")]))
    assert ids == [*tokenizer.encode("one"), tokenizer.eos_id, *tokenizer.encode("two")]


def test_a_byte_order_mark_is_not_text(write):
    assert read_text(write(b"\xef\xbb\xbfwords", "bom.txt")) == "words"


def test_a_foreign_tokenizer_file_is_refused(write):
    with pytest.raises(FormatError, match="not a tokenizer.json"):
        load_tokenizer(write('{"model": 3}', "tokenizer.json"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "response", "messages", "role", "content", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@pytest.mark.slow
def test_any_bytes_give_pairs_or_one_line(tmp_path):
    path, seen = tmp_path / "f.jsonl", Counter()
    pair = st.fixed_dictionaries({"prompt": st.text(), "response": st.text()}).map(json.dumps)
    line = st.one_of(pair, pair, pair, json_values.map(json.dumps), st.text())
    good, any_lines = st.lists(pair, min_size=1, max_size=4), st.lists(line, max_size=4)

    @settings(max_examples=300)
    @given(lines=st.one_of(good, any_lines), junk=st.one_of(st.just(b""), st.binary(max_size=12)))
    def check(lines, junk):
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + junk)
        try:
            examples = read_jsonl(path)
        except MiniloraError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            seen["refused"] += 1
        else:
            assert examples and all(isinstance(e[key], str) for e in examples for key in ("prompt", "response"))
            seen["read"] += 1

    check()
    assert seen["refused"] > 20 and seen["read"] > 20, seen  # far more of each: how many depends on the library


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_file_of_examples_gives_pairs_or_one_line(tmp_path_factory, data):
    whole = bytearray(shipped("tasks/reviews/valid.jsonl").read_bytes()[:600])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "f.jsonl"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        assert read_jsonl(path)
    except MiniloraError as error:
        assert "\n" not in str(error)
