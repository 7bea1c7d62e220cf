"""Adapters: the config and the tensors of every method, damaged."""

import json

from .damage import damage_safetensors, damaged, dump, odd, replace_by_foreign, write_damaged_json

LOADING = [
    ["generate", "--base", "base", "--adapter", "a", "--prompt", "a sea", "--max-new-tokens", "3"],
    ["eval", "--base", "base", "--adapter", "a", "--jsonl", "pairs.jsonl"],
    ["merge", "--base", "base", "--adapter", "a", "--out", "out"],
    ["train", "pairs.jsonl", "--base", "base", "--adapter", "a", "--out", "out", "--steps", "1", "--batch-size", "1",
     "--no-plot"],
    ["generate", "--base", "base", "--adapter", "a,plain", "--prompt", "a sea", "--max-new-tokens", "3"],
]  # fmt: skip
LOOKING = [["adapters", "a"], ["adapters", "."], ["inspect", "a"], ["inspect", "a", "--base", "base"],
           ["params", "llama", "--adapter-config", "a/adapter_config.json"], ["generate", "--adapter", "a", "--prompt", "a"]]  # fmt: skip
REFUSED = ("cut", "missing", "extra", "shape", "transposed", "not floating", "not finite", "every name twice", "nothing",
           "bytes of no tensor", "length of the header", "folder", "empty", "zeros", "link to itself", "link to nowhere",
           "device", "socket", "pickle", "zip", "text", "sparse")  # fmt: skip


def fill(case) -> None:
    rng = case.rng
    methods = sorted(p.name for p in (case.good / "adapters").iterdir())
    method = rng.choice(methods)
    adapter = case.take(f"adapters/{method}", "a")
    case.take("adapters/plain")
    case.take("base")
    case.take("pairs.jsonl")
    case.argv = list(rng.choice(LOADING if rng.random() < 0.7 else LOOKING))
    config, loads = adapter / "adapter_config.json", case.argv in LOADING
    kind = rng.random()
    if kind < 0.45:
        reason = damage_safetensors(rng, adapter / "adapter_model.safetensors")
        if loads and reason in REFUSED:
            case.wrong = reason
    elif kind < 0.5:
        reason = replace_by_foreign(rng, config)
        if loads and reason != "nothing wrong":
            case.wrong = reason
    elif kind < 0.7:
        data = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(dump(data | {rng.choice(sorted(data)): odd(rng)}), encoding="utf-8")
    elif kind < 0.8:
        data = json.loads(config.read_text(encoding="utf-8"))
        keys = ["r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "target_r", "init_r", "num_virtual_tokens",
                "num_layers", "token_dim", "num_attention_heads", "layers_to_transform", "feedforward_modules", "use_dora",
                "modules_to_save", "peft_type", "projection_prng_key", "d_initial", "vera_dropout", "exclude_modules"]  # fmt: skip
        values = [0, 1, 2, 4, 10**9, 2**31, 2**63, -1, 1e300, "q_proj", ["q_proj"], ".*", "(([a-z_0-9.]+)+)+!", {}, [], None,
                  True, {"q_proj": 10**9}, {"(a+)+$": 1}, ["lm_head"], "LORA", "IA3", "VERA", "PREFIX_TUNING", [0], [99]]  # fmt: skip
        config.write_text(
            dump(data | {rng.choice(keys): rng.choice(values) for _ in range(rng.choice([1, 2]))}), encoding="utf-8"
        )
    elif kind < 0.9:
        data = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(dump(damaged(rng, data)), encoding="utf-8")
    elif kind < 0.95:
        write_damaged_json(rng, config)
    else:  # sound, on a base of other shapes
        case.argv = [str(a).replace("base", "wide") for a in case.argv]
        case.take("wide")
        if loads and method != "prompt_tuning":
            case.wrong = "a base of other shapes"
