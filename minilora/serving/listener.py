"""The socket that a server listens on, and how it ends: within five seconds, whatever its clients do."""

import asyncio
import gc
import logging
import socket

import uvicorn

from ..errors import ConfigError
from .api import Server, create_app

GRACE = 2  # seconds in which running answers may end by themselves; then the engine ends them
LIMIT = 3  # seconds after which connections are closed, also of clients that do not read


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError when the system refuses the address or the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from now on a client waits instead of being refused
    except OSError as error:
        listener.close()
        said = error.strerror or error
        raise ConfigError(f"cannot listen on {host} port {port}: {said}; try another --port") from error
    return listener


def shown_address(host: str) -> str:
    """What a browser opens. A server on all addresses (0.0.0.0, ::) is opened by the one that others reach it by."""
    if host not in ("", "0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses the address to send from
            return probe.getsockname()[0]
        except OSError:  # there is no network
            return "127.0.0.1"


class HttpServer(uvicorn.Server):
    """uvicorn, which on a signal lets running answers end, and after a while ends them."""

    def __init__(self, server: Server, host: str):
        self.engine = server.engine
        super().__init__(
            uvicorn.Config(
                create_app(server, host), log_level="warning", timeout_graceful_shutdown=LIMIT, lifespan="on", ws="none"
            )
        )
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).addFilter(is_worth_a_line)

    async def startup(self, sockets=None) -> None:
        """Begin. Called by uvicorn."""
        gc.collect()
        gc.freeze()  # Python's search for unused objects leaves out all that are here now: a step waited 40 ms for it
        await super().startup(sockets)

    async def shutdown(self, sockets=None) -> None:
        """End. Called by uvicorn."""
        asyncio.get_running_loop().call_later(GRACE, self.engine.end)
        await super().shutdown(sockets)


def is_worth_a_line(record) -> bool:
    """Whether the log shows a record. False for clients that left, and for their work, which is cancelled."""
    ended = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not ended and not record.getMessage().startswith(("Cancel ", "socket.send() raised"))
