"""Embeddings in files: read as they were written, by this package and by others."""

import json
import multiprocessing
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says

import siamese
from siamese.cli.main import main
from siamese.errors import DataError
from siamese.evaluation import embedding_files, embedding_reading
from siamese.evaluation.embedding_files import write_embeddings
from siamese.evaluation.embedding_reading import read_embeddings

KINDS = ["npz", "npy", "parquet"]


@pytest.fixture
def made():
    rng, who = np.random.default_rng(0), np.repeat(np.arange(12), 4)
    rows = (rng.normal(size=(12, 6))[who] + 0.4 * rng.normal(size=(48, 6))).astype(np.float32)
    return rows, [f"Zoë, {n}" for n in who], [f"{n}/{i}.png" for i, n in enumerate(who)]


def written(made, path):
    rows, who, files = made
    return write_embeddings(path, [rows[:30], rows[30:]], rows.shape, files, who)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read(made, tmp_path, kind, monkeypatch):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(embedding_files, "_BLOCK", 7)
    monkeypatch.setattr(embedding_reading, "_BLOCK", 7 * 6)
    rows, who = read_embeddings(written(made, tmp_path / f"e.{kind}"))
    assert rows.dtype == np.float32
    assert (rows == made[0]).all()
    assert who.tolist() == made[1]
    assert isinstance(rows, np.memmap) == (kind != "parquet")
    assert rows.flags.aligned


def _killed_at(step, made, path):
    """Write, in a process that ends before the step-th change of the folder."""
    calls = iter(range(100))

    def ending(change):
        def changed(*arguments, **settings):
            if next(calls) == step:
                os._exit(9)
            return change(*arguments, **settings)

        return changed

    os.replace, Path.unlink = ending(os.replace), ending(Path.unlink)
    written(made, path)


def test_an_array_never_lies_beside_names_of_other_rows(made, tmp_path):
    path, old = tmp_path / "e.npy", (made[0] + 1, made[1][::-1], made[2])
    for step in range(100):
        written(old, path)
        process = multiprocessing.get_context("fork").Process(
            target=_killed_at, args=(step, made, path)
        )
        process.start()
        process.join()
        if path.with_suffix(".csv").exists():
            rows, who = read_embeddings(path)
            now = made if (rows == made[0]).all() else old
            assert (rows == now[0]).all()
            assert who.tolist() == now[1]
        if process.exitcode == 0:
            break
    assert step == 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_wrote_is_read(made, tmp_path, save, order):
    save(tmp_path / "e.npz", identities=made[1], embeddings=np.asarray(made[0], order=order))
    rows, who = read_embeddings(tmp_path / "e.npz")
    assert (np.asarray(rows) == made[0]).all()
    assert who.tolist() == made[1]
    assert isinstance(rows, np.memmap) == (save is np.savez)


def test_identities_may_lie_elsewhere(made, tmp_path):
    np.save(tmp_path / "e.npy", made[0])
    (tmp_path / "who.txt").write_text("\n".join(made[1]), encoding="utf-8")
    np.save(tmp_path / "who.npy", made[1])
    for name in ("who.txt", "who.npy"):
        assert read_embeddings(tmp_path / "e.npy", tmp_path / name)[1].tolist() == made[1]


def test_parquet_with_lists_of_any_kind(made, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table(
        {"identity": made[1], "embedding": made[0].astype(float).tolist(), "x": made[2]}
    )
    parquet.write_table(table, tmp_path / "e.parquet", row_group_size=11)
    rows, who = read_embeddings(tmp_path / "e.parquet")
    assert (rows == made[0]).all()
    assert who.tolist() == made[1]
    for bad in ([[1.0], [1.0, 2.0]], [[1.0, 2.0], None]):
        parquet.write_table(
            pa.table({"identity": ["a", "b"], "embedding": bad}), tmp_path / "b.parquet"
        )
        with pytest.raises(DataError, match=r"b\.parquet: cannot be read"):
            read_embeddings(tmp_path / "b.parquet")


class Trap:
    """What pickle would execute."""

    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda path, rows: None, ["no such file"]),
        (lambda path, rows: path.write_bytes(b"none"), ["cannot be read"]),
        (
            lambda path, rows: np.savez(path, identities=[1, 2]),
            ["no", "embeddings", "--identities"],
        ),
        (lambda path, rows: np.savez(path, embeddings=rows), ["identities"]),
        (lambda path, rows: np.savez(path, embeddings=rows, identities=[1]), ["do not fit"]),
        (
            lambda path, rows: np.savez(
                path, embeddings=np.array([Trap()]), identities=[1], allow_pickle=True
            ),
            ["cannot be read", "Python objects"],
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(made, tmp_path, capsys, fault, words):
    path = tmp_path / "e.npz"
    fault(path, made[0])
    with pytest.raises(DataError) as error:
        read_embeddings(path)
    assert_says(error.value, "e.npz", *words)
    assert "executed" not in capsys.readouterr().out


def test_an_archive_that_is_cut_short_is_refused(made, tmp_path):
    path = written(made, tmp_path / "e.npz")
    content = path.read_bytes()
    for size in (10, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError):
            read_embeddings(path)
    # The table of contents may lie about what is in the file.
    with zipfile.ZipFile(path, "w") as archive:
        header = b"\x93NUMPY\x01\x00" + bytes([118, 0])
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 99), }"
        archive.writestr("embeddings.npy", header + text.ljust(117) + b"\n")
        archive.writestr("identities.npy", b"")
    with pytest.raises(DataError):
        read_embeddings(path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_calibrates_them_and_keeps_the_calibration(made, tmp_path, capsys, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    source, out = written(made, tmp_path / f"e.{kind}"), tmp_path / "c.npz"
    words = ["calibrate", "--embeddings", str(source), "--policy", "eer", "--out", str(out)]
    assert main([*words, "--distance", "cosine"]) == 0
    assert "48 embeddings of 12 identities" in capsys.readouterr().out
    expected = siamese.calibrate(made[0], made[1], "eer", distance="cosine")
    assert siamese.Calibration.load(out).point == expected.point
    assert main([*words, "--distance", "cosine", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == expected.point.to_dict()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--embeddings", "e.txt"], [".npz", ".parquet"]),
        (["--embeddings", "e.npz", "--data", "x"], ["--data", "--embeddings"]),
        (["runs/latest", "--embeddings", "e.npz"], ["a bundle", "--embeddings"]),
        (["--embeddings", "e.npz", "--out", "folder"], ["--out", ".npz"]),
        (["--identities", "e.npz"], ["--embeddings"]),
        ([], ["--data", "--embeddings"]),
    ],
)
def test_a_mistake_names_the_remedy(words, answer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *words]) == 2
    assert_says(capsys.readouterr().err.rstrip(), *answer)
