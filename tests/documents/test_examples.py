"""Every example of the documentation: Python is run, commands go through the real parsers."""

import ast
import re
import shutil
from pathlib import Path

import pytest
from tests.documents.examples import PAGES, ROOT, blocks, commands, spoken_of
from tests.documents.world import given

import siamese
from siamese.cli.main import COMMANDS, Parser, _parsers
from siamese.cli.overrides import complete_overrides
from siamese.cli.train import config_folder

# What takes minutes where a reader has it, made short: a run of one epoch of two batches.
SHORTER = {
    "max_epochs=20)": "max_epochs=1, plots=False, baselines=[], "
    "trainer={'limit_train_batches': 2})",
    "pl.Trainer(max_epochs=5,": "pl.Trainer(max_epochs=1, limit_train_batches=2,",
}
# Pages that train, beside the README, which trains alike: `make test-docs` runs them.
LONG = {"index.md"}


def name(page):
    return page.name


def with_python():
    return [page for page in PAGES if blocks(page, "python")]


def run_page(page):
    """All blocks of Python of a page in one namespace, as somebody who reads it from the top."""
    namespace = {"__name__": page.stem, **given()}
    examples = blocks(page, "python")
    if any("siamese.train(" in block.code for block in examples):
        shutil.rmtree("runs/mine")  # the page makes it
    for block in examples:
        code = block.code
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        # Errors name the document's line.
        program = compile("\n" * (block.line - 1) + code, str(page), "exec")
        if not block.not_run:
            exec(program, namespace)


@pytest.mark.parametrize("page", [p for p in with_python() if p.name not in LONG], ids=name)
def test_python_runs(page, world):
    run_page(page)


@pytest.mark.documents
@pytest.mark.parametrize("page", [p for p in with_python() if p.name in LONG], ids=name)
def test_python_of_a_long_page_runs(page, world):
    run_page(page)


def test_a_wrong_example_is_seen(tmp_path, world):
    page = tmp_path / "wrong.md"
    page.write_text("# A page\n\n```python\nimport siamese\n\nsiamese.calibrat\n```\n")
    with pytest.raises(AttributeError, match="calibrat") as seen:
        run_page(page)
    assert seen.traceback[-2].path == page or str(page) in str(seen.traceback)


def test_what_is_made_short_stands_in_the_documents():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for long in SHORTER:
        assert long in text, long


def test_few_examples_are_not_run():
    left = [b for page in PAGES for b in blocks(page, "python") if b.not_run]
    assert len(left) <= 3, [f"{b.page.name}, line {b.line}: {b.not_run}" for b in left]


@pytest.mark.parametrize("page", with_python(), ids=name)
def test_python_names_what_is_public(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block.code)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "siamese"
            ):
                assert hasattr(siamese, node.attr), f"line {block.line}: siamese.{node.attr}"


def check(words, complete=True):
    """Hold the words of a command against its real parser; training's against its settings."""
    command, *more = words
    assert command in COMMANDS, f"siamese {command} is no command"
    parser, own = _parsers(command)
    if command == "train":
        # A folder of the reader's own: tests/documents/test_extending.py runs that example.
        if "--config-dir" not in more and complete:
            complete_overrides(more, config_folder())
        return
    own.check_words(more)
    if complete:
        _, left = parser.parse_known_args(words)
        assert not left, left


@pytest.fixture
def refusing(monkeypatch):
    def refuse(self, message):
        raise AssertionError(message)

    monkeypatch.setattr(Parser, "error", refuse)


def test_commands_are_accepted(refusing):
    found = [(page, words) for page in PAGES for words in commands(page)]
    assert len(found) >= 60
    assert {words[0] for _, words in found} >= {"train", "verify", "calibrate", "evaluate", "app"}
    for page, words in found:
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"{page.name}: siamese {' '.join(words)}: {error}") from error


def test_commands_in_prose_are_known(refusing):
    found = [(page, words) for page in PAGES for words in spoken_of(page)]
    assert len(found) >= 60
    for page, words in found:
        # Words of a sentence may be left out there: `siamese evaluate RUN --tta`.
        try:
            check(words, complete=False)
        except Exception as error:
            raise AssertionError(f"{page.name}: siamese {' '.join(words)}: {error}") from error


@pytest.mark.parametrize(
    "words", ["verify a.jpg b.jpg --treshold 1", "calibrat runs/latest", "evaluate a b c"]
)
def test_a_wrong_command_is_seen(words, refusing):
    with pytest.raises(AssertionError):
        check(words.split())


def test_files_of_benchmarks_that_are_named_are_there():
    for page in [*PAGES, ROOT / "benchmarks" / "RESULTS.md"]:
        for file in re.findall(r"(?:python )(\S+\.py)\b", page.read_text(encoding="utf-8")):
            if not file.startswith(("mine", "your")):
                assert (ROOT / file).is_file() or Path(file).parent == Path(), f"{page}: {file}"
