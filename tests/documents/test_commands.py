"""The commands of the documentation are run, page by page, in a folder with made-up pictures.

Trainings are not: tests/cli has those, and tests/documents/test_extending.py one of a page.
"""

import shutil
from pathlib import Path

import pytest
from tests.documents.examples import PAGES, commands

from siamese.cli.main import main

# What is not run, by its first words -> why.
NOT_RUN = {
    "train": "minutes",
    "app": "a server: tests/app",
    "download": "the network",
    "evaluate runs/latest --benchmark lfw_view2": "LFW: tests/evaluation",
    "evaluate --benchmark lfw_view2": "LFW",
    "compare A B --benchmark": "LFW",
    "evaluate pretrained --on runs/latest": "a run on photographs of faces",
    "compare pretrained runs/latest": "a run on photographs of faces",
    "verify one.png other.png --bundle runs/latest --plugin": "test_extending.py",
}
# What this small world cannot give, by its words -> what is said instead.
REFUSED = {
    "fmr,rate=0.001": "rule of 30",
    "fmr,rate=0.001,confidence=0.95": "78 identities at the least",
    "fmr,rate=0.1": "A.jpg",
}
RUN = [
    page
    for page in PAGES
    if any(not " ".join(words).startswith((*NOT_RUN,)) for words in commands(page))
]


def prepare(page):
    """Give the world the names that a page speaks of."""
    for copy, of in {
        "a": "one", "b": "other", "A": "one", "B": "other", "somebody": "one",
    }.items():  # fmt: skip
        shutil.copy(f"{of}.jpg", f"{copy}.jpg")
    for run in ("runs/latest", "A", "B"):
        shutil.copytree("runs/mine", run)
    shutil.copytree("runs/mine", "SWEEP/0")
    (Path("SWEEP") / "0" / ".hydra").mkdir()
    (Path("SWEEP") / "0" / ".hydra" / "overrides.yaml").write_text("- seed=0\n")
    (Path("SWEEP") / "sweep.csv").write_text("run\n0\n")
    shutil.copytree("pictures", "your-people")
    Path("embeddings.npz").unlink()
    if page.stem == "auditing":
        rows = "path,identity\none.jpg,ann\nother.jpg,ann\n"
        Path("people.csv").write_text(rows)
    if page.stem == "sorting":
        shutil.rmtree("people")
    if page.stem == "lists":
        Path("labelled.csv").write_text("left,right,same\none.jpg,other.jpg,1\n")


@pytest.mark.documents
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_commands_run(page, world, capsys):
    prepare(page)
    for words in commands(page):
        line = " ".join(words)
        if line.startswith((*NOT_RUN,)):
            continue
        code = main(words)
        printed = capsys.readouterr()
        said = next((s for word, s in REFUSED.items() if word in words), None)
        if code == 2 and said and said in printed.err:
            continue
        assert code in (0, 1), f"siamese {line}: {printed.err}"
        if words[:2] == ["sign", "--new-key"]:
            Path("keys.txt").write_text(printed.out)


def test_what_is_not_run_is_still_there():
    lines = [" ".join(words) for page in PAGES for words in commands(page)]
    for left in NOT_RUN:
        if left != "download":
            assert any(line.startswith(left) for line in lines), left
