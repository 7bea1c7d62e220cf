"""What the commands here share: lists of names as options, one line for a mistake, exit code 2."""

import importlib.util

import click

from minilora.errors import nearest

REFERENCE = ("torch", "transformers", "peft", "threadpoolctl", "psutil")


class Refused(click.ClickException):
    exit_code = 2


class OneLine(click.Command):
    """A command that answers a wrong option in one line as well."""

    def parse_args(self, ctx, args):
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise Refused(error.format_message()) from error


class Several(click.ParamType):
    """ "a,b" -> ["a", "b"], each among `known`; without `known` whole numbers of at least 1, still as text."""

    name = "a,b"

    def __init__(self, known=None):
        self.known = known

    def convert(self, value, param, ctx):
        names = value if isinstance(value, list) else [part.strip() for part in value.split(",")]
        for name in names:
            if self.known is None and not (name.isascii() and name.isdigit() and int(name) >= 1):
                raise Refused(f"--{param.name}: {name!r} is no whole number of at least 1")
            if self.known is not None and name not in self.known:
                raise Refused(f"--{param.name}: no {name!r}; there are: {nearest(name, self.known)}")
        return names


def need_reference():
    """Raises Refused naming what is not installed of what the comparison is made with."""
    missing = [name for name in REFERENCE if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(f"{', '.join(missing)} not installed: pip install '.[reference]'")
