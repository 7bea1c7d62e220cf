"""The `minilora` command. Each group of subcommands is a file, imported when one of its commands is run."""

import importlib
import io
import os
import signal
import sys
import threading
import warnings
from typing import NoReturn

import click

from ..errors import MiniloraError, nearest, printable, shortened
from ..training.joining import end

COMMANDS = {  # name -> file in this folder, line of help
    "tour": ("tour", "Train two adapters on one base in a minute: count, train, merge, switch."),
    "doctor": ("doctor", "Show versions, devices and threads, and estimate how long the tour takes here."),
    "pretrain": ("pretrain", "Train a small base model from scratch on plain text."),
    "train": ("train", "Fine-tune a base on a task or on your own files, with LoRA or in full."),
    "data": ("data", "Show what training would read and learn from a file, token by token."),
    "eval": ("evaluate", "Score a base, with or without an adapter, on a task or a file."),
    "generate": ("generate", "Continue prompts, with a base and any adapters."),
    "chat": ("chat", "Converse with a base and its adapters, and switch between them."),
    "serve": ("serve", "Serve a base and many adapters behind OpenAI's API, with a page to try it."),
    "merge": ("merge", "Write base + adapter as one ordinary checkpoint."),
    "push": ("push", "Push a saved adapter to the Hugging Face hub."),
    "adapters": ("adapters", "List adapters: targets, rank, scale, parameters, bytes."),
    "inspect": ("adapters", "Show what is in an adapter or a base, and whether an adapter fits a base."),
    "params": ("params", "Count LoRA on any model: parameters, bytes, memory, operations, cards that hold it."),
    "claims": ("claims", "Recompute and judge published figures and popular claims about LoRA."),
    "exercises": ("course", "Write the exercises of the lessons into a folder of yours."),
    "check": ("course", "Check your exercises, or those of a whole class, property by property."),
    "hint": ("course", "Show a hint for an exercise: a nudge, a sketch, almost the answer."),
}
OTHER_NAMES = {  # what a command is called elsewhere -> its name here
    "finetune": "train",
    "fine-tune": "train",
    "sft": "train",
    "evaluate": "eval",
    "talk": "chat",
    "upload": "push",
    "publish": "push",
    "export": "merge",
    "tokenize": "data",
}


class LazyGroup(click.Group):
    """Knows the names and the help of its commands without importing them, so that `--help` is fast."""

    def resolve_command(self, ctx, args):
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            if args[0] in OTHER_NAMES:
                raise click.UsageError(f"no command {args[0]!r}; it is called {OTHER_NAMES[args[0]]} here")
            raise click.UsageError(f"no command {args[0]!r}; the nearest are {nearest(args[0], COMMANDS)}")
        for before, arg in zip(args, args[1:], strict=False):
            option, equals, value = arg.partition("=") if arg.startswith("--") else (before, "", arg)
            if not value and (equals or not arg):  # an empty path would mean the current folder
                raise click.UsageError(
                    f"{option if option.startswith('-') else 'an argument'} is empty; expected a value"
                )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[name][0]}", __name__)
        return getattr(module, name.replace("-", "_"))

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="minilora")
def cli():
    """LoRA rebuilt by hand in NumPy: train, merge, switch and count adapters on one frozen base."""


def show_note(message, category, *place, show_other=warnings.showwarning):
    """Print a UserWarning as one line, without the place in the code, and other warnings as Python does."""
    if category is UserWarning:
        click.echo(f"note: {shortened(printable(message))}", err=True)
    else:
        show_other(message, category, *place)


class Terminated(SystemExit):
    """SIGTERM, or the terminal was closed: every `with` and `finally` on the way out cleans up."""


def terminate(number, frame):
    raise Terminated(128 + number)


def end_tidily() -> None:
    """Turn SIGTERM, SIGHUP and Ctrl-C into an exception, unless the process was started to ignore them (`nohup`)."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # while the package was imported
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
                signal.signal(getattr(signal, name), terminate)


def refuse(why: object) -> NoReturn:
    """End with exit code 2 and one line, whatever a path or a file has put into the message."""
    end(f"error: {shortened(printable(why))}", 2)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    end_tidily()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # print "?" for a character that the console does not have
    warnings.showwarning = show_note
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # NumPy's of inf and nan: the result is checked for them
    try:
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):  # Abort: inside click
        end("interrupted", 130)
    except Terminated as ended:
        end("terminated", int(ended.code or 0))
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # `minilora` alone
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        refuse(error.format_message())
    except MiniloraError as error:
        refuse(error)
    except MemoryError:
        refuse("out of memory; a smaller --batch-size (with --accumulate) or a smaller model needs less")
    except OSError as error:
        if error.filename is not None:
            refuse(f"{error.filename}: {error.strerror}")
        # standard output failed: the disk is full, or the reader of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python prints a second error at exit
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        refuse(f"cannot write: {error.strerror or error}")
