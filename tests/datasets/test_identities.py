"""Who is on which image, from a folder or a CSV file.

What is read, and what each mistake is told.
"""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says, made_up_table, write_identities, write_image

from siamese.datasets.identities import IdentityTable, normalise_identity
from siamese.datasets.suffixes import IMAGE_SUFFIXES
from siamese.errors import DataError


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def test_folder_of_identities(tmp_path):
    touch(
        tmp_path / "set",
        "bob/b.jpg",
        "bob/deep/er/a.PNG",
        "ann/z.jpeg",
        "ann/notes.txt",
        "ann/.hidden.jpg",
        ".git/x.jpg",
        "empty/no",
    )
    with pytest.warns(UserWarning, match=r"left out: 1 without a suffix, 1 \.txt$"):
        table = IdentityTable.from_folder(tmp_path / "set")
    assert table.files == ("ann/z.jpeg", "bob/b.jpg", "bob/deep/er/a.PNG")
    assert table.identities == ("ann", "bob", "bob")
    assert table.distinct_identities == ("ann", "bob")
    assert table.labels.tolist() == [0, 1, 1]
    assert table.counts == {"ann": 1, "bob": 2}
    assert table.name == "set"
    assert all(path.is_file() and path.is_absolute() for path in table.paths)
    assert IdentityTable.from_folder(tmp_path / "set", name="mine").name == "mine"


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_images_are_known_by_their_suffix_in_any_case(tmp_path, suffix):
    touch(tmp_path, f"a/1{suffix}", f"a/2{suffix.upper()}", f"a/3{suffix}.bak")
    with pytest.warns(UserWarning, match=r"left out: 1 \.bak$"):
        files = IdentityTable.from_folder(tmp_path).files
    assert files == (f"a/1{suffix}", f"a/2{suffix.upper()}")


def test_a_link_in_a_circle_ends(tmp_path):
    touch(tmp_path, "ann/1.jpg")
    (tmp_path / "ann" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert IdentityTable.from_folder(tmp_path).files == ("ann/1.jpg",)


def test_an_identity_may_be_a_link_to_a_folder(tmp_path):
    touch(tmp_path / "elsewhere", "1.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "ann").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert IdentityTable.from_folder(tmp_path / "set").files == ("ann/1.jpg",)


def test_select_keeps_rows_together(identity_folder):
    table = IdentityTable.from_folder(identity_folder)
    part = table.select([5, 0, 7])
    assert part.files == (table.files[5], table.files[0], table.files[7])
    assert part.identities == (table.identities[5], table.identities[0], table.identities[7])
    assert part.root == table.root


def test_missing_root(tmp_path):
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path / "nowhere")
    assert_says(caught.value, tmp_path / "nowhere", "no such folder", "one folder per identity")


def test_a_file_as_root(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path / "a.jpg")
    assert_says(caught.value, tmp_path / "a.jpg", "not a folder", "one folder per identity")


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path)
    assert_says(caught.value, tmp_path, "no images", "<identity>/<image>")


def test_images_that_lie_in_root_only(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "readme.txt")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path)
    assert_says(caught.value, tmp_path, "the 2 images", "one folder per identity")


def test_images_that_lie_in_root_too(tmp_path):
    touch(tmp_path, "1.jpg", "ann/1.jpg")
    with pytest.warns(
        UserWarning, match="images that lie outside any identity's folder are ignored: 1"
    ) as caught:
        table = IdentityTable.from_folder(tmp_path)
    assert len(caught) == 1
    assert table.files == ("ann/1.jpg",)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "ann/1.jpg")

    def refuse(folder: object) -> object:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError) as caught:
        IdentityTable.from_folder(tmp_path)
    assert_says(caught.value, tmp_path, "may not be read", "chmod")


def test_tables_that_cannot_be():
    with pytest.raises(DataError) as caught:
        IdentityTable(Path("/r"), ("a", "b"), ("x",))
    assert_says(caught.value, "2 files but 1 identities")
    with pytest.raises(DataError) as caught:
        IdentityTable(Path("/r"), ("a", "b", "a"), ("x", "y", "z"))
    assert_says(caught.value, "/r", "'a' is listed 2 times")
    with pytest.raises(DataError) as caught:
        IdentityTable(Path("/r"), (), ())
    assert_says(caught.value, "/r", "no images")


def test_a_flat_folder(tmp_path):
    touch(tmp_path, "ann_1.jpg", "Ann_02.PNG", "bob_7_3.jpg", "nobody.jpg", "_1.jpg", "list.txt")
    touch(tmp_path, "in/cy_1.jpg", ".hidden_1.jpg")
    with pytest.warns(UserWarning, match=r"2 images are not named .* first '_1.jpg'") as caught:
        table = IdentityTable.from_flat_folder(tmp_path, name="flat")
    assert table.files == ("Ann_02.PNG", "ann_1.jpg", "bob_7_3.jpg")
    assert table.identities == ("ann", "ann", "bob_7")
    assert (table.name, table.root) == ("flat", tmp_path)
    _, others, spellings = [str(warning.message) for warning in caught]
    assert_says(others, tmp_path, "1 file is no image", "1 .txt")
    assert_says(spellings, "'Ann' and 'ann'")


def test_a_flat_folder_of_other_names(tmp_path):
    touch(tmp_path, "ann.jpg", "clip.mp4")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_flat_folder(tmp_path)
    assert_says(caught.value, tmp_path, "<identity>_<number>", "'ann.jpg' has no number", "1 .mp4")


def csv_file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "list.csv").write_bytes(text.encode(encoding))
    return folder / "list.csv"


def test_csv_with_other_columns_and_any_order(tmp_path):
    touch(tmp_path, "x/1.jpg", "x/2.jpg", "y.jpg")
    path = csv_file(
        tmp_path, 'age,identity,path\n30,Bob,x/2.jpg\n31,"Ann, B.",x/1.jpg\n32,Bob,./y.jpg\n'
    )
    table = IdentityTable.from_csv(path)
    assert table.files == ("x/1.jpg", "x/2.jpg", "y.jpg")
    assert table.identities == ("ann, b.", "bob", "bob")
    assert (table.root, table.name) == (tmp_path, "list")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_as_different_programs_write_it(tmp_path, encoding, newline):
    touch(tmp_path, "1.jpg", "2.jpg")
    path = csv_file(
        tmp_path, newline.join(["path,identity", "1.jpg,Zoë", "2.jpg,Max", ""]), encoding
    )
    assert IdentityTable.from_csv(path).identities == ("zoë", "max")


def test_csv_with_another_root_and_absolute_paths(tmp_path):
    touch(tmp_path / "data", "1.jpg", "2.jpg")
    path = csv_file(tmp_path, f"path,identity\n1.jpg,a\n{tmp_path / 'data' / '2.jpg'},b\n")
    table = IdentityTable.from_csv(path, root=tmp_path / "data", name="mine")
    assert table.files == ("1.jpg", "2.jpg")
    assert table.name == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,identity\n1.jpg,a\n", ["no column 'path'", "path,identity"]),
        ("path,identty\n1.jpg,a\n", ["no column 'identity'", "'identty'", "path,identity"]),
        ("path;identity\n1.jpg;a\n", ["no column 'path'", "path,identity"]),
        ("", ["no column 'path'", "path,identity"]),
        ("path,identity\n", ["no rows", "one image per line"]),
        ("path,identity\n1.jpg,a\n2.jpg,\n", ["line 3", "empty path or identity"]),
        ("path,identity\n  ,a\n", ["line 2", "empty path or identity"]),
        ("path,identity\n1.jpg\n", ["line 2", "empty path or identity"]),
        (
            "path,identity\n1.jpg,a\nno.jpg,b\nnein.jpg,b\n",
            ["2 of 3", "'no.jpg'", "correct the paths or give root"],
        ),
    ],
)
def test_csv_mistakes(tmp_path, text, words):
    touch(tmp_path, "1.jpg", "2.jpg")
    path = csv_file(tmp_path, text)
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(path)
    assert_says(caught.value, path, *words)


def test_csv_that_lists_a_file_twice(tmp_path):
    touch(tmp_path, "a/1.jpg", "2.jpg")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(
            csv_file(tmp_path, "path,identity\na/1.jpg,x\n2.jpg,y\na/../a/1.jpg,y\n")
        )
    assert_says(caught.value, "'a/1.jpg' is listed 2 times", "once")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_csv_in_another_encoding(tmp_path, encoding):
    touch(tmp_path, "1.jpg")
    path = csv_file(tmp_path, "path,identity\n1.jpg,Zoë\n", encoding)
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(path)
    assert_says(caught.value, path, "UTF-8")


def test_csv_that_is_missing_or_a_folder_or_has_no_root(tmp_path):
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(DataError) as caught:
            IdentityTable.from_csv(path)
        assert_says(caught.value, path, "no such CSV file", "path,identity")
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(csv_file(tmp_path, "path,identity\n"), root=tmp_path / "gone")
    assert_says(caught.value, tmp_path / "gone", "no such folder")


def test_csv_that_may_not_be_read(tmp_path, monkeypatch):
    path = csv_file(tmp_path, "path,identity\n")

    def refuse(self: Path, *args: object, **settings: object) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(path)
    assert_says(caught.value, path)


def test_spellings_of_one_identity_become_one_with_a_warning(tmp_path):
    composed, decomposed = "Zo\u00eb", "ZOE\u0308"
    touch(tmp_path, f"{composed}/1.jpg", f"{decomposed}/2.jpg", "Max/1.jpg")
    with pytest.warns(UserWarning, match="same identity") as caught:
        table = IdentityTable.from_folder(tmp_path)
    assert len(table.distinct_identities) == 2
    assert len(caught) == 1
    assert_says(caught[0].message.args[0], repr(composed), repr(decomposed), "rename")


@pytest.mark.parametrize(
    ("one", "other"), [("STRASSE", "straße"), (" Ann ", "ann"), ("Å", "\u212b"), ("ﬁnn", "FINN")]
)
def test_equal_names(one, other):
    assert normalise_identity(one) == normalise_identity(other)


@pytest.mark.parametrize(("one", "other"), [("ann", "anne"), ("ann b", "annb"), ("zoe", "zoë")])
def test_different_names(one, other):
    assert normalise_identity(one) != normalise_identity(other)


@given(st.text(max_size=12))
def test_normalising_is_idempotent_and_blind_to_unicode_form(name):
    normal = normalise_identity(name)
    assert normalise_identity(normal) == normal
    for form in ("NFC", "NFD"):
        assert normalise_identity(unicodedata.normalize(form, name)) == normal
    assert normalise_identity(f" {name}\n") == normal


@pytest.mark.parametrize("name", ["\u1f80\u0301", "\u0345\u0308", "\u1f88\u030c"])
def test_unicode_form_does_not_matter_where_folding_reorders_marks(name):
    assert normalise_identity(name) == normalise_identity(unicodedata.normalize("NFD", name))


def test_different_identities_give_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IdentityTable.from_folder(write_identities(tmp_path, [2, 2]))


def test_rows_are_sorted_whatever_order_they_came_in(tmp_path):
    table = IdentityTable.build(tmp_path, ["c", "a", "b"], ["z", "x", "y"], "t")
    assert (table.files, table.identities) == (("a", "b", "c"), ("x", "y", "z"))
    assert made_up_table([2, 1]).labels.tolist() == [0, 0, 1]
    assert write_image(tmp_path / "p" / "1.png", 1).is_file()


def test_a_heap_has_every_image_in_any_folder_each_for_itself(tmp_path):
    for name in ("b.png", "A/a.png", "A/deep/er/c.png", "a.png", ".hidden/d.png"):
        write_image(tmp_path / name, 1)
    (tmp_path / "notes.txt").write_text("")
    with pytest.warns(UserWarning, match=r"1 \.txt"):
        table = IdentityTable.from_heap(tmp_path)
    assert table.files == ("A/a.png", "A/deep/er/c.png", "a.png", "b.png")
    assert table.identities == table.files
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images found"):
        IdentityTable.from_heap(tmp_path / "empty")
