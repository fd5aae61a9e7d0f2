"""The documentation site: every public name and page has a place, every drawing is true.

That no link or anchor is broken is MkDocs' to say: `make docs`.
"""

import doctest
import inspect
import re
import sys
from html.parser import HTMLParser

import pytest
import yaml
from tests.documents.examples import PAGES, ROOT

import siamese

TOOLS = ROOT / "docs" / "tools"
sys.path.insert(0, str(TOOLS))

import public_names  # noqa: E402


def test_every_public_name_is_in_the_reference():
    listed = public_names.public_names()
    assert {*listed, "__version__"} == set(siamese.__all__)


def test_names_of_the_reference_are_where_they_are_said_to_be():
    for name, path in public_names.public_names().items():
        value = getattr(siamese, name)
        if not inspect.isroutine(value) and not inspect.isclass(value):
            continue  # a registry
        module = value.__module__
        ours = path.rpartition(".")[0]
        assert module == ours or not module.startswith("siamese"), f"{name}: {module}, {ours}"


def test_examples_of_the_tools_are_right():
    import site_links

    for module in (public_names, site_links):
        done = doctest.testmod(module)
        assert done.attempted
        assert not done.failed


def test_no_two_groups_share_a_page():
    files = [public_names.file_name(group) for group in public_names.groups()]
    assert len(files) == len(set(files))


def pages_of(nav):
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_has_its_place():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    there = {page for page in pages_of(settings["nav"]) if not page.startswith("generated")}
    assert there == {page.name for page in PAGES if page.name != "README.md"}


def test_nothing_comes_from_elsewhere():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    own = [
        ROOT / "mkdocs.yml",
        *TOOLS.glob("*.css"),
        *TOOLS.glob("*.js"),
        *(ROOT / "docs" / "images").rglob("*.svg"),
    ]
    for file in own:
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), file


class Tags(HTMLParser):
    """Which tags of HTML are open at the end of a text."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


DRAWN = [page for page in PAGES if "<svg" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", DRAWN, ids=lambda page: page.name)
def test_drawings_in_pages_are_whole(page):
    for drawing in re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        tags = Tags()
        tags.feed(drawing)
        assert not tags.open
        assert "aria-label" in drawing
        assert "\n\n" not in drawing  # Markdown would end the block there


def test_networks_are_drawn_as_they_are():
    import draw_networks

    for name, (title, network, images) in draw_networks.networks().items():
        drawn = draw_networks.draw(title, draw_networks.rows_of(network, images), images)
        kept = (draw_networks.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
        assert drawn == kept, "python docs/tools/draw_networks.py"
        # The rows leave out what a drawing has no row for; nothing that is learned is.
        total = sum(p.numel() for p in network.parameters() if p.requires_grad)
        said = int(re.search(r">([\d,]+) parameters</text>", drawn)[1].replace(",", ""))
        assert said == total, name


@pytest.mark.parametrize(
    ("target", "page", "expected"),
    [
        ("../benchmarks/RESULTS.md", "learning.md", "generated/benchmarks.md"),
        ("../docs/search.md", "generated/benchmarks.md", "../search.md"),
        ("docs/app.md", "generated/changelog.md", "../app.md"),
        ("../README.md", "search.md", "index.md"),
        ("../notebooks/01_train.ipynb", "index.md", "files/notebooks/01_train.ipynb"),
        ("search.md", "index.md", "search.md"),
        ("no_such.md", "index.md", "no_such.md"),
        ("https://example.org/a.md", "index.md", "https://example.org/a.md"),
    ],
)
def test_links_between_files_become_links_of_the_site(target, page, expected):
    import site_links

    assert site_links.site_link(target, page) == expected
