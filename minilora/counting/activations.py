"""What a forward pass keeps for the backward pass, as transformers and PEFT keep it on PyTorch. Bytes per token.

The equations need little; the libraries keep more, and all of it must fit. For a model in 16 bit (w = 2 bytes):

    norms        an RMSNorm works on a float32 copy of its input             4 d, and w d when its weight is trained
                 a LayerNorm needs its input                                 w d
    attention    q, k, v (k and v repeated for all query heads), output      4 w (heads x head width)
                 the T x T scores where no flash kernel is used              4 to 12 B for each, see `_scores`
                 the mask of a padded batch, in each layer                   w T
    activation   d silu(g) u needs g, silu(g) and u; a gelu written in       w m for each
                 Python keeps each of its steps
    matrices     dW = gᵀ x and dA = s (g B)ᵀ x need the input x              w in once, where W itself is trained
                 PEFT copies x to float32 for each adapter                   4 in, for each adapter
    LoRA         dB = s gᵀ u needs u = x Aᵀ                                  4 r, for each adapter
                 DoRA needs W x and B A x                                    (w + 4) out, for each adapter
                 with dropout W x in float32, and W itself                   8 out; W: see memory.py
                 dropout on x: a copy for each adapter, and a mask           8 in, for each adapter
    dropout      which numbers were kept                                     w d, after each block

Overestimated: in the lowest layer that is trained, what is below its lowest adapter keeps nothing. With recomputation
only the input of each layer is kept, and one layer at a time is computed again in the backward pass (Chen et al. 2016,
arXiv 1604.06174). `benchmarks/MEMORY.md` compares the sums with the libraries themselves.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from ..files.families import DEFAULTS
from .architectures.sizes import Sizes
from .styles import NAMES_OF_ACTIVATION, STEPS, STYLES, Style

SCORES = "attention scores, T x T"
SCALED = "outputs for the magnitudes"
INPUT = "input of each layer"
OUTSIDE = ("", "encoder")  # of the layers; "encoder": Whisper's convolutions
SEES = ("model.vision_tower", "model.multi_modal_projector")
WINDOWS = ("modernbert",)  # encoders in which a token sees only its neighbours: by a mask
CONVOLVED = ("sound", "conv1")  # what Whisper's convolutions read: 3000 places of a sound, then 1500


@dataclass(frozen=True)
class Item:
    """One line of a budget: what, how it is computed, bytes."""

    name: str
    formula: str
    bytes: int


@dataclass(frozen=True)
class Precision:
    """Bytes of a number.

    product    that a linear layer makes
    stream     of the hidden states between the layers
    attention  of q, k and v
    weight     of the copy of x that each matrix makes whose weight is trained; 0: they share x
    adapter    of the copy of x that each adapter makes; 0: they share x
    narrow     of x A
    """

    product: int
    stream: int
    attention: int
    weight: int
    adapter: int
    narrow: int


class Kept:
    """What one training step keeps, and makes for a moment, in each layer; "" is what lies outside of the layers.

    layers     {layer: Counter {kind: bytes per token}}, in the order of the forward pass
    above      the same without the layers below the lowest one that is trained: they keep nothing
    inputs     with recomputation: the input of each layer
    gradients  {layer: bytes per token that its backward pass makes for a moment}

    trained: {path: rank of its adapter, or 0 where the weight itself is trained}; batch sequences of `length` tokens;
    flash: T x T scores are never kept, also where the family's code or dropout on them prevents that; drops: the
    adapters have dropout; wide: {path: numbers per token that the gradients of magnitudes or scales need}.
    """

    def __init__(self, architecture, trained, precision, batch, length, flash=False, drops=False, wide=None):
        self.trained, self.precision, self.batch, self.length = trained, precision, batch, length
        self.drops, self.wide = drops, wide or {}
        self.model_type, self.config = architecture.model_type, architecture.config
        self.sizes = Sizes(self.config, architecture.name, DEFAULTS[self.model_type])
        parts = architecture.parts
        if self.model_type == "gemma3":  # trained on text alone
            self.model_type, self.config = "gemma3_text", self.config.get("text_config") or {}
            self.sizes = self.sizes.inner("text_config", self.model_type)
            parts = [p for p in parts if not p.path.startswith(SEES)]
        self.style = STYLES.get(self.model_type, Style())
        self.rate_on_scores, self.rate_after_block, self.rate_in_mlp = self.style.rates(self.config)
        self.scores = "" if flash else self.style.scores or ("plain" if self.rate_on_scores else "")
        self.heads = self.sizes("encoder_attention_heads" if self.model_type == "whisper" else "num_attention_heads")
        self.is_causal = any(p.head for p in architecture.parts)
        self.has_mask = (self.is_causal or self.model_type in WINDOWS) and not self.scores  # in each layer
        self.parts = {"": []}
        for part in parts:
            self.parts.setdefault("encoder" if part.reads in CONVOLVED else part.block, []).append(part)
        self.layers = {block: self._layer(block) for block in self.parts}
        outside = {block: self.layers[block] for block in OUTSIDE if block in self.layers}
        self.inputs = {b: Counter({INPUT: self._entering(b)}) for b in self.layers} | outside
        self.above = self._above()
        self.gradients = {block: self._gradients(block) for block in self.layers if block}

    def _above(self):
        trains = [any(p.path in self.trained for p in parts) for parts in self.parts.values()]
        of_input = any(p.path in self.trained for p in self.parts[""] if p.kind == "embedding")
        lowest = 0 if of_input else next((i for i, t in enumerate(trains) if t and i), len(trains))
        return {b: kept for i, (b, kept) in enumerate(self.layers.items()) if b in OUTSIDE or i >= lowest}

    def tokens(self, block: str) -> int:
        """Tokens of the batch in a layer. Whisper's encoder and ViT have as many as their sound or image has places."""
        if self.model_type == "whisper" and "encoder" in block:
            return self.batch * self.sizes("max_source_positions")
        if self.model_type == "vit":
            return self.batch * next(p.shape[1] for p in self.parts[""] if p.path.endswith("position_embeddings"))
        return self.batch * self.length

    def items(self, layers: dict) -> tuple:  # {layer: Counter}
        """An Item for each kind, with the bytes of all these layers."""
        found = defaultdict(Counter)  # kind -> {tokens: bytes per token}
        for block, kept in layers.items():
            for kind, n in kept.items():
                found[kind][self.tokens(block)] += n
        return tuple(
            Item(kind, " + ".join(f"{t:,} x {n:,} B" for t, n in sizes.items()), sum(t * n for t, n in sizes.items()))
            for kind, sizes in found.items()
            if sizes.total()
        )

    # ---- one layer, bytes per token

    def _layer(self, block):
        parts, read, kept = self.parts[block], defaultdict(list), Counter()
        for part in parts:
            if part.reads:
                read[part.reads].append(part)  # the name of an activation -> the matrices that read it
        kept["norms"] = sum(map(self._norm, parts))
        for name, readers in read.items():
            ends = readers[0].times * readers[0].out  # a block ends with this width
            kept["inputs of trained matrices"] += self._inputs(name, readers)
            if name.startswith("attention"):
                kept["attention: q, k, v, output"] += self._attention(readers[0].n_in)
                kept[SCORES] += self._scores(self.tokens(block) // self.batch)
                kept["attention mask"] += self.precision.attention * self.length * self.has_mask
                kept["dropout masks"] += self.precision.stream * ends * bool(self.rate_after_block)
            if name == "activation":
                kept["activation functions"] += self._activation(parts, readers[0])
                kept["outputs of the experts"] += self.precision.product * ends * (readers[0].kind == "experts")
                kept["dropout masks"] += self.precision.stream * ends * bool(self.rate_after_block)
        kept += self._across(block, read["encoder"])
        scaled = sum(p.times * self.wide.get(p.path, 0) for p in parts)  # W x and B A x, apart
        base = 4 if self.drops else self.precision.product  # with dropout W x is computed again from that x
        kept[SCALED] = scaled * (base + 4)
        kept["x A of the adapters"] = sum(self.precision.narrow * p.times * self.trained.get(p.path, 0) for p in parts)
        if not block:
            kept["attention mask"] += self.length * self.is_causal  # once for all layers: true or false
            kept["dropout masks"] += parts[0].out * self.precision.stream * bool(self.rate_after_block)  # on the input
        if block == "encoder":  # input and result of two gelus, and the sum with the positions
            kept["convolutions"] = 7 * parts[0].out * self.precision.product
        return kept

    def _across(self, block, readers):
        """Keys and values that a decoder makes of the encoder's places: their number differs from that of the tokens,
        by which all of the layer is multiplied."""
        if not readers or self.model_type != "whisper":
            return Counter()
        each = Counter({
            "attention: q, k, v, output": self.precision.attention * sum(p.out for p in readers),
            "inputs of trained matrices": self._inputs("encoder", readers),
            "x A of the adapters": self.precision.narrow * sum(self.trained.get(p.path, 0) for p in readers),
        })  # fmt: skip
        more = self.tokens("encoder") - self.tokens(block)
        return Counter({kind: n * more // self.tokens(block) for kind, n in each.items()})

    def _norm(self, part):
        if part.kind != "norm":
            return 0
        numbers, stream, style = part.times * part.shape[0], self.precision.stream, self.style.norm
        if style == "layer":
            return numbers * stream
        normalised = 4 if style == "rms, float32" else stream
        as_it_is = stream if style == "rms, and x" and stream < 4 else 0
        return numbers * (4 + as_it_is + normalised * (part.path in self.trained))

    def _attention(self, width):
        p = self.precision
        if not self.scores:  # fused: the whole q, k, v beside the rotated q and k
            return width * (3 * p.product + 3 * p.attention if self.style.fused else 4 * p.attention)
        return width * 3 * (4 if self.scores == "plain" else p.attention)

    def _scores(self, length):
        """Bytes of the scores of all heads for one token: softmax, which of them dropout kept, and the product of both.

        DeBERTa also keeps both products with relative positions, and the indices that read them.
        """
        if not self.scores:
            return 0
        w, (capped, _) = self.precision.attention, self.style.caps(self.config)
        each = {"plain": 4, "float32": 4 + w * (w < 4), "own": w}[self.scores] + w * capped
        each += 2 * (4 if self.scores == "plain" else w) * bool(self.rate_on_scores)
        relative = 0
        if self.model_type == "deberta-v2":
            buckets = max(self.sizes("position_buckets", low=-1), 0)
            relative = self.heads * w * 4 * buckets + 16 * length
        return self.heads * length * each + relative

    def _activation(self, parts, down):
        numbers = sum(p.times * p.out for p in parts if p.feeds == "activation")
        width = down.times * down.n_in
        named = [self.sizes.text(key) for key in NAMES_OF_ACTIVATION if self.config.get(key)]
        name = (
            named[0] if named and self.model_type != "gpt_oss" else self.style.activation
        )  # it has a swish of its own
        steps = STEPS.get(name, 0) + (numbers > width) + bool(self.rate_in_mlp)  # a gate needs the result
        return self.precision.product * (numbers + steps * width)

    def _inputs(self, name, readers):
        """Of the matrices whose weight is trained, and of the adapters."""
        p, x = self.precision, readers[0].times * readers[0].n_in
        whole = [r for r in readers if self.trained.get(r.path) == 0]
        adapted = [r for r in readers if self.trained.get(r.path)]
        if not whole and not adapted:
            return 0
        if readers[0].kind == "experts":  # what each expert is sent is gathered
            return p.product * x
        of_attention = name.startswith("attention")
        in_16_bit = of_attention or name == "activation"  # with autocast
        copy = p.adapter or 4 * self.drops  # with dropout each adapter has an x of its own, and which numbers were kept
        copies = (copy + 4 * self.drops) * len(adapted) + p.weight * len(whole) * (not in_16_bit)
        shares = adapted and not copy or whole and (in_16_bit or not p.weight)
        if of_attention and not self.scores and not self.style.copies_out:
            shares = False  # it is the attention's output, kept already
        return x * (copies + (p.attention if of_attention else p.product) * bool(shares))

    def _gradients(self, block):
        """What the backward pass of a layer makes for a moment: gradients in the MLP, or of the scores, when what the
        MLP kept is gone; and of the hidden states."""
        parts, product = self.parts[block], self.precision.product
        down = [p for p in parts if p.reads == "activation"]
        up = [p for p in parts if p.feeds == "activation" and p.kind == "linear"]
        mlp = sum(p.times * p.n_in * (2 if p.path in self.trained else 3) for p in down) * product
        if len(up) == 1 and up[0].out > down[0].n_in and self.trained.get(up[0].path):  # gate and up at once
            mlp = max(mlp, up[0].out * (product + 8) - down[0].n_in * (product + 4))
        each = 6 if self.rate_on_scores else 8
        scores = self.heads * (self.tokens(block) // self.batch) * each if self.scores else 0
        kept_by_mlp = self.layers[block]["activation functions"]
        stream = 12 if self.precision.stream < 4 else 4  # bytes, of the width of the hidden states
        return max(mlp, scores - kept_by_mlp) + stream * self._entering(block) // self.precision.stream

    def _entering(self, block):
        """Bytes of the hidden state that enters a layer: as wide as the first thing in it."""
        first = self.parts[block][0]
        return self.precision.stream * (first.shape[0] if first.kind == "norm" else first.n_in)
