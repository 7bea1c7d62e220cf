"""A training that gets SIGTERM or Ctrl-C at any moment: it ends with one line, saved, and goes on to the same bits."""

import signal

COMMANDS = [
    ["train", "pairs.jsonl", "--base", "base", "--out", "out", "--steps", "400", "--batch-size", "2", "--no-plot"],
    ["train", "pairs.jsonl", "--base", "base", "--out", "out", "--steps", "400", "--method", "full", "--eval-every", "3"],
    ["train", "--resume", "--out", "lora_run", "--steps", "400", "--no-plot", "--eval-every", "1"],
    ["train", "pairs.jsonl", "--base", "base", "--out", "lora_run", "--overwrite", "--steps", "400", "--no-plot"],
    ["pretrain", "--text", "text.txt", "--out", "out", "--steps", "400", "--vocab", "300", "--width", "16", "--layers", "1",
     "--heads", "2", "--kv-heads", "1", "--mlp", "24", "--context", "32", "--length", "16", "--no-plot"],
    ["merge", "--base", "base", "--adapter", "plain", "--out", "out"],
    ["generate", "--base", "base", "--prompt", "a sea", "--max-new-tokens", "100"],
]  # fmt: skip


def fill(case) -> None:
    rng = case.rng
    for name in ("base", "pairs.jsonl", "text.txt", "lora_run", "adapters/plain"):
        case.take(name)
    case.argv = list(rng.choice(COMMANDS))
    number = rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT])
    case.signal = (0.05 + rng.random() ** 2 * 0.6, number)  # a fork needs a moment to begin
    case.outs, case.codes, case.long = ("out", "lora_run"), (128 + number,), True
