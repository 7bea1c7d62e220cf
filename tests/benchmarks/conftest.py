"""Fixtures of the measurements."""

from fake_card import card  # noqa: F401 (a fixture)
