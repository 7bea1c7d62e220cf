"""A server that listens in a thread of the test, on the shipped base."""

import contextlib
import threading
import time

from minilora.serving.listener import HttpServer, listen
from minilora.serving.start import start_server


@contextlib.contextmanager
def served(host="127.0.0.1", **options):  # -> Server, its URL
    """Listen until the block ends. options: of `start_server`."""
    server = start_server(**options)
    listener = listen(host, 0)
    running = HttpServer(server, host)
    thread = threading.Thread(target=lambda: running.run(sockets=[listener]))
    thread.start()
    try:
        while not running.started and thread.is_alive():
            time.sleep(0.01)
        yield server, f"http://{host}:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
