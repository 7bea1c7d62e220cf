"""GPUs: how much memory the driver reports, and whether a training fits."""

GIB = 2**30
# GB on the label -> GiB that nvidia-smi reports. T4: 15; L4, A10: 22.5 (sold as 16 and 24); 32: RTX 5090; 45: L40S, A40
# (sold as 48); 80: H100; 96: RTX PRO 6000; 141: H200; 192: B200
CARDS = {
    8: 8.0, 12: 12.0, 15: 15.0, 16: 16.0, 22.5: 22.49, 24: 24.0, 32: 31.84, 40: 40.0, 45: 44.99, 48: 48.0, 80: 79.65,
    96: 95.59, 141: 140.40, 192: 179.06,
}  # fmt: skip
CONTEXT, ALLOCATOR = 1.0, 0.5  # GiB: the CUDA context with its libraries and the driver's part; blocks held back
OVERHEAD = CONTEXT + ALLOCATOR
SEVERAL = 80  # the card that is counted when one is not enough
MOST = 1024  # of those
COPIES = "16-bit copies of weights"


def verdict(needed: int, gb: float) -> str:
    """Whether `needed` bytes fit a card of CARDS: "fits" with the OVERHEAD, "tight" with the CONTEXT alone, or "no"."""
    free = CARDS[gb] - needed / GIB
    return "fits" if free >= OVERHEAD else "tight" if free >= CONTEXT else "no"


def smallest_card(needed: int) -> float | None:
    """The smallest of CARDS that fits `needed` bytes."""
    return next((gb for gb in CARDS if verdict(needed, gb) == "fits"), None)


def cards_needed(plan, gathered: int) -> int | None:
    """How many cards of SEVERAL GB a Plan needs: they share weights, gradients and optimizer evenly (FSDP, ZeRO 3), and
    each has the activations of its own sequences. gathered: bytes of the layers whose weights are whole at a moment, in
    place of COPIES.

    None where what each card has for itself does not fit.
    """
    room = (CARDS[SEVERAL] - OVERHEAD) * GIB - gathered
    sizes = [(sum(i.bytes for i in m.states), sum(i.bytes for i in m.rest if i.name != COPIES)) for m in plan.moments]
    return next((n for n in range(1, MOST + 1) if all(s / n + rest <= room for s, rest in sizes)), None)
