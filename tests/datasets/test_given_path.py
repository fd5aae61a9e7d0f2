"""Which images a path names: one rule for every command that takes a path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import assert_says, write_identities, write_image

from siamese.cli.compare import _first_image
from siamese.cli.main import main
from siamese.datasets.given_path import is_table, name_at, table_at
from siamese.errors import ConfigError, DataError
from siamese.evaluation.audited import read_data
from siamese.evaluation.data import other_table


@pytest.fixture
def listed(tmp_path) -> Path:
    """A CSV file of two images, which lie in another folder than its own."""
    write_identities(tmp_path / "people", [1, 1])
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "rows.CSV"  # suffixes are compared without case
    path.write_text("path,identity\nperson_00/0.png,ann\nperson_01/0.png,bob\n", encoding="utf-8")
    return path


def test_a_file_is_a_table_and_anything_else_a_folder(listed, tmp_path):
    assert [is_table(name) for name in ("a.csv", "a.Parquet", "a", "a.json", "csv")] == [
        *[True] * 2,
        *[False] * 3,
    ]
    table = table_at(listed, tmp_path / "people")
    assert (table.root, table.identities) == (tmp_path / "people", ("ann", "bob"))
    folder = table_at(str(tmp_path / "people"))
    assert (folder.files, folder.identities) == (table.files, ("person_00", "person_01"))
    with pytest.raises(DataError):
        table_at(tmp_path / "none.csv")


def test_the_users_own_folder_may_be_written_short(listed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert table_at("~/people").files == table_at(tmp_path / "people").files
    assert table_at("~/lists/rows.CSV", "~/people").root == tmp_path / "people"


def test_data_are_called_the_same_before_they_are_read(listed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "people")
    for given in (listed, "~/lists/rows.CSV", tmp_path / "people", "~/people/", "."):
        root = tmp_path / "people" if is_table(given) else None
        assert name_at(given) == table_at(given, root).name, given


def test_a_folder_of_files_is_read_where_it_is_allowed(tmp_path):
    write_image(tmp_path / "flat" / "ann_1.png", 0)
    assert table_at(tmp_path / "flat", flat=True).identities == ("ann",)
    with pytest.raises(DataError):
        table_at(tmp_path / "flat")


def test_every_command_reads_the_same_and_refuses_the_same(listed, tmp_path, capsys):
    folder = str(tmp_path / "people")
    for read in (table_at, other_table, read_data):
        assert tuple(read(listed, folder).identities) == ("ann", "bob"), read
        with pytest.raises(ConfigError) as caught:
            read(folder, folder)
        assert_says(caught.value, "--root", "leave it out with a folder")
    assert _first_image(str(listed), folder) == [tmp_path / "people" / "person_00" / "0.png"]
    assert main(["enrol", str(tmp_path / "gallery"), folder, "--root", folder]) == 2
    assert_says(capsys.readouterr().err.strip(), "--root", "leave it out with a folder")
    assert not (tmp_path / "gallery").exists()


def test_torch_is_not_needed():
    code = "import sys, siamese.datasets.given_path; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
