"""Files that are no images are counted by kind, and the warning says what would read them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from tests.helpers import assert_says

from siamese.datasets import suffixes
from siamese.datasets.identities import IdentityTable
from siamese.datasets.suffixes import IMAGE_SUFFIXES, LeftOut
from siamese.errors import DataError


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


@pytest.fixture
def plain_pillow(monkeypatch):
    """As where neither HEIC nor AVIF can be read."""
    monkeypatch.setattr(suffixes, "image_suffixes", lambda: IMAGE_SUFFIXES)


@pytest.mark.usefixtures("plain_pillow")
def test_one_warning_counts_the_kinds(tmp_path):
    touch(tmp_path, "ann/1.jpg", "ann/2.heic", "ann/deep/3.HEIC", "bob/4.heic", "bob/clip.mp4")
    touch(tmp_path, "bob/notes", "bob/.DS_Store", "bob/Thumbs.db", "bob/desktop.ini", "bob/5.avif")
    with pytest.warns(UserWarning, match="left out") as caught:
        table = IdentityTable.from_folder(tmp_path)
    assert table.files == ("ann/1.jpg",)
    (warning,) = caught
    assert str(warning.message) == (
        f"{tmp_path}: 6 files are no images that can be read and are left out: 3 .heic (pip "
        "install 'siamese-lightning[heic]' reads them), 1 without a suffix, 1 .avif (pip install "
        "'pillow>=11.3' reads them), 1 .mp4"
    )
    assert Path(warning.filename) == Path(__file__)


@pytest.mark.usefixtures("plain_pillow")
def test_photographs_beside_the_folders_count_but_not_a_licence(tmp_path):
    touch(tmp_path, "ann/1.jpg", "licence.txt", "pairs.csv", "2.heic")
    with pytest.warns(UserWarning, match=r": 1 file .* left out: 1 \.heic \(") as caught:
        IdentityTable.from_folder(tmp_path)
    assert len(caught) == 1


@pytest.mark.usefixtures("plain_pillow")
def test_a_folder_of_nothing_else_names_them_in_the_error(tmp_path):
    touch(tmp_path, "ann/1.heic", "ann/2.heic", "bob/1.mov")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path)
    assert_says(caught.value, tmp_path, "no images", "2 .heic", "[heic]'", "1 .mov")


def test_images_and_litter_give_no_warning(tmp_path):
    touch(tmp_path, "ann/1.jpg", "ann/.hidden.mp4", "ann/Thumbs.db", "readme.md")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IdentityTable.from_folder(tmp_path)


def test_heic_counts_as_an_image_where_its_package_is(tmp_path):
    pytest.importorskip("pillow_heif")
    touch(tmp_path, "ann/1.heic", "ann/2.HEIF")
    assert IdentityTable.from_folder(tmp_path).files == ("ann/1.heic", "ann/2.HEIF")


def test_hundreds_of_kinds_make_no_long_warning():
    left_out = LeftOut()
    for kind in range(300):
        left_out.add(f"a.x{kind:03d}")
    assert_says(str(left_out), "300 files", "1 .x000", "292 of other kinds")
