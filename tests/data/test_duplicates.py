"""Images that are the same are found, and those in two splits are refused unless it is allowed."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.helpers import assert_says, write_identities

from siamese.data.datamodule import FolderDataModule
from siamese.data.duplicates import equal_groups, near_pairs, settle_duplicates
from siamese.data.fingerprints import fingerprint, perceptual_hash, take_fingerprints
from siamese.data.manifest import SplitManifest
from siamese.data.split_protocols.benchmark_folds import BenchmarkFolds
from siamese.datasets.identities import IdentityTable
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import ConfigError, DataError, SplitError
from siamese.faces.croppers.none import NoCropper


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=12))
def test_groups_are_those_of_a_naive_search(keys):
    rows = {row for group in equal_groups(keys) for row in group}
    for a, b in itertools.combinations(range(len(keys)), 2):
        together = any(a in group and b in group for group in equal_groups(keys))
        assert together == (keys[a] == keys[b] != "")
    assert all(keys[row] for row in rows)


@given(seed=st.integers(0, 99), n=st.integers(0, 40), most=st.integers(0, 20))
def test_near_pairs_are_those_of_a_naive_search(seed, n, most):
    bits = np.random.default_rng(seed).random((n, 24)) < 0.5
    naive = {
        (a, b, int((bits[a] != bits[b]).sum()))
        for a, b in itertools.combinations(range(n), 2)
        if (bits[a] != bits[b]).sum() <= most
    }
    assert set(near_pairs(bits, most)) == naive


def test_near_pairs_across_blocks(monkeypatch):
    bits = np.random.default_rng(1).random((50, 16)) < 0.5
    whole = list(near_pairs(bits, 5))
    for size in (1, 7, 49):
        monkeypatch.setattr("siamese.data.duplicates._BLOCK", size)
        assert list(near_pairs(bits, 5)) == whole


def test_pixels_are_the_same_in_other_files_and_looks_after_coding_and_scaling(tmp_path):
    pytest.importorskip("imagehash")
    draw = np.random.default_rng(1)
    whole, other = (
        # As rich in detail as a photograph.
        Image.fromarray(draw.integers(0, 256, (20, 16, 3), dtype=np.uint8)).resize((160, 200))
        for _ in range(2)
    )
    for name, image, options in [
        ("a.png", whole, {}),
        ("b.png", whole, {"compress_level": 0}),
        ("c.bmp", whole, {}),
        ("d.jpg", whole, {"quality": 60}),
        ("e.png", whole.resize((80, 100)), {}),
        ("f.png", other, {}),
        ("g.png", whole.rotate(90), {}),
    ]:
        image.save(tmp_path / name, **options)
    (tmp_path / "h.png").write_bytes((tmp_path / "a.png").read_bytes())
    paths = sorted(tmp_path.iterdir())
    found = take_fingerprints(paths, progress=False)
    assert equal_groups([one.content for one in found]) == [[0, 7]]
    assert equal_groups([one.pixels for one in found]) == [[0, 1, 2, 7]]
    near = {pair[:2] for pair in near_pairs(np.stack([one.look for one in found]), 32)}
    assert near == set(itertools.combinations([0, 1, 2, 3, 4, 7], 2))


def test_a_file_that_cannot_be_read_has_a_reason(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x" * 30)
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "not an image" in fingerprint(tmp_path / "a.jpg").reason
    assert fingerprint(tmp_path / "a.jpg").content
    assert "0 bytes" in fingerprint(tmp_path / "empty.jpg", perceptual_hash()).reason
    assert equal_groups([fingerprint(tmp_path / "a.jpg").pixels] * 2) == []


@pytest.fixture
def twins(tmp_path):
    """Twelve people; one image of the first lies under all other names, too: in every split."""
    root = write_identities(tmp_path / "people", [4] * 12)
    for identity in range(1, 12):
        shutil.copy(root / "person_00" / "0.png", root / f"person_{identity:02d}" / "copy.png")
    return root


def settings(**more):
    return {"cropper": NoCropper(size=16), "progress": False, **more}


def the_copies(data, split):
    return {f for f in data.table(split).files if f.endswith("copy.png") or f == "person_00/0.png"}


def test_duplicates_across_splits_are_an_error(twins):
    with pytest.raises(SplitError) as caught:
        FolderDataModule(twins, **settings()).setup()
    assert_says(caught.value, "images are in two splits", "copy.png", "would be tested on")
    assert_says(caught.value, "data.duplicates=leave_out", "data.duplicates=allow")


def test_they_are_allowed_or_left_out(twins):
    both, one = (FolderDataModule(twins, **settings(duplicates=d)) for d in ("allow", "leave_out"))
    for data in (both, one):
        with pytest.warns(UserWarning, match="in two splits"):
            data.setup()
    assert sum(len(the_copies(both, split)) for split in both.splits) == 12
    kept = the_copies(both, "train")
    assert kept
    assert the_copies(one, "train") == kept  # where nobody is tested, they stay
    assert all(not the_copies(one, split) for split in one.splits if split != "train")
    assert len(one.manifest.quarantine) == 12 - len(kept)
    assert all(r.startswith("the same image as person_") for r in one.manifest.quarantine.values())
    assert one.prepared.summary()["accounts"] == {
        "files": 59,
        "used": 47 + len(kept),
        "left_out": {"duplicates of images in another split": 12 - len(kept)},
    }


def test_a_saved_split_from_which_they_were_left_out_is_used_again(twins, tmp_path):
    data = FolderDataModule(twins, **settings(duplicates="leave_out"))
    with pytest.warns(UserWarning, match="in two splits"):
        data.setup()
    path = data.manifest.save(tmp_path / "split.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = FolderDataModule(twins, **settings(manifest=path))
        again.setup()
    for split in data.splits:
        assert again.table(split).files == data.table(split).files


def test_an_unknown_policy_is_named(identity_folder):
    with pytest.raises(ConfigError) as caught:
        FolderDataModule(identity_folder, duplicates="leave-out")
    assert_says(caught.value, "data.duplicates", "leave_out")


def test_those_of_a_split_that_others_chose_stay(identity_folder):
    table = IdentityTable.from_folder(identity_folder)
    split = {"train": np.arange(24), "test": np.arange(24, 48)}
    manifest = SplitManifest.make(table, split, protocol="benchmark_folds")
    manifest.splits["test"][0]["sha256"] = manifest.splits["train"][0]["sha256"]
    assert BenchmarkFolds.is_given
    assert "others chose" in settle_duplicates(manifest, "error")
    assert manifest.quarantine == {}
    manifest.protocol = "identity_disjoint"
    with pytest.raises(SplitError):
        settle_duplicates(manifest, "error")


def test_the_accounts_of_a_run_add_up(identity_folder):
    (identity_folder / "person_03" / "0.png").write_bytes(b"")
    (identity_folder / "person_03" / "notes.txt").write_bytes(b"x")
    (identity_folder / "person_03" / ".hidden.png").write_bytes(b"x")
    (identity_folder / ".git" / "deep").mkdir(parents=True)
    (identity_folder / "stray.png").write_bytes(b"x")
    (identity_folder / "person_04" / "Thumbs.db").write_bytes(b"x")
    data = FolderDataModule(identity_folder, **settings(bad_images="quarantine"))
    with pytest.warns(UserWarning, match="outside any identity's folder"):
        data.setup()
    accounts = json.loads(json.dumps(data.prepared.summary()))["accounts"]
    assert accounts["files"] == 48 + 5
    assert accounts["used"] == 47
    assert accounts["left_out"] == {
        "empty": 1,
        "hidden": 2,
        "no image by its suffix": 1,
        "outside any identity's folder": 1,
        "litter of a file manager": 1,
    }


def test_two_spellings_of_a_path_are_one_file(tmp_path):
    write_identities(tmp_path, [2, 2])
    one, two = "person_00/0.png", "./person_01/../person_00/0.png"
    (tmp_path / "a.csv").write_text(f"path,identity\n{one},ann\n{two},bob\n")
    with pytest.raises(DataError, match="listed 2 times"):
        IdentityTable.from_csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text(f"left,right,same\n{one},{two},1\n")
    with pytest.raises(DataError, match="paired with itself"):
        PairsFile.read(tmp_path / "b.csv")


def test_a_black_image_is_read(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert fingerprint(tmp_path / "a.png", perceptual_hash()).reason == ""
