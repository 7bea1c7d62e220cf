"""`minilora serve`: one base and many adapters behind OpenAI's API."""

import contextlib
from pathlib import Path

import click

from ..errors import ConfigError
from .common import device_option, quantize_option

PACKAGES = ("fastapi", "uvicorn", "starlette", "prometheus_client", "pydantic", "pydantic_core")  # of the extra `serve`


def _modules(ctx, param, value):  # ("name=path", ...) -> [(name, Path)]
    found = []
    for text in value:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"--lora-modules {text!r}: expected NAME=DIR")
        if name in dict(found):
            raise ConfigError(f"--lora-modules: the name {name!r} is there twice")
        found.append((name, Path(path)))
    return found


class ModulesCommand(click.Command):
    """A command where `--lora-modules a=x b=y` means `--lora-modules a=x --lora-modules b=y`, as vLLM takes it."""

    def parse_args(self, ctx, args):
        spread, within = [], False
        for arg in args:
            if arg.startswith("-"):
                within = arg == "--lora-modules"
            elif within and spread[-1] != "--lora-modules":
                spread.append("--lora-modules")
            spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=ModulesCommand)
@click.option(
    "--base",
    metavar="DIR",
    help="Folder of the base model, or its name on the hub.  [default: the shipped base]",
)
@quantize_option
@click.option("--served-model-name", metavar="NAME", help="Name of the base for clients.  [default: its folder's name]")
@click.option(
    "--lora-modules",
    multiple=True,
    metavar="NAME=DIR...",
    callback=_modules,
    help="Adapters that are loaded at the start.",
)
@click.option(
    "--lora-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Folder whose subfolders are adapters: each answers to its name and is loaded on demand.",
)
@click.option(
    "--max-loras",
    default=32,
    show_default=True,
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Different adapters in one batch.",
)
@click.option(
    "--max-cpu-loras",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Adapters in memory.  [default: 64, or --max-loras if that is more]",
)
@click.option(
    "--max-lora-rank",
    default=64,
    show_default=True,
    type=click.IntRange(1, 65536),
    metavar="R",
    help="Highest rank of an adapter.",
)
@click.option(
    "--max-num-seqs",
    default=64,
    show_default=True,
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Answers that are written at once.",
)
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="N",
    help="Most tokens of a prompt and its answer.  [default: as many as the base has places]",
)
@click.option(
    "--allow-runtime-lora-updating",
    is_flag=True,
    help="Let clients load and unload adapters of --lora-dir. For a network that you trust.",
)
@click.option(
    "--api-key", metavar="KEY", envvar="MINILORA_API_KEY", help="Key that clients must send.  [default: any key passes]"
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: any free one.")
@device_option
def serve(
    base, served_model_name, lora_modules, lora_dir, max_loras, max_cpu_loras, max_lora_rank, max_num_seqs,
    max_model_len, allow_runtime_lora_updating, api_key, host, port, device, quantize,
):  # fmt: skip
    """Serve a base and many adapters: an adapter is a model's name in OpenAI's API. `/` is a page to try it.

    Without options it serves the shipped base with two shipped adapters. Ctrl-C or SIGTERM ends it.
    """
    with need_server():
        from ..serving.listener import HttpServer, listen, shown_address
        from ..serving.start import start_server

    modules = lora_modules or ([] if base or lora_dir else None)
    server = start_server(
        base, modules, lora_dir, served_model_name, max_loras=max_loras,
        max_cpu_loras=max_cpu_loras or max(64, max_loras), max_rank=max_lora_rank, max_rows=max_num_seqs,
        max_model_len=max_model_len, may_load=allow_runtime_lora_updating, api_key=api_key, device=device,
        quantize=quantize,
    )  # fmt: skip
    listener = listen(host, port)
    names = [card["id"] for card in server.cards()]
    click.echo(f"base {names[0]}, adapters: {', '.join(names[1:21]) or 'none'}{' ...' if len(names) > 21 else ''}")
    click.echo(f"open http://{shown_address(host)}:{listener.getsockname()[1]}/  (Ctrl-C ends)")
    HttpServer(server, host).run(sockets=[listener])


@contextlib.contextmanager
def need_server():
    """Says in one line what to install when a package of the extra `serve` is missing."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise ConfigError(f"minilora serve needs {error.name}: pip install 'minilora[serve]'") from error
