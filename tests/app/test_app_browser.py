"""The page in a real browser: Debian's chromium, without a screen."""

import os
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from tests.app.stage import calibration, photograph, small_bundle, small_gallery

import siamese
from siamese.app.folder import FolderFigures
from siamese.app.server import Loaded, make_app
from siamese.app.serving import listen

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed (apt-get install chromium)", allow_module_level=True)
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
# Beyond it a page is too slow: each step takes some milliseconds, and the machine may be busy.
PATIENCE = 15_000
# What a screen reader is told, and what may be read, has this contrast (WCAG 2.2, AA).
CONTRAST = 4.5


class Evaluated(FolderFigures):
    """Figures of a folder without a folder."""

    def __init__(self):
        super().__init__("people", lambda: None)
        made = calibration()
        self._counts = made
        self._state = {
            "state": "done", "people": 30, "images": 180, "genuine": made.curve.genuine,
            "impostor": made.curve.impostor, "auc": 0.9, "eer": 0.1, "left_out": {"bad": 2},
            "ci95": {"auc": [0.8, 0.95]}, "notes": ["a note"], "at": self.at(made.threshold),
        }  # fmt: skip


@contextmanager
def serving(loaded):
    place = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(make_app(loaded), log_level="error", lifespan="off", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        place.close()


@pytest.fixture(scope="module")
def address():
    verifier = siamese.Verifier(small_bundle())
    with serving(Loaded(verifier, small_gallery(verifier), Evaluated())) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as runner:
        try:
            found = runner.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        except playwright.Error as error:
            pytest.skip(f"chromium does not start: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def pages(browser, address):
    """Opens pages, and fails for errors in them, and for requests to another host."""
    wrong, contexts = [], []

    def opened(width=1280, height=900, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: _note(said, wrong))
        page.on("request", lambda asked: _check_host(asked.url, address, wrong))
        page.goto(address)
        page.wait_for_selector("#verify .well")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _note(said, wrong):
    # The browser notes every answer that is an error; those are expected where files are wrong.
    if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
        wrong.append(said.text)


def _check_host(url, address, wrong):
    if not url.startswith((address, "blob:", "data:")):
        wrong.append(url)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, content in (
        ("a.png", photograph(1)),
        ("b.png", photograph(2)),
        ("text.jpg", b"no image"),
        ("huge.jpg", b"\xff\xd8\xff" + bytes(20_000_001)),
        ("empty.png", b""),
    ):
        (folder / name).write_bytes(content)
    return folder


def choose(page, place, path, tab="verify"):
    page.locator(f"#{tab} input[type=file]").nth(place).set_input_files(str(path))


def drop(page, selector, *paths):
    """Drop files, as from a folder's window."""
    given = [(path.name, list(path.read_bytes())) for path in paths]
    data = page.evaluate_handle(
        """files => {
            const data = new DataTransfer();
            for (const [name, bytes] of files) {
                data.items.add(new File([new Uint8Array(bytes)], name));
            }
            return data;
        }""",
        given,
    )
    page.dispatch_event(selector, "drop", {"dataTransfer": data})


def changed(page, selector, before):
    """Wait until a part of the page reads otherwise."""
    shown = page.locator(selector).first
    playwright.expect(shown).not_to_have_text(before, use_inner_text=True, timeout=PATIENCE)


def keep(page, name):
    """Keep a picture of the page where somebody wants to look at it."""
    if folder := os.environ.get("SIAMESE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_two_photographs_that_are_dropped(pages, files):
    page = pages()
    drop(page, "#verify .well >> nth=0", files / "a.png", files / "b.png")
    page.wait_for_selector("#verify .answer h2")
    verdict = page.inner_text("#verify .verdict")
    expected = siamese.Verifier(small_bundle()).verify(files / "a.png", files / "b.png")
    title = "Same identity" if expected.same else "Different identities"
    assert title in verdict
    assert f"{expected.distance:.4f}" in verdict
    assert title in page.inner_text("#said")
    assert f"{expected.distance:.4f}" in page.get_attribute(".chart svg", "aria-label")
    assert page.locator("#verify .chip img").count() == 2
    assert "the whole picture is compared" in page.inner_text("#verify")
    assert "null" not in page.inner_text("#verify")
    keep(page, "verdict")


def test_sliding_changes_counts_and_verdict(pages, files):
    page = pages()
    for place, name in enumerate(("a.png", "b.png")):
        choose(page, place, files / name)
    page.wait_for_selector("#verify .answer")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.select_option("#verify select", "given")
    slider = page.locator("#verify input[type=range]")
    slider.focus()
    page.keyboard.press("End")  # by keyboard, to a distance that accepts every pair
    # The select has changed the counts as well, so that it is waited for what is to be read.
    missed = page.locator("#verify .counts td.wrong").first
    playwright.expect(missed).to_have_text(re.compile(r"^0\D"), timeout=PATIENCE)
    threshold = float(page.inner_text("#verify .slider output"))
    assert f"threshold {threshold:.4f}" in page.inner_text("#verify .verdict .numbers")
    page.select_option("#verify select", "fmr")
    page.locator("#verify input[type=range]").focus()
    page.keyboard.press("End")
    page.wait_for_selector("#verify .promise:not(:empty)")
    said = page.locator("#verify .policy")
    playwright.expect(said).to_contain_text("Chosen for a false match rate of at most 0.5.")
    page.keyboard.press("Home")  # 1 in 100,000 cannot be known from these pairs
    page.wait_for_selector("#verify .policy .error:not(:empty)")
    assert "rule of 30" in page.inner_text("#verify .policy .error")
    assert "1 in 100,000" in page.get_attribute("#verify input[type=range]", "aria-valuetext")
    assert not any("verify" in url for url in asked)  # no photograph was sent again
    keep(page, "error")


def test_wrong_files_and_huge_ones(pages, files):
    page = pages()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    choose(page, 0, files / "huge.jpg")
    first = page.locator("#verify .well").nth(0)
    first.locator(".error:not(:empty)").wait_for()
    assert "20.0 MB" in first.inner_text()
    choose(page, 0, files / "empty.png")
    assert "empty" in first.inner_text()
    assert not any("/api/" in url for url in sent)  # known here already
    choose(page, 0, files / "text.jpg")
    choose(page, 1, files / "b.png")
    first.get_by_text("Not an image in a known format").wait_for()
    choose(page, 0, files / "a.png")  # and it goes on
    page.wait_for_selector("#verify .answer")
    assert first.locator(".error").inner_text() == ""


def test_two_pages_at_once(pages, files):
    one, other = pages(), pages()
    for page in (one, other):
        choose(page, 0, files / "a.png")
    choose(one, 1, files / "b.png")
    choose(other, 1, files / "a.png")
    for page in (one, other):
        page.wait_for_selector("#verify .answer")
    assert "distance 0.0000" in other.inner_text("#verify .numbers")
    assert "distance 0.0000" not in one.inner_text("#verify .numbers")


def test_a_photograph_by_the_camera(pages):
    page = pages()
    page.get_by_role("button", name="Take first photograph with the camera").click()
    page.get_by_role("button", name="Take the photograph").click()
    page.wait_for_selector("#verify .stage.full img")
    page.get_by_role("button", name="Take second photograph with the camera").click()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_search_shows_names_as_text(pages, files):
    page = pages()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # to the second tab
    assert page.get_attribute("#tab-search", "aria-selected") == "true"
    choose(page, 0, files / "a.png", "search")
    page.wait_for_selector("#search .found")
    assert page.inner_text("#search .found h2") == "Bob <b>"
    assert "Bob <b>" in page.inner_text("#said")
    before = page.inner_text("#search .numbers")
    page.locator("#search input[type=range]").focus()
    page.keyboard.press("End")
    changed(page, "#search .numbers", before)
    keep(page, "search")


def test_the_figures_of_a_folder(pages):
    page = pages()
    page.click("#tab-figures")
    page.wait_for_selector("#figures .counts")
    text = page.inner_text("#figures")
    for words in ("30", "180", "2 images left out", "a note", "0.900"):
        assert words in text
    before = page.inner_text("#figures .counts")
    page.select_option("#figures select", "recall")
    changed(page, "#figures .counts", before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_it_fits_and_can_be_read(pages, files, width, scheme):
    page = pages(width, 800, color_scheme=scheme, reduced_motion="reduce")
    for place, name in enumerate(("a.png", "b.png")):
        choose(page, place, files / name)
    page.wait_for_selector("#verify .answer")
    for tab in ("verify", "search", "figures"):
        page.click(f"#tab-{tab}")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, tab
        box = page.locator(f"#tab-{tab}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        cut = page.evaluate(
            f"(t => t.scrollWidth > t.clientWidth)(document.getElementById('tab-{tab}'))"
        )
        assert not cut, tab
        keep(page, f"{tab}-{width}-{scheme}")
    assert page.evaluate(_CONTRASTS) >= CONTRAST
    assert page.evaluate(_UNNAMED) == []


def test_how_rates_are_written(pages):
    page = pages()
    found = page.evaluate(
        """async () => {
            const { rate, interval, sentence } = await import("./numbers.js");
            return [
                [0.00079, 1e-7, 0.0012, 0.01, 0.9484, 0.99948, 0.99996, 0, 1].map((n) => rate(n)),
                [[[0.00065, 0.00102], 0.00079], [[0.9991, 1], 1], [[0, 0.00021], 0]]
                    .map(([ends, value]) => interval(ends, value)),
                ["hep: no such folder", "not found", "at most 7.9e-4"].map(sentence),
            ];
        }"""
    )
    assert found == [
        ["0.00079", "0.00000010", "0.0012", "0.010", "0.948", "0.999", "over 0.999", "0", "1"],
        ["0.00065 to 0.00102", "0.999 to 1", "0 to 0.00021"],
        ["hep: no such folder.", "Not found.", "At most 0.00079."],
    ]


@pytest.mark.parametrize("width", [320, 1280])
def test_labels_of_the_chart_and_lines_keep_apart(pages, width):
    page = pages(width)
    crossed = page.evaluate(
        """async () => {
            const { Chart } = await import("./chart.js");
            const words = { same: "same", different: "different" };
            const edges = Array.from({ length: 11 }, (_, i) => i / 5);
            const counts = Array(10).fill(1);
            const chart = new Chart({ edges, genuine: counts, impostor: counts }, words);
            document.querySelector("#verify").append(chart.node);
            const found = [];
            for (let a = 0; a <= 40; a += 1) for (let b = 0; b <= 40; b += 1) {
                const [threshold, distance] = [a / 20, b / 20];
                chart.state = { at: { threshold }, distance };
                chart.draw();
                const box = (name) => chart.node.querySelector(name).getBoundingClientRect();
                const [label, line] = [box("text.limit"), box("line.own")];
                const [own, svg] = [box("text.own"), box("svg")];
                if (line.left < label.right && line.right > label.left) found.push([a, b]);
                if (own.bottom > label.top + 3) found.push("labels");
                if (label.left < svg.left || label.right > svg.right) found.push("outside");
            }
            return found;
        }"""
    )
    assert crossed == []
    page.locator("#verify .axisname").first.get_by_text("a scale of its own").wait_for()


def test_two_who_are_equally_near_are_both_said(browser, files):
    verifier = siamese.Verifier(small_bundle())
    gallery = siamese.Gallery(verifier)
    for name in ("Ann", "Twin", "Zoe"):
        gallery.enrol(name, [files / ("b.png" if name == "Zoe" else "a.png")])
    with serving(Loaded(verifier, gallery)) as url:
        page = browser.new_page()
        page.goto(f"{url}#search")
        page.wait_for_selector("#search .well")
        choose(page, 0, files / "a.png", "search")
        page.wait_for_selector("#search .found")
        assert page.inner_text("#search .tie") == "equally near: Twin"
        assert "Ann or Twin" in page.inner_text("#said")
        page.close()


def test_without_gallery_and_folder_it_says_how(browser):
    with serving(Loaded(siamese.Verifier(small_bundle()))) as url:
        page = browser.new_page()
        page.goto(f"{url}#search")
        page.wait_for_selector("#search .how")
        assert "siamese enrol" in page.inner_text("#search")
        page.click("#tab-figures")
        assert "--data" in page.inner_text("#figures")
        page.close()


def test_a_bundle_without_calibration(browser, files):
    point = siamese.OperatingPoint(0.5, "given", "euclidean", "nothing", {"name": "all_pairs"})
    bare = siamese.Verifier(small_bundle(operating_point=point, calibration=None))
    with serving(Loaded(bare)) as url:
        page = browser.new_page()
        page.goto(url)
        for place, name in enumerate(("a.png", "b.png")):
            choose(page, place, files / name)
        page.wait_for_selector("#verify .answer")
        assert "keeps no calibration" in page.inner_text("#verify")
        page.select_option("#verify select", "given")
        page.locator("#verify input[type=range]").focus()
        page.keyboard.press("Home")
        playwright.expect(page.locator("#verify .numbers")).to_contain_text("> threshold 0.0000")
        assert "null" not in page.inner_text("#verify")
        page.close()


def test_it_says_when_the_server_is_gone(browser, files):
    with serving(Loaded(siamese.Verifier(small_bundle()))) as url:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#verify .well")
    for place, name in enumerate(("a.png", "b.png")):
        choose(page, place, files / name)
    page.wait_for_selector("#verify .verdict [role=alert]")
    assert "start it again" in page.inner_text("#verify .verdict")
    page.close()


# The least contrast of a text on the page with what is behind it.
_CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const found = parts(getComputedStyle(each).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  let least = 21;
  const texts = "h1, h2, p, th, td, label, button, span, output, small, footer, select";
  for (const node of document.querySelectorAll(texts)) {
    if (!node.innerText?.trim()) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
}"""
# Controls and pictures without a name.
_UNNAMED = """() => [...document.querySelectorAll("button, select, input, img, [role=img]")]
  .filter((node) => !node.getAttribute("aria-label") && !node.alt)
  .filter((node) => !node.labels?.length && !node.innerText?.trim())
  .map((node) => node.outerHTML)"""
