"""Memory of training with minilora itself: in float32 but for a base in fewer bits, on a CPU or through CuPy. Bytes.

With --checkpointing a layer keeps its input, and one layer at a time is computed again, as in activations.py.

What its operations keep for the backward pass, per token, with 4 bytes a number:

    norms        the input, or the normalised x                              d
    attention    q scaled, k, v, the output before and after the heads       q + k + v + 2 (heads x head width)
                 are joined; E = e^score of the keys that a block of         heads x (T + QUERY_BLOCK) / 2
                 QUERY_BLOCK queries sees
                 cos and sin, repeated for each head                         2 x heads x head width, once for a batch
    activation   gate and up; a gelu its input and tanh                      2 m
    matrices     the input, once for all that are trained or adapted         in
    LoRA         s · x A                                                     r
    DoRA         the output before its magnitude; VeRA and IA3 likewise      out
    loss         the gradient of what a frozen head reads, and ROW_BLOCK     d, and V for ROW_BLOCK tokens
                 rows of logits; a head that is trained keeps the logits     3 V
    stored       a weight in fewer bits is read a block at a time            two blocks: see stored.py

`tests/counting/test_engine.py` compares the sums with what small models take.
"""

from collections import Counter, defaultdict

from ..errors import ConfigError, nearest
from ..files.families import LOADABLE
from ..ops.attention import QUERY_BLOCK
from ..ops.loss import ROW_BLOCK
from .activations import SCALED, Item, Kept
from .memory import LOGITS, LOSS, Budget, Moment, Plan, Step
from .stored import block_of, frozen_weights, stored_parts

METHODS = ("full", "LoRA")
OVERHEAD = 0.25  # GiB: Python with its libraries, and what the system's allocator holds back
W = 4  # bytes of a number
NO_ROTATION = ("gpt2",)  # it learns its positions
LAZY_HEAD = ("gemma2", "gemma3_text")  # their logits are made as a whole, for they may be capped


def own_methods(architecture, quantize: str | None = None) -> tuple:
    """METHODS; "full" not on a base in fewer bits. Raises ConfigError for a family that minilora cannot train."""
    kind = architecture.model_type
    if kind not in LOADABLE:
        raise ConfigError(f"minilora has no model file for {kind or 'one matrix'}; it trains {nearest(kind, LOADABLE)}")
    return METHODS if quantize is None else ("LoRA",)


def own_budget(
    method: str, count, batch: int, length: int, chunked: bool = False, quantize: str | None = None
) -> Budget:
    """What a training step of minilora needs for batch sequences of `length` tokens. recomputed: with --checkpointing;
    chunked: with --chunked-loss; quantize: one of quantization.config.QUANTIZE, or None."""
    return OwnStep(method, count, batch, length, chunked, quantize).budget()


def own_budgets(count, batch: int, length: int, chunked: bool = False, quantize: str | None = None) -> list:
    """The Budget of each method. Raises ConfigError for a family that minilora cannot train."""
    methods = own_methods(count.architecture, quantize)
    return [own_budget(method, count, batch, length, chunked, quantize) for method in methods]


class OwnKept(Kept):
    """What minilora's operations keep."""

    def _layer(self, block):
        parts, read, kept = self.parts[block], defaultdict(list), Counter()
        for part in parts:
            if part.reads:
                read[part.reads].append(part)
        kept["norms"] = W * sum(p.times * p.shape[0] for p in parts if p.kind == "norm")
        for name, readers in read.items():
            width = readers[0].n_in
            if any(r.path in self.trained for r in readers) and name != "final":
                kept["inputs of trained matrices"] += W * width
            if name == "attention":
                kept |= self._own_attention(parts, width)
            if name == "activation":
                steps = 2 if self.style.activation.startswith("gelu") and self.model_type != "gpt2" else 1
                gated = sum(p.out for p in parts if p.feeds == "activation") > width
                kept["activation functions"] += W * width * (2 * steps if gated else 2)
        kept[SCALED] = W * sum(self.wide.get(p.path, 0) for p in parts)
        kept["x A of the adapters"] = W * sum(self.trained.get(p.path, 0) for p in parts)
        return kept

    def _own_attention(self, parts, width):
        """width: heads x head width."""
        feeding = [p for p in parts if p.feeds == "attention"]
        keys = sum(p.cached for p in feeding)  # of k and v
        fused = len(feeding) == 1
        rotated = self.model_type not in NO_ROTATION
        kept = {"attention: q, k, v, output": W * (2 * width + (width + keys + keys // 2 * rotated if fused else keys))}
        seen = self.length if self.length <= QUERY_BLOCK else (self.length + QUERY_BLOCK) / 2
        kept[SCORES_SEEN] = round(W * self.heads * seen)
        if rotated:
            kept["cos and sin"] = -(-W * 2 * (width + keys // 2) // self.batch)
        return Counter(kept)

    def _gradients(self, block):
        """Of the MLP, and of the hidden states."""
        down = next(p for p in self.parts[block] if p.reads == "activation")
        return W * (4 * down.n_in + 3 * down.out)


SCORES_SEEN = "attention scores that are seen"


class OwnStep(Step):
    """A training step of minilora."""

    arrays_of_scores = 2  # importance and uncertainty

    def __init__(self, method, count, batch, length, chunked, quantize):
        super().__init__(method, count, batch, length, "float32", False)
        self.quantize = quantize
        k = self.kept
        self.kept = OwnKept(self.architecture, k.trained, self._precision(), batch, k.length, wide=k.wide)
        self.chunked = chunked

    def budget(self):
        weights, gradients, optimizer = self._states()
        before, after = weights + optimizer, weights + gradients + optimizer
        loss, after_loss, _ = self._loss()
        step = Moment("in the optimizer's step", after + self._optimizer_work(), ())
        kept, recomputed = (
            Plan((
                Moment("in the loss", before, self.kept.items(layers) + loss),
                self._backward(before, layers, (), logits),
                step,
            ))
            for layers, logits in ((self.kept.above, after_loss), (self.kept.inputs, ()))
        )  # fmt: skip
        return Budget(self.method, after, kept, recomputed)

    def _frozen(self):
        return frozen_weights(self.architecture, self.quantize)

    def _one_matrix(self):
        """A block of a weight in float32, and the next one, which is read while the first is still held."""
        layers = [p for p in stored_parts(self.architecture, self.quantize) if p.block]
        n = max(map(block_of, layers), default=0)
        return (Item("two blocks of a weight, read in float32", f"2 x {n:,} x {W} B", 2 * n * W),) if n else ()

    def _loss(self):
        head = next(p for p in self.architecture.parts if p.head)
        classes, width = head.out, head.n_in
        is_frozen = head.path not in self.kept.trained and self.architecture.model_type not in LAZY_HEAD
        is_frozen = is_frozen and self.quantize not in ("bf16", "fp16")
        if is_frozen or self.chunked:
            rows = min(ROW_BLOCK, self.tokens)
            of_h = Item("gradient of h", f"2 x {self.tokens:,} x {width:,} x {W} B", 2 * self.tokens * width * W)
            each = 1 if is_frozen else 3
            logits = Item(LOSS, f"{each} x {rows:,} x {classes:,} x {W} B", each * rows * classes * W)
            of_head = Item("gradient of the head", f"2 x {head.weights:,} x {W} B", 2 * head.weights * W)
            return (of_h, logits) + ((of_head,) if head.path in self.kept.trained else ()), (of_h,), ()
        n = self.tokens * classes * W
        return (Item(LOSS, f"3 x {self.tokens:,} x {classes:,} x {W} B", 3 * n),), (Item(LOGITS, f"{n:,} B", n),), ()

    def _optimizer_work(self):
        parts = self.architecture.parts if self.is_full else self.count.saved
        n = max((p.weights for p in parts), default=0)
        return (Item("AdamW's work", f"{n:,} x {W} B", n * W),) if n else ()
