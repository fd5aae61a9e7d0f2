"""An audit counts every file, and finds the duplicates that were put in, and no others."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.helpers import write_identities, write_image
from tests.inference.test_bundle import bundle

from siamese.data.accounts import Accounts
from siamese.data.manifest import SplitManifest
from siamese.datasets.identities import IdentityTable
from siamese.datasets.pairs_file import PairsFile
from siamese.errors import ConfigError, DataError
from siamese.evaluation import audit
from siamese.evaluation.audit import audit_data
from siamese.evaluation.audited import files_below

PNG = io.BytesIO()
Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(PNG, "PNG")
NAMES = ["1.png", "2.PNG", "a b.png", "notes.txt", "Thumbs.db", ".hidden.png", "none", "film.mp4"]
FOLDERS = ["ann", "ann/deep", "bob", "bob/.git", ".cache", ".cache/deep", "", "ann/..b", "zoë"]
KINDS = ["sound", "empty", "text", "link", "broken", "pipe", "folder link"]


def plant(root: Path, files: list[tuple[str, str, str]]) -> None:
    """Make files of some kinds in some folders; what is there stays."""
    for folder, name, kind in [("ann", "0.png", "sound"), ("bob", "0.png", "sound"), *files]:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if kind == "link":
            path.symlink_to(root / "ann" / "0.png")
        elif kind == "broken":
            path.symlink_to("nowhere.png")
        elif kind == "folder link":
            path.symlink_to(root / "ann", target_is_directory=True)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes({"sound": PNG.getvalue(), "empty": b"", "text": b"x"}[kind])


def walked(root: Path) -> int:
    """Files by os.walk; a folder of the root that is a link is another way into one."""
    count = 0
    for top in [root, *(p for p in root.iterdir() if p.is_symlink() and p.is_dir())]:
        if top.name.startswith("."):
            count += 1
            continue
        for folder, folders, names in os.walk(top):
            links = [f for f in folders if (Path(folder) / f).is_symlink()]
            count += len(names) + (0 if Path(folder) == root else len(links))
    return count


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    files=st.lists(
        st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES), st.sampled_from(KINDS)),
        max_size=14,
    )
)
def test_the_sum_of_all_accounts_is_the_number_of_files(files, tmp_path_factory):
    root = tmp_path_factory.mktemp("tree") / "people"
    plant(root, files)
    found = audit_data(root, progress=False)
    assert found.accounts.files == walked(root)
    assert found.accounts.used + sum(found.accounts.left_out.values()) == walked(root)
    assert found.left_out.keys() <= files_below(root)
    assert len(found.left_out) == walked(root) - found.accounts.used
    # All sound images below a folder of a person that is not hidden, nor below a hidden one.
    used = 0
    for path in {root / file for file in files_below(root)}:
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        is_sound = path.is_file() and path.read_bytes() == PNG.getvalue()
        used += is_sound and len(parts) > 1 and not hidden and path.suffix.lower() == ".png"
    assert found.accounts.used == used


def test_a_file_that_is_lost_from_the_accounts_is_a_loud_fault(tmp_path, monkeypatch):
    root = write_identities(tmp_path / "people", [2, 2])
    below = audit.files_below(root)
    monkeypatch.setattr(audit, "files_below", lambda _: {*below, "person_00/lost.png"})
    with pytest.raises(AssertionError, match="lost from the accounts"):
        audit_data(root, progress=False)
    with pytest.raises(AssertionError, match="5 files, but 3 used"):
        Accounts(5, 3, {"empty": 1})


def test_files_that_come_and_go_meanwhile_are_no_fault(tmp_path, monkeypatch):
    root = write_identities(tmp_path / "people", [2, 2])
    take = audit.take_fingerprints

    def meanwhile(paths, **kwargs):
        shutil.copy(root / "person_00" / "0.png", root / "person_01" / "late.png")
        (root / "person_00" / "1.png").unlink()
        return take(paths, **kwargs)

    monkeypatch.setattr(audit, "take_fingerprints", meanwhile)
    found = audit_data(root, progress=False)
    assert str(found.accounts) == "4 files: 3 used, 1 left out (1 missing)"
    assert "files changed meanwhile: 2 came or went" in found.notes[-1]


def test_files_that_come_while_the_folder_is_listed_are_no_fault(tmp_path, monkeypatch):
    root = write_identities(tmp_path / "people", [2, 2])
    read, count = audit.read_data, iter(range(100))

    def read_data(*given):
        found = read(*given)
        (root / "person_00" / f"late{next(count)}.png").write_bytes(PNG.getvalue())
        return found

    monkeypatch.setattr(audit, "read_data", read_data)
    found = audit_data(root, progress=False)
    assert found.accounts.files == found.accounts.used == 4 + next(count) - 1
    assert "files changed meanwhile: 1 came or went" in found.notes[-1]


def test_a_cache_below_the_folder_is_no_change(people):
    found = audit_data(people, bundle=bundle(), cache=people / "cache", progress=False)
    assert list((people / "cache").rglob("*.png"))
    assert str(found.accounts) == "12 files: 12 used, 0 left out"
    assert not any("meanwhile" in note for note in found.notes)


@pytest.fixture
def people(tmp_path):
    """Four people; all images differ, and have detail as photographs have."""
    root = tmp_path / "people"
    for person in ("ann", "bob", "cid", "dora"):
        for number in range(3):
            draw = np.random.default_rng([ord(person[0]), number])
            image = Image.fromarray(draw.integers(0, 256, (20, 16, 3), dtype=np.uint8))
            (root / person).mkdir(parents=True, exist_ok=True)
            image.resize((160, 200)).save(root / person / f"{number}.png")
    return root


def test_nothing_is_found_where_nothing_is(people):
    found = audit_data(people, progress=False)
    assert found.same_files == found.same_pixels == found.near == ()
    assert found.spellings == found.look_alikes == ()
    assert str(found.accounts) == "12 files: 12 used, 0 left out"


def test_what_was_put_in_is_found(people):
    pytest.importorskip("imagehash")
    shutil.copy(people / "ann" / "0.png", people / "bob" / "copy.png")
    (people / "cid" / "link.png").symlink_to(people / "cid" / "1.png")
    with Image.open(people / "ann" / "1.png") as image:
        image.save(people / "cid" / "pixels.bmp")
    with Image.open(people / "dora" / "1.png") as image:
        image.resize((100, 120)).save(people / "bob" / "small.jpg", quality=80)
    found = audit_data(people, progress=False)
    assert [d.files for d in found.same_files] == [
        ("ann/0.png", "bob/copy.png"),
        ("cid/1.png", "cid/link.png"),
    ]
    assert [d.is_across for d in found.same_files] == [True, False]
    assert [d.files for d in found.same_pixels] == [("ann/1.png", "cid/pixels.bmp")]
    assert [d.files for d in found.near] == [("bob/small.jpg", "dora/1.png")]
    again = json.loads(json.dumps(found.to_dict()))
    assert again["same_files"][0]["identities"] == ["ann", "bob"]
    assert again["accounts"] == {"files": 16, "used": 16, "left_out": {}}


def test_names(people):
    (people / "ann").rename(people / "Ann  Lee")
    (people / "bob").rename(people / "Ann Lee")
    (people / "cid").rename(people / "ANN LEE")
    with pytest.warns(UserWarning, match="are taken for the same identity"):
        found = audit_data(people, progress=False)
    assert found.look_alikes == (("ann  lee", "ann lee"),)
    assert found.spellings == (("ANN LEE", "Ann Lee"),)


def test_splits_of_a_run_and_folds_of_pairs_are_compared(people, tmp_path):
    shutil.copy(people / "ann" / "0.png", people / "ann" / "copy.png")
    table = IdentityTable.from_folder(people)
    split = {"train": np.array([0, 2, 4, 5]), "test": np.array([1, 3, 6])}
    path = SplitManifest.make(table, split, protocol="image_disjoint").save(tmp_path / "split.json")
    for run in (path, tmp_path):
        found = audit_data(run, progress=False)
        (same,) = found.same_files
        assert same.files == ("ann/0.png", "ann/copy.png")
        assert same.splits == ("train", "test")
        assert same.is_across
        assert found.accounts.left_out == {"not listed": 6}
    pairs = "left,right,same,fold\nann/0.png,ann/1.png,1,x\nann/0.png,bob/0.png,0,x\n"
    pairs += "ann/copy.png,ann/2.png,1,y\nann/copy.png,cid/0.png,0,y\n"
    (tmp_path / "pairs.csv").write_text(pairs)
    found = audit_data(PairsFile.read(tmp_path / "pairs.csv", people), progress=False)
    assert found.same_files[0].splits == ("fold x", "fold y")


def test_a_csv_and_a_flat_folder(people, tmp_path):
    (people / "list.csv").write_text("path,identity\nann/0.png,a\n./bob/../bob/0.png,b\n")
    found = audit_data(people / "list.csv", progress=False)
    assert found.accounts.files == 13
    assert found.accounts.used == 2
    flat = tmp_path / "flat"
    for name in ("ann_1.png", "ann_2.png", "bob_1.png", "bob.png"):
        write_image(flat / name, len(name))
    write_image(flat / "inner" / "notes.txt.png", 1).rename(flat / "inner" / "a.txt")
    with pytest.warns(UserWarning, match="not named"):
        found = audit_data(flat, progress=False)
    assert found.identities == 2
    assert found.accounts.left_out == {
        "not named <identity>_<number>": 1,
        "in a folder, where all images lie in one": 1,
    }


def test_labels_are_doubted_by_the_bundle_given(people):
    shutil.copy(people / "ann" / "0.png", people / "bob" / "copy.png")
    (people / "bob" / "bad.png").write_bytes(b"")
    # So small a threshold that only the copy is near.
    found = audit_data(people, bundle=bundle(threshold=1e-3), progress=False)
    assert {(d.file, d.other_file) for d in found.mislabelled} == {
        ("bob/copy.png", "ann/0.png"),
        ("ann/0.png", "bob/copy.png"),
    }
    assert all(d.distance < 1e-3 < d.own for d in found.mislabelled)
    assert found.accounts.left_out == {"empty": 1}
    assert found.notes == ()


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(DataError):
        audit_data(tmp_path / "nowhere", progress=False)
    with pytest.raises(ConfigError, match="cannot be audited"):
        audit_data(3, progress=False)


def test_a_link_to_a_folder_is_no_image_whatever_its_name(people):
    (people / "ann" / "album.png").symlink_to(people / "bob", target_is_directory=True)
    found = audit_data(people, progress=False)
    assert found.accounts.left_out == {"a link to a folder, which is not followed": 1}
