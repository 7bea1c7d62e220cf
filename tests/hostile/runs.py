"""Saved runs: the state, the history and the settings damaged, of an old version, or beside other data."""

import json

from .damage import damage_safetensors, damaged, dump, odd, read_raw, replace_by_foreign, write_damaged_json, write_raw
from .sound import RUNS

STATE, HISTORY = "training_state.safetensors", "history.json"


def fill(case) -> None:
    rng = case.rng
    name = rng.choice([*RUNS, "lora_run", "pretrain_run"])
    run = case.take(name, "run")
    case.outs = ("run",)
    for file in ("base", "pairs.jsonl", "text.txt"):
        case.take(file)
    resume = [rng.choice(["train"] if name != "pretrain_run" else ["pretrain"]), "--resume", "--out", "run"]
    resume += ["--steps", rng.choice(["5", "6", "8"]), "--no-plot"]
    case.argv = resume
    kind = rng.random()
    if kind < 0.45:
        damage_description(rng, run / STATE)
    elif kind < 0.65:
        case.wrong = damage_safetensors(rng, run / STATE)
        if case.wrong in ("extra", "not finite"):  # an extra tensor is ignored; the optimizer's may overflow
            case.wrong = ""
    elif kind < 0.72:
        case.wrong = replace_by_foreign(rng, run / STATE)
        case.wrong = "" if case.wrong == "nothing wrong" else case.wrong
    elif kind < 0.8:
        option, value = rng.choice([("--steps", "4"), ("--steps", "1"), ("--batch-size", "3"), ("--seed", "9"), ("--lr", "0.5"),
                                    ("--overwrite", None), ("--rank", "4"), ("--method", "full"), ("--text", "text.txt"),
                                    ("--eval-every", "1"), ("--base", "base"), ("--device", "cuda")])  # fmt: skip
        case.argv = [*resume, option, *([value] if value else [])]
    elif kind < 0.88:
        file = case.work / rng.choice(["pairs.jsonl", "text.txt", "base/config.json", "base/model.safetensors"])
        rng.choice([lambda f: f.unlink(), lambda f: f.write_bytes(f.read_bytes()[:-9]),
                    lambda f: f.write_bytes(f.read_bytes() * 2), lambda f: replace_by_foreign(rng, f)])(file)  # fmt: skip
    else:
        file = run / rng.choice([f.name for f in run.glob("*.json")])
        write_damaged_json(rng, file)
        asked = [["generate", "--base", "base", "--adapter", "run", "--prompt", "a sea", "--max-new-tokens", "2"],
                 ["eval", "--base", "base", "--adapter", "run", "--jsonl", "pairs.jsonl"],
                 ["train", "pairs.jsonl", "--base", "base", "--adapter", "run", "--out", "out", "--steps", "1", "--no-plot"],
                 ["merge", "--base", "base", "--adapter", "run", "--out", "out"], resume,
                 ["generate", "--base", "run", "--prompt", "a sea", "--max-new-tokens", "2"]]  # fmt: skip
        case.argv = rng.choice(asked)
        case.outs = ("run",) if case.argv is resume else ("out",)


def damage_description(rng, path) -> None:
    """The JSON inside the state: step, random generators, place in the data, history, settings."""
    header, body = read_raw(path)
    meta = header["__metadata__"]
    facts = json.loads(meta["run"])
    kind = rng.random()
    if kind < 0.35:
        facts = damaged(rng, facts, within=["settings"])
    elif kind < 0.6:
        facts = damaged(rng, facts, within=["step", "rng", "batches", "history"])
    elif kind < 0.75:
        facts[rng.choice(sorted(facts))] = odd(rng)
    elif kind < 0.9:  # of an earlier version: a setting less, or one more
        for _ in range(rng.choice([1, 2, 5])):
            facts["settings"].pop(rng.choice(sorted(facts["settings"])), None)
        if rng.random() < 0.3:
            facts["settings"]["a setting of next year"] = odd(rng)
    else:
        facts["settings"][rng.choice(sorted(facts["settings"]))] = odd(rng)
    meta["run"] = dump(facts)
    if rng.random() < 0.1:
        meta[rng.choice(["format", "run"])] = rng.choice(["", "minilora training state 0", "x" * 1000, "[" * 10**5])
    write_raw(path, header, body)
