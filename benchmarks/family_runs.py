"""A run of another method of the family: what it trains, and how."""

from dataclasses import dataclass, replace

import numpy as np

from minilora.adapters.model import get_peft_model
from minilora.adapters.registry import config_named
from minilora.methods.lora_plus import loraplus_groups

from .runs import ALPHA, Run, target_modules, tokenizer, training_examples


@dataclass(frozen=True)
class FamilyRun(Run):
    """targets: also "" for prefix and prompt tuning, which have none; r: rank, or how many places they add.

    method         as in `minilora train --method`
    init_r         of AdaLoRA: triplets in each layer before the first step; r is what is left on average
    orthogonality  of AdaLoRA: weight of the penalty
    start          of a prefix: "random", "zero", "text" or "random tokens"; elsewhere the method's own
    lr_ratio       of LoRA+: rate of B over rate of A, which is `lr`
    """

    method: str = "lora"
    init_r: int = 0
    orthogonality: float = 0.5
    start: str = ""
    lr_ratio: float = 1.0

    def adapt(self, model):
        config = config_named(
            self.method, r=self.r, lora_alpha=ALPHA, target_modules=target_modules(self.targets),
            target_r=self.r, init_r=self.init_r, orth_reg_weight=self.orthogonality, total_step=self.steps,
            tinit=self.steps // 10, tfinal=self.steps // 4, num_virtual_tokens=self.r,
            init_weights="zero" if self.start == "zero" else None, prompt_tuning_init="SAMPLE_VOCAB",
        )  # fmt: skip
        model = get_peft_model(model, config, seed=self.seed)
        if self.start in ("text", "random tokens"):
            adapter = model.base_model.adapters["default"]
            adapter.init_from_text(model.get_base_model(), self.first_tokens())
        return model

    def first_tokens(self):  # -> (r,) int
        """The first tokens of the training examples, or as many random ones."""
        if self.start == "random tokens":
            return np.random.default_rng([self.seed, 2]).integers(0, tokenizer().vocab_size, self.r)
        text = "\n".join(f"{e['prompt']}\n{e['response']}" for e in training_examples(replace(self, examples=self.r)))
        return tokenizer().encode(text)[: self.r]

    def groups(self, model):
        if self.method == "lora_plus":
            return loraplus_groups(model, self.lr, self.lr_ratio)
        return super().groups(model)

    def findings(self, model):
        """AdaLoRA: how many triplets each layer has left."""
        if self.method != "adalora":
            return {}
        ranks = model.base_model.adapters["default"].ranks()
        return {"ranks": {path.removeprefix("model.layers."): rank for path, rank in ranks.items()}}

    def counted(self):
        """AdaLoRA counts what is left at the end, as its paper does."""
        return replace(self, init_r=self.r) if self.method == "adalora" else self
