"""safetensors files: what is written is read back, and a header that disagrees with its file is refused."""

import numpy as np
import pytest
from checkpoints import GOLDEN, safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minilora.errors import FormatError, MiniloraError, MissingFileError
from minilora.files.safetensors import (
    MAX_HEADER,
    SLICE,
    bfloat16_to_float32,
    iterate_tensors,
    read_header,
    read_tensors,
    write_tensors,
)

F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def file_of(folder, header, data=b"", name="x.safetensors"):
    path = folder / name
    path.write_bytes(safetensors_bytes(header, data))
    return path


def assert_refused(path, *words, error=FormatError):
    with pytest.raises(error) as caught:
        read_tensors(path)
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in words), line


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.int32, np.int8, np.uint8, np.uint16, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"), arrays, max_size=5))
def test_what_is_written_is_read_back_bit_for_bit(folder, tensors):
    write_tensors(folder / "t.safetensors", tensors)
    back = read_tensors(folder / "t.safetensors")
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_a_transposed_view_is_written_by_its_values(folder, rng):
    w = rng.standard_normal((3, 5)).astype(np.float32)
    write_tensors(folder / "t.safetensors", {"w": w.T})
    np.testing.assert_array_equal(read_tensors(folder / "t.safetensors")["w"], w.T)


def test_the_header_is_read_without_the_tensors(folder):
    write_tensors(folder / "t.safetensors", {"w": np.ones((2, 3), np.float32)}, {"made": "here"})
    assert read_header(folder / "t.safetensors") == ({"w": ("F32", (2, 3))}, {"made": "here"})


def test_files_say_that_they_are_in_pytorch_layout_as_other_readers_ask(folder):
    write_tensors(folder / "t.safetensors", {"w": np.ones(3, np.float32)})
    assert read_header(folder / "t.safetensors")[1] == {"format": "pt"}


def test_every_tensor_begins_at_a_multiple_of_its_item_size(folder):
    tensors = {"a": np.ones(3, np.int8), "b": np.ones(1, np.float16), "c": np.ones(1), "d": np.ones(1, np.float32)}
    write_tensors(folder / "t.safetensors", tensors)
    length = int.from_bytes((folder / "t.safetensors").read_bytes()[:8], "little")
    sizes = [tensors[name].dtype.itemsize for name in read_header(folder / "t.safetensors")[0]]
    assert length % 8 == 0 and sizes == sorted(sizes, reverse=True)


def test_the_official_library_reads_what_is_written(folder, rng):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {"w": rng.standard_normal((3, 4)).astype(np.float32), "i": np.arange(5), "s": np.float64(2.5).reshape(())}
    write_tensors(folder / "t.safetensors", tensors)
    back = library.load_file(folder / "t.safetensors")
    assert all(np.array_equal(back[n], tensors[n]) and back[n].dtype == tensors[n].dtype for n in tensors)


def test_what_the_official_library_writes_is_read(folder, rng):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {"w": rng.standard_normal((3, 4)).astype(np.float16), "z": np.zeros((0, 3), np.float32)}
    library.save_file(tensors, folder / "t.safetensors", metadata={"format": "pt"})
    back = read_tensors(folder / "t.safetensors")
    assert all(np.array_equal(back[n], tensors[n]) and back[n].shape == tensors[n].shape for n in tensors)


def test_bfloat16_becomes_the_float32_with_the_same_upper_half(folder):
    bits = np.arange(2**16, dtype=np.uint16)
    entry = {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}
    path = file_of(folder, {"w": entry}, bits.astype("<u2").tobytes())
    made = read_tensors(path)["w"]
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made.view(np.uint32), bits.astype(np.uint32) << 16)


def test_bfloat16_values_known_by_heart():
    bits = np.array([0x3F80, 0xC000, 0x3EAB, 0x0000], dtype=np.uint16)
    np.testing.assert_array_equal(bfloat16_to_float32(bits), np.float32([1.0, -2.0, 0.333984375, 0.0]))


@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("wanted", [np.float16, np.float32, np.float64])
def test_floating_tensors_take_the_wanted_type_and_integers_keep_theirs(folder, rng, stored, wanted):
    n = SLICE + 7  # more than one slice
    tensors = {"w": rng.standard_normal(n).astype(stored), "i": np.arange(3, dtype=np.int32)}
    write_tensors(folder / "t.safetensors", tensors)
    back = read_tensors(folder / "t.safetensors", wanted)
    assert back["w"].dtype == wanted and back["i"].dtype == np.int32
    np.testing.assert_array_equal(back["w"], tensors["w"].astype(wanted))


def test_tensors_come_in_order_of_position_and_only_those_asked_for(folder):
    tensors = {n: np.full(3, i, np.float32) for i, n in enumerate("cab")}
    write_tensors(folder / "t.safetensors", tensors)
    assert [n for n, _ in iterate_tensors(folder / "t.safetensors", names={"c", "a"})] == ["a", "c"]


def test_a_file_stays_whole_when_writing_fails(folder):
    path = folder / "kept.safetensors"
    write_tensors(path, {"w": np.ones(3, np.float32)})
    before = path.read_bytes()
    with pytest.raises(FormatError, match="complex64"):
        write_tensors(path, {"w": np.ones(3, np.complex64)})
    assert path.read_bytes() == before and not list(folder.glob(".kept*"))


def test_a_missing_file_is_named(folder):
    assert_refused(folder / "none.safetensors", "none.safetensors", error=MissingFileError)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "x.pth", "x.ckpt", "x.pkl"])
def test_pickles_are_refused_by_their_name_before_a_byte_is_read(folder, name):
    assert_refused(folder / name, "pickle", "convert")


@pytest.mark.parametrize("first, word", [(b"PK\x03\x04", "torch.save"), (b"\x80\x02}q", "pickle"), (b"GGUF", "GGUF"),
                                         (b"version https://git-lfs.github.com/spec/v1", "git lfs pull")])  # fmt: skip
def test_foreign_files_are_named_for_what_they_are(folder, first, word):
    path = folder / "foreign.safetensors"
    path.write_bytes(first + bytes(64))
    assert_refused(path, word)


@pytest.mark.parametrize("size", range(0, 130, 13))
def test_a_truncated_file_is_refused_at_every_length(folder, size):
    whole = safetensors_bytes({"w": F32}, bytes(24))
    path = folder / "short.safetensors"
    path.write_bytes(whole[: min(size, len(whole) - 1)])
    assert_refused(path, "short.safetensors")


@pytest.mark.parametrize("length", [10 * 2**30, MAX_HEADER + 1, 2**63, 2**64 - 1])
def test_a_giant_header_length_is_refused_without_reading_it(folder, length):
    path = folder / "giant.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + bytes(64))
    assert_refused(path, f"{length:,}")


@pytest.mark.parametrize(
    "raw",
    [b"[]", b"3", b"null", b"{", b"", b"{}}", b"\xff\xfe{}", b"[" * 5000, b'{"a": ' + b"9" * 5000 + b"}", b'"w"'],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_header_that_is_not_a_json_object_is_refused(folder, raw):
    assert_refused(file_of(folder, raw), "header")


@pytest.mark.parametrize(
    "entry",
    [None, [], 3, {}, {"dtype": "F32", "shape": [2, 3]}, F32 | {"shape": "2,3"}, F32 | {"shape": [2, -3]},
     F32 | {"shape": [2, 3.0]}, F32 | {"shape": [True, 6]}, F32 | {"data_offsets": [24, 0]}, F32 | {"dtype": 3},
     F32 | {"data_offsets": [0]}, F32 | {"data_offsets": [0, 24, 24]}, F32 | {"data_offsets": [-24, 0]},
     F32 | {"shape": [1] * 40 + [2, 3]}, F32 | {"dtype": "F31"}, F32 | {"dtype": "F8_E4M3"}, F32 | {"dtype": ["F32"]}],
    ids=str,
)  # fmt: skip
def test_an_entry_that_is_not_a_dtype_a_shape_and_offsets_is_refused_by_name(folder, entry):
    assert_refused(file_of(folder, {"the.weight": entry}, bytes(24)), "the.weight")


@pytest.mark.parametrize("shape", [[2, 4], [6, 6], [0], [2**31, 2**31], [2**61, 2**61], [2**50, 0, 2**50]])
def test_a_shape_that_does_not_make_its_bytes_is_refused(folder, shape):
    assert_refused(file_of(folder, {"w": F32 | {"shape": shape}}, bytes(24)), "'w'", "bytes")


@pytest.mark.parametrize("shape", [[2**40, 2**40, 0], [0, 2**61]])
def test_an_empty_tensor_with_an_impossible_shape_is_refused(folder, shape):
    assert_refused(file_of(folder, {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}), "'w'")


@pytest.mark.parametrize(
    "offsets, word",
    [((0, 16), "overlaps"), ((32, 40), "hole"), ((24, 32), None), ((0, 8), "overlaps"), ((2**40, 2**40 + 8), "hole")],
)
def test_every_byte_belongs_to_exactly_one_tensor(folder, offsets, word):
    second = {"dtype": "F32", "shape": [(offsets[1] - offsets[0]) // 4], "data_offsets": list(offsets)}
    path = file_of(folder, {"a": F32, "b": second}, bytes(32))
    if word is None:
        assert read_tensors(path).keys() == {"a", "b"}
    else:
        assert_refused(path, word)


@pytest.mark.parametrize("extra", [1, 8, 1000])
def test_bytes_that_belong_to_no_tensor_are_refused(folder, extra):
    assert_refused(file_of(folder, {"w": F32}, bytes(24 + extra)), "no tensor")


def test_data_shorter_than_promised_is_called_truncated(folder):
    assert_refused(file_of(folder, {"w": F32}, bytes(20)), "truncated", "24")


def test_a_name_that_stands_twice_is_refused(folder):
    entry = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    assert_refused(file_of(folder, b'{"w":' + entry + b',"w":' + entry + b"}", bytes(4)), "'w'", "twice")


@pytest.mark.parametrize("metadata", [[], 3, {"a": 3}, {"a": None}])
def test_metadata_that_does_not_map_text_to_text_is_refused(folder, metadata):
    assert_refused(file_of(folder, {"__metadata__": metadata, "w": F32}, bytes(24)), "__metadata__")


REAL = (GOLDEN / "llama3rope_tiny" / "base_sharded" / "model-00004-of-00004.safetensors").read_bytes()
HEADER = 8 + int.from_bytes(REAL[:8], "little")
NASTY = [b"-1", b"1e999", b"null", b"[]", b"{}", b"true", b'""', b"99999999999999999999", b"0", b"12417", b"[[[[",
         b'"F16"', b'"I8"', b'"BF16"', b"NaN", b"\x00", b"\xff", b"}", b"12416", b"6208"]  # fmt: skip
mutations = st.lists(
    st.tuples(
        st.sampled_from(["put", "insert", "cut", "drop"]),
        st.one_of(st.integers(0, HEADER), st.integers(0, len(REAL))),
        st.one_of(st.sampled_from(NASTY), st.binary(min_size=1, max_size=6)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(raw, steps):
    for kind, at, piece in steps:
        end = {"put": at + len(piece), "insert": at, "cut": len(raw), "drop": at + len(piece)}[kind]
        raw = raw[:at] + (b"" if kind in ("cut", "drop") else piece) + raw[end:]
    return raw


@settings(max_examples=200)
@given(mutations)
def test_a_damaged_file_is_read_or_refused_in_one_line_and_nothing_else(folder, steps):
    path = folder / "fuzzed.safetensors"
    path.write_bytes(mutated(REAL, steps))
    try:
        tensors = read_tensors(path, np.float32)
    except MiniloraError as error:
        assert "\n" not in str(error)
    else:
        header = read_header(path)[0]
        assert {n: a.shape for n, a in tensors.items()} == {n: shape for n, (_, shape) in header.items()}


@settings(max_examples=200)
@given(st.integers(8, HEADER - 1), st.integers(8, HEADER), st.sampled_from(NASTY))
def test_a_header_with_a_piece_replaced_is_read_or_refused(folder, start, stop, piece):
    header = REAL[8:start] + piece + REAL[max(start, stop) : HEADER]
    path = folder / "fuzzed.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + REAL[HEADER:])
    try:
        read_tensors(path)
    except MiniloraError as error:
        assert "\n" not in str(error)
