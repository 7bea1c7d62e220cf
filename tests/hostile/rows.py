"""Data files: lines of all forms of rows, damaged; texts of strange characters; files that are something else."""

import copy
import json

from .damage import NUMBERS, TEXTS, damaged, dump, edited_bytes, nested, odd, replace_by_foreign

FORMS = [
    {"prompt": "Where is boat 1?", "response": "At sea."},
    {"prompt": "Where?", "completion": "Here.", "system": "Be short."},
    {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    {"instruction": "Say it", "input": "tea", "output": "tea"},
    {"instruction": "Say it", "context": "tea", "response": "tea", "category": "x"},
    {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}]},
    {"text": "The sea is grey and the tea is hot."},
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hello"},
                  {"role": "assistant", "content": "Good day", "weight": 1}],
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None, "tool_calls": [{}]},
                  {"role": "tool", "content": "1"}, {"role": "assistant", "content": "It is 1."}]},
]  # fmt: skip
COMMANDS = [
    ["data", "rows.jsonl", "--base", "base"],
    ["train", "rows.jsonl", "--base", "base", "--out", "out", "--steps", "1", "--batch-size", "2", "--no-plot"],
    ["train", "--jsonl", "rows.jsonl", "--base", "base", "--out", "out", "--steps", "1", "--no-plot", "--valid", "good.jsonl"],
    ["train", "good.jsonl", "--valid", "rows.jsonl", "--base", "base", "--out", "out", "--steps", "1", "--no-plot"],
    ["eval", "--base", "base", "--jsonl", "rows.jsonl"],
]  # fmt: skip
TEXT_COMMANDS = [
    ["data", "rows.txt", "--base", "base"],
    ["train", "--text", "rows.txt", "--base", "base", "--out", "out", "--steps", "1", "--batch-size", "2", "--no-plot"],
    ["eval", "--base", "base", "--text", "rows.txt"],
    ["generate", "--base", "base", "--file", "rows.txt", "--max-new-tokens", "2"],
    ["pretrain", "--text", "rows.txt", "--out", "out", "--steps", "1", "--vocab", "300", "--width", "16", "--layers", "1",
     "--heads", "2", "--kv-heads", "1", "--mlp", "24", "--context", "32", "--length", "16", "--no-plot"],
]  # fmt: skip


def fill(case) -> None:
    rng = case.rng
    case.take("base")
    case.take("pairs.jsonl", "good.jsonl")
    if rng.random() < 0.2:
        raw = strange_text(rng).encode("utf-8", "surrogatepass")
        (case.work / "rows.txt").write_bytes(edited_bytes(rng, raw) if rng.random() < 0.4 else raw)
        case.argv = list(rng.choice(TEXT_COMMANDS))
    else:
        (case.work / "rows.jsonl").write_bytes(lines(rng))
        case.argv = list(rng.choice(COMMANDS))
        if rng.random() < 0.4 and case.argv[0] != "eval":
            case.argv.append("--chat")
    if rng.random() < 0.05:
        case.wrong = replace_by_foreign(rng, next(case.work.glob("rows.*")))
        case.wrong = "" if case.wrong in ("nothing wrong", "text", "sparse") else case.wrong


def lines(rng) -> bytes:
    rows = [copy.deepcopy(rng.choice(FORMS)) for _ in range(rng.choice([1, 2, 3, 8, 30]))]
    for _ in range(rng.choice([0, 1, 1, 1, 3])):
        at = rng.randrange(len(rows))
        rows[at] = rng.choice([damaged(rng, rows[at]), damaged(rng, rows[at]), odd(rng), spoken(rng)])
    texts = [dump(row) for row in rows]
    how = rng.randrange(20)
    if how == 0:
        text = "[" + ",\n".join(texts) + "]"
    elif how == 1:
        text = "[" + ",\n".join(texts)
    elif how == 2:
        text = "\n\n\r\n".join(texts)
    elif how == 3:
        text = "\u2028".join(texts)
    elif how == 4:
        text = "\n".join(texts) + "\n" + rng.choice(["{", "[" * 100_000, '"' * 9, "9" * 5000, "nul", "\x00", "a,b,c"])
    else:
        text = "\n".join(texts) + "\n"
    raw = text.encode("utf-16" if how == 5 else "utf-8", "surrogatepass")
    return edited_bytes(rng, raw) if rng.random() < 0.2 else raw


def spoken(rng):
    """A row whose texts are strange but texts."""
    return rng.choice([
        {"prompt": strange_text(rng), "response": strange_text(rng)},
        {"messages": [{"role": r, "content": strange_text(rng)} for r in ("user", "assistant") * rng.choice([1, 2, 40])]},
        {"text": strange_text(rng)},
        {"prompt": "a", "response": "b", rng.choice(TEXTS)[:90]: rng.choice(TEXTS)},
        {"messages": nested(30, "list")}, {"prompt": "a", "response": rng.choice(NUMBERS)},
        {"conversations": [{"from": rng.choice(["human", "gpt", "x", None]), "value": "a"} for _ in range(3)]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
         "tools": rng.choice([json.dumps([{}]), "[", odd(rng)])},
    ])  # fmt: skip


def strange_text(rng) -> str:
    pieces = ["sea ", "\n", "\r\n", "\u2028", "\x0c", "\x85", "<|endoftext|>", "<|pad|>", "<|im_end|>", "\u0301" * 20, "👩‍👧‍👦",
              "\ufeff", "\u202e", "\x00", "{{ 7*7 }}", "{% raw %}", "بحر", "中文", " " * 50, "a" * 3000, "\ud800", ""]  # fmt: skip
    weights = [9] + [1] * (len(pieces) - 3) + [0.2, 1]
    return "".join(rng.choices(pieces, weights, k=rng.choice([1, 3, 10, 60])))
