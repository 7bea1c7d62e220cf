"""Floating-point operations per token, in the forward and the backward pass, and what LoRA saves.

    forward          2 in out for every matrix (a multiplication and an addition)
    attention        4 T width: q kᵀ and P v against T tokens; the causal half is not taken off
    backward, dx     dx = g W: as much as the forward, once more for every matrix
    backward, dW     dW = gᵀ x: the same again, for every matrix that is trained
    LoRA             3 · 2 r (in + out): u = x Aᵀ, u Bᵀ; dB = gᵀ u, v = g B; dA = vᵀ x, v A
    recomputation    one more forward pass

So LoRA saves the dW products and nothing else: 2 + 2 + 2 becomes 2 + 2 (+ adapter). dx is needed all the way down to
the lowest adapter. Norms, activations and softmax are left out: they are not matrix products. So are the products with
relative positions in DeBERTa's attention.
"""

from dataclasses import dataclass

from .methods import products_at


@dataclass(frozen=True)
class Flops:
    """Per token; each a number of operations. lora: what the adapters add, forward and backward; dw_saved: the dW of
    modules_to_save, which are trained in full beside the adapter."""

    forward: int
    attention_forward: int
    dx: int
    attention_backward: int
    dw_full: int
    lora: int
    dw_saved: int = 0

    @property
    def full(self):
        return self.forward + self.attention_forward + self.dx + self.attention_backward + self.dw_full

    @property
    def with_lora(self):
        return self.forward + self.attention_forward + self.dx + self.attention_backward + self.lora + self.dw_saved

    @property
    def ratio(self):
        """Full fine-tuning / LoRA, without recomputation: at most 3/2."""
        return self.full / self.with_lora

    @property
    def full_recomputed(self):
        return self.full + self.forward + self.attention_forward

    @property
    def with_lora_recomputed(self):
        return self.with_lora + self.forward + self.attention_forward + self.lora // 3

    @property
    def ratio_recomputed(self):
        """The same when the forward pass is done twice: at most 4/3."""
        return self.full_recomputed / self.with_lora_recomputed


def flops(count, length: int) -> Flops:
    """Operations for one token among `length`. An embedding, and the A beside one, is a look-up; a tied head is a
    product."""
    parts = count.architecture.parts
    matrices = sum(2 * p.products for p in parts)
    width = sum(p.n_in for p in parts if p.kind == "linear" and p.reads.startswith("attention"))
    attention = 4 * (length + count.virtual_tokens) * width
    lora = sum(2 * products_at(count.config, p) for p in count.chosen)
    saved = sum(2 * p.products for p in count.saved)
    return Flops(matrices, attention, matrices, 2 * attention, matrices, lora, saved)
