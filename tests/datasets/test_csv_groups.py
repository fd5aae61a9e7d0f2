"""Groups in a CSV file: which columns are read, that they stay with their images, and errors."""

import csv

import pytest
from tests.helpers import assert_says

from siamese.datasets.csv_file import is_group_column
from siamese.datasets.identities import IdentityTable
from siamese.errors import DataError


def written(folder, header, rows, name="people.csv"):
    """A CSV file, with an empty file for each path in its first column."""
    for file, *_ in rows:
        (folder / file.strip()).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.strip()).touch()
    with (folder / name).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return folder / name


def test_columns_of_groups_are_read_stripped_and_sorted_with_their_files(tmp_path):
    header = ["path", "identity", " group_sex ", "note", "group", "groups", "group_"]
    rows = [
        ["c.jpg", "Zoe", " f ", "x", "1", "no", "no"],
        ["a.jpg", "ann", "", "x", "2", "no", "no"],
        ["b.jpg", "bob"],  # a short line: the rest is unknown
    ]
    table = IdentityTable.from_csv(written(tmp_path, header, rows))
    assert table.files == ("a.jpg", "b.jpg", "c.jpg")
    assert table.groups == {"group_sex": ("", "", "f"), "group": ("2", "", "1")}
    part = table.select([2, 0])
    assert part.groups == {"group_sex": ("f", ""), "group": ("1", "2")}
    assert hash(part) == hash(table.select([2, 0]))
    assert part == table.select([2, 0]) != table.select([2, 1])


def test_a_table_without_such_columns_and_a_folder_have_none(tmp_path):
    rows = [["a/1.jpg", "ann"], ["b/1.jpg", "bob"]]
    assert IdentityTable.from_csv(written(tmp_path, ["path", "identity"], rows)).groups == {}
    assert IdentityTable.from_folder(tmp_path).groups == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("group", True), ("group_age", True), ("group_", False), ("groups", False), ("age", False)],
)
def test_which_columns_are_groups(name, expected):
    assert is_group_column(name) == expected


def test_mistakes_are_explained(tmp_path):
    rows = [[f"{i:02d}.jpg", "ann", str(i)] for i in range(31)]
    header = ["path", "identity", "group_shoe"]
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(written(tmp_path, header, rows))
    assert_says(caught.value, "'group_shoe' has 31 groups", "at most 30", "merge", "rename")
    unknown = [*rows[:30], ["30.jpg", "ann", ""]]
    assert len(set(IdentityTable.from_csv(written(tmp_path, header, unknown)).groups)) == 1
    twice = written(tmp_path, ["path", "identity", "group", " group"], [[*rows[0], "x"]])
    with pytest.raises(DataError) as caught:
        IdentityTable.from_csv(twice)
    assert_says(caught.value, "two columns", "'group'")
    files, identities = ("a.jpg", "b.jpg"), ("ann", "bob")
    for make in (IdentityTable, IdentityTable.build):
        with pytest.raises(DataError) as caught:
            make(tmp_path, files, identities, "data", {"group": ("x",)})
        assert_says(caught.value, "2 files but 1 values of 'group'", "one group per file")
    with pytest.raises(DataError) as caught:
        IdentityTable(tmp_path, files, identities, "data", {"group": (1, 2)})
    assert_says(caught.value, "'group' must be text")
