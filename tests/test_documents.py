"""The documents keep their word: links resolve, examples parse, nothing is left to be filled in."""

import ast
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/app.md",
        "docs/auditing.md",
        "docs/export.md",
        "docs/large_data.md",
        "docs/learning.md",
        "docs/lists.md",
        "docs/model_cards.md",
        "docs/privacy.md",
        "docs/quality.md",
        "docs/report.md",
        "docs/scale.md",
        "docs/search.md",
        "docs/security.md",
        "docs/several_machines.md",
        "docs/sorting.md",
        "benchmarks/RESULTS.md",
    )
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_resolve_and_nothing_is_open(path):
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text
    assert "TODO" not in text
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_python_examples_parse_and_name_what_exists():
    import siamese

    examples = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert examples
    for example in examples:
        for node in ast.walk(ast.parse(example)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "siamese"
            ):
                assert hasattr(siamese, node.attr), node.attr


def test_commands_in_the_readme_are_accepted():
    from siamese.cli.overrides import complete_overrides
    from siamese.cli.train import config_folder

    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```console\n(.*?)```", readme, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    commands = [
        shlex.split(line, comments=True)[3:] for line in lines if line.startswith("$ siamese train")
    ]
    assert len(commands) >= 6
    for words in commands:
        if "--config-dir" in words:  # of the reader's own; tests/test_plugins.py runs one
            continue
        complete_overrides(words, config_folder())


def test_prose_keeps_to_100_columns():
    for path in DOCUMENTS:
        code = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            if not code and not line.lstrip().startswith("|"):
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
