"""Exercises of lesson 8: count like the paper.

In a terminal:

    minilora check 8                 check your functions
    minilora hint 8.1 --level 1      a nudge; level 2: a sketch; level 3: almost the answer
"""

import numpy as np

# ---- 8.1 · easy, 5 minutes · count like the paper


def lora_parameters(shapes, r):
    """The number of parameters of LoRA of rank r beside matrices of these shapes.

    shapes: list of (out, in), one for each adapted matrix; r: the rank of all. Returns a whole number.
    """
    raise NotImplementedError


# ---- 8.2 · medium, 10 minutes · bytes to train


def training_bytes(frozen, trained, width):
    """Bytes for weights, gradients and Adam's state when `frozen` numbers do not change and `trained` ones learn.

    A frozen number takes `width` bytes (2 in 16 bit, 4 in float32). For a trained number everything is float32, 4 bytes
    each: the number itself, its gradient, and the two running means m and v that Adam keeps. Returns a whole number.
    """
    raise NotImplementedError
