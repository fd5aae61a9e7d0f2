"""What a page consists of: sections with text, charts, tables and galleries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from siamese.report.inline_svg import Chart


@dataclass(frozen=True)
class PageTable:
    """A table.

    Attributes:
        caption: above it.
        header: of its columns.
        rows: of text; the first cell of each is its heading.
        note: below it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class PageImage:
    """An image of a gallery; ``picture`` is a JPEG in base64, or empty."""

    file: str
    identity: str
    picture: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class PagePair:
    """Two images, and what is said of them; ``right`` is None for an image alone."""

    left: PageImage
    right: PageImage | None
    said: str = ""


@dataclass(frozen=True)
class PageGallery:
    """Pairs, or images alone.

    Attributes:
        title: above it.
        said: below the title.
        pairs: what it shows.
    """

    title: str
    said: str
    pairs: Sequence[PagePair]


@dataclass(frozen=True)
class PageSection:
    """A section of the page.

    Attributes:
        name: its anchor, letters and hyphens.
        title: of it; also in the table of contents.
        said: paragraphs, first of all.
        charts, tables, galleries: in this order after them.
        points: a list of sentences, at the end.
        folded: (title, text) shown on demand, as it is written.
    """

    name: str
    title: str
    said: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[PageTable] = ()
    galleries: Sequence[PageGallery] = ()
    points: Sequence[str] = ()
    folded: Sequence[tuple[str, str]] = field(default_factory=tuple)
