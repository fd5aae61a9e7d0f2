"""Lists of pairs: every header that people write, and bad rows that stay where they are."""

import csv
import io

import pytest
from tests.helpers import assert_says

from siamese.datasets.pair_list import PairList
from siamese.errors import DataError


def read(tmp_path, text, **given):
    file = tmp_path / "pairs.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return PairList.read(file, **given)


@pytest.mark.parametrize(
    ("header", "places"),
    [
        ("a,b", (0, 1)),
        ("left,right", (0, 1)),
        ("photo_1,photo_2", (0, 1)),
        ("Photo 1,Photo 2", (0, 1)),
        ("image2,image1", (1, 0)),
        ("id,left_image,right_image,note", (1, 2)),
        ("note,B,id,A", (3, 1)),
        ("path-a,path-b", (0, 1)),
        ("first,second", (0, 1)),
        ("\ufeffa,b", (0, 1)),
    ],
)
def test_headers_that_are_known(tmp_path, header, places):
    cells = [f"{place}.jpg" for place in range(header.count(",") + 1)]
    found = read(tmp_path, f"{header}\n{','.join(cells)}\n")
    assert [(p.a, p.b, p.error) for p in found.pairs] == [
        (cells[places[0]], cells[places[1]], None)
    ]
    assert found.header is None
    assert found.columns == tuple(header.strip("\ufeff").split(","))


def test_a_file_without_a_header_loses_no_pair(tmp_path):
    for first in ("missing.jpg,other.jpg", "x/missing,y.png", "a.JPG,b"):
        found = read(tmp_path, f"{first}\nc.jpg,d.jpg,more\n")
        assert (found.pairs[0].a, found.pairs[0].b) == tuple(first.split(","))
        assert found.columns == ("a", "b", "column_3")
        assert found.cells[0][2] == ""
    (tmp_path / "portrait").write_text("")  # a file without a suffix is a file
    assert len(read(tmp_path, "portrait,other\nc.jpg,d.jpg\n")) == 2
    guessed = read(tmp_path, "mug shot,passport\nc.jpg,d.jpg\n")
    assert len(guessed) == 1
    assert guessed.header == "mug shot,passport"
    named = read(tmp_path, "id,mug,pass\n1,c.jpg,d.jpg\n", columns=("mug", "pass"))
    assert (named.pairs[0].a, named.pairs[0].b) == ("c.jpg", "d.jpg")
    with pytest.raises(DataError) as error:
        read(tmp_path, "id,mug,pass\n1,c.jpg,d.jpg\n", columns=("mugg", "pass"))
    assert_says(error.value, "pairs.csv", "did you mean 'mug'")


def test_bad_rows_stay_in_their_place(tmp_path):
    text = "a,b,id\nc.jpg,d.jpg,1\nc.jpg\n\n,d.jpg,4\n c.jpg , d.jpg,5\nc.jpg,d.jpg,6,7\n\n\n"
    found = read(tmp_path, text)
    assert [pair.error and pair.error.partition(" (")[0] for pair in found.pairs] == [
        None,
        "too few columns",
        "empty row",
        "no file named",
        None,
        "too many columns",
    ]
    assert found.pairs[4][:2] == ("c.jpg", "d.jpg")
    assert found.columns == ("a", "b", "id", "column_4")
    assert [row[2:] for row in found.cells][-1] == ["6", "7"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_line_for_excel_is_no_row(tmp_path, delimiter):
    lines = "sep=;\r\nphoto_1;photo_2;note, more\r\nc.jpg;d.jpg;1\r\n"
    found = read(tmp_path, lines.replace(";", delimiter))
    assert found.columns == ("photo_1", "photo_2", "note, more")
    assert [pair[:2] for pair in found.pairs] == [("c.jpg", "d.jpg")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_is_written_has_all_cells_as_they_were(tmp_path, delimiter):
    names = ['=cmd|" /C calc"!A0', "a\nb.jpg", "Müller, Hans.jpg", "x;y.jpg", " z\t.jpg "]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["a", "b", "note"])
    writer.writerows([name, "d.jpg", name] for name in names)
    found = read(tmp_path, b"\xef\xbb\xbf" + text.getvalue().encode())
    content = found.written_with(["more"], ([str(row)] for row in range(len(names))))
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(
        csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    )
    assert rows[0] == ["a", "b", "note", "more"]
    assert rows[1:] == [[name, "d.jpg", name, str(row)] for row, name in enumerate(names)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n", "no pairs below the header"),
        (b"a\0,b\n", "NUL"),
        (b"\xff\xfe\n", "UTF-8"),
        (b'a,b\n"open,c.jpg\n', "not a CSV file"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    assert_says(error.value, "pairs.csv", words)
    with pytest.raises(DataError, match="cannot be read"):
        PairList.read(tmp_path / "nowhere.csv")


def test_commas_in_other_columns_part_nothing(tmp_path):
    text = "photo_1;photo_2;note, remark\nc.jpg;d.jpg;one, two\n"
    found = read(tmp_path, text)
    assert (found.delimiter, found.pairs) == (";", [("c.jpg", "d.jpg", None)])
    named = read(tmp_path, text.replace("photo_", "p, q "), columns=["p, q 1", "p, q 2"])
    assert (named.delimiter, named.pairs) == (";", [("c.jpg", "d.jpg", None)])


def test_the_line_of_a_quotation_mark_without_its_other_is_told(tmp_path):
    for text in ('a,b\nc,d\ne,"f\ng,h\n', 'a,b\nc,d\ne,"f" g\ni,j\n'):
        with pytest.raises(DataError, match="line 3"):
            read(tmp_path, text)
