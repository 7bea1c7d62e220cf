"""The site, built once for the tests of its look, its reference and its search."""

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

import pytest

LESSONS = Path(__file__).parents[2] / "lessons"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the site, without Pyodide."""
    for library in ("nbformat", "jupytext", "latex2mathml", "mdit_py_plugins", "griffe"):
        pytest.importorskip(library)
    sys.path.insert(0, str(LESSONS))
    try:
        import build
        import site_pages
    finally:
        sys.path.remove(str(LESSONS))
    folder = tmp_path_factory.mktemp("built")
    site_pages.write_live_site(build.sources(), folder)
    return folder


@pytest.fixture(scope="module")  # no longer: while Playwright runs, no other test may start a loop of asyncio
def opened(built):
    """A function of (width, "light" or "dark") -> a new page of Chromium, with the address of the site as `site`."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs Chromium")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=built)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def new(width, scheme="light"):
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
            )
            page.site = f"http://127.0.0.1:{server.server_address[1]}"
            return page

        yield new
        browser.close()
    server.shutdown()
    server.server_close()
