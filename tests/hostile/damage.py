"""Damage to values, texts, JSON files and safetensors files, drawn from a random.Random."""

import json
import os
import socket
from pathlib import Path

import numpy as np

HUGE = "@4301 digits@"  # json.dumps refuses to write such a number; `dump` puts it in
NUMBERS = [
    0, 1, -1, 2, 3, 7, 1.5, -0.0, 1e-9, 1e30, 1e308, -1e308, 2**31 - 1, 2**31, 2**53, 2**63, 10**12, 10**30,
    float("nan"), float("inf"), float("-inf"), True, False, None, HUGE,
]  # fmt: skip
TEXTS = [
    "", " ", "\n", "\x00", "\x1b[31m\x1b]0;title\x07", "\ud800", "\u202e\u2028\x85\x0c", "x" * 5_000, "é" * 50, "../../x",
    "/etc/passwd", "{% for i in range(10**9) %}{% endfor %}", "(a+)+$", "(([a-z_0-9.]+)+)+!", "[", "%s%n", "٣", "nan", "-1",
    "None", "null", "0", "q_proj", "all-linear", "lora_A.weight", "default", "<|endoftext|>", "cuda", "a,b", ".*", "\\",
]  # fmt: skip


def odd(rng, depth: int = 0):
    """A value that nobody expects in this place."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 7 or depth > 2:
        return rng.choice(TEXTS)
    if kind == 7:
        return [odd(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 3]))]
    if kind == 8:
        return {rng.choice(TEXTS)[:100]: odd(rng, depth + 1) for _ in range(rng.choice([0, 1, 2]))}
    return nested(rng.choice([5, 100, 3000]), rng.choice(["list", "dict"]))


def nested(depth: int, kind: str):
    value = 1
    for _ in range(min(depth, 300)):
        value = [value] if kind == "list" else {"a": value}
    return value


def near(rng, value):
    """A value like this one, and wrong: of another type, size or sign."""
    if isinstance(value, bool) or value is None:
        return rng.choice([not value, 0, 1, "true", None])
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, -value, value * 2, value * 1000, float(value), str(value), [value], 0])
    if isinstance(value, float):
        return rng.choice([-value, value * 1e30, str(value), [value], 0.0])
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice(
            [value[:at], value + value, value.upper(), value[:at] + "\x00" + value[at:], [value], value + " "]
        )
    if isinstance(value, list):
        return rng.choice([value[:-1], value + value, value[::-1], {"0": value}, value + [None], value[:1] * 2000])
    return rng.choice([[list(pair) for pair in value.items()][:3], list(value), {}, value | {"a new key": 1}])


def places(
    value, within=None
):  # -> a list for each depth: (place above, key), None above the first, and the value there
    """All places inside a value. They are linked, not paths: a damaged value may have a million, 300 deep."""
    levels, level = [], [(None, value)]
    while level := [
        ((above, key), child)
        for above, outer in level
        for key, child in (
            outer.items() if isinstance(outer, dict) else enumerate(outer) if isinstance(outer, list) else ()
        )
        if within is None or above or key in within
    ]:
        levels.append(level)
    return levels


def path_to(place):  # -> its keys from the top
    path = []
    while place:
        place, key = place
        path.append(key)
    return path[::-1]


def damaged(rng, value, edits: int = 0, within=None):
    """The JSON value with one to three places changed, removed or added. within: keys at the top to choose among."""
    for _ in range(edits or rng.choice([1, 1, 1, 2, 3])):
        levels = places(value, within)
        if not levels:
            return odd(rng)
        depth = rng.randint(1, len(levels))  # a vocabulary must not hide the other keys
        place, _ = rng.choice(levels[depth - 1])
        value = changed(rng, value, path_to(place))
    return value


def changed(rng, value, path):
    if not path:
        return rng.choice([near, lambda r, v: odd(r)])(rng, value)
    key, kind = path[0], rng.randrange(12)
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    made = []
    for name, child in items:
        if name != key:
            made.append((name, child))
        elif len(path) > 1 or kind > 3:
            made.append((name, changed(rng, child, path[1:])))
        elif kind == 1:
            made += [(name, child), (f"{name}.x", child)]
        elif kind == 2:
            made.append((rng.choice(TEXTS)[:200] or "x", child))
        elif kind == 3:
            made += [(name, child), (rng.choice(["scaling", "bias", "quantization_config", "x" * 300]), odd(rng))]
    return dict(made) if isinstance(value, dict) else [child for _, child in made]


def dump(value) -> str:
    text = json.dumps(value).replace(json.dumps(HUGE), "9" * 4301)
    return text.replace(HUGE, "9" * 4301)


def edited_bytes(rng, raw: bytes, first: int = 3000) -> bytes:
    """One to four bytes or pieces set, inserted, removed or copied, most of them near the beginning."""
    pieces = [
        b"-1",
        b"1e999",
        b"null",
        b"[]",
        b"{}",
        b"true",
        b'"x"',
        b"9" * 20,
        b'"',
        b"\xff",
        b"}",
        b",",
        b"NaN",
        b"\x00",
    ]
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(min(len(raw), rng.choice([first, first, 10**9])) + 1)
        cut = rng.choice([0, 1, 2, 8, 100, 10**9])
        raw = raw[:at] + rng.choice([*pieces, bytes([rng.randrange(256)]), raw[at : at + 50]]) + raw[at + cut :]
    return raw


def write_damaged_json(rng, path: Path, within=None) -> None:
    """The JSON file with damaged values; sometimes with damaged bytes."""
    if rng.random() < 0.2:
        path.write_bytes(edited_bytes(rng, path.read_bytes()))
        return
    text = dump(damaged(rng, json.loads(path.read_text(encoding="utf-8")), within=within))
    how = rng.randrange(30)
    if how == 0:
        path.write_bytes(text.encode("utf-16"))
    elif how == 1:
        path.write_text("[" * 100_000 + text, encoding="utf-8")
    elif how == 2:
        path.write_text(text + text, encoding="utf-8")
    elif how == 3:
        path.write_text(text.replace("{", '{"a":1,"a":2,', 1), encoding="utf-8")
    else:
        path.write_text("\ufeff" * (how == 4) + text, encoding="utf-8")


def replace_by_foreign(rng, path: Path) -> str:
    """Another kind of thing in the place of the file. Returns what it is."""
    kind = rng.choice(["nothing", "folder", "empty", "zeros", "link to itself", "link to nowhere", "device", "socket",
                       "sparse", "pickle", "zip", "text", "locked"])  # fmt: skip
    raw = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "inside").write_bytes(raw)
    elif kind in ("empty", "zeros", "pickle", "zip", "text"):
        path.write_bytes({"empty": b"", "zeros": bytes(5000), "pickle": b"\x80\x02}q\x00.", "zip": b"PK\x03\x04\xff" + raw[:99],
                          "text": b"version https://git-lfs.github.com/spec/v1\n"}[kind])  # fmt: skip
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "link to nowhere":
        path.symlink_to("nowhere")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket has at most 108 bytes
            try:
                s.bind(path.name)
            finally:
                os.chdir(here)
    elif kind == "sparse":
        path.write_bytes(raw)
        os.truncate(path, rng.choice([2**30, 2**38]))
    elif kind == "locked":
        path.write_bytes(raw)
        path.chmod(0)
        return "locked" if os.getuid() else "nothing wrong"  # root reads it
    return kind


# ---- safetensors


def read_raw(path: Path):  # -> header, bytes of the tensors
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:end]), raw[end:]


def write_raw(path: Path, header, body: bytes) -> None:
    text = (header if isinstance(header, str) else dump(header)).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def tensors_of(header, body):  # -> {name: (dtype, shape, bytes)}
    names = [n for n in header if n != "__metadata__"]
    return {n: (header[n]["dtype"], header[n]["shape"], body[slice(*header[n]["data_offsets"])]) for n in names}


def write_tensors(path: Path, tensors, metadata=None) -> None:
    header, body = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    write_raw(path, header, body)


def as_type(raw, dtype):
    """float32 bytes in another type."""
    array = np.frombuffer(raw, np.float32)
    with np.errstate(all="ignore"):
        if dtype == "BF16":
            return (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        return array.astype({"F16": "<f2", "F64": "<f8", "I32": "<i4", "BOOL": "?", "U8": "u1"}[dtype]).tobytes()


def with_value(raw, place, value):
    array = np.frombuffer(raw, np.float32).copy()
    array[place % max(1, array.size)] = value
    return array.tobytes()


def damage_safetensors(rng, path: Path) -> str:
    """Change the file. Returns why it must be refused by what reads its values; "" when nothing is known."""
    header, body = read_raw(path)
    tensors, metadata = tensors_of(header, body), header.get("__metadata__")
    name = rng.choice(sorted(tensors))
    dtype, shape, raw = tensors[name]
    kind = rng.randrange(22)
    if kind == 0:
        path.write_bytes(path.read_bytes()[: -rng.choice([1, 4, 100])])
        return "cut"
    if kind == 1:
        path.write_bytes(path.read_bytes()[: rng.randrange(min(400, path.stat().st_size))])
        return "cut"
    if kind == 2:
        path.write_bytes(path.read_bytes() + bytes(rng.choice([1, 4, 1000])))
        return "bytes of no tensor"
    if kind == 3:
        length = rng.choice([0, 1, 7, 2**31, 2**63 - 1, 2**64 - 1, 10**8 + 1])
        path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
        return "length of the header"
    if kind == 4:
        write_raw(path, damaged(rng, header), body)
    elif kind == 5:
        header[name] = damaged(rng, header[name])
        write_raw(path, header, body)
    elif kind == 6:
        text = dump(header)
        write_raw(path, text[:1] + text[1:-1].rstrip() + "," + text[1:], body)
        return "every name twice"
    elif kind == 7 and raw and dtype == "F32":
        tensors[name] = dtype, shape, with_value(raw, rng.randrange(10**6), rng.choice([np.nan, np.inf, -np.inf]))
        write_tensors(path, tensors, metadata)
        looked_up = any(part in name for part in ("embed_tokens", "wte", "wpe"))  # a text may not have that row
        return "" if looked_up else "not finite"
    elif kind == 8:
        del tensors[name]
        write_tensors(path, tensors, metadata)
        return "" if name.endswith(".weight_format") else "missing"  # bitsandbytes takes row by row then
    elif kind == 9:
        new = rng.choice(
            [f"{name}.x", "x", "²", "model.layers." + "9" * 5000 + ".x", "\x1b[31m", "a\nb", name + "\u0000", "\ud800"]
        )
        write_tensors(path, tensors | {new: (dtype, shape, raw)}, metadata)
        return "extra"
    elif kind == 10 and shape:
        tensors[name] = dtype, [*shape[:-1], shape[-1] + 1], raw + bytes(4 * int(np.prod(shape[:-1])))
        write_tensors(path, tensors, metadata)
        return "shape"
    elif kind == 11 and len(shape) == 2 and shape[0] != shape[1]:
        tensors[name] = dtype, shape[::-1], raw
        write_tensors(path, tensors, metadata)
        return "transposed"
    elif kind == 12 and dtype == "F32":
        new = rng.choice(["BF16", "F16", "F64"])
        write_tensors(
            path, {n: (new, s, as_type(r, new)) if d == "F32" else (d, s, r) for n, (d, s, r) in tensors.items()}
        )
    elif kind == 13 and dtype == "F32":
        new = rng.choice(["I32", "BOOL", "U8"])
        write_tensors(path, tensors | {name: (new, shape, as_type(raw, new))}, metadata)
        return "not floating"
    elif kind == 14:
        tensors[name] = dtype, [0, *shape], b""
        write_tensors(path, tensors, metadata)
        return "shape"
    elif kind == 15:
        write_tensors(path, {f"x.{i}": ("F32", [0], b"") for i in range(60_000)}, metadata)
        return "missing"
    elif kind == 16:
        size = rng.choice([2**33, 2**36])
        header = {name: {"dtype": "F32", "shape": [2, size // 8], "data_offsets": [0, size]}}
        write_raw(path, header, b"")
        os.truncate(path, path.stat().st_size + size)
        return "missing"
    elif kind == 17:
        write_tensors(path, tensors, damaged(rng, metadata or {"format": "pt"}))
    elif kind == 18 and raw and dtype == "F32":
        tensors[name] = dtype, shape, with_value(raw, rng.randrange(10**6), rng.choice([1e38, -1e38, 1e-40, 3e4]))
        write_tensors(path, tensors, metadata)
    elif kind == 19:
        write_tensors(path, {})
        return "missing"
    elif kind == 20:
        return "" if (what := replace_by_foreign(rng, path)) == "nothing wrong" else what
    else:
        path.write_bytes(edited_bytes(rng, path.read_bytes()))
    return ""


def damage_state(rng, path: Path) -> None:
    """Change the JSON that bitsandbytes keeps in a tensor beside a 4-bit weight."""
    header, body = read_raw(path)
    tensors = tensors_of(header, body)
    name = rng.choice(sorted(n for n in tensors if ".quant_state." in n))
    text = dump(damaged(rng, json.loads(tensors[name][2])))
    raw = text.encode("utf-8", "surrogatepass")
    raw = edited_bytes(rng, raw, len(raw)) if rng.random() < 0.2 else raw
    write_tensors(path, tensors | {name: ("U8", [len(raw)], raw)}, header.get("__metadata__"))
