"""The report in a real browser, without a network: Debian's chromium, without a screen."""

import shutil

import pytest
from tests.report.reported import small_run, write_table

import siamese

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed (apt-get install chromium)", allow_module_level=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    root = tmp_path_factory.mktemp("browsed")
    run = small_run(write_table(root / "people"), root / "run", plots=False, baselines=[])
    return siamese.write_report(run).as_uri()


def test_it_opens_without_a_request_or_an_error_and_shows_values(address):
    with playwright.sync_playwright() as runner:
        try:
            browser = runner.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"chromium does not start: {error}"[:300])
        said, asked, papers = [], [], set()
        for scheme, width in (("light", 1280), ("dark", 360)):
            size = {"width": width, "height": 800}
            context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
            assert page.evaluate(broken) == 0
            assert page.evaluate("document.images.length") > 10
            picture = page.locator('figure[data-chart="distances-0"] .picture')
            picture.scroll_into_view_if_needed()
            box = picture.bounding_box()
            for share in (0.3, 0.5, 0.7, 0.9):
                page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.75 * box["height"])
                if page.locator("#tip").is_visible():
                    break
            assert "pairs (" in page.locator("#tip").inner_text()
            page.mouse.move(1, 1)
            assert page.locator("#tip").is_hidden()
            context.close()
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address, address]
    assert len(papers) == 2
