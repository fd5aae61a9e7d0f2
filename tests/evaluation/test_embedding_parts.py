"""Data sets embedded in parts: by any processes, stopped anywhere, the same file."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import assert_says, write_identities
from tests.processes import run_in

import siamese
from siamese.data import embedding
from siamese.data.dataset import CropDataset
from siamese.data.entries import Entries
from siamese.data.manifest import SplitManifest
from siamese.errors import ConfigError, DataError
from siamese.evaluation import embedding_parts
from siamese.faces.croppers.base import CROPPERS, Crop
from siamese.faces.croppers.none import NoCropper
from siamese.faces.crops import crop_files
from siamese.processes import across_processes
from siamese.verification.thresholds import calibrate

SMALL = {"widths": (4,), "depths": (1,), "learned_size": 8, "gradient_cells": 0, "whiten": False}


@pytest.fixture(scope="module", autouse=True)
def registered():
    """While these tests run: others try every cropper that there is."""
    CROPPERS._classes |= {"choosy_of_a_test": Choosy, "blind_of_a_test": Blind}
    yield
    del CROPPERS._classes["choosy_of_a_test"], CROPPERS._classes["blind_of_a_test"]


@dataclass(frozen=True)
class Choosy(NoCropper):
    """Finds no face on dark images, and leaves these out."""

    no_face: str = "skip"

    def __call__(self, image):
        return Crop(super().__call__(image).image, int(image.mean() > 110))

    def verdict(self, faces):
        return "keep" if faces else self.no_face


@dataclass(frozen=True)
class Blind(Choosy):
    """Finds no face at all."""

    def __call__(self, image):
        return Crop(super().__call__(image).image, 0)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("people"), [5] * 8)


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(8), 3)
    rows = rng.normal(size=(8, 8))[labels] + 0.3 * rng.normal(size=(24, 8))
    point = calibrate(rows, labels).point
    network = siamese.SmallResNet(**SMALL)
    return siamese.Bundle(network, siamese.EuclideanDistance(), Choosy(32), point)


def embedded(bundle, people, out, part=7, **settings):
    with across_processes():
        return siamese.embed_files(bundle, people, out, part=part, progress=False, **settings)


def test_it_holds_what_the_network_says_of_each_image_with_a_face(bundle, people, tmp_path):
    found = embedded(bundle, people, tmp_path / "e.npz", part=1000)
    table = siamese.IdentityTable.from_folder(people)
    crops = crop_files(table.paths, bundle.cropper, progress=False)
    kept = [row for row, file in enumerate(crops.files) if file]
    assert 0 < len(kept) < len(table)
    data = CropDataset([crops.files[row] for row in kept], np.zeros(len(kept), dtype=np.int64))
    expected = embedding.embed(bundle.backbone.for_inference(), data)
    with np.load(found.path) as stored:
        assert stored["embeddings"].dtype == np.float32
        assert (stored["embeddings"] == expected.numpy()).all()
        assert stored["files"].tolist() == [table.files[row] for row in kept]
        assert stored["identities"].tolist() == [table.identities[row] for row in kept]
    left = {table.files[row]: "no face" for row in range(len(table)) if row not in kept}
    assert (found.images, found.kept, dict(found.left_out)) == (len(table), len(kept), left)
    assert (found.parts, found.found) == (1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet"])
def test_any_number_of_processes_writes_the_same_bytes(bundle, people, tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    one = embedded(bundle, people, tmp_path / f"one.{suffix}").path
    for count in (2, 3):
        found = run_in(count, embedded, bundle, people, tmp_path / f"{count}.{suffix}")
        assert all(each == found[0] for each in found)
        assert found[0].path.read_bytes() == one.read_bytes()
        if suffix == "npy":
            assert found[0].path.with_suffix(".csv").read_bytes() == (
                one.with_suffix(".csv").read_bytes()
            )


def _slowly(bundle, people, out):
    write = embedding_parts.write_part

    def slow(*arguments):
        write(*arguments)
        time.sleep(0.05)

    embedding_parts.write_part = slow
    torch.set_num_threads(1)
    embedded(bundle, people, out)


def test_a_killed_process_goes_on_and_gives_the_same_file(bundle, people, tmp_path):
    whole = embedded(bundle, people, tmp_path / "whole.npz").path.read_bytes()
    out, parts = tmp_path / "e.npz", tmp_path / "e.npz.parts"
    victim = multiprocessing.get_context("fork").Process(
        target=_slowly, args=(bundle, people, out), daemon=True
    )
    victim.start()
    while len(list(parts.glob("0*.npz"))) < 2:
        assert victim.is_alive()
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert not out.exists()
    made = {path: path.stat().st_mtime_ns for path in parts.glob("0*.npz")}
    # A power failure leaves a part that is cut short; another image than before is another part.
    last = max(made)
    last.write_bytes(last.read_bytes()[:-9])
    found = embedded(bundle, people, out)
    assert (found.parts, found.found) == (6, len(made) - 1)
    assert out.read_bytes() == whole
    assert not parts.exists()


def test_parts_of_other_settings_or_images_are_not_used(bundle, people, tmp_path, monkeypatch):
    copy = write_identities(tmp_path / "people", [5] * 8)
    made = []
    write = embedding_parts.write_part
    monkeypatch.setattr(embedding_parts, "write_part", lambda *of: (made.append(of[0]), write(*of)))
    monkeypatch.setattr(embedding_parts, "_joined", lambda *_: 1 / 0)
    out = tmp_path / "e.npz"

    def run(changed=bundle):
        made.clear()
        with pytest.raises(ZeroDivisionError):
            embedded(changed, copy, out, part=10)
        return len(made)

    assert (run(), run()) == (4, 0)
    image = next(path for path in sorted(copy.rglob("*.*")) if path.is_file())
    os.utime(image, ns=(1, 1))
    assert run() == 1
    other = siamese.Bundle(
        siamese.SmallResNet(**SMALL), bundle.distance, bundle.cropper, bundle.operating_point
    )
    assert run(other) == 4


def test_what_lies_there_is_not_replaced_unasked(bundle, people, tmp_path):
    out = tmp_path / "e.npz"
    out.write_bytes(b"mine")
    with pytest.raises(ConfigError) as error:
        embedded(bundle, people, out)
    assert_says(error.value, "e.npz", "overwrite")
    assert out.read_bytes() == b"mine"
    own = tmp_path / "e.npz.parts" / "notes.txt"
    own.parent.mkdir()
    own.write_text("not ours")
    embedded(bundle, people, out, overwrite=True)
    assert out.read_bytes() != b"mine"
    assert own.read_text() == "not ours"


def test_many_parts_are_cropped_at_once(bundle, people, tmp_path, monkeypatch):
    whole = embedded(bundle, people, tmp_path / "whole.npz", 5).path.read_bytes()
    calls, crop = [], embedding_parts.crop_files
    monkeypatch.setattr(
        embedding_parts, "crop_files", lambda *a, **k: (calls.append(len(a[0])), crop(*a, **k))[1]
    )
    monkeypatch.setattr(embedding_parts, "TURN", 17)
    found = embedded(bundle, people, tmp_path / "e.npz", 5)
    assert (found.parts, calls) == (8, [15, 15, 10])
    assert found.path.read_bytes() == whole


def test_a_manifest_in_columns_gives_the_same_file(bundle, people, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    table = siamese.IdentityTable.from_folder(people)
    rows = {"train": np.arange(0, 40, 2), "test": np.arange(1, 40, 2)}
    files = []
    for name in ("plain", "columns"):
        manifest = SplitManifest.make(table, rows, protocol="image_disjoint")
        if name == "columns":
            manifest.splits = {k: Entries.of(e) for k, e in manifest.splits.items()}
            monkeypatch.setattr(Entries, "__getitem__", None)
            monkeypatch.setattr(Entries, "__iter__", None)
        monkeypatch.setattr(SplitManifest, "load", lambda *_, manifest=manifest, **__: manifest)
        files.append(embedded(bundle, "split.json", tmp_path / f"{name}.npz").path.read_bytes())
    assert files[0] == files[1]


def test_names_that_the_file_cannot_hold_are_refused_before_anything(bundle, people, tmp_path):
    pytest.importorskip("pyarrow")
    table = siamese.IdentityTable.from_folder(people)
    odd = replace(table, files=("a\udcff.png", *table.files[1:]))
    with pytest.raises(DataError, match="UTF-8"):
        embedded(bundle, odd, tmp_path / "e.parquet")
    assert not list(tmp_path.glob("*.parts/*.npz"))


def test_nothing_to_embed_is_said(bundle, people, tmp_path):
    with pytest.raises(DataError, match="none of the 40 images can be embedded: no face"):
        embedded(replace(bundle, cropper=Blind(32)), people, tmp_path / "e.npz")


def _embedded_at_once(bundle, files, batch):
    data = CropDataset(files, np.zeros(len(files), dtype=np.int64))
    with across_processes():
        return embedding.embed(bundle.backbone, data, batch)


@pytest.mark.parametrize("images", [1, 9, 40])
def test_embedding_divides_whole_batches(bundle, people, images):
    table = siamese.IdentityTable.from_folder(people)
    files = crop_files(table.paths[:images], NoCropper(32), progress=False).files
    alone = embedding.embed(bundle.backbone, CropDataset(files, np.zeros(images, dtype=int)), 4)
    assert alone.shape == (images, 8)
    for count in (2, 3):
        for found in run_in(count, _embedded_at_once, bundle, files, 4):
            assert torch.equal(found, alone)


def _killed_while_joining(step, bundle, people, out):
    """Embed, in a process that ends before the step-th change of a folder after the parts."""
    calls, join = iter(range(100)), embedding_parts._joined

    def ending(change):
        def changed(*arguments, **settings):
            if next(calls) == step:
                os._exit(9)
            return change(*arguments, **settings)

        return changed

    def joined(*arguments):
        for owner, name in ((os, "replace"), (Path, "unlink"), (Path, "rmdir")):
            setattr(owner, name, ending(getattr(owner, name)))
        return join(*arguments)

    embedding_parts._joined = joined
    torch.set_num_threads(1)
    embedded(bundle, people, out, 1000)


@pytest.mark.parametrize(("suffix", "steps"), [("npz", 5), ("npy", 7)])
def test_killed_while_it_joins_the_same_call_goes_on(bundle, people, tmp_path, suffix, steps):
    name = f"e.{suffix}"
    whole = embedded(bundle, people, tmp_path / "whole" / name, 1000).path.read_bytes()
    for step in range(100):
        folder = tmp_path / f"{step}"
        process = multiprocessing.get_context("fork").Process(
            target=_killed_while_joining, args=(step, bundle, people, folder / name)
        )
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == 9
        if (folder / f"{name}.parts" / "joining").exists():
            embedded(bundle, people, folder / name, 1000)
        assert (folder / name).read_bytes() == whole
        names = {name, "e.csv"} if suffix == "npy" else {name}
        assert {path.name for path in folder.iterdir()} - {f"{name}.parts"} == names
    assert step == steps


def _embedded_meanwhile(bundle, people, out):
    torch.set_num_threads(1)
    with pytest.raises(ConfigError, match="another siamese embed"):
        embedded(bundle, people, out, 9)


def test_two_that_make_one_file_are_told_so(bundle, people, tmp_path, monkeypatch):
    exits = []

    def joined(*arguments):
        other = multiprocessing.get_context("fork").Process(
            target=_embedded_meanwhile, args=(bundle, people, tmp_path / "e.npz")
        )
        other.start()
        other.join()
        exits.append(other.exitcode)
        return join(*arguments)

    join = embedding_parts._joined
    monkeypatch.setattr(embedding_parts, "_joined", joined)
    embedded(bundle, people, tmp_path / "e.npz")
    assert exits == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


def _stopped_before_the_end(bundle, people, out, **settings):
    """Make all parts, and stop where they would be joined."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedding_parts, "_joined", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embedded(bundle, people, out, **settings)
    return sorted(out.with_name(f"{out.name}.parts").glob("0*.npz"))


def test_a_part_with_a_flipped_bit_anywhere_is_made_anew(bundle, people, tmp_path):
    out = tmp_path / "e.npz"
    whole = embedded(bundle, people, tmp_path / "whole.npz").path.read_bytes()
    for word in (b"no face", b"rows.npy", b"descr"):
        part = _stopped_before_the_end(bundle, people, out, overwrite=True)[0]
        content = part.read_bytes()
        assert word in content
        part.write_bytes(content.replace(word, b"#" + word[1:]))
        found = embedded(bundle, people, out, overwrite=True)
        assert (found.parts, found.found) == (6, 5)
        assert out.read_bytes() == whole


def test_a_part_that_cannot_be_read_just_now_is_kept(bundle, people, tmp_path, monkeypatch):
    parts = _stopped_before_the_end(bundle, people, tmp_path / "e.npz")

    def stale(self):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("pathlib.Path.read_bytes", stale)
    with pytest.raises(DataError, match="Stale file handle"):
        embedded(bundle, people, tmp_path / "e.npz")
    assert all(part.exists() for part in parts)


def test_parts_without_bad_images_do_not_hide_them_later(bundle, tmp_path):
    people = write_identities(tmp_path / "people", [5] * 8)
    next(people.rglob("*.png")).write_bytes(b"none")
    out = tmp_path / "e.npz"
    _stopped_before_the_end(bundle, people, out, bad_images="quarantine")
    with pytest.raises(DataError, match="cannot be read"):
        embedded(bundle, people, out)
    found = embedded(bundle, people, out, bad_images="quarantine")
    assert (found.parts, found.found) == (6, 6)


def test_parts_of_other_numbers_of_threads_are_not_used(bundle, people, tmp_path, monkeypatch):
    _stopped_before_the_end(bundle, people, tmp_path / "e.npz")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert embedded(bundle, people, tmp_path / "e.npz").found == 0


def _fails_in_one(bundle, people, out, rank, where):
    """The error that each process gets of what one fails at, and a step that all take then."""

    def fail(*_):
        raise DataError("the disk is full")

    with across_processes() as processes:
        if processes.rank == rank:
            target = embedding_parts if hasattr(embedding_parts, where) else embedding_parts._Task
            setattr(target, where, fail)
        try:
            siamese.embed_files(bundle, people, out, part=7, progress=False)
        except DataError as error:
            return str(error), processes.gather(processes.rank)
    return None


@pytest.mark.parametrize(("rank", "where"), [(0, "_joined"), (0, "_serves"), (1, "make")])
def test_what_one_process_fails_at_is_raised_in_all(bundle, people, tmp_path, rank, where):
    found = run_in(2, _fails_in_one, bundle, people, tmp_path / "e.npz", rank, where)
    assert found == [("the disk is full", [0, 1])] * 2
