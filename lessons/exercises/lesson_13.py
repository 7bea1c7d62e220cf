"""Exercises of lesson 13: QLoRA.

In a terminal:

    minilora check 13                check your functions
    minilora hint 13.1 --level 1     a nudge; level 2: a sketch; level 3: almost the answer

The notation: numbers are stored in blocks; absmax is the largest absolute value of a block.
"""

import numpy as np

# ---- 13.1 · medium, 20 minutes · sixteen levels


def quantize(w, levels, size):
    """The codes of the numbers w, and what each block of them is divided by.

    w: (n,), cut into blocks of `size` numbers in order; the last block may be shorter.
    levels: (k,), sorted, from -1 to 1, with a 0 among them. The code of a number is the place in
    `levels` of the value nearest to number / absmax of its block. Every number of a block of zeros
    gets the code of the level 0.

    Returns codes: (n,) whole numbers, and absmax: one for each block.
    """
    raise NotImplementedError


# ---- 13.2 · easy, 5 minutes · read them again


def read_back(codes, absmax, levels, size):
    """The numbers that are read from what 13.1 stored.

    codes: (n,) whole numbers, absmax: one for each block of `size` numbers, levels: (k,).
    Returns (n,).
    """
    raise NotImplementedError


# ---- 13.3 · easy, 10 minutes · bits for each number


def bits_per_number(size, second):
    """How many bits one weight takes, all told, when the weights are many.

    A code has 4 bits. Each block of `size` weights has its absmax.
    second None: an absmax is a float32 number. Otherwise it has 8 bits (double quantization), and
    each block of `second` absmaxes has one float32 number of its own.
    """
    raise NotImplementedError
