"""The examples of the documents: blocks of code, console lines, and whether they are to be run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: ([^>]+) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the document.
        line: of its first line of code, from 1.
        language: as written after the fence.
        code: without the fence.
        not_run: the reason that stands before it, or None.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a document in these languages, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        if match[2] in languages:
            reason = _NOT_RUN.search(text[: match.start()])
            line = text[: match.start()].count("\n") + 2
            found.append(Block(page, line, match[2], match[3], reason and reason[1]))
    return found


def commands(page: Path) -> list[list[str]]:
    """The words after ``siamese`` of every console line of a document that starts it."""
    found = []
    for block in blocks(page, "console", "bash", "sh"):
        for line in block.code.replace("\\\n", " ").splitlines():
            words = line.removeprefix("$ ")
            if words != line and re.match(r"(torchrun .* -m )?siamese\b", words):
                words = words[words.index("siamese") :]
                found.append(shlex.split(words, comments=True)[1:])
    return found


def spoken_of(page: Path) -> list[list[str]]:
    """The words after ``siamese`` of every command that stands in the prose of a document."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found = []
    for code in re.findall(r"`(siamese [a-z][^`]*)`", text):
        try:
            found.append(shlex.split(code)[1:])
        except ValueError:
            continue
    return found
