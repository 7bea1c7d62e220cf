"""safetensors files: what is written is read back, and a header that disagrees with its file is refused."""

import json
import os
import subprocess
import sys
import tracemalloc

import ml_dtypes  # noqa: F401  its types register themselves with NumPy
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from checkpoints import GOLDEN, safetensors_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minilora.errors import ConfigError, FormatError, MiniloraError, MissingFileError
from minilora.files.safetensors import (
    DTYPES,
    SLICE,
    WIDENED,
    in_type,
    iterate_tensors,
    read_all,
    read_header,
    read_tensors,
    same_values,
    write_tensors,
)

MAX_HEADER = 100_000_000  # bytes; the limit of the library
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


def array_of(name, shape, raw):
    """An array of any type the format has, from raw bytes."""
    size = np.dtype(name).itemsize * int(np.prod(shape))
    data = np.resize(np.frombuffer(raw, np.uint8), size) if size else np.empty(0, np.uint8)
    return (data % 2 if name == "bool" else data).view(name).reshape(shape)


arrays = st.builds(
    array_of,
    st.sampled_from(list(DTYPES.values())),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    st.binary(min_size=1, max_size=64),
)
names = st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__")


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def library_reads(path):
    """{name: array} by the library; the bits of float8 too, for which its NumPy side has no type."""
    found = dict(safetensors.deserialize(path.read_bytes()))
    return {n: np.frombuffer(f["data"], DTYPES[f["dtype"]]).reshape(f["shape"]) for n, f in found.items()}


def widened(array):
    return array.astype(np.float32) if array.dtype.name in WIDENED.values() else array


@settings(max_examples=50)
@given(st.dictionaries(names, arrays, max_size=5))
def test_what_is_written_is_read_back_bit_for_bit(folder, tensors):
    write_tensors(folder / "t.safetensors", tensors)
    back = read_tensors(folder / "t.safetensors")
    assert back.keys() == tensors.keys()
    assert all(same_bits(back[name], widened(array)) for name, array in tensors.items())


@settings(max_examples=50)
@given(st.dictionaries(names, arrays, max_size=5))
def test_the_library_reads_the_same_bits_and_writes_the_same_file(folder, tensors):
    write_tensors(folder / "ours.safetensors", tensors)
    theirs = library_reads(folder / "ours.safetensors")
    assert theirs.keys() == tensors.keys()
    assert all(same_bits(theirs[name], tensors[name]) for name in tensors)
    safetensors.numpy.save_file(tensors, folder / "theirs.safetensors", {"format": "pt"})
    assert (folder / "theirs.safetensors").read_bytes() == (folder / "ours.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", [*DTYPES.values(), ">f4", ">i2", ">f8"])
def test_a_header_names_the_type_that_was_written(folder, dtype):
    array = np.arange(2).astype(dtype)
    write_tensors(folder / "t.safetensors", {"w": array})
    kind = next(k for k, name in DTYPES.items() if name == array.dtype.name)
    assert read_header(folder / "t.safetensors")[0] == {"w": (kind, (2,))}
    np.testing.assert_array_equal(read_tensors(folder / "t.safetensors")["w"], array)


def test_a_transposed_view_is_written_by_its_values(folder, rng):
    w = rng.standard_normal((3, 5)).astype(np.float32)
    write_tensors(folder / "t.safetensors", {"w": w.T})
    np.testing.assert_array_equal(read_tensors(folder / "t.safetensors")["w"], w.T)


def test_all_of_a_file_is_its_tensors_and_its_metadata(folder, rng):
    tensors = {"w": rng.standard_normal((3, 5)).astype(np.float32), "empty": np.zeros((0, 2)), "one": np.array(7)}
    write_tensors(folder / "t.safetensors", tensors, {"made": "here"})
    found, metadata = read_all(folder / "t.safetensors")
    assert metadata == {"made": "here"} and found.keys() == tensors.keys()
    assert all(same_bits(found[name], tensors[name]) for name in tensors)


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
    tensors = {"w": rng.standard_normal((3, 4)).astype(np.float32), "i": np.arange(5), "s": np.float64(2.5).reshape(())}
    write_tensors(folder / "t.safetensors", tensors)
    back = safetensors.numpy.load_file(folder / "t.safetensors")
    assert all(np.array_equal(back[n], tensors[n]) and back[n].dtype == tensors[n].dtype for n in tensors)


def test_what_the_official_library_writes_is_read(folder, rng):
    tensors = {"w": rng.standard_normal((3, 4)).astype(np.float16), "z": np.zeros((0, 3), np.float32)}
    safetensors.numpy.save_file(tensors, folder / "t.safetensors", metadata={"format": "pt"})
    back = read_tensors(folder / "t.safetensors")
    assert all(np.array_equal(back[n], tensors[n]) and back[n].shape == tensors[n].shape for n in tensors)


def test_bfloat16_becomes_the_float32_with_the_same_upper_half(folder):
    bits = np.arange(2**16, dtype=np.uint16)
    entry = {"dtype": "BF16", "shape": [2**16], "data_offsets": [0, 2**17]}
    path = file_of(folder, {"w": entry}, bits.astype("<u2").tobytes())
    made = read_tensors(path)["w"]
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made.view(np.uint32), bits.astype(np.uint32) << 16)


# Sign, exponent and fraction: 1|8|7 bits for bfloat16, 1|4|3 for E4M3 (bias 7), 1|5|2 for E5M2 (bias 15).
@pytest.mark.parametrize(
    "kind, bits, values",
    [("BF16", [0x3F80, 0xC000, 0x3EAB, 0x0000], [1.0, -2.0, 0.333984375, 0.0]),
     ("F8_E4M3", [0x38, 0xC0, 0x7E, 0x01, 0x7F], [1.0, -2.0, 448.0, 2**-9, np.nan]),
     ("F8_E5M2", [0x3C, 0xC0, 0x7B, 0x01, 0x7C, 0x7E], [1.0, -2.0, 57344.0, 2**-16, np.inf, np.nan])],
)  # fmt: skip
@pytest.mark.parametrize("wanted", [None, np.float64])
def test_the_short_types_are_widened_to_values_known_by_heart(folder, kind, bits, values, wanted):
    raw = np.array(bits, "<u2" if kind == "BF16" else "u1").tobytes()
    path = file_of(folder, {"w": {"dtype": kind, "shape": [len(bits)], "data_offsets": [0, len(raw)]}}, raw)
    made = read_tensors(path, wanted)["w"]
    assert made.dtype == (wanted or np.float32)
    np.testing.assert_array_equal(made, values)


@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("wanted", [np.float16, np.float32, np.float64])
def test_floating_tensors_take_the_wanted_type_and_integers_keep_theirs(folder, rng, stored, wanted):
    n = 2 * SLICE + 7  # more than one slice
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


def test_a_damaged_file_whose_header_has_640_bytes_is_not_called_a_pickle(folder):
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'.ljust(640)
    path = file_of(folder, header, bytes(20))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert_refused(path, "damaged (668 bytes)")


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
    tracemalloc.start()
    assert_refused(path, "giant.safetensors", "header")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


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
     F32 | {"shape": [1] * 70 + [2, 3]}, F32 | {"dtype": "F31"}, F32 | {"dtype": ["F32"]}],
    ids=str,
)  # fmt: skip
def test_an_entry_that_is_not_a_dtype_a_shape_and_offsets_is_refused(folder, entry):
    assert_refused(file_of(folder, {"the.weight": entry}, bytes(24)), "x.safetensors")


@pytest.mark.parametrize("kind, size", [("C64", 8), ("F8_E8M0", 1), ("F8_E4M3FNUZ", 1), ("F4", 1)])
def test_a_type_of_the_library_that_is_not_read_is_refused_by_name(folder, kind, size):
    entry = {"dtype": kind, "shape": [2], "data_offsets": [0, 1 if kind == "F4" else 2 * size]}
    assert_refused(file_of(folder, {"the.weight": entry}, bytes(entry["data_offsets"][1])), "the.weight", kind, "F32")


@pytest.mark.parametrize("shape", [[2, 4], [6, 6], [0], [2**31, 2**31], [2**61, 2**61], [2**50, 0, 2**50]])
def test_a_shape_that_does_not_make_its_bytes_is_refused(folder, shape):
    assert_refused(file_of(folder, {"w": F32 | {"shape": shape}}, bytes(24)), "x.safetensors")


@pytest.mark.parametrize("shape", [[2**40, 2**40, 0], [0, 2**61], [1] * 70 + [0]])
def test_an_empty_tensor_with_an_impossible_shape_is_refused(folder, shape):
    assert_refused(file_of(folder, {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}), "x.safetensors")


@pytest.mark.parametrize("shape", [[0], [0, 3], [3, 0, 2]])
def test_an_empty_tensor_is_read(folder, shape):
    path = file_of(folder, {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}})
    assert read_tensors(path)["w"].shape == tuple(shape)


def test_a_tensor_larger_than_memory_is_one_line(folder, monkeypatch):
    path = file_of(folder, {"w": F32}, bytes(24))

    def full(*_):
        raise MemoryError("Unable to allocate 1.00 TiB")

    monkeypatch.setattr(np, "empty", full)
    assert_refused(path, "x.safetensors", "'w'", "(2, 3)", "Unable to allocate 1.00 TiB")


@pytest.mark.parametrize(
    "offsets, word",
    [((0, 16), "offset"), ((32, 40), "offset"), ((24, 32), None), ((0, 8), "offset"), ((2**40, 2**40 + 8), "offset")],
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
    assert_refused(file_of(folder, {"w": F32}, bytes(24 + extra)), "not fully covered")


@pytest.mark.parametrize("more", [b"[" * 5000 + b"]" * 5000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 5000], ids=len)
def test_an_entry_with_something_more_that_is_nested_or_large_without_end_is_refused(folder, more):
    entry = b'{"dtype":"F32","shape":[6],"data_offsets":[0,24],"more":' + more + b"}"
    assert_refused(file_of(folder, b'{"w":' + entry + b"}", bytes(24)), "damaged")


def test_data_shorter_than_promised_is_called_truncated(folder):
    assert_refused(file_of(folder, {"w": F32}, bytes(20)), "truncated")


def test_a_name_that_the_header_has_twice_is_refused(folder):
    entry = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    twice = file_of(folder, b'{"w":' + entry + b',"w":' + entry + b"}", bytes(4))
    assert safetensors.numpy.load_file(twice).keys() == {"w"}  # the library lacks this check
    assert_refused(twice, "w twice")


def test_a_header_of_very_many_equal_names_is_refused_at_once(folder):
    entry = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    pairs = [b'"%d":' % n + entry for n in range(10_000)]
    assert_refused(file_of(folder, b"{" + b",".join(pairs + pairs) + b"}"), "twice", "and 9996 more")


@pytest.mark.parametrize("metadata", [[], 3, {"a": 3}, {"a": None}])
def test_metadata_that_does_not_map_text_to_text_is_refused(folder, metadata):
    assert_refused(file_of(folder, {"__metadata__": metadata, "w": F32}, bytes(24)), "invalid type")


@pytest.mark.parametrize("metadata", [{"a": 3}, {3: "a"}, {"a": None}])
def test_metadata_that_does_not_map_text_to_text_is_not_written(folder, metadata):
    with pytest.raises(MiniloraError, match=r"cannot write .*new\.safetensors: .*metadata"):
        write_tensors(folder / "new.safetensors", {"w": np.ones(1)}, metadata)
    assert not (folder / "new.safetensors").exists()


def test_a_name_with_a_line_break_or_a_control_character_stays_in_one_line(folder):
    header = {"a\nb\x1b[31m": F32 | {"data_offsets": [8, 32]}}
    assert_refused(file_of(folder, header, bytes(32)), "a\\nb\\x1b[31m")


def test_a_folder_is_called_a_folder(folder):
    (folder / "d.safetensors").mkdir()
    assert_refused(folder / "d.safetensors", "d.safetensors is a folder", error=MissingFileError)


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs a privilege there")
def test_a_link_to_itself_is_a_missing_file(folder):
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    assert_refused(folder / "loop.safetensors", "no such file", error=MissingFileError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_is_refused_without_waiting(folder):
    os.mkfifo(folder / "pipe.safetensors")
    assert_refused(folder / "pipe.safetensors", "no such file", error=MissingFileError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read everything")
def test_a_file_that_may_not_be_read_is_one_line(folder):
    path = file_of(folder, {"w": F32}, bytes(24), "secret.safetensors")
    path.chmod(0)
    assert_refused(path, "cannot read", "Permission denied", error=MiniloraError)


def test_a_file_that_the_system_cannot_read_is_one_line(folder, monkeypatch):
    path = file_of(folder, {"w": F32}, bytes(24))

    def broken(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(path), "open", broken)
    assert_refused(path, "cannot read", "x.safetensors: Input/output error", error=MiniloraError)


def test_a_file_that_shrinks_while_it_is_read_is_refused_and_the_process_lives_on(folder):
    path = folder / "shrinking.safetensors"
    write_tensors(path, {"a": np.ones(3 * SLICE), "b": np.ones(3 * SLICE)})
    tensors = iterate_tensors(path)
    assert next(tensors)[0] == "a"
    os.truncate(path, 3 * SLICE)
    with pytest.raises(FormatError, match=r"shrinking\.safetensors: truncated while it was read"):
        next(tensors)


def test_a_file_that_is_replaced_while_it_is_read_gives_the_old_values(folder):
    path = folder / "replaced.safetensors"
    write_tensors(path, {"a": np.zeros(3 * SLICE), "b": np.zeros(3 * SLICE)})
    tensors = iterate_tensors(path)
    next(tensors)
    write_tensors(path, {"b": np.ones(3 * SLICE)})
    assert not next(tensors)[1].any()


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(folder, monkeypatch):
    path = folder / "swapped.safetensors"
    write_tensors(path, {"a": np.zeros(3)}, {"long": "x" * 100})
    opened = safetensors.safe_open

    def swap_and_open(*args):  # the library checks the new file, the old one is open here
        write_tensors(path, {"a": np.ones(3)})
        return opened(*args)

    monkeypatch.setattr(safetensors, "safe_open", swap_and_open)
    assert_refused(path, "swapped.safetensors: another file took its place")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_full_disk_leaves_the_old_file_and_one_line(folder):
    path = folder / "full.safetensors"
    write_tensors(path, {"w": np.ones(3)})
    before = path.read_bytes()
    code = (
        "import resource, sys, numpy as np; from minilora.files.safetensors import write_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_tensors(sys.argv[1], {'w': np.ones(10**6)})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"MiniloraError cannot write {path}: ") and done.stdout.count("\n") == 1
    assert path.read_bytes() == before and not list(folder.glob(".full*")) and not list(folder.glob(".tmp*"))


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float8_e5m2"])
@pytest.mark.parametrize("shape", [(1, 16 * SLICE), (16 * SLICE, 1), (4, 4 * SLICE)], ids=str)
def test_one_huge_tensor_of_any_shape_is_read_in_1_1_times_its_memory(folder, kind, shape):
    write_tensors(folder / "huge.safetensors", {"w": np.zeros(shape, kind)})
    tracemalloc.start()
    array = read_tensors(folder / "huge.safetensors", np.float32)["w"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.nbytes <= peak < 1.1 * array.nbytes


def test_writing_takes_no_memory_beside_the_arrays(folder):
    tensors = {name: np.ones(SLICE) for name in "abcdefgh"}  # 2 MB each
    tracemalloc.start()
    write_tensors(folder / "t.safetensors", tensors)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


METADATA = {"format": "pt", "b": "", "a": '{"run": [1, "x"]}', "ü": "line\nbreak"}


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=4), st.lists(names, max_size=3, unique=True))
def test_the_same_metadata_gives_the_same_file_and_is_read_back_in_its_order(folder, metadata, names):
    tensors = {name: np.arange(3.0) for name in names}
    for name in ("one.safetensors", "two.safetensors"):
        write_tensors(folder / name, tensors, metadata)
    raw = (folder / "one.safetensors").read_bytes()
    assert raw == (folder / "two.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert list(header.get("__metadata__", {}).items()) == list(metadata.items())
    assert read_header(folder / "one.safetensors")[1] == metadata
    assert read_tensors(folder / "one.safetensors").keys() == tensors.keys()


def test_the_same_tensors_give_the_same_file_in_another_process(folder):
    code = (
        "import sys, numpy as np; from minilora.files.safetensors import write_tensors\n"
        "tensors = {n: np.arange(3.0) for n in 'cabd'} | {'i': np.arange(3), 'h': np.ones(2, 'f2')}\n"
        f"write_tensors(sys.argv[1], tensors, {METADATA!r})"
    )
    for name in ("one.safetensors", "two.safetensors"):
        subprocess.run([sys.executable, "-c", code, folder / name], check=True)
    assert (folder / "one.safetensors").read_bytes() == (folder / "two.safetensors").read_bytes()


# ---- comparing two tensors of files


@pytest.fixture
def pair(folder, rng):
    """{kind: path} of one tensor that every kind holds exactly: small whole numbers, more than a slice."""
    values = rng.integers(-8, 8, (3, SLICE // 2))
    paths = {kind: folder / f"{kind}.safetensors" for kind in ("F32", "F16", "BF16", "F8_E4M3")}
    for kind, path in paths.items():
        write_tensors(path, {"w": values.astype(DTYPES[kind])})
    return paths


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "F8_E4M3"])
def test_equal_values_are_the_same_in_whatever_type_they_are_stored(pair, kind):
    assert same_values((pair["F32"], "w"), (pair[kind], "w"))


@pytest.mark.parametrize("place", [(0, 0), (2, SLICE // 2 - 1)])
def test_a_single_other_number_makes_the_values_differ(pair, folder, place):
    other = read_tensors(pair["F32"])
    other["w"][place] += 1
    write_tensors(folder / "other.safetensors", other)
    assert not same_values((pair["F32"], "w"), (folder / "other.safetensors", "w"))


def test_another_shape_of_the_same_numbers_is_not_the_same(pair, folder):
    write_tensors(folder / "flat.safetensors", {"w": read_tensors(pair["F32"])["w"].reshape(-1)})
    assert not same_values((pair["F32"], "w"), (folder / "flat.safetensors", "w"))


# ---- damage


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


def assert_right_or_refused(path):
    """Reading gives what the library reads, bit for bit, or one line; and needs little memory for either."""
    tracemalloc.start()
    try:
        ours = read_tensors(path)
    except MiniloraError as error:
        assert "\n" not in str(error) and path.name in str(error)
    else:
        theirs = library_reads(path)
        assert ours.keys() == theirs.keys()
        assert all(same_bits(ours[name], widened(array)) for name, array in theirs.items())
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


@settings(max_examples=100)
@given(mutations)
def test_a_damaged_file_is_read_or_refused_in_one_line_and_nothing_else(folder, steps):
    path = folder / "fuzzed.safetensors"
    path.write_bytes(mutated(REAL, steps))
    assert_right_or_refused(path)


@settings(max_examples=100)
@given(st.integers(8, HEADER - 1), st.integers(8, HEADER), st.sampled_from(NASTY))
def test_a_header_with_a_piece_replaced_is_read_or_refused(folder, start, stop, piece):
    header = REAL[8:start] + piece + REAL[max(start, stop) : HEADER]
    path = folder / "fuzzed.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + REAL[HEADER:])
    assert_right_or_refused(path)


@settings(max_examples=100)
@given(st.data())
def test_a_file_of_every_type_with_a_few_bytes_changed_is_read_or_refused(folder, data):
    path = folder / "every.safetensors"
    write_tensors(path, {name: array_of(name, (2, 3), bytes(range(7))) for name in DTYPES.values()})
    raw = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=3)):
        raw[at] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    assert_right_or_refused(path)


# A header written by someone else: entries of the right form whose numbers lie.
entries = st.fixed_dictionaries({
    "dtype": st.sampled_from([*DTYPES, "F4", "C64", "F31"]),
    "shape": st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**61, 2**64 - 1]), max_size=3),
    "data_offsets": st.lists(st.sampled_from([0, 4, 8, 12, 24, 2**40, 2**64 - 1]), min_size=2, max_size=2),
})  # fmt: skip


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from("abc"), entries, max_size=3), st.sampled_from([0, 8, 24, 32]))
def test_a_header_that_lies_is_refused_or_turns_out_to_be_true(folder, header, size):
    assert_right_or_refused(file_of(folder, header, bytes(size), "lying.safetensors"))


def test_whoever_may_read_an_ordinary_file_may_read_a_file_of_tensors(tmp_path):
    (tmp_path / "ordinary").touch()
    write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(3)})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(
    ("dtype", "end"), [("float16", "; choose float32 or bfloat16"), ("bfloat16", ""), ("float32", "")]
)
def test_a_number_that_no_type_has_is_refused_without_the_advice_to_choose_one(dtype, end):
    with pytest.raises(ConfigError, match=f"^w has a number that {dtype} does not have{end}$"):
        in_type({"w": np.array([1.0, np.inf], np.float32)}, dtype)
