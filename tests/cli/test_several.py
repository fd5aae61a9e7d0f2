"""Commands in several processes: the same figures and files, printed and written once."""

import contextlib
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import write_identities
from tests.processes import run_in

import siamese
from siamese.cli.main import main
from siamese.errors import DataError
from siamese.faces import crops
from siamese.processes import all_processes
from siamese.verification import measure
from siamese.verification.thresholds import calibrate

SMALL = {"widths": (4,), "depths": (1,), "learned_size": 8, "gradient_cells": 0, "whiten": False}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("people"), [5] * 16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(8), 3)
    rows = rng.normal(size=(8, 8))[labels] + 0.3 * rng.normal(size=(24, 8))
    made = siamese.Bundle(
        siamese.SmallResNet(**SMALL),
        siamese.EuclideanDistance(),
        siamese.NoCropper(32),
        calibrate(rows, labels).point,
    )
    return str(made.save(tmp_path_factory.mktemp("made") / "bundle"))


def said(words, held=0, fault=None):
    """Exit code, standard output and standard error of a command."""
    measure.HELD = held  # so that few pairs are streamed, too
    if fault is not None:
        fault()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(measure, "HELD", 0)
    return said


def _counts_crops(folder):
    """Write how many images each process crops, a file for each time."""
    do_jobs = crops.do_jobs

    def counted(jobs, *arguments, **settings):
        (folder / f"{all_processes().rank}").write_text(f"{len(jobs)}")
        return do_jobs(jobs, *arguments, **settings)

    crops.do_jobs = counted


def test_names_that_steer_a_terminal_or_are_no_utf8_are_shown_escaped(bundle, tmp_path, capsys):
    people = write_identities(tmp_path / "people", [5] * 2)
    name = os.fsdecode(b"\x1b[2J\xff.png")
    (next(people.iterdir()) / name).write_bytes(b"none")
    words = ["embed", bundle, "--data", people, "--bad-images", "quarantine", "--out"]
    assert main([str(word) for word in [*words, tmp_path / "e.npz"]]) == 0
    said = capsys.readouterr().out
    assert r"\x1b[2J\udcff.png" in said
    assert name not in said


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_one_process_of_a_machine_crops(bundle, people, tmp_path, command):
    counts = tmp_path / "counts"
    counts.mkdir()
    words = [command, bundle, "--data", people, "--cache", tmp_path / "cache"]
    found = run_in(2, said, words, 0, partial(_counts_crops, counts))
    assert [code for code, _, _ in found] == [0, 0]
    assert {file.name: file.read_text() for file in counts.iterdir()} == {"0": "80"}


def test_what_the_one_fails_at_all_say_once(bundle, tmp_path):
    people = write_identities(tmp_path / "people", [5] * 8)
    next(people.rglob("*.png")).write_bytes(b"none")
    found = run_in(2, said, ["evaluate", bundle, "--data", people])
    assert sorted(code for code, _, _ in found) == [2, 2]
    assert sum("cannot be read" in err for _, _, err in found) == 1


@pytest.mark.parametrize("count", [2, 3])
def test_calibrating_gives_the_same_figures_and_bundle_and_prints_once(
    bundle, people, tmp_path, alone, count
):
    words = ["calibrate", bundle, "--data", people, "--pairs", "all_pairs", "--out"]
    code, out, err = alone([*words, tmp_path / "one"])
    assert (code, "siamese verify" in out) == (0, True)
    found = run_in(count, said, [*words, tmp_path / "many"])
    assert (found[0][0], found[0][2]) == (0, err)
    # The first line tells how many images were cropped now, and in what time.
    assert found[0][1].splitlines()[1:] == out.replace("/one", "/many").splitlines()[1:]
    assert found[1:] == [(0, "", "")] * (count - 1)
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "many" / file.name).read_bytes() == file.read_bytes()


def test_evaluating_writes_the_same_files_once(bundle, people, tmp_path, alone):
    words = ["evaluate", bundle, "--data", people, "--pairs", "all_pairs", "--json", "--out"]
    one = alone([*words, tmp_path / "one"])
    first, second = run_in(2, said, [*words, tmp_path / "many"])
    assert first == one
    assert one[0] == 0
    assert second == (0, "", "")
    written = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png")}
    assert written == {p.relative_to(tmp_path / "many") for p in (tmp_path / "many").rglob("*.png")}
    figures = [(tmp_path / name / "evaluation.json").read_text() for name in ("one", "many")]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("words", "answer"),
    [(["--policy", "none_such"], "none_such"), (["--no_such_option"], "unknown option")],
)
def test_a_mistake_is_said_once(bundle, people, words, answer):
    found = run_in(3, said, ["calibrate", bundle, "--data", people, *words])
    assert [code for code, _, _ in found] == [2, 2, 2]
    assert sum(answer in err for _, _, err in found) == 1
    assert sum(bool(out + err) for _, out, err in found) == 1


def _second_cannot_read():
    if all_processes().rank == 1:

        def read(*_):
            raise DataError("P3_0001.png: of the second process alone")

        siamese.CropDataset.__getitems__ = siamese.CropDataset.__getitem__ = read


def test_an_error_of_one_process_alone_is_said_by_that_one(bundle, people):
    words = ["calibrate", bundle, "--data", people, "--json"]
    first, second = run_in(2, said, words, 0, _second_cannot_read)
    assert first == (2, "", "")
    assert second[0] == 2
    assert "of the second process alone" in json.loads(second[1])["error"]
    assert "of the second process alone" in second[2]


@pytest.mark.slow
def test_torchrun_calibrates(bundle, people, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            *("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "siamese"),
            *("calibrate", bundle, "--data", str(people), "--json", "--out", str(tmp_path / "new")),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout)  # one object, not two
    assert (
        siamese.Bundle.load(tmp_path / "new").operating_point.threshold == found["new"]["threshold"]
    )
    assert Path(found["out"]).is_dir()
