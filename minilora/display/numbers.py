"""Numbers as text."""

import numpy as np

GIB = 2**30  # bytes


def number_text(value, digits: int = 4) -> str:
    """A number as text with `digits` significant digits, an integer in full; anything else as `str` gives it.

    >>> number_text(16777216), number_text(0.04234567), number_text(3.1e-7)
    ('16,777,216', '0.04235', '3.1e-07')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value.is_integer():
        return f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
    return f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:,.1f}"
