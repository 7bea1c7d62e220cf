"""Regular expressions that a file or a person gives: Python's syntax, and a bound on the time that a match may take.

Python's own `re` has no such bound, and a pattern with nested repetitions can keep it busy for ever. A pattern must be
one for both libraries, so it means here what it means in PEFT. Where `regex` cannot be installed (in a browser) `re`
matches without a bound: there a pattern keeps its own reader's page busy, and nobody else's.
"""

import functools
import re
import time

from ..errors import ConfigError

SECONDS = 2.0  # for one match; an honest one takes microseconds
SLOW, TOGETHER = 0.01, 10.0  # seconds of processor time: longer matches add up, and may take so long in a minute
LONGEST = 10_000  # characters of a pattern
MOST = 2_000  # patterns of a configuration: some tools write one for every module


_slow: list[tuple[float, float]] = []  # (when, seconds) of the slow matches of the last minute


def _library():  # here: most programs never match one
    try:
        import regex
    except ImportError:
        return re
    return regex


@functools.lru_cache(maxsize=2 * MOST)
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
    if _library() is re:
        return search(text)
    began = time.thread_time()  # not the clock's time: on a busy machine a match may wait
    try:
        found = search(text, timeout=SECONDS)
    except TimeoutError as error:
        raise _too_slow(pattern, f"more than {SECONDS:g} s on {text[:80]!r}") from error
    if (took := time.thread_time() - began) > SLOW:
        now = time.monotonic()
        _slow[:] = [(when, seconds) for when, seconds in _slow if when > now - 60] + [(now, took)]
        if sum(seconds for _, seconds in _slow) > TOGETHER:
            raise _too_slow(pattern, f"with the other matches of this minute more than {TOGETHER:g} s")
    return found


def _too_slow(pattern, how_long):
    return ConfigError(
        f"the regular expression {pattern[:80]!r} takes {how_long}; "
        "repetitions inside repetitions do that: write it without"
    )
