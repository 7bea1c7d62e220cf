"""Other names of the presets: ids of the hub as people type them, and models that are others' weights further trained.

find("meta-llama/Meta-Llama-3.1-8B-Instruct") -> "llama-3.1-8b"
"""

import re

from .presets import PRESETS

# What a published name says besides which model it is: how it was tuned, stored or converted, and when.
BESIDES = re.compile(
    r"meta|pt|it|instruct|chat|thinking|reasoning|beta|hf|unsloth|bnb|4bit|8bit|deduped|in21k|224|patch1[46]|\d+k"
    r"|awq|gptq|gguf|fp8|int[48]|bf16|quantized|v1\.0|2407|2411|2501|2507|2410|1124|0325|0425"
)
SIZES = {  # the models of these names have the sizes of those
    "llama-{}": ("llama-1-{}", ("7b", "13b", "33b", "65b")),
    "vicuna-{}": ("llama-2-{}", ("7b", "13b")),
    "vicuna-{}-v1.5": ("llama-2-{}", ("7b", "13b")),
    "codellama-{}-python": ("llama-2-{}", ("7b", "13b")),
    "llama2-{}": ("llama-2-{}", ("7b", "13b", "70b")),
    "llama3-{}": ("llama-3-{}", ("8b", "70b")),
    "qwen2-{}": ("qwen2.5-{}", ("0.5b", "1.5b", "7b", "72b")),
    "qwen2.5-coder-{}": ("qwen2.5-{}", ("0.5b", "1.5b", "3b", "7b", "14b", "32b")),
    "qwen2.5-math-{}": ("qwen2.5-{}", ("1.5b", "7b", "72b")),
    "deepseek-r1-distill-qwen-{}": ("qwen2.5-{}", ("7b", "14b", "32b")),
    "yi-1.5-{}": ("yi-{}", ("6b", "9b", "34b")),
    "bloomz-{}": ("bloom-{}", ("560m", "1b1", "1b7", "3b", "7b1")),
    "gemma2-{}": ("gemma-2-{}", ("2b", "9b", "27b")),
    "gemma3-{}": ("gemma-3-{}", ("270m", "1b", "4b", "12b", "27b")),
    "gemma-1.1-{}": ("gemma-{}", ("2b", "7b")),
    "codegemma-{}": ("gemma-{}", ("2b", "7b")),
    "granite-3.0-{}": ("granite-3.1-{}", ("2b", "8b")),
    "granite-3.2-{}": ("granite-3.1-{}", ("2b", "8b")),
    "olmo2-{}": ("olmo-2-{}", ("1b", "7b", "13b", "32b")),
}
SINGLE = {
    "llama-30b": "llama-1-33b",
    "llama-1-30b": "llama-1-33b",
    "vicuna-33b": "llama-1-33b",
    "vicuna-33b-v1.3": "llama-1-33b",
    "deepseek-r1-distill-llama-8b": "llama-3.1-8b",
    "deepseek-r1-distill-llama-70b": "llama-3.3-70b",
    "zephyr-7b": "mistral-7b",
    "mistral-7b-v0.2": "mistral-7b",
    "mistral-nemo": "mistral-nemo-12b",
    "mistral-small": "mistral-small-24b",
    "mistral-small-3": "mistral-small-24b",
    "mistral-large": "mistral-large-123b",
    "mixtral-8x7b-v0.1": "mixtral-8x7b",
    "mixtral-8x22b-v0.1": "mixtral-8x22b",
    "qwq-32b": "qwen2.5-32b",
    "qwq-32b-preview": "qwen2.5-32b",
    "qwen3-coder-30b-a3b": "qwen3-30b-a3b",
    "phi-1_5": "phi-1.5",
    "phi-3.5-mini": "phi-3-mini",
    "bloom": "bloom-176b",
    "gpt-j": "gpt-j-6b",
    "whisper-large-v2": "whisper-large",
}
ALIASES = SINGLE | {
    name.format(size): of.format(size) for name, (of, sizes) in SIZES.items() for size in sizes
}  # fmt: skip


def find(name: str) -> str | None:
    """The preset that `name` means: the preset itself, an alias, or an id of the hub with words that do not matter."""
    name = name.lower().rpartition("/")[2]
    plain = "-".join(word for word in name.split("-") if not BESIDES.fullmatch(word))
    for known in (name, plain, plain.removesuffix("-base")):
        if known in PRESETS or known in ALIASES:
            return ALIASES.get(known, known)
    return None
