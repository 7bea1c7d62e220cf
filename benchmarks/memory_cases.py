"""The training steps whose memory `python -m benchmarks.fake_memory` compares with `minilora params`."""

from dataclasses import dataclass, field

QV, ALL = "q_proj,v_proj", "all-linear"
FULL, FULL_16, LORA = "full", "full, 16-bit", "LoRA"
NF4, NF4_PREPARED = "4-bit + LoRA", "4-bit + LoRA, prepared"


@dataclass(frozen=True)
class Case:
    """One training step. model: a name that `minilora params` knows; method: one of counting.memory.METHODS; batch
    sequences of `length` tokens; changes: keys of its config.json with other values."""

    model: str
    method: str
    batch: int
    length: int
    targets: str = ALL
    rank: int = 16
    recompute: bool = True
    dtype: str = "bfloat16"
    changes: dict = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return self.method.startswith("full")


def lora(model, batch, length, targets=ALL, rank=16, method=LORA, **more):
    return Case(model, method, batch, length, targets, rank, **more)


def kept(model, batch, length, targets=ALL, rank=16, method=LORA, **more):
    """The same without recomputation: every activation is kept for the backward pass."""
    return Case(model, method, batch, length, targets, rank, recompute=False, **more)


NO_DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
CASES = (
    # LoRA, recomputed: the length, the batch, the vocabulary
    lora("llama-3.1-8b", 1, 512),
    lora("llama-3.1-8b", 2, 2048),
    lora("llama-3.1-8b", 1, 8192),
    lora("llama-3.2-1b", 4, 2048),
    lora("llama-3.2-3b", 2, 4096, QV, 8),
    lora("llama-2-7b", 4, 2048),
    lora("llama-2-13b", 1, 4096, QV, 64),
    lora("qwen2.5-7b", 4, 2048),
    lora("qwen3-0.6b", 4, 2048),
    lora("qwen3-14b", 1, 2048, ALL, 32),
    lora("gemma-7b", 2, 2048),
    lora("mistral-7b-v0.3", 1, 16384, QV, 8),
    lora("mistral-7b-v0.1", 8, 512, ALL, 256),
    lora("phi-2", 4, 1024),
    lora("gpt2-xl", 4, 1024, "c_attn", 8),
    lora("gpt2-large", 4, 1024, ALL, 16, changes=NO_DROPOUT),
    lora("opt-6.7b", 2, 2048),
    lora("pythia-6.9b", 4, 2048),
    lora("gpt-j-6b", 2, 1024),
    lora("bloom-1b7", 2, 1024),
    lora("t5-large", 4, 512, "q,v", 8),
    lora("roberta-large", 16, 512, "query,value", 8),
    # LoRA, everything kept
    kept("llama-3.2-3b", 4, 768, QV, 32),
    kept("llama-3.2-1b", 2, 1024, ALL, 16),
    kept("llama-2-7b", 1, 2048, QV, 8),
    kept("qwen2.5-0.5b", 8, 512, ALL, 8),
    kept("qwen3-1.7b", 2, 2048, ALL, 64),
    kept("gemma-2b", 2, 1024, QV, 16),
    kept("tinyllama-1.1b", 4, 1024, "gate_proj,up_proj,down_proj", 16),
    kept("phi-1.5", 4, 1024, "q_proj,v_proj,fc1,fc2", 8),
    kept("gpt2", 8, 1024, "c_attn", 8),
    kept("gpt2-medium", 8, 512, ALL, 4, changes=NO_DROPOUT),
    kept("opt-1.3b", 4, 1024, QV, 8),
    kept("pythia-1.4b", 4, 1024, "query_key_value", 8),
    kept("gpt-j-6b", 1, 1024, QV, 8),
    kept("bloom-560m", 4, 512, "query_key_value", 8),
    kept("bert-base-uncased", 32, 128, "query,value", 8),
    kept("deberta-v3-base", 16, 512, ALL, 8),
    kept("t5-base", 8, 512, "q,v", 8),
    # the base in another type
    kept("qwen2.5-0.5b", 4, 1024, ALL, 16, dtype="float32"),
    lora("llama-3.2-1b", 2, 2048, QV, 16, dtype="float32"),
    lora("llama-3.2-1b", 2, 2048, ALL, 16, dtype="float16"),
    # a 4-bit base, its rest in 16 bit and as PEFT prepares it
    lora("llama-3.1-8b", 1, 512, method=NF4),
    lora("llama-3.1-8b", 1, 8192, method=NF4),
    lora("llama-3.1-8b", 1, 512, method=NF4_PREPARED),
    lora("llama-3.1-8b", 1, 8192, method=NF4_PREPARED),
    lora("llama-3.2-3b", 4, 2048, method=NF4),
    lora("llama-3.2-3b", 4, 2048, method=NF4_PREPARED),
    lora("llama-2-7b", 1, 512, method=NF4),
    lora("llama-2-7b", 1, 4096, method=NF4_PREPARED),
    lora("qwen2.5-7b", 1, 512, method=NF4_PREPARED),
    lora("qwen3-4b", 2, 4096, QV, 8, method=NF4),
    lora("gemma-7b", 1, 512, method=NF4_PREPARED),
    lora("mistral-7b-v0.3", 4, 1024, method=NF4),
    lora("llama-1-33b", 1, 512, ALL, 64, method=NF4),
    lora("llama-3.1-70b", 1, 512, method=NF4),
    lora("llama-3.1-70b", 1, 2048, method=NF4_PREPARED),
    kept("qwen2.5-1.5b", 1, 1024, ALL, 16, method=NF4),
    kept("llama-3.2-1b", 1, 1024, ALL, 16, method=NF4_PREPARED),
    # full fine-tuning, all in bfloat16 and in mixed precision
    kept("llama-3.2-3b", 4, 768, method=FULL_16),
    kept("llama-3.2-3b", 4, 768, method=FULL),
    lora("llama-3.1-8b", 1, 512, method=FULL_16),
    lora("llama-3.1-8b", 1, 512, method=FULL),
    lora("qwen2.5-0.5b", 16, 1024, method=FULL_16),
    lora("qwen3-8b", 4, 2048, method=FULL),
    kept("tinyllama-1.1b", 4, 1024, method=FULL),
    kept("gpt2", 16, 512, method=FULL_16),
    kept("gemma-2b", 1, 1024, method=FULL_16),
    lora("pythia-1.4b", 4, 2048, method=FULL),
    kept("bert-large-uncased", 16, 256, method=FULL),
    kept("t5-small", 8, 256, method=FULL_16),
    lora("llama-3.2-1b", 1, 2048, method=FULL, dtype="float32"),
    # simulated after the formulas were written: other models, families and lengths
    lora("mistral-nemo-12b", 1, 4096, ALL, 32, method=NF4),
    lora("qwen3-8b", 1, 8192, ALL, 64, method=NF4_PREPARED),
    lora("qwen2.5-7b", 1, 4096, method=NF4),
    lora("qwen2.5-14b", 1, 2048, ALL, 128, method=NF4),
    lora("gemma-2-9b", 1, 4096),
    kept("gemma-2-2b", 2, 1024, QV, 8),
    lora("gemma-3-1b", 2, 4096),
    lora("gemma-3-4b", 1, 2048, method=NF4_PREPARED),
    lora("phi-4", 1, 4096, method=NF4),
    kept("phi-3-mini", 2, 1024),
    lora("olmo-2-1b", 2, 2048, method=FULL_16),
    lora("smollm3-3b", 2, 4096, method=NF4_PREPARED),
    lora("starcoder2-3b", 4, 2048, QV, 8),
    lora("falcon-7b", 1, 2048, "query_key_value", 8),
    lora("bloom-3b", 2, 1024, method=NF4_PREPARED),
    lora("gpt-neox-20b", 1, 2048, "query_key_value", 8, method=NF4),
    lora("yi-9b", 3, 1500, "q_proj,k_proj,v_proj,o_proj", 24),
    lora("gpt-oss-20b", 1, 2048),
    lora("qwen3-30b-a3b", 1, 1024, QV, 16),
    lora("llama-3.1-70b", 1, 4096, QV, 8, method=NF4),
    lora("mistral-small-24b", 1, 2048, method=NF4_PREPARED),
    lora("deberta-v2-xlarge", 8, 512, "query_proj,value_proj", 4),
    lora("flan-t5-xl", 4, 512, "q,v", 16),
    kept("modernbert-base", 8, 1024, ALL, 8),
    kept("whisper-small", 8, 64, QV, 8),
    kept("vit-large", 32, 197),
    kept("tinyllama-1.1b", 8, 1024, ALL, 4, method=NF4_PREPARED),
    kept("opt-2.7b", 2, 512, ALL, 32, method=NF4_PREPARED),
    kept("smollm2-135m", 32, 256, ALL, 64),
    kept("smollm2-360m", 16, 384, method=FULL_16),
    kept("llama-3.2-1b", 4, 2048, method=FULL),
    lora("qwen2.5-3b", 4, 1024, method=FULL_16),
    kept("xlm-roberta-large", 8, 512, method=FULL),
    lora("gpt2-xl", 8, 512, method=FULL),
)


GB = 1e9 / 2**30  # GiB in a GB of 10^9 bytes


@dataclass(frozen=True)
class Published:
    """A measurement of others. gib: their figure; chunked: their loss keeps no logits; context: GiB that their figure
    includes beside PyTorch's arrays (the whole card was read)."""

    source: str
    what: str
    gib: float
    case: Case
    chunked: bool = False
    context: float = 0.0


_HF, _TUNE, _FACTORY = "Hugging Face PEFT, method comparison, L40S", "torchtune, README", "LLaMA-Factory, wiki, A100"
_TUNED = "q_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
_3B, _8B = ("llama-3.2-3b", 2, 4096, _TUNED, 8), ("llama-3.1-8b", 2, 2048, _TUNED, 8)
_MLP = "gate_proj,up_proj,down_proj"
PUBLISHED = (
    Published(_HF, "Llama 3.2 3B, LoRA r 32 on q, v, 4 x 768 at most", 20.76, kept("llama-3.2-3b", 4, 768, QV, 32)),
    Published(_HF, "the same, r 64", 21.0, kept("llama-3.2-3b", 4, 768, QV, 64)),
    Published(_HF, "the same, r 10 on the MLP", 23.0, kept("llama-3.2-3b", 4, 768, _MLP, 10)),
    Published(_HF, "the same, full fine-tuning in bfloat16", 36.2, kept("llama-3.2-3b", 4, 768, method=FULL_16)),
    Published(_TUNE, "Llama 3.1 8B, LoRA r 8, 2 x 2048, chunked loss", 16.2, lora(*_8B), chunked=True),
    Published(_TUNE, "the same, QLoRA", 7.4, lora(*_8B, method=NF4), chunked=True),
    Published(_TUNE, "Llama 3.2 3B, LoRA r 8, 2 x 4096, chunked loss", 8.5, lora(*_3B), chunked=True),
    Published(_TUNE, "the same, QLoRA", 4.6, lora(*_3B, method=NF4), chunked=True),
    Published("torchtune, tutorial", "Llama 2 7B, LoRA r 8 on q, v, 2 x 512 or so, reserved", 15.6 * GB,
              lora("llama-2-7b", 2, 512, QV, 8)),
    *(
        Published(_FACTORY, f"Llama 2 7B, QLoRA r 8, 1 x {length}, whole card", gb * GB,
                  lora("llama-2-7b", 1, length, ALL, 8, NF4), context=1.5)
        for length, gb in ((1024, 6), (4096, 9), (16384, 19), (32768, 32))
    ),
)  # fmt: skip
