"""Every error that a user can cause. Its message is one clear line; the command line prints it and exits with code 2.

Each class also derives from the built-in error that Python programmers would catch (ValueError, KeyError, ...).
"""

from collections.abc import Iterable


class MiniloraError(Exception):
    """The base class of all errors here."""

    def __str__(self) -> str:  # KeyError would put its message in quotes
        return " ".join(str(a) for a in self.args)


class ConfigError(MiniloraError, ValueError):
    """An invalid setting: a rank of 0, an unknown activation, targets that match nothing."""


class FormatError(MiniloraError, ValueError):
    """A damaged or foreign file: cut off, in another format, with missing or extra tensors."""


class DataError(MiniloraError, ValueError):
    """Text or examples that cannot be used: empty, malformed, longer than the context."""


class MissingFileError(MiniloraError, FileNotFoundError):
    """A path that does not exist."""


class UnknownNameError(MiniloraError, KeyError):
    """A name that is not among the known ones: an adapter, a task, a preset."""


class ShapeError(MiniloraError, ValueError):
    """Arrays that an operation cannot use: shapes that do not fit together, ids outside the vocabulary."""


class TrainingError(MiniloraError, ArithmeticError):
    """Training that cannot continue: the loss is not finite."""


class BusyError(MiniloraError, RuntimeError):
    """A server has no room now: the same request may succeed later."""


class GraphError(MiniloraError, RuntimeError):
    """A backward pass that is impossible: a freed graph, a merged adapter, a tensor without a graph."""


def nearest(name: object, known: Iterable[str], limit: int = 6) -> str:
    """The known names for the end of an error message, at most `limit`, those most similar to `name` first.

    >>> nearest("q_prj", ["k_proj", "q_proj"])
    'q_proj, k_proj'
    """
    known = list(dict.fromkeys(known))
    close = similar(name, known, limit)
    return listed(close + [k for k in known if k not in close], limit) if known else "none"


def similar(name: object, known: Iterable[str], limit: int = 6) -> list[str]:
    """Of the known names at most `limit` that are like `name`, the most similar first; none where none is.

    >>> similar("q_prj", ["k_proj", "q_proj", "embedding"], limit=1)
    ['q_proj']
    """
    import difflib  # imported only when somebody makes this mistake: it would slow every start

    return difflib.get_close_matches(str(name), list(known), n=limit, cutoff=0.5)


def counted(n: int, noun: str) -> str:
    """A number with what it counts, in the plural unless it is 1.

    >>> counted(1, "step"), counted(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(names: list[str], limit: int = 4) -> str:
    """The first `limit` names, and how many more there are. A name with a line break (from a file) is quoted.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = [n if n.isprintable() else repr(n) for n in names[:limit]]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def printable(value: object) -> str:
    """The value on one line: what a foreign file says may hold line breaks and control characters.

    >>> printable("red\\x1b[31m")
    'red\\\\x1b[31m'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def shortened(text: str, limit: int = 293) -> str:
    """The text, without its middle when it is longer than `limit`: a line begins with where, and ends with why.

    >>> shortened("abcdefghijklmnopqrstuvwxyz", limit=15)
    'abcdef ... wxyz'
    """
    keep = limit - len(" ... ")
    return text if len(text) <= limit else f"{text[: keep - keep * 2 // 5]} ... {text[-(keep * 2 // 5) :]}"


def first_line(error: BaseException, limit: int = 160) -> str:
    """The first line of another library's error message, at most `limit` characters; the error's class if it is empty.

    >>> first_line(OSError("disk full\\nwhile writing"))
    'disk full'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]
