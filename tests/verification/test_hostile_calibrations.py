"""Calibrations that nobody would write: refused in one line, before they take memory."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from tests.helpers import assert_says

from siamese.errors import CalibrationError
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.thresholds import calibrate


@pytest.fixture(scope="module")
def kept():
    numbers = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    rows = numbers.normal(size=(12, 4))[who] + 0.3 * numbers.normal(size=(48, 4))
    return calibrate(rows, who, "max_f1")


@pytest.fixture
def path(kept, tmp_path):
    return kept.save(tmp_path / "c.npz")


def refused(path, *words):
    with pytest.raises(CalibrationError) as error:
        Calibration.load(path)
    assert_says(error.value, path, *words)


def rewrite(path, change):
    """Its arrays, and its JSON as text under ``json``, changed."""
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    parts["json"] = parts["json"].tobytes().decode()
    change(parts)
    if isinstance(parts.get("json"), str):
        parts["json"] = np.frombuffer(parts["json"].encode(), dtype=np.uint8)
    np.savez(path, **parts)


def values(**point):
    def change(parts):
        content = json.loads(parts["json"])
        content["point"] |= point
        parts["json"] = json.dumps(content).replace('"HUGE"', "1" + "0" * 400)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (values(threshold="HUGE"), "too large a number"),
        (values(threshold=float("inf")), "Infinity"),
        (values(tp=-1), "$.tp"),
        (values(more=1), "`more`"),
        (values(policy="\n\x1b[2J"), "$.policy"),
        (values(settings={"prevalence": "x" * 5000}), "4,096 characters"),
        (lambda p: p.update(json="[" * 100_000), "nested deeper"),
        (lambda p: p.update(json='{"point": {}, "point": {}}'), "stands twice"),
        (lambda p: p.update(json=""), "not JSON"),
        (lambda p: p.pop("json"), "json"),
        (lambda p: p.pop("tp"), "tp"),
        (lambda p: p.update(tp=p["tp"].astype(complex)), "something else than numbers"),
        (lambda p: p.update(tp=p["tp"].astype(str)), "something else than numbers"),
        (lambda p: p.update(tp=p["tp"][:-1]), "counts do not rise"),
        (lambda p: p.update(thresholds=p["thresholds"] * np.nan), "finite numbers"),
        (lambda p: p.update(thresholds=np.float64(1)), "not a calibration"),
        (lambda p: p.update({"draws.more": p["tp"]}), "more"),
        (lambda p: p.update({"draws.tp": -p["draws.tp"]}), "draws"),
    ],
)
def test_contents_that_are_none(path, change, words):
    rewrite(path, change)
    refused(path, words)


def announced(shape, content=b"\0" * 8, dtype="<f8"):
    """A numpy file whose header says what does not follow."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        made, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return made.getvalue() + content


@pytest.mark.parametrize(
    "member",
    [
        announced((10**12,)),
        announced((10**6, 10**6, 10**6)),
        announced((2**62, 4), b""),
        announced((-1,)),
        announced((1,), dtype="|O"),
        announced((1,), pickle.dumps(print), dtype="|O"),
        b"\x93NUMPY\x09\x00" + b"\0" * 100,
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 60_000,
        b"",
    ],
)
def test_arrays_that_are_not_what_they_say(path, member):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.npy", member)
    refused(path)


def test_files_that_are_none(path):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(1 << 20))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # what the zeros unpack to
    content[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    refused(path, "unpacks to more")
    for content in (b"", b"PK", pickle.dumps([1]), np.lib.format.magic(1, 0)):
        path.write_bytes(content)
        refused(path, "not a calibration")
    path.unlink()
    os.mkfifo(path)
    refused(path, "not a regular file")


@pytest.mark.parametrize("values", [None, [], 5, "x", {}, {"threshold": 1}, {"policy": {}}])
def test_what_is_no_operating_point(values):
    with pytest.raises(CalibrationError) as error:
        OperatingPoint.from_dict(values)
    assert_says(error.value, "calibrate again")


def test_what_was_saved_is_read_to_the_last_bit(path, kept):
    """None of the checks changes or refuses what is written."""
    found = Calibration.load(path)
    assert found.point == kept.point
    assert found.band == kept.band
    assert found.probability == kept.probability
    for name, array in kept.arrays(whole=True).items():
        assert np.array_equal(found.arrays(whole=True)[name], array)
