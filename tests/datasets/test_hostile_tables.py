"""Tables and manifests that nobody would write: refused in one line."""

import json
import os

import numpy as np
import pytest
from tests.helpers import assert_says, write_identities

from siamese.data.manifest import SplitManifest
from siamese.datasets.identities import IdentityTable
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import DataError, SplitError


@pytest.fixture
def people(tmp_path):
    return write_identities(tmp_path / "people", [2, 2])


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_folder(path):
    path.unlink()
    path.mkdir()


WRITE = {
    "a NUL": lambda p: p.write_bytes(p.read_bytes() + b"\nx,\0,1"),
    "UTF-16": lambda p: p.write_bytes(p.read_text().encode("utf-16")),
    "latin-1": lambda p: p.write_bytes(p.read_bytes() + b"\n\xe9,\xe9,1"),
    "half a surrogate pair": lambda p: p.write_bytes(p.read_bytes() + b"\n\xed\xa0\x80,b,1"),
    "a million characters": lambda p: p.write_text(p.read_text() + "\n" + "x" * 10**6 + ",b,1"),
    "a name of 5,000 characters": lambda p: p.write_text(
        p.read_text() + "\n" + "x" * 5000 + ",b,1"
    ),
    "an open quotation mark": lambda p: p.write_text('"' + "x" * 200_000),
    "a pipe": as_pipe,
    "a folder": as_folder,
    "nothing": lambda p: p.write_bytes(b""),
    "a line of a terminal": lambda p: p.write_text('"a\n\x1b[2J",b,c\n1,2,3'),
}


@pytest.mark.parametrize("fault", list(WRITE))
@pytest.mark.parametrize(
    ("header", "read"),
    [("path,identity,same", IdentityTable.from_csv), ("left,right,same", PairsFile.read)],
)
def test_a_table_that_is_none(people, fault, header, read):
    path = people / "table.csv"
    path.write_text(f"{header}\nperson_00/0.png,person_00/1.png,1")
    WRITE[fault](path)
    with pytest.raises(DataError) as error:
        read(path)
    assert_says(error.value, "table")
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("number", ["9" * 5000, "²", "999999999999"])
def test_numbers_of_pairs_that_are_none(people, number):
    for text in (f"{number}\na 1 2\na 1 b 1", f"1\na 1 {number}\na 1 b 1"):
        (people / "pairs.txt").write_text(text)
        with pytest.raises(DataError) as error:
            PairsFile.read(people / "pairs.txt")
        assert_says(error.value, "pairs")


def test_a_column_that_stands_twice(people):
    (people / "t.csv").write_text("path,identity,path\nperson_00/0.png,a,person_00/1.png")
    with pytest.raises(DataError, match="two columns are named 'path'"):
        IdentityTable.from_csv(people / "t.csv")


@pytest.fixture
def manifest(people, tmp_path):
    table = IdentityTable.from_folder(people)
    split = {"train": np.arange(2), "test": np.arange(2, 4)}
    return SplitManifest.make(table, split).save(tmp_path / "split.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(version=10**400),
        lambda m: m.update(version=1.5),
        lambda m: m.update(version=None),
        lambda m: m.update(version="2"),
        lambda m: m.update(protocol=[]),
        lambda m: m.update(protocol={}),
        lambda m: m.update(seed=True),
        lambda m: m.update(root="\0"),
        lambda m: m.update(more=1),
        lambda m: m.update(quarantine={"a": 1}),
        lambda m: m["splits"]["train"][0].update(file="/etc/passwd"),
        lambda m: m["splits"]["train"][0].update(file=""),
        lambda m: m["splits"]["train"][0].update(file="a\0b"),
        lambda m: m["splits"]["train"][0].update(identity="\ud800"),
        lambda m: m["splits"].update({"a\nb": m["splits"]["train"]}),
        lambda m: m["splits"].update(train={}),
        lambda m: m.update(pairs={"train": {"left": [0], "right": [True]}}),
    ],
)
def test_a_manifest_that_was_altered(manifest, change):
    content = json.loads(manifest.read_text())
    change(content)
    import sys

    sys.set_int_max_str_digits(0)
    manifest.write_text(json.dumps(content))
    with pytest.raises(SplitError) as error:
        SplitManifest.load(manifest)
    assert_says(error.value, "split.json")


@pytest.mark.parametrize(
    "text", ["[]", "[" * 100_000, '{"version": 2, "version": 2}', "NaN", "\xff"]
)
def test_a_manifest_that_is_no_json_of_one(manifest, text):
    manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(SplitError) as error:
        SplitManifest.load(manifest)
    assert_says(error.value, "split.json", "not a split manifest")
    as_pipe(manifest)
    with pytest.raises(SplitError, match="not a regular file"):
        SplitManifest.load(manifest)


def test_files_outside_the_folder_that_was_given(manifest, people):
    SplitManifest.load(manifest, people)
    content = json.loads(manifest.read_text())
    content["splits"]["train"][0]["file"] = "person_00/../../secret.png"
    manifest.write_text(json.dumps(content))
    SplitManifest.load(manifest)  # whoever wrote it chose its root, too
    with pytest.raises(SplitError) as error:
        SplitManifest.load(manifest, people)
    assert_says(error.value, "secret.png", "outside the folder")
