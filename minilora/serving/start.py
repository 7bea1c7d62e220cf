"""A server from files: what `minilora serve` does before it listens, and what a test or a lesson calls."""

from collections.abc import Iterable
from pathlib import Path

from ..adapters.inject import AdaptedModel
from ..errors import ConfigError, printable
from ..files.shipped import shipped
from ..models.pretrained import base_folder, load_base
from .api import Server
from .asking import Asking
from .engine import Engine
from .names import check_name
from .pool import Pool

SHIPPED = ("style-crier", "style-json")  # two adapters of the shipped base


def start_server(
    base: str | None = None,
    modules: Iterable[tuple[str, Path]] | None = (),
    folder: Path | None = None,
    name: str | None = None,
    *,
    max_loras: int = 32,
    max_cpu_loras: int = 64,
    max_rank: int = 64,
    max_rows: int = 64,
    max_model_len: int | None = None,
    may_load: bool = False,
    api_key: str | None = None,
    device: str = "cpu",
    quantize: str | None = None,
) -> Server:
    """A Server with its base and adapters loaded; its engine does not run yet (`create_app` starts it).

    base, folder, quantize: as for `minilora serve`; modules: [(name, folder)] of adapters; None: the two shipped ones.
    The rest as for Pool and Engine. Raises MiniloraError.
    """
    home = base_folder(base)
    name = name or home.resolve().name
    if not name.isprintable():
        raise ConfigError(
            f"the name of the base is {printable(name)}: expected printable characters; see --served-model-name"
        )
    model, tokenizer = load_base(base, device, quantize)
    model.eval()
    pool = Pool(
        AdaptedModel(model), max_loras, max_cpu_loras, max_rank, folder,
        describe=lambda path: Asking.of(path, home, model.config, tokenizer),
    )  # fmt: skip
    engine = Engine(model, pool, max_rows, max_model_len)
    server = Server(engine, tokenizer, home, name, may_load=may_load, api_key=api_key)
    if modules is None:
        modules = [(adapter, shipped(f"adapters/{adapter}")) for adapter in SHIPPED]
    modules = list(modules)
    if name in [*(adapter for adapter, _ in modules), *(found for found, _, _ in pool.names())]:
        raise ConfigError(f"adapter {name!r} has the name of the base: choose another, or --served-model-name")
    for adapter, path in modules:
        check_name(adapter)
        pool.add(adapter, path)
    return server
