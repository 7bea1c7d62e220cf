"""`minilora chat`: a conversation with a base and its adapters."""

import contextlib
import sys
from collections.abc import Collection
from pathlib import Path

import click

from ..errors import DataError, MiniloraError, UnknownNameError, nearest, printable
from ..models.generation import Kept
from .common import (
    adapter_option,
    asked_system,
    base_of,
    base_option,
    check_sampling,
    quantize_option,
    sampling_options,
    system_option,
    trained_form,
    with_adapters,
)
from .generate import Stream

LONGEST = 512  # the default of --max-new-tokens
HELP = """/adapter NAME  answer with this adapter, or several (a,b); /adapter: list them; /adapter off: the base alone
/system TEXT   put this system message first; /system off: none; /system: show it
/clear         forget the conversation
/exit          end, as Ctrl-D does. Ctrl-C stops an answer"""


@click.command()
@base_option
@adapter_option
@quantize_option
@system_option
@click.option(
    "--max-new-tokens", default=LONGEST, show_default=True, type=click.IntRange(1), help="Most tokens of an answer."
)
@sampling_options
def chat(base, adapter, quantize, system, max_new_tokens, temperature, top_k, top_p, seed, device):
    """Converse with a base and its adapters. The first adapter of --adapter answers; /adapter NAME switches.

    Each adapter is asked as it was trained. Lines that begin with / are commands; /help lists them. Messages are read
    from standard input, one a line, also from a pipe.
    """
    from ..models.pretrained import base_folder, load_base

    check_sampling(temperature, top_k, top_p)
    base = base_of(base, adapter)
    folder = base_folder(base)
    model, tokenizer = load_base(base, device, quantize)
    model = with_adapters(model, adapter)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    talk = Conversation(model, tokenizer, folder, adapter, system, max_new_tokens, seed, options)
    talk.use(talk.names[:1])
    click.echo(f"{talk.describe()}; /help lists the commands", err=True)
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (arrow keys and a history for `input`)
    while True:
        try:
            line = read_message("> " if at_terminal else "")
            if line is None or line.split() == ["/exit"]:
                break
            talk.take(line)
        except KeyboardInterrupt:
            if not at_terminal:
                raise
            click.echo("\n/exit or Ctrl-D ends", err=True)
        except MiniloraError as error:
            click.echo(f"error: {printable(error)}", err=True)


def read_message(prompt: str) -> str | None:
    """The next line of standard input; None at its end. Raises DataError for one that is not UTF-8."""
    try:
        line = input(prompt)
        line.encode()
        return line
    except EOFError:
        return None
    except UnicodeError as error:
        raise DataError("this message is not UTF-8 text") from error


def how_to_load(name: str) -> str:
    """What to do for an adapter that is a folder; "" for another name."""
    with contextlib.suppress(OSError):  # a name that is too long for a file
        if (Path(name) / "adapter_config.json").is_file():
            return f"; start with --adapter {name}"
    return ""


class Conversation:
    """Messages so far, and how the active adapters are asked.

    names: of the adapters, as /adapter takes them. options: of `generate`. system: of the command line, or None.
    """

    def __init__(
        self, model, tokenizer, folder: Path, adapters: Collection[Path], system, most: int, seed: int, options
    ):
        self.model, self.tokenizer, self.folder = model, tokenizer, folder
        self.names = list(model.peft_config) if adapters else []
        self.folders = dict(zip(self.names, adapters, strict=True))
        self.most, self.seed, self.options = most, seed, options
        self.wanted_system = system  # "": none, also when an adapter was trained with one
        self.messages: list[dict] = []
        self.answers = 0

    def take(self, line: str) -> None:
        """Obey a command, or answer a message; an empty line is ignored."""
        word, _, rest = line.strip().partition(" ")
        if not word.startswith("/"):
            if word:
                self.answer(line.strip())
            return
        commands = {"/adapter": self.switch, "/system": self.set_system, "/clear": self.clear, "/help": self.help}
        if word not in commands:
            raise UnknownNameError(f"no command {word}; there are: {nearest(word, [*commands, '/exit'])}")
        commands[word](rest.strip())

    # ---- which adapters act, and how they are asked

    def use(self, names: list[str]) -> None:
        """Answer with these adapters. Raises ConfigError for adapters that were trained differently."""
        from ..text.chat_template import first_template
        from ..text.forms import end_tokens, prompt_encoder, written_end

        adapters = [self.folders[name] for name in names]
        own = first_template(*adapters, self.folder)
        form = trained_form(adapters, self.folder) or ("plain" if own is None else "chat")
        system = asked_system(form, self.wanted_system or None, adapters, self.folder)
        system = None if self.wanted_system == "" else system
        encode = prompt_encoder(form, self.tokenizer, *adapters, self.folder, system=system)
        behind = written_end(form, *adapters, self.folder)
        if self.names:
            self.model.set_adapter(names, inference_mode=True)
        self.active, self.form, self.system, self.encode, self.behind = names, form, system, encode, behind
        self.ends = end_tokens(self.model.config, self.tokenizer, self.folder, behind) or None
        self.kept = Kept()

    def describe(self) -> str:
        """Who answers, and how it is asked."""
        who = f"adapter {', '.join(self.active)}" if self.active else f"the base {self.folder.name}"
        alone = "" if self.form == "chat" else f", in the {self.form} form: every message is asked alone"
        return f"{who} answers{alone}"

    def switch(self, given: str) -> None:
        """/adapter: list, switch, or answer with the base alone."""
        if not given:
            for name in self.names:
                click.echo(f"{'*' if name in self.active else ' '} {name}  {self.folders[name]}")
            if not self.names:
                click.echo("no adapter is loaded; start with --adapter DIR")
            return
        names = [] if given == "off" else [name.strip() for name in given.split(",")]
        for name in names:
            if name not in self.names:
                raise UnknownNameError(f"no adapter {name!r}; loaded: {nearest(name, self.names)}{how_to_load(name)}")
        self.use(names)
        click.echo(self.describe(), err=True)

    def set_system(self, given: str) -> None:
        """/system: show, set or remove the system message."""
        if given:
            before, self.wanted_system = self.wanted_system, "" if given == "off" else given
            try:
                self.use(self.active)
            except MiniloraError:
                self.wanted_system = before
                raise
        else:
            click.echo(self.system or "no system message")

    def clear(self, given: str) -> None:
        """/clear: forget the messages."""
        self.messages = []

    def help(self, given: str) -> None:
        """/help: the commands."""
        click.echo(HELP)

    # ---- answering

    def answer(self, text: str) -> None:
        """Print the answer while it is written. Ctrl-C stops it; what was written stays in the conversation."""
        message = {"role": "user", "content": text}
        ids = self.fit(message)
        stream = Stream(ids, self.tokenizer, self.behind)
        try:
            self.model.generate(
                [ids], min(self.most, self.model.context_length - len(ids)), eos_token_id=self.ends, each=stream.show,
                seed=self.seed + (self.answers << 32), kept=self.kept, **self.options,
            )  # fmt: skip
            stream.end()
        except KeyboardInterrupt:
            stream.end()
            click.echo("stopped", err=True)
        self.answers += 1
        if stream.text:
            self.messages += [message, {"role": "assistant", "content": stream.text}]

    def fit(self, message: dict) -> list[int]:
        """The ids of the conversation with one more message. The oldest messages are forgotten to make room.

        Raises DataError when the message alone is too long.
        """
        context, dropped = self.model.context_length, 0
        while True:
            ids = self.encode([*self.messages, message] if self.form == "chat" else message["content"])
            if len(ids) + min(self.most, context // 4) <= context:
                break
            if self.form != "chat" or not self.messages:
                raise DataError(f"the message has {len(ids)} tokens, which leaves too few of the context of {context}")
            del self.messages[:2]
            dropped += 2
        if dropped:
            click.echo(
                f"note: the context of {context} tokens is full; the oldest {dropped} messages are forgotten", err=True
            )
        return ids
