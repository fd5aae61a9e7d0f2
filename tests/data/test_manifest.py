"""The split manifest survives being saved.

Whatever was altered in it or on the disk is refused by name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from tests.helpers import assert_says

from siamese.data.manifest import IN_COLUMNS, SplitManifest
from siamese.data.split_protocols.base import SPLITS
from siamese.data.split_protocols.identity_disjoint import split_identities
from siamese.datasets.identities import IdentityTable
from siamese.errors import SplitError


@pytest.fixture
def manifest(identity_folder: Path) -> SplitManifest:
    table = IdentityTable.from_folder(identity_folder)
    return SplitManifest.make(
        table, split_identities(table, seed=5), seed=5, settings={"shares": [0.6, 0.2, 0.2]}
    )


def altered(manifest: SplitManifest, path: Path, change: object) -> Path:
    """Save, change the JSON by ``change(content)``, and write it again."""
    content = json.loads(manifest.save(path).read_text(encoding="utf-8"))
    content = change(content) or content
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_manifest_tells_every_file_its_identity_and_its_hash(manifest, identity_folder):
    entries = [entry for split in SPLITS for entry in manifest.splits[split]]
    assert len(entries) == 48
    for entry in entries:
        path = identity_folder / entry["file"]
        assert entry["identity"] == path.parent.name
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (manifest.seed, manifest.settings) == (5, {"shares": [0.6, 0.2, 0.2]})
    assert manifest.dataset == identity_folder.name


def test_saved_and_loaded_is_the_same(manifest, tmp_path):
    manifest.quarantine["person_00/0.png"] = "Überbelichtet"
    path = manifest.save(tmp_path / "new" / "split.json")
    assert SplitManifest.load(path) == manifest
    assert [f.name for f in path.parent.iterdir()] == ["split.json"]
    assert "Überbelichtet" in path.read_text(encoding="utf-8")


def test_the_tables_leave_out_the_quarantine(manifest):
    before = manifest.table("train")
    assert len(before) == len(manifest.hashes("train")) == len(manifest.splits["train"])
    manifest.quarantine[before.files[0]] = "bad"
    assert manifest.table("train").files == before.files[1:]
    assert manifest.hashes("train") == [e["sha256"] for e in manifest.splits["train"][1:]]


def test_files_that_are_as_they_were_pass(manifest):
    manifest.verify_files()


def test_data_that_moved_are_found_by_root(manifest, identity_folder, tmp_path):
    path = manifest.save(tmp_path / "split.json")
    shutil.move(identity_folder, tmp_path / "moved")
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path).verify_files()
    assert_says(caught.value, identity_folder, "no such file", "root")
    moved = SplitManifest.load(path, root=tmp_path / "moved")
    moved.verify_files()
    assert moved.table("test").root == tmp_path / "moved"


@pytest.mark.parametrize("split", SPLITS)
def test_a_changed_file_is_refused(manifest, identity_folder, split):
    file = identity_folder / manifest.splits[split][-1]["file"]
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(SplitError) as caught:
        manifest.verify_files()
    assert_says(caught.value, file, "has changed", "new split")


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_file_is_refused(manifest, identity_folder, split):
    file = identity_folder / manifest.splits[split][0]["file"]
    file.unlink()
    with pytest.raises(SplitError) as caught:
        manifest.verify_files()
    assert_says(caught.value, file, "no such file", "restore it")


def test_an_identity_moved_into_a_second_split_is_refused(manifest, tmp_path):
    def move(content: dict) -> None:
        content["splits"]["train"].append(content["splits"]["test"].pop())

    with pytest.raises(SplitError) as caught:
        SplitManifest.load(altered(manifest, tmp_path / "split.json", move))
    assert_says(
        caught.value,
        "identity",
        manifest.splits["test"][-1]["identity"],
        "train",
        "test",
        "new split",
    )


def test_a_file_in_two_splits_is_refused(manifest, tmp_path):
    def copy(content: dict) -> None:
        content["splits"]["train"].append(
            content["splits"]["test"][0] | {"identity": "somebody else"}
        )

    with pytest.raises(SplitError) as caught:
        SplitManifest.load(altered(manifest, tmp_path / "split.json", copy))
    assert_says(caught.value, "file", manifest.splits["test"][0]["file"], "train", "test")


def test_a_newer_version_is_refused(manifest, tmp_path):
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(
            altered(manifest, tmp_path / "split.json", lambda c: c | {"version": IN_COLUMNS + 1})
        )
    assert_says(caught.value, tmp_path / "split.json", "newer", "upgrade")


NO_MANIFESTS = {
    "a list": lambda c: [],
    "a text": lambda c: "text",
    "nothing": lambda c: {},
    "no splits": lambda c: {k: v for k, v in c.items() if k != "splits"},
    "unknown field": lambda c: c | {"surprise": 1},
    "version in words": lambda c: c | {"version": "new"},
    "incomplete entry": lambda c: c | {"splits": {"train": [{"file": "a"}]}},
    "entry of text": lambda c: c | {"splits": {"train": ["a"]}},
    "splits as a list": lambda c: c | {"splits": ["train", "test"]},
    "splits as null": lambda c: c | {"splits": None},
    "quarantine as null": lambda c: c | {"quarantine": None},
    "root as a number": lambda c: c | {"root": 7},
}


@pytest.mark.parametrize("change", NO_MANIFESTS.values(), ids=NO_MANIFESTS)
def test_what_is_no_manifest_is_refused(manifest, tmp_path, change):
    path = tmp_path / "split.json"
    content = change(json.loads(manifest.save(path).read_text(encoding="utf-8")))
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path)
    assert_says(caught.value, path, "split.json")


@pytest.mark.parametrize("content", [b"", b"not json", b'{"version": 1', b"\xff\xfe\x00"])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "split.json").write_bytes(content)
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(tmp_path / "split.json")
    assert_says(caught.value, tmp_path / "split.json", "not a split manifest")


def test_a_missing_manifest_and_a_folder(tmp_path):
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(tmp_path / "split.json")
    assert_says(caught.value, tmp_path / "split.json", "no such manifest")
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(tmp_path)
    assert_says(caught.value, tmp_path, "split.json")


def test_the_same_image_in_two_splits_is_reported(manifest, identity_folder):
    assert manifest.shared_images() == []
    train, test = manifest.splits["train"][0]["file"], manifest.splits["test"][0]["file"]
    # A twin within one split does not matter.
    shutil.copy(
        identity_folder / manifest.splits["train"][2]["file"],
        identity_folder / manifest.splits["train"][1]["file"],
    )
    shutil.copy(identity_folder / train, identity_folder / test)
    table = IdentityTable.from_folder(identity_folder)
    again = SplitManifest.make(table, split_identities(table, seed=5), seed=5)
    assert again.shared_images() == [(train, test)]


def test_a_file_name_that_is_not_unicode_can_be_saved(manifest, tmp_path):
    # As Linux lists a name written in Latin-1.
    name = b"person_00/caf\xe9.png".decode("utf-8", "surrogateescape")
    manifest.splits["train"][0]["file"] = name
    path = manifest.save(tmp_path / "split.json")
    assert SplitManifest.load(path).splits["train"][0]["file"] == name


def test_a_save_that_fails_leaves_the_old_manifest(manifest, tmp_path, monkeypatch):
    path = manifest.save(tmp_path / "out" / "split.json")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        manifest.seed = 6
        with pytest.raises((OSError, SplitError), match="Input/output error"):
            manifest.save(path)
    assert path.read_bytes() == before
    assert [f.name for f in path.parent.iterdir()] == ["split.json"]
