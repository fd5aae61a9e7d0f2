"""Manifests in columns: the same as lists of dictionaries, and hostile files beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says

from siamese.data import entries as columns
from siamese.data.duplicates import settle_duplicates
from siamese.data.entries import Entries
from siamese.data.manifest import IN_COLUMNS, SplitManifest
from siamese.data.split_protocols.identity_disjoint import split_identities
from siamese.datasets import identities
from siamese.datasets.columns import CodedColumn
from siamese.datasets.identities import IdentityTable
from siamese.datasets.parquet_file import write_columns
from siamese.errors import MissingDependencyError, SplitError

pytest.importorskip("pyarrow")


@pytest.fixture
def plain(identity_folder: Path) -> SplitManifest:
    """As lists, with groups, and a file that cannot be read."""
    first = next(identity_folder.rglob("*.png"))
    first.write_bytes(b"")
    table = IdentityTable.from_folder(identity_folder)
    table = replace(table, groups={"group_age": tuple("ab"[len(f) % 2] for f in table.files)})
    return SplitManifest.make(table, split_identities(table, seed=5), seed=5)


@pytest.fixture
def many(identity_folder: Path, plain: SplitManifest, monkeypatch) -> SplitManifest:
    """The same in columns."""
    with monkeypatch.context() as patch:
        patch.setattr(identities, "MANY", 1)
        table = IdentityTable.from_folder(identity_folder)
        groups = {"group_age": CodedColumn.of("ab"[len(f) % 2] for f in table.files)}
        table = replace(table, groups=groups)
    return SplitManifest.make(table, split_identities(table, seed=5), seed=5)


def test_the_same_manifest(plain, many):
    assert all(isinstance(e, Entries) for e in many.splits.values())
    assert all(isinstance(e, list) for e in plain.splits.values())
    assert many == plain
    assert plain == many
    assert many.has_split_of(plain)
    assert plain.has_split_of(many)
    for split in plain.splits:
        assert many.table(split) == plain.table(split)
        assert many.hashes(split) == plain.hashes(split)
        assert many.splits[split][-1] == plain.splits[split][-1]
        assert many.splits[split][1:3] == plain.splits[split][1:3]


def test_the_same_with_a_quarantine_and_pairs(plain, many):
    for manifest in (plain, many):
        manifest.pairs["test"] = {"left": [0, 1, 2], "right": [3, 4, 1]}
        manifest.quarantine[manifest.splits["test"][1]["file"]] = "damaged"
    assert many.usable("test") == plain.usable("test")
    assert many.table("test") == plain.table("test")
    np.testing.assert_array_equal(many.chosen_pairs("test"), plain.chosen_pairs("test"))
    assert many.chosen_pairs("test").tolist() == [[0], [2]]


@pytest.mark.parametrize("parquet", [None, True, False])
def test_saved_and_loaded_is_the_same(plain, many, tmp_path, parquet):
    many.quarantine["person_00/0.png"] = plain.quarantine["person_00/0.png"] = "Überbelichtet"
    path = many.save(tmp_path / "new" / "split.json", parquet)
    again = SplitManifest.load(path)
    assert again == plain
    names = sorted(f.name for f in path.parent.iterdir())
    assert len(names) == (1 if parquet is False else 2)
    assert path.stat().st_size < (1e9 if parquet is False else 1500)
    again.save(path, parquet)  # as before: not one file more
    assert sorted(f.name for f in path.parent.iterdir()) == names


def test_a_small_manifest_is_saved_as_json_unless_asked(plain, tmp_path):
    path = plain.save(tmp_path / "split.json")
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["split.json"]
    assert isinstance(json.loads(path.read_text())["splits"]["train"], list)
    loaded = SplitManifest.load(plain.save(path, parquet=True))
    assert loaded == plain
    assert json.loads(path.read_text())["version"] == IN_COLUMNS


@pytest.mark.parametrize("column", ["age", "split", "path", "groups.x", "group_age"])
def test_groups_of_any_name_and_value_are_kept(plain, tmp_path, column):
    """A group may be called as a column of the file, and values may differ by white space alone."""
    for name, entries in plain.splits.items():
        for i, entry in enumerate(entries):
            entry["groups"] = {column: (" a", "a", "a ", "")[i % 4], f"{column}2": name}
    plain.splits = {f" {name} ": entries for name, entries in plain.splits.items()}
    path = plain.save(tmp_path / "split.json", parquet=True)
    loaded = SplitManifest.load(path)
    assert loaded == plain
    loaded.save(tmp_path / "json.json", parquet=False)
    assert SplitManifest.load(tmp_path / "json.json") == plain


def test_groups_that_are_no_columns_are_kept(many, plain, identity_folder, monkeypatch):
    monkeypatch.setattr(identities, "MANY", 1)
    table = IdentityTable.from_folder(identity_folder)
    table = replace(table, groups={"group_age": tuple("ab"[len(f) % 2] for f in table.files)})
    assert SplitManifest.make(table, split_identities(table, seed=5), seed=5) == plain


@pytest.mark.parametrize("parquet", [True, False])
def test_what_docs_privacy_says_finds_a_person(plain, tmp_path, parquet, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    someone = plain.splits["test"][0]["identity"]
    plain.save(tmp_path / "runs" / "lfw" / "1" / "split.json", parquet)
    monkeypatch.chdir(tmp_path)
    for name, found in ((someone.upper(), str(Path("runs", "lfw", "1"))), ("nobody", "")):
        exec(code.replace("Jane_Doe", name), {})
        assert capsys.readouterr().out.strip() == found


def test_files_are_verified_alike(plain, many, identity_folder):
    for manifest in (plain, many):
        manifest.quarantine |= {
            e["file"]: "empty" for s in plain.splits.values() for e in s if not e["sha256"]
        }
        manifest.verify_files()
    changed = plain.usable("test")[2]["file"]
    (identity_folder / changed).write_bytes(b"other")
    messages = []
    for manifest in (plain, many):
        with pytest.raises(SplitError) as caught:
            manifest.verify_files()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert changed in messages[0]


def test_duplicates_are_found_alike(plain, many, identity_folder):
    train, test = (plain.usable(split) for split in ("train", "test"))
    for a, b in ((train[0], test[0]), (train[1], train[2]), (train[3], test[3])):
        (identity_folder / b["file"]).write_bytes((identity_folder / a["file"]).read_bytes())
    made = [
        SplitManifest.make(
            IdentityTable(Path(m.root), *table_of(m)),
            {s: rows_of(m, s) for s in m.splits},
        )
        for m in (plain, many)
    ]
    assert isinstance(made[1].splits["train"], Entries)
    assert made[0].shared_images() == made[1].shared_images()
    assert len(made[0].shared_images()) == 2
    assert settle_duplicates(made[0], "leave_out") == settle_duplicates(made[1], "leave_out")
    assert made[0].quarantine == made[1].quarantine


def table_of(manifest: SplitManifest) -> tuple:
    from siamese.datasets.columns import TextColumn

    pairs = sorted((e["file"], e["identity"]) for s in manifest.splits.values() for e in s)
    files, names = (list(column) for column in zip(*pairs, strict=True))
    if isinstance(manifest.splits["train"], Entries):
        return TextColumn.of(files), CodedColumn.of(names)
    return tuple(files), tuple(names)


def rows_of(manifest: SplitManifest, split: str) -> np.ndarray:
    files = table_of(manifest)[0]
    return np.array([files.index(e["file"]) for e in manifest.splits[split]])


@pytest.mark.parametrize("key", ["file", "identity"])
def test_what_is_in_two_splits_is_refused(many, tmp_path, key):
    train, test = [dict(e) for e in many.splits["train"]], [dict(e) for e in many.splits["test"]]
    test[2][key] = train[1][key].upper() if key == "identity" else train[1][key]
    many.splits["test"] = Entries.of(test)
    path = many.save(tmp_path / "split.json")
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path)
    assert_says(caught.value, path, key, train[1][key], "both", "train", "test")


@pytest.mark.parametrize("file", ["", "/etc/passwd", "a\0b"])
def test_files_that_may_not_stand_in_a_manifest_are_refused(many, file):
    test = [dict(e) for e in many.splits["test"]]
    test[2]["file"] = file
    many.splits["test"] = Entries.of(test)
    with pytest.raises(SplitError, match="wrong type"):
        many.check()


def test_a_file_outside_another_root_is_refused(many, tmp_path):
    test = [dict(e) for e in many.splits["test"]]
    test[2]["file"] = "a/../../secret.png"
    many.splits["test"] = Entries.of(test)
    path = many.save(tmp_path / "split.json")
    SplitManifest.load(path)
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path, root=tmp_path)
    assert_says(caught.value, "secret.png", "outside")


def rows_file(path: Path) -> Path:
    return path.parent / json.loads(path.read_text())["rows"]["file"]


def altered(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c["rows"].update(file="../x.parquet"), "rows"),
        (lambda c: c["rows"].update(file="/etc/passwd"), "rows"),
        (lambda c: c["rows"].update(file="x-0123456789abcdef.parquet"), "beside it"),
        (lambda c: c["rows"].update(sha256="0" * 64), "another content"),
        (lambda c: c["rows"].update(more=1), "rows"),
        (lambda c: c.update(rows=[]), "rows"),
        (lambda c: c.pop("rows"), "rows"),
        (lambda c: c["splits"].update(test=7), "entries"),
        (lambda c: c["splits"].update(test=-1), "no numbers"),
        (lambda c: c["splits"].update(test=True), "no numbers"),
        (lambda c: c["splits"].update(other=3), "entries"),
        (lambda c: c["splits"].pop("test"), "entries"),
        (lambda c: c.update(splits={}), "entries"),
    ],
)
def test_a_hostile_head_is_refused_in_one_line(many, tmp_path, change, word):
    path = many.save(tmp_path / "split.json")
    altered(path, change)
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path)
    assert_says(caught.value, path, word)


def test_rows_that_were_changed_are_refused(many, tmp_path):
    path = many.save(tmp_path / "split.json")
    rows = rows_file(path)
    whole = rows.read_bytes()
    for content in (b"", whole[:-1], whole[:40] + b"x" + whole[41:]):
        rows.write_bytes(content)
        with pytest.raises(SplitError) as caught:
            SplitManifest.load(path)
        assert_says(caught.value, path, rows.name, "another content")
    rows.unlink()
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path)
    assert_says(caught.value, "beside it")


def with_rows(path: Path, write) -> None:
    """Replace the rows by others, and let the head name them."""
    write(path.parent / "new")
    digest = columns._digest(path.parent / "new")
    name = f"split-{digest[:16]}.parquet"
    (path.parent / "new").rename(path.parent / name)
    altered(path, lambda c: c.update(rows={"file": name, "sha256": digest}))


def test_hostile_rows_are_refused_in_one_line(many, tmp_path):
    path = many.save(tmp_path / "split.json")
    content = rows_file(path).read_bytes()
    whole = columns.read_columns(rows_file(path), ("path",), ("split", "identity"), {"sha256": 32})
    n = len(whole["path"])
    for write in (
        lambda p: p.write_bytes(b"PAR1 no Parquet PAR1"),
        lambda p: p.write_bytes(content[: len(content) // 2]),
        lambda p: write_columns(p, {k: v for k, v in whole.items() if k != "sha256"}),
        lambda p: write_columns(
            p, whole | {"sha256": (np.zeros((n, 31), np.uint8), np.ones(n, bool))}
        ),
        lambda p: write_columns(
            p, whole | {"path": (np.zeros((n, 8), np.uint8), np.ones(n, bool))}
        ),
        lambda p: write_columns(p, whole | {"split": CodedColumn.of(["test"] * n)}),
    ):
        with_rows(path, write)
        with pytest.raises(SplitError) as caught:
            SplitManifest.load(path)
        assert_says(caught.value, path)
    rng = np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(content)
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.integers(0, 256)
        with_rows(path, lambda p, bad=bad: p.write_bytes(bytes(bad)))
        try:
            SplitManifest.load(path)
        except SplitError as error:
            assert_says(error, path)


def test_a_file_name_that_parquet_does_not_hold(many, tmp_path):
    test = [dict(e) for e in many.splits["test"]]
    test[2]["file"] = "caf\udce9.png"
    many.splits["test"] = Entries.of(test)
    with pytest.raises(SplitError) as caught:
        many.save(tmp_path / "split.json")
    assert_says(caught.value, "UTF-8")
    assert not [f for f in tmp_path.iterdir() if f.is_file()]
    assert SplitManifest.load(many.save(tmp_path / "split.json", parquet=False)) == many


def test_more_images_than_json_holds_need_pyarrow_before_any_is_hashed(
    identity_folder, monkeypatch
):
    monkeypatch.setattr(identities, "MANY", 1)
    monkeypatch.setattr("siamese.data.manifest.MOST_IN_JSON", 10)
    monkeypatch.setattr("siamese.data.manifest.hash_columns", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    table = IdentityTable.from_folder(identity_folder)
    with pytest.raises(MissingDependencyError) as caught:
        SplitManifest.make(table, split_identities(table))
    assert_says(caught.value, "siamese-lightning[parquet]")
