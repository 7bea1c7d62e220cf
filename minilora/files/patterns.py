"""Regular expressions that a file or a person gives: Python's syntax, and a bound on the time that a match may take.

Python's own `re` has no such bound, and a pattern with nested repetitions can keep it busy for ever. A pattern must be
one for both libraries, so it means here what it means in PEFT. Where `regex` cannot be installed (in a browser) `re`
matches without a bound: there a pattern keeps its own reader's page busy, and nobody else's.
"""

import functools
import re

from ..errors import ConfigError

SECONDS = 2.0  # for one match; an honest one takes microseconds
LONGEST = 10_000  # characters of a pattern


def _library():  # here: most programs never match one
    try:
        import regex
    except ImportError:
        return re
    return regex


@functools.lru_cache(maxsize=256)
def _compiled(pattern):
    if len(pattern) > LONGEST:
        raise ConfigError(f"a regular expression of {len(pattern):,} characters; expected at most {LONGEST:,}")
    re.compile(pattern)
    return _library().compile(pattern)


def mistake(pattern: str) -> str:
    """Why a string is no regular expression; "" when it is one."""
    try:
        _compiled(pattern)
    except (re.error, _library().error, ConfigError, OverflowError, RecursionError) as error:
        return str(error)
    return ""


def match(pattern: str, text: str):
    """As re.match. Raises ConfigError when it takes too long."""
    return _bounded(_compiled(pattern).match, pattern, text)


def fullmatch(pattern: str, text: str):
    """As re.fullmatch. Raises ConfigError when it takes too long."""
    return _bounded(_compiled(pattern).fullmatch, pattern, text)


def _bounded(search, pattern, text):
    try:
        return search(text) if _library() is re else search(text, timeout=SECONDS)
    except TimeoutError as error:
        raise ConfigError(
            f"the regular expression {pattern[:80]!r} takes more than {SECONDS:g} s on {text[:80]!r}; "
            "repetitions inside repetitions do that: write it without"
        ) from error
