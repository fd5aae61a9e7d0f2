"""Files from strangers: bounded, regular, and refused in one line."""

import io
import json
import os
import sys
import threading
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says

from siamese.reading import (
    Unreadable,
    check_archive,
    exists,
    parse_json,
    read_bytes,
    read_object,
    read_text,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner
        )
    ),
    max_leaves=20,
)


@given(PLAIN, st.booleans())
def test_what_is_plain_is_read_as_it_is(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b"[NaN]", "NaN"),
        (b"-Infinity", "Infinity"),
        (b"1e400", "too large a number"),
        (b"1" + b"0" * 400, "too large a number"),
        (b"-" + b"9" * 10_000, "too large a number"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 500_000, "nested deeper than 64"),
        (b'["\\ud83d"]', "surrogate"),
        (b'{"\\ud83d": 1}', "surrogate"),
        (b'["\\u0000"]', "NUL"),
        (b'"\xff"', "not JSON in UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON in UTF-8"),
        (b"", "not JSON in UTF-8"),
        (b"{} {}", "not JSON in UTF-8"),
    ],
)
def test_what_is_not_plain_json_is_refused(content, words):
    with pytest.raises(Unreadable) as error:
        parse_json(content)
    assert_says(error.value, words)


def test_what_is_just_within_the_bounds():
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(b"999999999999999999") == 10**18 - 1
    # A file name that is not UTF-8, as the operating system's own notation has it; a whole pair.
    assert parse_json(b'"\\udce9 \\ud83d\\ude00"') == "\udce9 \U0001f600"


def test_many_values_are_refused_before_they_are_made():
    with pytest.raises(Unreadable, match="more than 1,000 values"):
        parse_json(b"[" + b"[]," * 10**6 + b"[]]", values=1000)


def test_what_has_no_end_or_is_no_file(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    found = []

    def read(name):
        try:
            read_bytes(tmp_path / name, 100)
        except (OSError, ValueError) as error:
            found.append((name, error))

    for name in ("folder", "pipe", "endless", "nowhere", "a\0b"):
        thread = threading.Thread(target=read, args=(name,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), f"{name} is waited for"
    kinds = {name: type(error) for name, error in found}
    assert kinds == {
        "folder": IsADirectoryError,
        "pipe": Unreadable,
        "endless": Unreadable,
        "nowhere": FileNotFoundError,
        "a\0b": Unreadable,
    }
    assert not exists(tmp_path / "a\0b")
    assert not exists(tmp_path / ("x" * 5000))
    assert exists(tmp_path / "folder")
    assert exists(tmp_path / "pipe")  # whoever reads it says what it is


def test_no_more_than_is_allowed_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    with pytest.raises(Unreadable, match="more than 99 bytes"):
        read_bytes(path, 99)
    with path.open("wb") as stream:  # a hole: a large file that takes no room on the disk
        stream.truncate(1 << 40)
    before = sys.getallocatedblocks()
    with pytest.raises(Unreadable, match="bytes"):
        read_text(path)
    assert sys.getallocatedblocks() - before < 10_000


def test_text_and_objects(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(path) == "a"
    path.write_bytes(b"a\0")
    with pytest.raises(Unreadable, match="NUL"):
        read_text(path)
    path.write_text("[]")
    with pytest.raises(Unreadable, match="list instead of an object"):
        read_object(path)


def archive(members, method=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as target:
        for name, content in members:
            target.writestr(name, content)
    return made


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_unpack_to_more_than_they_say():
    assert len(check_archive(archive([("a", b"x"), ("b", b"y")]), 100)) == 2
    bomb = archive([("a", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    for wrong, words in (
        (archive([("a", b"x" * 101)]), "more than 100 bytes"),
        (bomb, "more than 100 bytes"),
        (archive([("a", b"x"), ("a", b"y")]), "stands twice"),
        (archive([("a", b"x")], zipfile.ZIP_LZMA), "compressed in another way"),
        (archive([("a", b"x")], zipfile.ZIP_DEFLATED), "compressed in another way"),
        (io.BytesIO(b"not an archive"), "not a whole archive"),
        (io.BytesIO(archive([("a", b"x")]).getvalue()[:-10]), "not a whole archive"),
    ):
        with pytest.raises(Unreadable, match=words):
            check_archive(wrong, 100)
    check_archive(bomb, 1 << 20, compressed=True)
