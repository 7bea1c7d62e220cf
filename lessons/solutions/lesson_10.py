"""Solutions of lesson 10."""

import numpy as np


def round_to_bfloat16(x):
    u = x.view(np.uint32)
    u = (
        u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))
    )  # half a step; a tie goes to the even neighbour
    return (u & np.uint32(0xFFFF0000)).view(np.float32)


def take_turns(W, updates, order):
    return [W + updates[i] for i in order]  # W itself is never touched
