"""Links between files of the repository, as links between pages of the documentation site."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Documents outside of docs/ that have a page of the site: file -> page.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "generated/changelog.md",
    "CONTRIBUTING.md": "generated/contributing.md",
    "benchmarks/RESULTS.md": "generated/benchmarks.md",
}


def site_link(target: str, page: str) -> str:
    """The link of the site for a link in a document of the repository.

    >>> site_link("../benchmarks/RESULTS.md", "learning.md")
    'generated/benchmarks.md'
    >>> site_link("../docs/search.md", "generated/benchmarks.md")
    '../search.md'
    >>> site_link("https://example.org", "learning.md")
    'https://example.org'
    """
    if "://" in target or target.startswith("mailto:"):
        return target
    origin = next((source for source, at in PAGES.items() if at == page), None)
    folder = posixpath.dirname(
        origin if page.startswith("generated/") and origin else f"docs/{page}"
    )
    there = posixpath.normpath(posixpath.join(folder, target))
    if there in PAGES:
        there = PAGES[there]
    elif there.startswith("docs/"):
        there = there.removeprefix("docs/")
    elif (ROOT / there).is_file():
        there = f"files/{there}"
    else:
        return target
    return os.path.relpath(there, posixpath.dirname(page) or ".").replace(os.sep, "/")
