"""Bases: fields of config.json wrong, huge, nan or missing; weights damaged; other files of the folder."""

import json

from .damage import damage_safetensors, damage_state, damaged, dump, odd, replace_by_foreign, write_damaged_json
from .sound import QUANTIZED

NAMES = ("base", "base", "tied", "gpt2_tiny", "qwen2tied_tiny", "llama3rope_tiny", *QUANTIZED)
WITHOUT_TOKENIZER = ("gpt2_tiny", "qwen2tied_tiny", "llama3rope_tiny")
LOADING = [  # read the weights
    ["generate", "--base", "b", "--prompt", "a sea", "--max-new-tokens", "3"],
    ["eval", "--base", "b", "--text", "text.txt"],
    ["merge", "--base", "b", "--adapter", "plain", "--out", "out"],
    ["train", "--base", "b", "--text", "text.txt", "--out", "out", "--steps", "1", "--batch-size", "1", "--no-plot"],
    ["train", "--base", "b", "--text", "text.txt", "--out", "out", "--steps", "1", "--method", "full", "--no-plot"],
]
LOOKING = [
    ["inspect", "b"], ["inspect", "plain", "--base", "b"], ["params", "b"], ["data", "text.txt", "--base", "b"],
    ["doctor", "--fits", "b"], ["params", "b", "--engine", "minilora", "--rank", "4"],
]  # fmt: skip
REFUSED_BY_ALL = ("cut", "missing", "extra", "shape", "transposed", "not floating", "not finite", "every name twice",
                  "bytes of no tensor", "length of the header", "nothing", "folder", "empty", "zeros", "link to itself",
                  "link to nowhere", "device", "socket", "pickle", "zip", "text", "sparse")  # fmt: skip
FORGIVEN = (("tied", "extra"), ("nf4", "transposed"))  # codes are a row of bytes, whatever shape is written
OTHER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json")


def fill(case) -> None:
    rng = case.rng
    name = rng.choice(NAMES)
    base = case.take(name, "b")
    case.take("adapters/plain")
    case.take("text.txt")
    if name in WITHOUT_TOKENIZER:
        case.argv = list(rng.choice([LOADING[2], *LOOKING]))
        if case.argv[0] == "merge":
            case.wrong = "an adapter of another architecture" if name == "gpt2_tiny" else "an adapter of other shapes"
    else:
        case.argv = list(rng.choice(LOADING if rng.random() < 0.7 else LOOKING))
    loads = case.argv in LOADING
    kind = rng.random()
    if name == "nf4" and kind < 0.2:
        damage_state(rng, base / "model.safetensors")
    elif kind < 0.45:
        reason = damage_safetensors(rng, base / "model.safetensors")
        if loads and reason in REFUSED_BY_ALL and (name, reason) not in FORGIVEN:
            case.wrong = case.wrong or reason
    elif kind < 0.85:
        damage_config(rng, base / "config.json")
    elif kind < 0.9:
        what = replace_by_foreign(rng, base / "config.json")
        if loads and what not in ("nothing wrong",):
            case.wrong = what
    elif kind < 0.95:
        index(rng, base)
    else:
        present = [base / f for f in OTHER_FILES if (base / f).exists()]
        if present:
            write_damaged_json(rng, rng.choice(present))
        else:
            damage_config(rng, base / "config.json")


def damage_config(rng, path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    kind = rng.random()
    if kind < 0.3:
        key = rng.choice(sorted(data))
        path.write_text(dump(data | {key: odd(rng)}), encoding="utf-8")
    elif kind < 0.5:  # sizes that only a server has
        sizes = [k for k, v in data.items() if type(v) is int]
        big = [2**16, 2**20, 2**31 - 1, 2**31, 10**9, 10**5, 999, 3]
        path.write_text(
            dump(data | {rng.choice(sizes): rng.choice(big) for _ in range(rng.choice([1, 2]))}), encoding="utf-8"
        )
    elif kind < 0.6:
        more = rng.choice(["rope_scaling", "quantization_config", "sliding_window", "layer_types", "head_dim", "auto_map",
                           "text_config", "rope_parameters", "attn_logit_softcapping", "num_local_experts"])  # fmt: skip
        path.write_text(dump(data | {more: odd(rng)}), encoding="utf-8")
    elif kind < 0.7:
        path.write_text(dump(data | {"model_type": rng.choice(
            ["llama", "gpt2", "gemma2", "gemma3_text", "phi3", "qwen3", "mistral", "bert", "", "../x", "llama\n"])}),
            encoding="utf-8")  # fmt: skip
    elif kind < 0.9:
        path.write_text(dump(damaged(rng, data)), encoding="utf-8")
    else:
        write_damaged_json(rng, path)


def index(rng, base) -> None:
    """An index of shards that is damaged."""
    file = base / "model.safetensors"
    file.rename(base / "model-00001-of-00001.safetensors")
    raw = (base / "model-00001-of-00001.safetensors").read_bytes()
    names = [n for n in json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")]) if n != "__metadata__"]
    data = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    data = damaged(rng, data) if rng.random() < 0.8 else data
    (base / "model.safetensors.index.json").write_text(dump(data), encoding="utf-8")
    if rng.random() < 0.3:
        (base / "model-00001-of-00001.safetensors").unlink()
