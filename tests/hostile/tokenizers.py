"""Tokenizers: tokenizer.json damaged, huge or of another kind; special tokens in the folder's other files."""

import json

from .damage import damaged, dump, edited_bytes, odd, write_damaged_json

COMMANDS = [
    ["generate", "--base", "base", "--prompt", "a sea", "--max-new-tokens", "3"],
    ["generate", "--base", "base", "--chat", "--prompt", "a sea", "--max-new-tokens", "3"],
    ["eval", "--base", "base", "--text", "text.txt"],
    ["data", "text.txt", "--base", "base"],
    ["data", "pairs.jsonl", "--base", "base", "--chat"],
    ["train", "pairs.jsonl", "--base", "base", "--out", "out", "--steps", "1", "--batch-size", "1", "--no-plot"],
    ["pretrain", "--text", "text.txt", "--tokenizer", "base", "--out", "out", "--steps", "1", "--width", "16", "--layers",
     "1", "--heads", "2", "--kv-heads", "1", "--mlp", "24", "--context", "32", "--length", "16", "--no-plot"],
]  # fmt: skip
KINDS = ("bytes", "sentencepiece", "word_level", "word_piece", "no_unknown", "unigram")
PARTS = [
    {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x" * 1000}] * 3},
    {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
    {"type": "Split", "pattern": {"Regex": "(([a-z ]+)+)+!"}, "behavior": "Isolated", "invert": False},
    {"type": "Replace", "pattern": {"Regex": "("}, "content": "b"},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Metaspace", "replacement": "__", "prepend_scheme": "always"},
    {"type": "Nothing"}, [], 1, "ByteLevel",
    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<none>", "type_id": 0}}], "pair": [],
     "special_tokens": {}},
    {"type": "Strip", "content": " ", "start": 10**9, "stop": 10**9, "strip_left": True, "strip_right": True},
]  # fmt: skip


def fill(case) -> None:
    rng = case.rng
    base = case.take("base")
    case.take("text.txt")
    case.take("pairs.jsonl")
    case.argv = list(rng.choice(COMMANDS))
    path = base / "tokenizer.json"
    data = json.loads((case.good / "tokenizers" / f"{rng.choice(KINDS)}.json").read_text(encoding="utf-8"))
    kind = rng.random()
    if kind < 0.35:
        data = damaged(rng, data)
    elif kind < 0.5:
        data[rng.choice(["normalizer", "pre_tokenizer", "decoder", "post_processor"])] = rng.choice(PARTS)
    elif kind < 0.6:
        data[rng.choice(["truncation", "padding", "added_tokens", "model"])] = odd(rng)
    elif kind < 0.7:
        added = {"id": rng.choice([0, 5, 289, 290, 1000, 2**31, 2**32 - 1]), "special": rng.random() < 0.5, "single_word": False,
                 "lstrip": True, "rstrip": True, "normalized": rng.random() < 0.5,
                 "content": rng.choice(["", " ", "a", "sea", "<|x|>", "\n", "x" * 2000, "\x00"])}  # fmt: skip
        data["added_tokens"] = [*(data.get("added_tokens") or []), *[added] * rng.choice([1, 2])]
    elif kind < 0.75:
        data["model"] = rng.choice([
            {"type": "BPE", "vocab": {}, "merges": []}, {"type": "WordLevel", "vocab": {}, "unk_token": "x"},
            {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": [["a", "b"]]}, {"type": "Unigram", "unk_id": 9, "vocab": []},
            {"type": "BPE", "vocab": {"a": 2**32 - 1}, "merges": []}, {"type": "WordPiece", "vocab": {"a": 1},
             "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 0},
            {"type": "Unigram", "unk_id": None, "vocab": [["a", float("nan")], ["b", -1e308]]}, data["model"] | {"dropout": 2},
            {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]] * 3}, data["model"] | {"ignore_merges": True},
            {"type": "BPE", "vocab": {f"w{i}": i for i in range(50_000)}, "merges": []},
        ])  # fmt: skip
    path.write_text(dump(data), encoding="utf-8")
    if rng.random() < 0.15:
        path.write_bytes(edited_bytes(rng, path.read_bytes()))
    if rng.random() < 0.4:
        name = rng.choice(["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"])
        if rng.random() < 0.5:
            token = rng.choice(
                ["<|endoftext|>", "a", "", "nowhere", {"content": "a"}, {"content": 1}, {"__type": "AddedToken"}]
            )
            keys = ["eos_token", "pad_token", "bos_token", "unk_token", "additional_special_tokens", "extra_special_tokens",
                    "added_tokens_decoder", "tokenizer_class", "legacy", "add_prefix_space", "eos_token_id"]  # fmt: skip
            value = rng.choice(
                [token, [token], {"0": token}, {"x": token}, odd(rng), "LlamaTokenizer", 10**9, [-1], [2**40]]
            )
            held = json.loads((base / name).read_text(encoding="utf-8"))
            (base / name).write_text(dump(held | {rng.choice(keys): value}), encoding="utf-8")
        else:
            write_damaged_json(rng, base / name)
