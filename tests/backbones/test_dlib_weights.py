"""The file of dlib's network, read and written.

Primitives by hand, every byte of the real file, and files that are none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_says

from siamese.backbones.dlib.archive import Reader, Writer
from siamese.backbones.dlib.weights import DlibFile, fresh_layers
from siamese.errors import MissingDependencyError, WeightsError
from siamese.weight_files import FIVE_POINT, RESNET, pretrained_file


@pytest.fixture(scope="module")
def content() -> bytes:
    try:
        return pretrained_file(RESNET).read_bytes()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def read(content: bytes) -> DlibFile:
    return DlibFile.decode(content)


INTEGERS = [
    (0, "0100"),
    (150, "0196"),
    (256, "020001"),
    (-28, "811c"),
    (1, "0101"),
    (-1, "8101"),
    (65535, "02ffff"),
]
# From the serialisation rules of dlib/serialize.h and dlib/float_details.h, worked out on paper.
DOUBLES = [(1.0, "01108104"), (0.0, "0100010b")]


@pytest.mark.parametrize(("value", "code"), INTEGERS)
def test_whole_numbers_as_dlib_writes_them(value, code):
    writer = Writer()
    writer.integer(value)
    assert b"".join(writer.parts).hex() == code
    assert Reader(bytes.fromhex(code), "x").integer() == value


@pytest.mark.parametrize(("value", "code"), DOUBLES)
def test_doubles_as_dlib_writes_them(value, code):
    writer = Writer()
    writer.real(value, 53)
    assert b"".join(writer.parts).hex() == code
    assert Reader(bytes.fromhex(code), "x").real(0.0, 53) == value


@given(
    st.floats(width=32, allow_nan=False) | st.just(float("inf")), st.integers(-(2**63), 2**63 - 1)
)
def test_numbers_come_back(real, whole):
    writer = Writer()
    writer.real(real, 24)
    writer.integer(whole)
    reader = Reader(b"".join(writer.parts), "x")
    assert reader.real(0.0, 24) == real
    assert reader.integer() == whole
    reader.finish()


def test_the_real_file_is_read_to_its_last_byte_and_written_byte_for_byte(content, read):
    assert hashlib.sha256(content).hexdigest().startswith("55533b28a95800a5")
    assert read.encode() == content


def test_the_numbers_in_it_are_those_that_are_known(read):
    weights = [
        array for layer in read.layers for array in (layer.weight, layer.bias) if array is not None
    ]
    assert sum(array.size for array in weights) == 5_614_592
    assert sum(array.sum(dtype=np.float64) for array in weights) == pytest.approx(
        28099.428485427, abs=1e-6
    )
    assert all(np.isfinite(array).all() for array in weights)
    first, affine, head = read.layers[0], read.layers[1], read.layers[-1]
    np.testing.assert_allclose(
        first.weight.ravel()[:3], [-0.02932992, -0.01886531, -0.00566939], atol=1e-8
    )
    np.testing.assert_allclose(affine.weight[:3], [12.166323, 10.559221, 17.43005], atol=1e-5)
    np.testing.assert_allclose(
        head.weight[0, :3], [-0.00674625, -0.01018923, 0.00524825], atol=1e-8
    )
    assert (read.margin, read.threshold) == (np.float32(0.04), np.float32(0.6))


def test_weights_stand_in_the_file_as_plain_float32(content, read):
    raw = struct.pack("<9f", *read.layers[0].weight.ravel()[:9])
    assert content.count(raw) == 1
    assert content.index(raw) < 500  # the first payload of the file


def test_versions_and_flags_of_a_fresh_file_are_those_of_dlibs(read):
    assert [(a.kind, a.version, a.flags) for a in fresh_layers()] == [
        (a.kind, a.version, a.flags) for a in read.layers
    ]


def test_newer_formats_of_the_layers_are_read_too(content, read):
    newer = {"con_4": "con_6", "affine_": "affine_2", "relu_": "relu_2", "fc_2": "fc_3"}
    layers = [
        dataclasses.replace(layer, version=newer.get(layer.version, layer.version))
        for layer in read.layers
    ]
    encoded = DlibFile(layers).encode()
    # Flags, and a letter of each affine_2 and relu_2.
    assert len(encoded) == len(content) + 29 * (2 + 2 + 2) + 1
    again = DlibFile.decode(encoded)
    assert [layer.version for layer in again.layers] == [layer.version for layer in layers]
    for one, other in zip(again.layers, read.layers, strict=True):
        if other.weight is not None:
            np.testing.assert_array_equal(one.weight, other.weight)


CUTS = [
    0,
    1,
    2,
    28,
    100,
    288,
    300,
    333,
    340,
    5000,
    19_400,
    19_752,
    1_000_000,
    22_334_899,
    22_466_000,
    22_466_065,
]


@pytest.mark.parametrize("length", CUTS)
def test_a_truncated_file_is_refused(content, length):
    with pytest.raises(WeightsError) as caught:
        DlibFile.decode(content[:length], "cut.dat")
    assert_says(caught.value, "cut.dat", "truncated", "copy it again")


def test_an_extended_file_is_refused(content):
    with pytest.raises(WeightsError) as caught:
        DlibFile.decode(content + b"\0", "long.dat")
    assert_says(caught.value, "long.dat", "1 bytes are left over")


@pytest.mark.parametrize(
    "place", [0, 3, 20, 40, 200, 290, 334, 19_370, 19_381, 19_711, 19_760, 22_466_060]
)
def test_a_damaged_byte_outside_the_weights_is_refused_or_kept(content, read, place):
    """It is refused, or read as what it now says and written back as it is: nothing is lost."""
    damaged = bytearray(content)
    damaged[place] ^= 0x55
    try:
        assert DlibFile.decode(bytes(damaged)).encode() == bytes(damaged)
    except WeightsError as error:
        assert_says(error, "<bytes>")


@pytest.mark.parametrize(
    "foreign",
    [b"", b"\x89PNG\r\n\x1a\n" * 50, b"\xff" * 1000, bytes(range(256)) * 20, b"01" * 500],
    ids=lambda b: str(b[:4]),
)
def test_a_foreign_file_is_refused(foreign):
    with pytest.raises(WeightsError):
        DlibFile.decode(foreign, "foreign.dat")


def test_another_of_dlibs_files_is_refused(content):
    with pytest.raises(WeightsError) as caught:
        DlibFile.read(pretrained_file(FIVE_POINT))
    assert_says(caught.value, FIVE_POINT, "not dlib's face recognition network")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError) as caught:
        DlibFile.read(tmp_path / "none.dat")
    assert_says(caught.value, "none.dat", "No such file", "check the path")


def _head_turned(layers):
    # Transposed, as torch keeps it: as many numbers.
    layers[-1].weight = np.ascontiguousarray(layers[-1].weight.T)


def _axes_swapped(layers):
    layers[0].weight = layers[0].weight.transpose(0, 2, 3, 1)


def _cut(layers):
    layers[0].weight = layers[0].weight[:, :, :5]


def _no_number(layers):
    layers[1].bias = np.full_like(layers[1].bias, np.nan)


FAULTS = {
    "first missing": (lambda layers: layers.pop(0), "must be con"),
    "last missing": (lambda layers: layers.pop(), "must be fc"),
    "one too many": (lambda layers: layers.append(layers[-1]), "more than 108 layers"),
    "head turned": (_head_turned, "weights of fc of shape (128, 256), not (256, 128)"),
    "axes swapped": (_axes_swapped, "weights of con of shape (32, 7, 7, 3), not (32, 3, 7, 7)"),
    "cut": (_cut, "not (32, 3, 7, 7)"),
    "no weights": (lambda layers: setattr(layers[0], "weight", None), "shape None"),
    "no number": (_no_number, "shifts of affine that are not finite"),
    "rates": (lambda layers: setattr(layers[0], "rates", (1.0, 1.0)), "2 rates where 4 belong"),
    "flags": (lambda layers: setattr(layers[2], "flags", (True,)), "1 flags where 3 belong"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_network_is_not_written_and_stays_as_it_was(read, fault):
    spoil, says = FAULTS[fault]
    file = DlibFile([dataclasses.replace(layer) for layer in read.layers])
    spoil(file.layers)
    before = list(file.layers)
    with pytest.raises(WeightsError) as caught:
        file.encode()
    assert_says(caught.value, says)
    assert len(file.layers) == len(before)
    assert all(a is b for a, b in zip(file.layers, before, strict=True))


def test_writing_changes_nothing_in_memory(content, read):
    file = DlibFile([dataclasses.replace(layer) for layer in read.layers])
    file.layers[0].weight = file.layers[0].weight.astype(np.float64)
    assert file.encode() == content
    assert file.layers[0].weight.dtype == np.float64


def test_weights_that_are_not_finite_are_refused(content, read):
    place = content.index(struct.pack("<9f", *read.layers[0].weight.ravel()[:9]))
    damaged = content[:place] + struct.pack("<f", float("nan")) + content[place + 4 :]
    with pytest.raises(WeightsError, match="weights that are not finite"):
        DlibFile.decode(damaged)
