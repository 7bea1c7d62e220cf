"""Solutions of lesson 7."""


def scaling(alpha, r, rank_stabilised):
    return alpha / r**0.5 if rank_stabilised else alpha / r


def alpha_for_rank(alpha, r, new_r, rank_stabilised):
    return alpha * (new_r / r) ** (0.5 if rank_stabilised else 1)
