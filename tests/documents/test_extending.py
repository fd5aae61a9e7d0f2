"""The page about extending is followed to the letter: its files, its commands, its plug-in."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from tests.documents.examples import ROOT, blocks, commands
from tests.helpers import write_image

PAGE = ROOT / "docs" / "extending.md"
# Of a reader's run, what makes it short.
SHORT = [
    "max_epochs=1", "trainer.limit_train_batches=2", "data.cropper.size=32", "data.workers=0",
    "baselines=[]", "plots=false",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """mine.py, conf/ and pictures, as the page has them."""
    monkeypatch.chdir(tmp_path)
    for person in ("ann", "bob", "cid", "dee", "eve", "fay"):
        for picture in range(4):
            write_image(tmp_path / f"flat/{person}-{picture}.png", 100 * ord(person[0]) + picture)
    shutil.copy("flat/ann-0.png", "one.png")
    shutil.copy("flat/ann-1.png", "other.png")
    code = "\n\n".join(block.code for block in blocks(PAGE, "python"))
    (tmp_path / "mine.py").write_text(code)
    for block in blocks(PAGE, "yaml"):
        file = tmp_path / re.match(r"# (conf/\S+\.yaml)\n", block.code)[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.code)
    return tmp_path


def siamese(words, python_path=""):
    paths = os.pathsep.join(p for p in (python_path, os.environ.get("PYTHONPATH", "")) if p)
    return subprocess.run(
        [sys.executable, "-m", "siamese", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.mark.documents
def test_the_commands_of_the_page_and_its_plugin_work(folder):
    train, verify = (words for words in commands(PAGE) if words[0] in ("train", "verify"))
    done = siamese([*train, *SHORT])
    assert done.returncode == 0, done.stderr
    bundle = (folder / "runs/latest/bundle/bundle.json").read_text()
    assert '"my_net"' in bundle
    assert '"youden"' in bundle
    with_file = siamese(verify)
    assert with_file.returncode in (0, 1), with_file.stderr

    # Installed, the package announces its parts; nothing has to be named any more.
    site = folder / "site"
    record = site / "mine-1.0.dist-info"
    record.mkdir(parents=True)
    shutil.move("mine.py", site)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (toml,) = (block.code for block in blocks(PAGE, "toml"))
    points = dict(re.findall(r'"(\S+)" = "(\S+)"', toml)) | {"policy.youden": "mine:Youden"}
    lines = [f"{name} = {value}" for name, value in points.items()]
    (record / "entry_points.txt").write_text("\n".join(["[siamese.plugins]", *lines, ""]))
    words = [w for w in verify if w not in ("--plugin", "mine.py")]
    assert siamese(words).returncode == 2  # it is not installed here
    installed = siamese(words, str(site))
    assert installed.returncode == with_file.returncode, installed.stderr
    assert shlex.join(words) in shlex.join(verify)
