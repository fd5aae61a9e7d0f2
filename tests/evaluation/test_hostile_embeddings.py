"""Files of embeddings that are damaged, or made to do harm: refused in one line, at once."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
from tests.helpers import assert_says

from siamese.errors import DataError
from siamese.evaluation.embedding_files import write_embeddings
from siamese.evaluation.embedding_reading import read_embeddings
from siamese.verification.thresholds import calibrate


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape, kind="<f4", literal=None, version=2):
    text = literal or f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = struct.pack("<I" if version > 1 else "<H", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + b"\n"


NAMES, ROWS = npy(np.array(["a", "b", "c"])), npy(np.zeros((3, 2), np.float32))


def archive(path, embeddings=ROWS, identities=NAMES):
    with zipfile.ZipFile(path, "w") as to:
        to.writestr("embeddings.npy", embeddings)
        to.writestr("identities.npy", identities)
    return path


SHAPES = [(2**62, 4), (2**40, 4), (-3, 2), (2**31, 2**33), (), (3,), (0, 0), (2**64, 2), (3, 20)]
ARRAYS = {
    **{f"shape {shape}": header(shape) + bytes(24) for shape in SHAPES},
    "a version of structures": header((3, 2), version=3) + bytes(24),
    "objects": header((3, 2), "|O") + bytes(48),
    "nothing": header((3, 2), "|V0"),
    "structures": header((3, 2), {"a": 1}) + bytes(48),
    "a deep literal": header(0, literal="-" * 9000 + "1"),
    "an open literal": header(0, literal="(" * 9000),
    "an open literal of version 1": header(0, literal="(" * 9000, version=1),
    "no array": b"none",
    "empty": b"",
}


@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "e.npy").write_bytes(content)
    (tmp_path / "rows.npy").write_bytes(ROWS)
    (tmp_path / "names.npy").write_bytes(NAMES)
    for path, names in (
        (archive(tmp_path / "rows.npz", embeddings=content), None),
        (archive(tmp_path / "names.npz", identities=content), None),
        (tmp_path / "e.npy", tmp_path / "names.npy"),
        (tmp_path / "rows.npy", tmp_path / "e.npy"),
    ):
        with pytest.raises(DataError) as error:
            read_embeddings(path, names)
        assert_says(error.value, (names or path).name if path.name == "rows.npy" else path.name)


def _encrypted(path):
    content = archive(path).read_bytes()
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark) + place
        content = content[:at] + b"\x01" + content[at + 1 :]
    path.write_bytes(content)


def _bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to:
        to.writestr("identities.npy", NAMES)
        with to.open("embeddings.npy", "w", force_zip64=True) as member:
            member.write(header((1 << 21, 32)))
            for _ in range(64):
                member.write(bytes(1 << 22))


def _damaged(path):
    rng = np.random.default_rng(0)
    np.savez_compressed(path, embeddings=rng.normal(size=(300, 20)), identities=np.arange(300))
    content = path.read_bytes()
    path.write_bytes(content[:4000] + rng.bytes(100) + content[4100:])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_encrypted, ["encrypted"]),
        (_bomb, ["unpack"]),
        (_damaged, ["damaged"]),
        (lambda path: os.mkfifo(path), ["regular"]),
        (lambda path: path.mkdir(), ["directory"]),
        (lambda path: archive(path, identities=npy(np.array(["a", "", "c"]))), ["embedding 2"]),
    ],
)
def test_archives_that_are_none_are_refused(tmp_path, fault, words):
    fault(tmp_path / "e.npz")
    with pytest.raises(DataError) as error:
        read_embeddings(tmp_path / "e.npz")
    assert_says(error.value, "e.npz", *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,identity\nx,a\ny\nz,c\n", ["embedding 2", "empty"]),
        ("path,identity\nx," + "a" * 200_000 + "\ny,b\nz,c\n", ["field"]),
        ("path,identity\nx,a\0\ny,b\nz,c\n", ["NUL"]),
        ("identity,identity\na,a\nb,b\nc,c\n", ["2", "named identity"]),
        ("", ["named identity"]),
    ],
)
def test_names_that_are_none_are_refused(tmp_path, text, words):
    (tmp_path / "e.npy").write_bytes(ROWS)
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_embeddings(tmp_path / "e.npy")
    assert_says(error.value, "e.csv", *words)


def test_a_pipe_of_names_never_blocks(tmp_path):
    (tmp_path / "e.npy").write_bytes(ROWS)
    os.mkfifo(tmp_path / "e.csv")
    with pytest.raises(DataError, match="regular"):
        read_embeddings(tmp_path / "e.npy")


def test_parquet_of_something_else_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names, rows, path = ["a", "b"], [[1.0], [2.0]], tmp_path / "e.parquet"
    for embedding, identity in (
        ([1.0, 2.0], names),
        ([["x"], ["y"]], names),
        ([[1.0, None], [2.0, 3.0]], names),
        ([{"a": 1.0}, {"a": 2.0}], names),
        ([[[1.0]], [[2.0]]], names),
        ([[True], [False]], names),
        (pa.array([[], []], pa.list_(pa.float32())), names),
        (rows, ["a", None]),
        (rows, ["a", ""]),
        (rows, [["a"], ["b"]]),
        (rows, [1.5, 2.5]),
    ):
        parquet.write_table(pa.table({"embedding": embedding, "identity": identity}), path)
        with pytest.raises(DataError, match=r"e\.parquet"):
            read_embeddings(path)
    parquet.write_table(pa.table({"embedding": rows, "identity": [7, 8]}), path)
    assert read_embeddings(path)[1].tolist() == [7, 8]
    # A number that stands a hundred million times takes no room in the file.
    vast = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(1 << 26, np.float32)), 1 << 25)
    parquet.write_table(pa.table({"embedding": vast, "identity": names}), path)
    with pytest.raises(DataError, match="unpack"):
        read_embeddings(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="regular"):
        read_embeddings(path)


@pytest.mark.parametrize("kind", ["npz", "npy", "csv", "parquet"])
def test_whatever_bytes_change_it_is_read_or_refused(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    names = [f"p{n // 2}" for n in range(12)]
    rows = rng.normal(size=(12, 3)).astype(np.float32)
    read = tmp_path / f"e.{'npy' if kind == 'csv' else kind}"
    write_embeddings(read, [rows], rows.shape, names, names)
    path = tmp_path / f"e.{kind}"
    whole, refused = path.read_bytes(), 0
    for trial in range(400):
        content = bytearray(whole[: rng.integers(len(whole))] if trial % 4 == 0 else whole)
        for place in rng.integers(len(content), size=rng.integers(1, 4)) if content else ():
            content[place] = rng.integers(256)
        path.unlink()  # what is mapped stays as it is
        path.write_bytes(content)
        try:
            found, who = read_embeddings(read)
        except DataError:
            refused += 1
        else:
            assert found.shape[:1] == who.shape
            np.asarray(found).sum()
    assert refused > 50


@pytest.mark.parametrize("kind", ["npz", "npy", "parquet"])
def test_names_that_are_not_utf8(tmp_path, kind):
    names = ["a\udcff", "a\udcff", "b", "b", "\udce9", "\udce9"]
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    path = tmp_path / f"e.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        with pytest.raises(DataError) as error:
            write_embeddings(path, [rows], rows.shape, names, names)
        assert_says(error.value, "e.parquet", "UTF-8", ".npz")
        assert not list(tmp_path.iterdir())
        return
    write_embeddings(path, [rows], rows.shape, names, names)
    found, who = read_embeddings(path)
    assert who.tolist() == names
    assert calibrate(found, who).point.identities == 3


@pytest.mark.parametrize("kind", ["npz", "npy", "parquet"])
def test_one_long_name_does_not_make_all_long(tmp_path, kind, monkeypatch):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("siamese.evaluation.embedding_files.MOST_PADDED", 1 << 14)
    rows, names = np.ones((100, 2), np.float32), [f"{n}" for n in range(99)] + ["x" * 5000]
    path = tmp_path / f"e.{kind}"

    def write(files, who):
        return write_embeddings(path, [rows], rows.shape, files, who)

    with pytest.raises(DataError, match="one identity has 5,000 characters"):
        write(names[::-1], names)
    if kind == "npz":
        with pytest.raises(DataError, match="one file name has 5,000 characters"):
            write(names, ["a"] * 100)
    else:
        assert read_embeddings(write(names, ["a"] * 100))[1].tolist() == ["a"] * 100
