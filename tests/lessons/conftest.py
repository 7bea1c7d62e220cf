"""The site, built once for the tests of its look, its reference and its search."""

import shutil

import pytest
from folder_server import served


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the site, without Pyodide."""
    from lesson_modules import build, site_pages

    folder = tmp_path_factory.mktemp("built")
    site_pages.write_live_site(build.sources(), folder)
    return folder


@pytest.fixture(scope="module")  # no longer: while Playwright runs, no other test may start a loop of asyncio
def opened(built):
    """A function of (width, "light" or "dark") -> a new page of Chromium, with the address of the site as `site`."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("needs Chromium")
    with served(built) as address, sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def new(width, scheme="light"):
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
            )
            page.site = address
            return page

        yield new
        browser.close()
