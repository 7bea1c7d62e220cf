"""Memory of training on a GPU with transformers and PEFT: what is alive at each moment of a step, item by item.

A step is largest at one of these moments; its sum is what a card must hold, beside `cards.OVERHEAD`:

    as the forward pass ends       with autocast: weights, their 16-bit copies, optimizer, activations, logits
    in the loss                    weights, optimizer, activations; logits, log-probabilities and their gradients
    in the backward pass           weights, optimizer; of one layer what it makes for a moment, of the layers above
                                   the gradients, of those below the activations
    in the optimizer's step        weights, optimizer, all gradients; AdamW's work on the largest array

All sizes are in bytes. `benchmarks/MEMORY.md` compares the sums with the peak of the libraries' own code.
"""

from collections import Counter
from dataclasses import dataclass

from .activations import Item, Kept, Precision
from .cards import CARDS, COPIES, verdict
from .methods import numbers_at

NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # a code of 4 bits; per 64 an 8-bit scale; per 256 scales a float32 (QLoRA, 3)
METHODS = ("full", "full, 16-bit", "LoRA", "4-bit + LoRA", "4-bit + LoRA, prepared")
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}  # name -> bytes of a number
LOSS = "loss: logits, log-probabilities, gradients"
LOGITS = "logits"
LOSS_IN_OWN_TYPE = ("t5", "whisper")  # the others compute it in float32
NOT_IN_4_BIT = ("falcon",)  # transformers 5 quantizes nn.Linear alone; Falcon has a class of its own


@dataclass(frozen=True)
class Moment:
    """What is alive at one moment. states: weights, gradients, optimizer; rest: what comes from the batch."""

    name: str
    states: tuple
    rest: tuple

    @property
    def items(self) -> tuple:
        return self.states + self.rest

    @property
    def bytes(self) -> int:
        return sum(i.bytes for i in self.items)


@dataclass(frozen=True)
class Plan:
    """The moments of a step."""

    moments: tuple

    @property
    def peak(self) -> Moment:
        return max(self.moments, key=lambda m: m.bytes)

    @property
    def with_chunked_loss(self) -> "Plan":
        """The same step when the loss is computed for a few tokens at a time: no logits are kept."""
        rests = [tuple(i for i in m.rest if i.name not in (LOSS, LOGITS)) for m in self.moments]
        return Plan(tuple(Moment(m.name, m.states, rest) for m, rest in zip(self.moments, rests, strict=True)))


@dataclass(frozen=True)
class Budget:
    """What one method needs. states: weights, gradients and optimizer; kept, recomputed: the step without and with
    recomputation of the activations."""

    method: str
    states: tuple
    kept: Plan
    recomputed: Plan

    @property
    def total(self) -> int:
        return self.kept.peak.bytes

    @property
    def total_recomputed(self) -> int:
        return self.recomputed.peak.bytes

    @property
    def cards(self) -> dict:  # {GB: "fits" | "tight" | "no"}
        """With recomputation, on one card of each size."""
        return {gb: verdict(self.total_recomputed, gb) for gb in CARDS}


def methods_of(architecture, dtype: str) -> list:
    """The METHODS that there are: "full, 16-bit" not for a base in float32, 4 bit not for families NOT_IN_4_BIT."""
    methods = [m for m in METHODS if dtype != "float32" or m != "full, 16-bit"]
    return [m for m in methods if architecture.model_type not in NOT_IN_4_BIT or "4-bit" not in m]


def budgets(count, batch: int, length: int, dtype: str, flash: bool = False) -> list:
    """The Budget of each method that there is for a Count; see `budget`."""
    return [budget(m, count, batch, length, dtype, flash) for m in methods_of(count.architecture, dtype)]


def budget(method: str, count, batch: int, length: int, dtype: str, flash: bool = False) -> Budget:
    """What a training step of batch sequences of `length` tokens needs with one of the METHODS.

    dtype: of the base and of the products. flash: T x T scores are never kept.
    """
    return Step(method, count, batch, length, dtype, flash).budget()


class Step:
    """A training step with one of the METHODS."""

    arrays_of_scores = 3  # PEFT's ipt, exp_avg_ipt and exp_avg_unc, each as large as the adapter

    def __init__(self, method, count, batch, length, dtype, flash):
        self.is_full, self.in_4_bit = method.startswith("full"), "4-bit" in method
        length += 0 if self.is_full else count.virtual_tokens  # a prefix lies in the cache: this is a little too much
        self.method, self.count, self.architecture, self.tokens = method, count, count.architecture, batch * length
        self.w = 2 if self.in_4_bit else DTYPES[dtype]
        self.is_autocast = self.w == 2 and method in ("full", "4-bit + LoRA, prepared")
        trained = {p.path: 0 for p in self.architecture.parts} if self.is_full else count.trained
        self.gradient_bytes = self.w if method == "full, 16-bit" else 4
        drops = not self.is_full and any(getattr(count.config, name, 0) for name in ("lora_dropout", "vera_dropout"))
        wide = {} if self.is_full else count.wide
        self.kept = Kept(self.architecture, trained, self._precision(), batch, length, flash, drops, wide)

    def _precision(self):
        if self.is_full and self.is_autocast:
            return Precision(product=2, stream=4, attention=2, weight=2, adapter=0, narrow=0)
        if self.is_autocast:  # bitsandbytes returns the type that it is given: float32
            return Precision(product=4, stream=4, attention=2, weight=2, adapter=2, narrow=2)
        copy = 4 if self.w == 2 else 0  # adapters are in float32
        return Precision(product=self.w, stream=self.w, attention=self.w, weight=0, adapter=copy, narrow=4)

    def budget(self):
        weights, gradients, optimizer = self._states()
        before, after = weights + optimizer, weights + gradients + optimizer
        loss, logits, forward_loss = self._loss()
        kept, inputs = (self.kept.items(layers) for layers in (self.kept.above, self.kept.inputs))
        norms, weights_of_dora = self._norm_of_dora(), self._weights_of_dora(self.kept.above)
        kept += weights_of_dora
        all_copies, head = self._copies(self.architecture.parts), self._copy_of_head()
        step = Moment("in the optimizer's step", after + self._optimizer_work(), logits)
        return Budget(
            self.method,
            after,
            Plan((
                *([Moment("in the forward pass of the last layer", before, kept + norms)] if norms else []),
                Moment("in the loss", before, kept + (all_copies or head) + self._updated_experts() + loss),
                self._backward(before, self.kept.above, all_copies + self._updated_experts() + weights_of_dora, logits),
                step,
            )),
            Plan((
                Moment("as the forward pass ends", before, inputs + (all_copies or head) + forward_loss),
                Moment("in the loss", before, inputs + head + loss),
                self._backward(before, self.kept.inputs, (), logits),
                step,
            )),
        )  # fmt: skip

    def _backward(self, before, kept, copies, logits):
        """The backward pass of the layer where it takes most; with what is kept of this layer and of those below."""
        blocks = [block for block in kept if block]
        still_kept = sum(self.kept.tokens(block) * kept[block].total() for block in blocks)
        gradients = self._gradients_of("")  # that are there
        most = -1
        for i, block in reversed(list(enumerate(blocks))):
            here = still_kept + sum(item.bytes for item in self._within(block, kept)) + gradients
            if here > most:
                most, found = here, (i, block, gradients)
            still_kept -= self.kept.tokens(block) * kept[block].total()
            gradients += self._gradients_of(block)
        i, block, gradients = found
        below = self.kept.items({"": kept[""]} | {b: kept[b] for b in blocks[: i + 1]})
        rest = below + self._within(block, kept) + copies + self._one_matrix() + logits
        return Moment(
            f"in the backward pass of {block}",
            (*before, Item("gradients of the layers above", f"{gradients:,} B", gradients)),
            rest,
        )

    def _within(self, block, kept):
        """What is there only while the backward pass of this layer runs."""
        found = self.kept.items({block: Counter({"gradients in one layer": self.kept.gradients[block]})})
        if kept is self.kept.above:
            return found
        whole = self.kept.items({block: Counter({"one layer, computed again": self.kept.layers[block].total()})})
        return (
            whole
            + found
            + self._copies(self.kept.parts[block])
            + self._updated_experts(block)
            + self._norm_of_dora()
            + self._weights_of_dora([block])
        )

    @property
    def _is_dora(self):
        return not self.is_full and getattr(self.count.config, "use_dora", False)

    def _norm_of_dora(self):
        """PEFT finds the norms of W + s B A from dense float32 matrices: the identity, B A, s B A, W and the sum."""
        if not self._is_dora:
            return ()
        n_in, out = max(((p.n_in, p.out) for p in self.count.chosen), key=lambda sides: sides[0] * sum(sides))
        return (Item("norms of DoRA", f"{n_in:,} x ({n_in:,} + 4 x {out:,}) x 4 B", n_in * (n_in + 4 * out) * 4),)

    def _weights_of_dora(self, blocks):
        """With dropout PEFT computes W x again, from float32 copies of the weights: the backward pass reads them."""
        if not (self._is_dora and self.kept.drops and (self.w == 2 or self.in_4_bit)):
            return ()
        n = sum(p.weights for b in blocks for p in self.kept.parts[b] if self.kept.trained.get(p.path))
        return (Item("weights in float32, for DoRA", f"{n:,} x 4 B", n * 4),) if n else ()

    def _gradients_of(self, block):
        """Bytes of the gradients of a layer, or outside of all. The gradient of an embedding is made last."""
        parts = [p for p in self.kept.parts[block] if p.kind != "embedding"]
        if self.is_full:
            return self.gradient_bytes * sum(p.weights + p.bias for p in parts)
        chosen = {p.path for p in self.count.chosen}
        of_adapters = sum(4 * numbers_at(self.count.config, p) for p in parts if p.path in chosen)
        saved = sum(p.weights + p.bias for p in parts if self.kept.trained.get(p.path) == 0)
        return of_adapters + self._saved_bytes() * saved

    def _states(self):  # -> Items of weights, of gradients, of the optimizer
        if self.is_full:
            return _trained("", self.architecture.base, self.gradient_bytes)
        weights, gradients, optimizer = _trained("adapter ", self.count.in_adapter, 4)
        if self.count.saved:
            n = self.count.trainable - self.count.in_adapter
            more = _trained("modules_to_save ", n, self._saved_bytes())
            weights, gradients, optimizer = weights + more[0], gradients + more[1], optimizer + more[2]
        if n := self.count.frozen:
            weights += (Item("A and B of VeRA", f"{n:,} x 4 B", n * 4),)
        if self.count.config.peft_type == "ADALORA":
            n, arrays = self.count.in_adapter, self.arrays_of_scores
            optimizer += (Item("scores of AdaLoRA", f"{n:,} x {arrays} x 4 B", n * arrays * 4),)
        return self._frozen() + weights, gradients, optimizer

    def _saved_bytes(self):
        """PEFT trains modules_to_save in the type of the base."""
        return 4 if self.is_autocast else self.w

    def _frozen(self):
        if self.in_4_bit:
            return four_bit(self.architecture, 4 if self.is_autocast else 2)[:2]
        n = self.architecture.base
        return (Item("frozen weights", f"{n:,} x {self.w} B", n * self.w),)

    def _loss(self):  # -> Items in the loss, after it, and as the forward pass ends
        classes = sum(p.out for p in self.architecture.parts if p.head)
        if not classes:
            return (), (), ()
        own_type = self.architecture.model_type in LOSS_IN_OWN_TYPE and not self.is_autocast
        capped = self.kept.style.caps(self.architecture.config)[1]
        each = (4 * self.w if own_type else self.w + 3 * 4) + self.w * capped
        sizes = ((LOSS, each), (LOGITS, self.w), (LOSS, each - 4))
        return [(Item(name, f"{self.tokens:,} x {classes:,} x {n} B", self.tokens * classes * n),) for name, n in sizes]

    def _copies(self, parts):
        """The 16-bit copies that autocast makes of trained weights."""
        return _copies(parts) if self.is_full and self.is_autocast else ()

    def _updated_experts(self, block=None):
        """PEFT makes W + s B A of all experts of a layer; the backward pass makes the gradient of the larger one."""
        found = [p for p in self.count.chosen if p.kind == "experts" and block in (None, p.block) and not self.is_full]
        if not found:
            return ()
        n, more = sum(p.weights for p in found), max(p.weights for p in found) if block else 0
        return (Item("experts with their updates", f"({n:,} + {more:,}) x {self.w} B", (n + more) * self.w),)

    def _copy_of_head(self):
        return _copies(p for p in self.architecture.parts if p.head) if self.is_autocast else ()

    def _one_matrix(self):
        return four_bit(self.architecture)[2:] if self.in_4_bit else ()

    def _optimizer_work(self):
        """AdamW on one array at a time: two temporary ones of its size."""
        parts = self.architecture.parts if self.is_full else self.count.saved
        n, w = max((p.weights for p in parts), default=0), self.gradient_bytes if self.is_full else self._saved_bytes()
        return (Item("AdamW's work", f"{n:,} x 2 x {w} B", n * 2 * w),) if n else ()


def _trained(what, n, w):  # -> Items of weights, of gradients, of the optimizer
    """AdamW's m and v have the type of the weight."""
    return (
        (Item(f"{what}weights", f"{n:,} x {w} B", n * w),),
        (Item(f"{what}gradients", f"{n:,} x {w} B", n * w),),
        (Item(f"{what}AdamW m and v", f"{n:,} x 2 x {w} B", n * 2 * w),),
    )


def _copies(parts):
    n = sum(p.weights for p in parts if p.products)
    return (Item(COPIES, f"{n:,} x 2 B", n * 2),)


def four_bit(architecture, rest_bytes: int = 2) -> tuple:  # (Item, Item, Item)
    """NF4 with double quantization for every linear layer but the head (QLoRA, section 3); the rest, of `rest_bytes`
    each; and one matrix in 16 bit, as it is needed to multiply."""
    quantized = sum(p.weights for p in architecture.linears)
    rest = architecture.base - quantized
    largest = max((p.weights for p in architecture.linears), default=0)
    return (
        Item("frozen 4-bit weights", f"{quantized:,} x {NF4_BITS:.9f} bit / 8", round(quantized * NF4_BITS / 8)),
        Item(f"frozen {8 * rest_bytes}-bit weights", f"{rest:,} x {rest_bytes} B", rest * rest_bytes),
        Item("one matrix at a time in 16 bit", f"{largest:,} x 2 B", largest * 2),
    )


def gathered(architecture, method: str) -> int:
    """Bytes that each of several cards holds whole at a moment: the weights of the layer at work and of the next one,
    with full fine-tuning the gradient of the first; and all that is outside of the layers (FSDP's root)."""
    small = {p.path for p in architecture.linears} if "4-bit" in method else ()
    sizes = Counter()
    for part in architecture.parts:
        sizes[part.block] += part.size * (NF4_BITS / 8 if part.path in small else 2)
    outside = sizes.pop("", 0)
    return round((3 if method.startswith("full") else 2) * max(sizes.values()) + outside)
