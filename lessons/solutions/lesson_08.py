"""Solutions of lesson 8."""


def lora_parameters(shapes, r):
    return sum(r * (out + n_in) for out, n_in in shapes)  # A: (r, in), B: (out, r)


def training_bytes(frozen, trained, width):
    return frozen * width + trained * (4 + 4 + 8)  # weight, gradient, m and v
