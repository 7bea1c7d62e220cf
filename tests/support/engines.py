"""An engine without a server, what it is asked, and what the model alone answers."""

import numpy as np
from tiny import tiny_llama

import minilora as ml
from minilora.adapters.inject import AdaptedModel
from minilora.files.shipped import shipped
from minilora.serving.engine import Engine
from minilora.serving.pool import Pool
from minilora.serving.requests import Sampling, Sequence
from minilora.text.streaming import TextStream
from minilora.text.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer(shipped("base"))
SIZES = {"vocab_size": TOKENIZER.vocab_size, "max_position_embeddings": 64}
CONFIGS = {
    "a": ml.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    "b": ml.LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    "c": ml.LoraConfig(r=2, lora_alpha=3, target_modules=["down_proj"], init_lora_weights=False, use_rslora=True),
    "d": ml.LoraConfig(r=2, lora_alpha=3, target_modules=["k_proj"], init_lora_weights=False, use_dora=True),
    "h": ml.LoraConfig(r=2, lora_alpha=4, target_modules=["lm_head"], init_lora_weights=False),
    "v": ml.VeraConfig(r=4, target_modules=["o_proj"], init_weights=False),
    "i": ml.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
    ),
}


def base(dtype=np.float64):
    return tiny_llama(dtype=dtype, **SIZES)


def engine_of(folder, max_loras=4, max_rows=8, dtype=np.float64, max_cpu_loras=8, **options):
    model = base(dtype)
    pool = Pool(AdaptedModel(model), max_loras, max_cpu_loras, folder=folder)
    return Engine(model.eval(), pool, max_rows, **options)


def asked(engine, prompt, adapter=None, ended=None, **sampling):
    """A sequence that is submitted, and the list of its deltas. ended: an Event that is set after the last."""
    deltas = []

    def give(delta):
        deltas.append(delta)
        if ended is not None and delta.finish_reason:
            ended.set()

    lease = None if adapter is None else engine.pool.lease(adapter)
    seed = sampling.get("seed", 0)
    echo, scale = sampling.pop("echo", False), sampling.pop("scale", 1.0)
    sequence = Sequence(
        np.asarray(prompt), adapter, Sampling(**{"temperature": 0, **sampling}), frozenset([0]), give,
        TextStream([], TOKENIZER), np.random.default_rng(seed), echo, scale, lease,
    )  # fmt: skip
    engine.submit(sequence)
    return sequence, deltas


def run(engine, most=500):
    """Steps until nothing is left."""
    engine.take()
    for _ in range(most):
        if not engine.is_busy:
            return
        engine.step()
        engine.take()
    raise AssertionError("the engine did not end")


def expected(folder, prompt, adapter, count, dtype=np.float64):
    """What the model alone generates."""
    model = base(dtype).eval()
    if adapter is not None:
        model = ml.PeftModel.from_pretrained(model, folder / adapter)
    return model.generate(prompt, count, eos_token_id=0)[0][len(prompt) :].tolist()
