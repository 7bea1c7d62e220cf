"""Every error a user can cause: one clear line, which the command line prints before it exits with code 2.

They also derive from the built-in that Python programmers would catch (ValueError, KeyError, ...).
"""


class MiniloraError(Exception):
    """Base of all errors that name a user's mistake."""

    def __str__(self):  # KeyError would print its message in quotes
        return " ".join(str(a) for a in self.args)


class ConfigError(MiniloraError, ValueError):
    """A setting that cannot be: a rank of 0, an unknown activation, targets that match nothing."""


class FormatError(MiniloraError, ValueError):
    """A file that is not what it claims to be: truncated, foreign, with missing or extra tensors."""


class DataError(MiniloraError, ValueError):
    """Text or examples that cannot be used: empty, malformed, longer than the context."""


class MissingFileError(MiniloraError, FileNotFoundError):
    """A path that does not exist."""


class UnknownNameError(MiniloraError, KeyError):
    """A name that is not among the known ones: an adapter, a task, a preset."""


class ShapeError(MiniloraError, ValueError):
    """Arrays whose shapes do not fit together."""


class TrainingError(MiniloraError, ArithmeticError):
    """Training that cannot go on: a loss that is not finite."""


class GraphError(MiniloraError, RuntimeError):
    """A backward pass that cannot be: a freed graph, a merged adapter, a tensor without a graph."""


def nearest(name, known, limit=6):  # str, iterable of str -> str
    """The end of an error line: the known names, the closest ones first.

    >>> nearest("q_prj", ["q_proj", "k_proj"])
    'q_proj, k_proj'
    """
    import difflib  # only here: most programs never make this mistake, and all would wait for it

    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(str(name), known, n=limit, cutoff=0.5)
    rest = [k for k in known if k not in close]
    shown = (close + rest)[:limit]
    left = len(known) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "") if shown else "none"


def listed(names, limit=4):  # list of str -> str
    """The first names of a list, and how many more there are. A name from a file may hold a line break: it is quoted.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = [n if n.isprintable() else repr(n) for n in names[:limit]]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")
