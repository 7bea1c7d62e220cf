"""What can be the name of an adapter: one component of a path, so that no name leads out of a folder."""

from ..adapters.mixed import BASE
from ..errors import ConfigError, printable


def is_name(name) -> bool:
    """Whether `name` is one component of a path: spaces and accents are allowed."""
    fits = isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() and name.strip() == name
    return fits and not name.startswith(".") and not any(c in name for c in "/\\:") and name != BASE


def check_name(name):
    """Raises ConfigError for what cannot be an adapter's name."""
    if not is_name(name):
        raise ConfigError(
            f"lora_name {printable(str(name)[:60])!r}: expected one name without separators, a leading dot or control "
            "characters"
        )
