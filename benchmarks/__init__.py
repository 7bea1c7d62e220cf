"""Measurements, side by side with torch + PEFT in one run, and with the matrix products alone."""
