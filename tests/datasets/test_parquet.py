"""Tables in columns: the same as in tuples, and split alike; Parquet files that are bad."""

from __future__ import annotations

import csv
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says, write_image

import siamese
from siamese.cli.compare import _first_image
from siamese.data.samplers.balanced_pair_sampler import BalancedPairSampler
from siamese.data.samplers.identity_sampler import IdentitySampler
from siamese.data.split_protocols.held_out_identities import HeldOutIdentities
from siamese.data.split_protocols.identity_disjoint import IdentityDisjoint
from siamese.data.split_protocols.image_disjoint import ImageDisjoint
from siamese.datasets import identities, parquet_file
from siamese.datasets.columns import CodedColumn, TextColumn
from siamese.datasets.identities import IdentityTable
from siamese.errors import DataError, MissingDependencyError
from siamese.evaluation.audited import read_data
from siamese.evaluation.data import other_manifest
from siamese.faces.crop_jobs import CropPaths

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def rows(n: int = 600, people: int = 40) -> tuple[list[str], list[str], list[str]]:
    rng = np.random.default_rng(3)
    who = np.minimum(rng.zipf(1.4, n) - 1, people - 1)
    files = [f"{w}/ä {i}𝄞.jpg" for i, w in enumerate(rng.permutation(who))]
    names = [f" Pérs{'ON' if i % 2 else 'on'} {f.split('/')[0]}" for i, f in enumerate(files)]
    return files, names, [("", "20-29", "30-39")[i % 3] for i in range(n)]


@pytest.fixture(params=["parquet", "lists"])
def columns(request, tmp_path, monkeypatch) -> IdentityTable:
    """The table of :func:`rows` in columns, read from Parquet, or built of lists as a large one."""
    files, names, ages = rows()
    if request.param == "lists":
        with monkeypatch.context() as patch:
            patch.setattr(identities, "MANY", 1)
            return IdentityTable.build(tmp_path, files, names, "rows", {"group_age": ages})
    table = pa.table({"path": files, "identity": names, "group_age": ages, "other": names})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=100)
    return IdentityTable.from_parquet(tmp_path / "rows.parquet")


@pytest.fixture
def tuples(tmp_path) -> IdentityTable:
    files, names, ages = rows()
    return IdentityTable.build(tmp_path, files, names, "rows", {"group_age": ages})


@pytest.mark.filterwarnings("ignore:.*are taken for the same identity")
class TestTheSame:
    def test_table(self, columns, tuples):
        assert isinstance(columns.files, TextColumn)
        assert isinstance(columns.identities, CodedColumn)
        assert isinstance(tuples.files, tuple)
        assert columns == tuples
        assert tuples == columns
        assert columns.distinct_identities == tuples.distinct_identities
        np.testing.assert_array_equal(columns.labels, tuples.labels)
        assert columns.counts == tuples.counts
        assert list(columns.paths) == tuples.paths
        assert columns.paths[3:5] == tuples.paths[3:5]

    def test_hash(self, columns, tuples):
        assert hash(columns) == hash(tuples)
        assert len({columns, tuples}) == 1

    @pytest.mark.parametrize("chosen", [[-1], [0, -599, 599], (3,), np.arange(600) % 7 == 0])
    def test_selection_by_other_rows(self, columns, tuples, chosen):
        assert columns.select(chosen) == tuples.select(chosen)
        assert len(columns.select(chosen)) == (86 if len(chosen) == 600 else len(chosen))

    @pytest.mark.parametrize(("chosen", "error"), [([], DataError), ([600], IndexError)])
    def test_selection_of_no_rows(self, columns, tuples, chosen, error):
        messages = []
        for table in (columns, tuples):
            with pytest.raises(error) as caught:
                table.select(chosen)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]

    def test_selection(self, columns, tuples):
        chosen = np.random.default_rng(0).permutation(600)[:77]
        assert columns.select(chosen) == tuples.select(chosen)
        assert (
            columns.select(chosen).distinct_identities == tuples.select(chosen).distinct_identities
        )
        np.testing.assert_array_equal(columns.select(chosen).labels, tuples.select(chosen).labels)

    @pytest.mark.parametrize("seed", [0, 5])
    @pytest.mark.parametrize(
        "protocol",
        [
            IdentityDisjoint(),
            IdentityDisjoint((24, 8, 8)),
            HeldOutIdentities(),
            HeldOutIdentities(calibration=0.2),
            ImageDisjoint(train=10, validation=4, test=4),
        ],
    )
    def test_split(self, columns, tuples, protocol, seed):
        one, other = protocol(columns, seed), protocol(tuples, seed)
        assert list(one.rows) == list(other.rows)
        for name in one.rows:
            np.testing.assert_array_equal(one.rows[name], other.rows[name])
        assert {k: v.tolist() for k, v in one.pairs.items()} == {
            k: v.tolist() for k, v in other.pairs.items()
        }


def dealt_by_names(table: IdentityTable, shares, seed: int) -> dict[str, list[int]]:
    """The split as it was made of names and dictionaries: kept as an oracle."""
    from siamese.data.split_protocols import identity_disjoint as made

    rng = np.random.default_rng(seed)
    numbers = made._numbers(len(table.distinct_identities), shares)
    names = np.array(table.distinct_identities)[rng.permutation(len(table.distinct_identities))]
    names = names[np.argsort([-table.counts[p] for p in names], kind="stable")]
    owner = dict(zip(names.tolist(), made._turns(len(names), numbers, rng), strict=True))
    dealt = {split: [] for split in made.SPLITS}
    for row, name in enumerate(table.identities):
        dealt[made.SPLITS[owner[name]]].append(row)
    return dealt


@pytest.mark.filterwarnings("ignore:.*are taken for the same identity")
@pytest.mark.parametrize("seed", range(5))
def test_the_split_is_that_of_names_and_dictionaries(columns, seed):
    made = IdentityDisjoint()(columns, seed).rows
    assert {k: v.tolist() for k, v in made.items()} == dealt_by_names(
        columns, (0.6, 0.2, 0.2), seed
    )


@pytest.mark.parametrize("sampler", [IdentitySampler(4), IdentitySampler(4, most=2)])
def test_plans_are_those_of_a_list_of_arrays(sampler):
    labels = np.random.default_rng(0).integers(0, 30, 200)
    labels = np.unique(labels, return_inverse=True)[1]
    batches, old = sampler.batches(labels), sampler.batches(labels)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    old._rows.rows = np.split(order, starts[1:])
    assert len(batches) == len(old)
    for one, other in zip(batches, old, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
    assert len(list(batches._rows.rows)) == len(old._rows.rows)
    images = sum(len(r) for r in old._rows.rows)
    assert BalancedPairSampler(pairs=8).default_steps(old._rows) == -(-images // 16)


def write(tmp_path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_numbers_name_identities_and_odd_paths_become_usual_ones(tmp_path):
    path = write(tmp_path, path=["b//2.jpg", " ./a/../c/1.jpg ", "a.jpg"], identity=[7, 12, 7])
    table = IdentityTable.from_parquet(path)
    assert table.files == ("a.jpg", "b/2.jpg", "c/1.jpg")
    assert table.identities == ("7", "7", "12")


def test_paths_and_identities_are_taken_as_in_a_csv_file(tmp_path):
    """Absolute paths, white space of every script, and cells that hold nothing else."""
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "in" / name, 0)
    root = tmp_path / "in"
    for path, who in (
        (str(root / "a.png"), "x"),
        (f"{tmp_path}//in/./b.png", "x"),
        ("\u00a0c.png\u3000", "\u2003x\x1f"),
        ("../in/c.png", "x"),
        ("\u3000", "x"),
        (" ", "x"),
        ("a.png", "  "),
        ("a.png", "\u00a0"),
    ):
        found = []
        with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["path", "identity"], [path, who]])
        for file in (tmp_path / "rows.csv", write(tmp_path, path=[path], identity=[who])):
            try:
                table = IdentityTable.from_file(file, root)
                found.append((tuple(table.files), tuple(table.identities)))
            except DataError as error:
                assert_says(error, file, "empty path or identity; fill in both")
                found.append(None)
        assert found[0] == found[1]
        assert (found[0] is None) == (not path.strip() or not who.strip())


def test_two_spellings_of_one_identity_are_said(tmp_path):
    path = write(tmp_path, path=["1", "2", "3"], identity=["Ann", "ann ", "Bob"])
    with pytest.warns(UserWarning, match="are taken for the same identity"):
        table = IdentityTable.from_parquet(path)
    assert table.identities == ("ann", "ann", "bob")
    assert table.distinct_identities == ("ann", "bob")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a"], "identiti": ["x"]}, ["identity"]),
        ({"path": ["a", None], "identity": ["x", "y"]}, ["path", "empty cell"]),
        ({"path": ["a", "b"], "identity": ["x", None]}, ["identity", "empty cell"]),
        ({"path": ["a", ""], "identity": ["x", "y"]}, ["empty path"]),
        ({"path": ["a", "b"], "identity": ["x", ""]}, ["empty path or identity"]),
        ({"path": [1, 2], "identity": ["x", "y"]}, ["path", "not text"]),
        ({"path": ["a", "b"], "identity": [0.5, 1.5]}, ["identity", "not text"]),
        ({"path": ["a", "b"], "identity": [["x"], ["y"]]}, ["rows.parquet"]),
        ({"path": ["a\0b"], "identity": ["x"]}, ["NUL"]),
        ({"path": ["a", "b", "a"], "identity": ["x", "y", "x"]}, ["'a'", "2 times"]),
        ({"path": ["a", "./a"], "identity": ["x", "y"]}, ["'a'", "2 times"]),
        ({"path": pa.array([], pa.string()), "identity": pa.array([], pa.string())}, ["no rows"]),
        (
            {"path": [*map(str, range(31))], "identity": ["x"] * 31, "group": [*range(31)]},
            ["31 groups"],
        ),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, columns, words):
    with pytest.raises(DataError) as caught:
        IdentityTable.from_parquet(write(tmp_path, **columns))
    assert_says(caught.value, *words)


def test_what_is_no_parquet_is_refused(tmp_path):
    path = write(tmp_path, path=["a", "b"], identity=["x", "y"])
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        bad = bytearray(content)
        for place in rng.integers(0, len(bad), 4):
            bad[place] = rng.integers(0, 256)
        path.write_bytes(bytes(bad[: int(rng.integers(1, len(bad) + 1))]))
        try:
            IdentityTable.from_parquet(path)
        except DataError as error:
            assert_says(error, path.parent)
    with pytest.raises(DataError) as caught:
        IdentityTable.from_parquet(tmp_path / "none.parquet")
    assert_says(caught.value, "no such file")


@pytest.mark.parametrize(
    ("length", "rows", "words"),
    [(10_000, 150_000, "more than 4,096 bytes"), (4_000, 150_000, "too much text")],
)
def test_a_small_file_of_much_text_is_refused_before_it_is_written_out(
    tmp_path, length, rows, words
):
    """A dictionary of one long text for many rows: some kB that would be gigabytes."""
    long = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * length])
    one = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["p"])
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"path": long, "identity": one}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    before, arrow = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, pa.total_allocated_bytes()
    with pytest.raises(DataError) as caught:
        IdentityTable.from_parquet(path)
    assert_says(caught.value, words)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < 1 << 30
    assert pa.total_allocated_bytes() - arrow < 1 << 24


@pytest.mark.parametrize("column", ["path", "identity"])
def test_a_column_that_unpacks_to_too_much_is_not_read(tmp_path, monkeypatch, column):
    path = tmp_path / "bomb.parquet"
    table = {"path": ["a"], "identity": ["b"]} | {column: ["x" * 300_000_000]}
    pq.write_table(pa.table(table), path, compression="zstd", write_statistics=False)
    del table
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # calling it would raise
    with pytest.raises(DataError) as caught:
        IdentityTable.from_parquet(path)
    assert_says(caught.value, column, "unpacks to", "for so small a file")


def test_the_text_that_a_file_may_have_grows_with_it(tmp_path, monkeypatch):
    path = write(tmp_path, path=[f"{i:020d}" for i in range(500)], identity=["x"] * 500)
    monkeypatch.setattr(parquet_file, "MOST_TEXT", 1)
    assert len(IdentityTable.from_parquet(path)) == 500


@pytest.mark.parametrize("paged", [1 << 10, 1 << 30])
def test_each_text_of_a_dictionary_is_looked_at_once(tmp_path, monkeypatch, paged):
    """However many batches a row group is read in, and where only a part is in a dictionary."""
    names = [f"{i * 7919 % 5000:05d}" for i in range(20_000)]
    files = [f"{i}.jpg" for i in range(20_000)]
    path = tmp_path / "rows.parquet"
    table = pa.table({"path": files, "identity": names})
    pq.write_table(table, path, dictionary_pagesize_limit=paged)
    monkeypatch.setattr(parquet_file, "_BATCH", 500)
    checked = []
    real = parquet_file._check_text
    monkeypatch.setattr(
        parquet_file,
        "_check_text",
        lambda name, values, pa: checked.append((name, len(values))) or real(name, values, pa),
    )
    table = IdentityTable.from_parquet(path)
    order = np.argsort(files)
    assert list(table.identities) == [names[i] for i in order]
    assert sum(n for name, n in checked if name == "identity") == 5000
    assert sum(n for name, n in checked if name == "path") == 20_000


@pytest.mark.parametrize("suffix", ["csv", "parquet", "PARQUET"])
def test_other_data_than_a_runs_may_be_a_file_of_either_kind(tmp_path, suffix):
    files = [f"p{p}/{i}.png" for p in range(3) for i in range(2)]
    for seed, file in enumerate(files):
        write_image(tmp_path / file, seed)
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        lines = ["path,identity", *(f"{file},{file.split('/')[0]}" for file in files)]
        path.write_text("\n".join(lines))
    else:
        pq.write_table(pa.table({"path": files, "identity": who(files)}), path)
    (split,) = other_manifest(path, None).splits.values()
    assert [entry["file"] for entry in split] == files
    assert read_data(path).identities == who(files)
    assert _first_image(str(path), None) == [tmp_path / files[0]]


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError) as caught:
        IdentityTable.from_parquet(tmp_path / "x.parquet")
    assert_says(caught.value, "siamese-lightning[parquet]")


@pytest.mark.filterwarnings("ignore:.* in two splits")
def test_from_parquet_to_crops(tmp_path, monkeypatch):
    """With a file that is no image, one that is empty, and one image in two splits."""
    files = [f"p{p}/{i}.png" for p in range(12) for i in range(5)]
    for seed, file in enumerate(files):
        write_image(tmp_path / file, seed)
    settings = {"cropper": siamese.NoCropper(32), "progress": False, "bad_images": "quarantine"}
    settings |= {"duplicates": "leave_out", "in_memory": False}
    rows = siamese.split_identities(IdentityTable(tmp_path, tuple(files), who(files)))
    train, test = rows["train"], rows["test"]
    (tmp_path / files[train[3]]).write_bytes(b"no image")
    (tmp_path / files[test[4]]).write_bytes(b"")
    (tmp_path / files[test[2]]).write_bytes((tmp_path / files[train[0]]).read_bytes())
    path = write(tmp_path, path=files, identity=who(files), group_x=[f[-5] for f in files])
    table = IdentityTable.build(
        tmp_path, files, who(files), "rows", {"group_x": [f[-5] for f in files]}
    )
    other = siamese.ImageDataModule(table, cache=tmp_path / "other", **settings)
    other.setup()
    monkeypatch.setattr("siamese.faces.crops.MANY", 1)
    data = siamese.ParquetDataModule(path, cache=tmp_path / "cache", **settings)
    data.setup()
    assert len(data.manifest.quarantine) == 3
    assert isinstance(data.prepared.splits["train"].crops, CropPaths)
    assert data.manifest == other.manifest
    assert data.prepared.summary()["splits"] == other.prepared.summary()["splits"]
    assert data.prepared.accounts == other.prepared.accounts
    assert data.prepared.accounts.to_dict()["left_out"]
    for split in data.splits:
        assert data.table(split) == other.table(split)
        for one, same in zip(
            data.eval_dataloader(split), other.eval_dataloader(split), strict=True
        ):
            assert one["image"].equal(same["image"])
            assert one["label"].equal(same["label"])
    saved = data.manifest.save(tmp_path / "run" / "split.json")
    again = siamese.ImageDataModule(manifest=saved, cache=tmp_path / "cache", **settings)
    again.setup()
    assert again.prepared.summary()["splits"] == other.prepared.summary()["splits"]
    assert again.prepared.computed == 0


def who(files) -> tuple[str, ...]:
    return tuple(file.split("/")[0] for file in files)


def test_columns_are_sequences():
    texts = ["b", "", "ä", "b", "\udcff"]
    for column in (TextColumn.of(texts), CodedColumn.of(texts)):
        assert list(column) == texts
        assert column == texts
        assert column != texts[:-1]
        assert [column[i] for i in range(-5, 5)] == texts + texts
        assert column[1:4] == texts[1:4]
        assert column[::-2] == texts[::-2]
        assert column.take(np.array([4, 0, 0])) == [texts[4], "b", "b"]
        assert column.take(np.array([], dtype=np.int64)) == []
        assert column.index("ä") == 2
        assert hash(column) == hash(tuple(texts))
        assert column.take(np.array([-1, 2, -5])) == [texts[-1], texts[2], texts[-5]]
        assert column.take(np.arange(5) > 2) == texts[3:]
        for beyond in ([5], [-6], [0.5], [True] * 4):
            with pytest.raises(IndexError):
                column.take(np.array(beyond))
        assert re.fullmatch(r"\w+\(5: 'b', '', 'ä', ...\)", repr(column))
        with pytest.raises(IndexError):
            column[5]
    assert TextColumn.of(texts).repeated() == "b"
    assert TextColumn.of(texts[:3]).repeated() is None
