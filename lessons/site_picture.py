"""The picture of the site in the README: python lessons/site_picture.py writes lessons/figures/site.png.

Needs minilora[lessons,browser] and a Chromium on the path.
"""

import functools
import http.server
import shutil
import tempfile
import threading
from pathlib import Path

import build
import site_pages
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "figures" / "site.png"
SHOWN = "00_a_lora_in_sixty_seconds.html"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *of_a_request):
        pass


def take(folder: Path, picture: Path) -> None:
    """Photograph lesson 0 of the site in `folder`, where one asks the base with the adapter off and on."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 800}, reduced_motion="reduce")
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/{SHOWN}")
        panel = page.locator("figure.panel").first
        panel.scroll_into_view_if_needed()
        page.wait_for_function(
            "document.querySelector('figure.panel').textContent.includes('seconds, in this page')"
        )
        page.evaluate(
            "scrollBy(0, document.querySelector('figure.panel').getBoundingClientRect().top - 190)"
        )
        page.wait_for_timeout(300)  # the rail follows
        page.screenshot(path=picture)
        browser.close()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        site_pages.write_live_site(build.sources(), Path(folder))
        take(Path(folder), PICTURE)
    print(f"written: {PICTURE}")
