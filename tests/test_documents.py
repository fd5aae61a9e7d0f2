"""The documents keep their word: links resolve, nothing is left to be filled in.

Their examples are run in tests/documents.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "RESULTS.md",
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_resolve_and_nothing_is_open(path):
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text
    assert "TODO" not in text
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_the_readme_is_short_and_names_what_runs():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 1100  # read aloud in a few minutes, tables and code aside
    commands = ("`make test`", "$ make demo", "$ siamese verify", "$ siamese train")
    for needed in (*commands, "siamese.calibrate", "ThresholdCalibrator"):
        assert needed in text


def test_prose_keeps_to_100_columns():
    for path in DOCUMENTS:
        code = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            # Nor tables and drawings.
            if not code and not line.lstrip().startswith(("|", "<")):
                assert len(line) <= 100, f"{path.name}, line {number}"


def test_every_claim_about_security_names_a_test_that_is_there():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [r for r in text.splitlines() if r.startswith("| ") and "tested by" not in r]
    assert len(rows) >= 20
    for row in rows:
        (file, _, name), *more = (
            found.partition("::") for found in re.findall(r"`(tests/[^`]+)`", row)
        )
        assert not more, row
        code = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in code if name else "def test_" in code, row
