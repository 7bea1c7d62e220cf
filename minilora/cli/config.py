"""--config FILE: options from a TOML or JSON file. What is typed on the command line has precedence."""

import json
import tomllib
from pathlib import Path

import click

from ..errors import ConfigError, first_line, nearest
from ..files.atomic import read_utf8

READERS = {".toml": tomllib.loads, ".json": json.loads}  # the end of a file's name -> what reads its text


def read_options(path: Path) -> dict:
    """{name: value} of a file of options. Raises ConfigError for a file that is not one, MissingFileError."""
    if (end := path.suffix.lower()) not in READERS:
        raise ConfigError(f"--config {path}: expected a name that ends in {' or '.join(READERS)}")
    try:
        values = READERS[end](read_utf8(path, ConfigError))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"--config {path}: not {end[1:].upper()}: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f'--config {path}: expected options as in {{"steps": 100}}, found {type(values).__name__}')
    return values


def _as_defaults(ctx, param, path):
    """Make the options of the file the defaults of this command."""
    if path is None:
        return
    names = {}  # as on the command line, with - or _ -> the parameter
    for parameter in ctx.command.params:
        if parameter.expose_value:
            for option in (parameter.name, *(o.lstrip("-") for o in parameter.opts)):
                names[option.replace("-", "_")] = parameter
    defaults = {}
    for name, value in read_options(path).items():
        parameter = names.get(name.replace("-", "_"))
        if parameter is None:
            raise ConfigError(f"--config {path}: no option {name!r}; there are: {nearest(name, sorted(names))}")
        if parameter.name in defaults:
            raise ConfigError(f"--config {path}: {name!r} is given twice")
        defaults[parameter.name] = _as_typed(f"--config {path}: {name!r}", parameter, value)
    ctx.default_map = defaults


def _as_typed(where, parameter, value):  # -> what click converts, as if it had been typed
    if value is None:
        raise ConfigError(f"{where} is null; leave it out")
    many = parameter.multiple or parameter.nargs == -1
    if isinstance(value, list):
        return [str(one) for one in value] if many else ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, bool) != getattr(parameter, "is_flag", False):
        raise ConfigError(f"{where} = {json.dumps(value)}: {'expected' if parameter.is_flag else 'not'} true or false")
    return [str(value)] if many else value if isinstance(value, bool) else str(value)


config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE",
    callback=_as_defaults, is_eager=True, expose_value=False,
    help="Take options from a TOML or JSON file; those that you type have precedence.",
)  # fmt: skip
