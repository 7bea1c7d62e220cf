"""Numbers as text."""

import numpy as np

GIB = 2**30  # bytes


def number_text(value, digits: int = 4) -> str:
    """A number as one reads it: 16,777,216, 0.0423, 3.1e-07, in `digits` significant digits; anything else by `str`."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value.is_integer():
        return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
    return f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.1f}"
