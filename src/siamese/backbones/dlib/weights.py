"""dlib's file of its face recognition network, read completely and written back byte for byte.

Pure Python. The file has no magic number, no table of contents and no lengths: the meaning of each
byte follows from the network alone. So there is one description of it below (:func:`_file`), which
both a reader and a writer follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from siamese.backbones.dlib.archive import Reader, Writer
from siamese.errors import WeightsError
from siamese.storage import write_whole

# Input side first: channels of each residual block, and whether it halves the image.
BLOCKS = (
    *((32, False),) * 3,
    (64, True),
    *((64, False),) * 3,
    (128, True),
    *((128, False),) * 2,
    (256, True),
    *((256, False),) * 2,
    (256, True),
)
STEM, EMBEDDING = 32, 128
AVERAGES = (122.782, 117.001, 104.298)  # of red, green and blue
# Booleans that newer versions of a layer append, and the only values that mean what version 4 (1)
# means.
_APPENDED = {
    "con_4": (),
    "con_5": (True,),
    "con_6": (True, False),
    "affine_": (),
    "affine_2": (False,),
    "relu_": (),
    "relu_2": (False,),
    "max_pool_2": (),
    "avg_pool_2": (),
    "add_prev_": (),
    "fc_2": (),
    "fc_3": (True,),
}


@dataclass
class DlibLayer:
    """One layer's entry in the file.

    Attributes:
        kind: ``"con"``, ``"affine"``, ``"relu"``, ``"max_pool"``, ``"avg_pool"``, ``"add_prev"``,
            ``"fc"``.
        version: dlib's name of the layer's format, such as ``"con_4"``.
        weight: float32; con (F, C, h, w), affine (C,) scales, fc (256, 128) to be multiplied from
            the right; None of other kinds.
        bias: float32; con (F,), affine (C,) shifts; None of other kinds.
        rates: learning rate and weight decay multipliers of weights and biases, con and fc only;
            dlib's trainer reads them.
        flags: dlib's three run-time flags, kept so that the file comes back as it was.
    """

    kind: str
    version: str
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    rates: tuple[float, ...] = ()
    flags: tuple[bool, ...] = (True, True, False)


@dataclass
class DlibFile:
    """The content of a file.

    Attributes:
        layers: 108 entries, input side first (tags and skips have none).
        margin, threshold: of the loss it was trained with.
        averages: red, green, blue, subtracted from pixels 0..255 before they are divided by 256.
        side: the images' width and height in pixels.
    """

    layers: list[DlibLayer] = field(default_factory=list)
    margin: float = 0.04
    threshold: float = 0.6
    averages: tuple[float, float, float] = AVERAGES
    side: int = 150

    @classmethod
    def read(cls, path: str | Path) -> DlibFile:
        """Read ``dlib_face_recognition_resnet_model_v1.dat`` or a file like it.

        Raises:
            WeightsError: missing, truncated, with bytes left over, or of another network.
        """
        try:
            content = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise WeightsError(
                f"{path}: cannot be read ({error.strerror or error}); check the path"
            ) from error
        return cls.decode(content, str(path))

    @classmethod
    def decode(cls, content: bytes, name: str = "<bytes>") -> DlibFile:
        """The content of a file that is given as bytes.

        Args:
            content: the file.
            name: what errors call it.

        Raises:
            WeightsError: as :meth:`read`.
        """
        reader = Reader(content, name)
        found = cls()
        _file(reader, found)
        reader.finish()
        return found

    def encode(self) -> bytes:
        """The file as bytes: identical to those it was read from, except for what was changed.

        The gradients and outputs that a network saved by dlib's own trainer may contain are
        skipped, and not written.

        Raises:
            WeightsError: layers that are missing or too many, arrays of other shapes than the
                network's, weights that are not finite.
        """
        writer = Writer()
        _file(writer, replace(self, layers=[replace(layer) for layer in self.layers]))
        return b"".join(writer.parts)

    def write(self, path: str | Path) -> Path:
        """Write a file that dlib reads (``dlib.face_recognition_model_v1(path)``).

        It appears complete or not at all.

        Raises:
            WeightsError: it cannot be written, or see :meth:`encode`.
        """
        path = Path(path).expanduser()
        content = self.encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            raise WeightsError(
                f"{path}: cannot be written ({error.strerror or error}); choose another place"
            ) from error
        return path


def _chain() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every wrapper of dlib's network, input side first.

    Each is its kind, and what its weights' shape or its window follows from.
    """
    channels = 3
    yield "con", (STEM, channels, 7, 2)
    yield from (("affine", (STEM,)), ("relu", ()), ("max_pool", (3, 2)))
    channels = STEM
    for width, halves in BLOCKS:
        yield "tag", ()
        yield "con", (width, channels, 3, 2 if halves else 1)
        yield from (("affine", (width,)), ("relu", ()))
        yield "con", (width, width, 3, 1)
        yield "affine", (width,)
        if halves:
            yield from (("tag", ()), ("skip", ()), ("avg_pool", (2, 2)))
        yield from (("add_prev", ()), ("relu", ()))
        channels = width
    yield from (("avg_pool", (0, 1)), ("fc", (channels, EMBEDDING)))


def _file(archive: Reader | Writer, found: DlibFile) -> None:
    """The whole file, read or written."""
    chain = list(_chain())
    archive.exactly(1, "version of the loss")
    archive.exactly("loss_metric_2", "name of the loss")
    found.margin = archive.real(found.margin, 24)
    found.threshold = archive.real(found.threshold, 24)
    for place, (kind, _) in enumerate(reversed(chain)):
        innermost = place == len(chain) - 1
        archive.exactly(
            1 if kind in ("tag", "skip") else 3 if innermost else 2,
            f"version of wrapper {place} ({kind})",
        )
    archive.exactly("input_rgb_image_sized", "name of the input")
    red, green, blue = (archive.real(value, 24) for value in found.averages)
    found.averages = (red, green, blue)
    found.side = archive.integer(found.side)
    if found.side < 1:
        raise archive.wrong(f"images of {found.side} pixels")
    archive.exactly(found.side, "height of the images, which is their width,")
    layers = iter(list(found.layers))
    found.layers = []
    for place, (kind, shape) in enumerate(chain):
        if kind in ("tag", "skip"):
            continue
        layer = next(layers, None) if isinstance(archive, Writer) else DlibLayer(kind, "")
        if layer is None or layer.kind != kind:
            raise WeightsError(
                f"layer {len(found.layers)} must be {kind}; give all layers in the order of "
                f"DlibFile.read"
            )
        _layer(archive, layer, shape, innermost=place == 0)
        found.layers.append(layer)
    if next(layers, None) is not None:
        raise archive.wrong(f"more than {len(found.layers)} layers")


def _layer(
    archive: Reader | Writer, layer: DlibLayer, shape: tuple[int, ...], innermost: bool
) -> None:
    kind = layer.kind
    layer.version = archive.text(layer.version)
    if layer.version not in _APPENDED or layer.version.rstrip("0123456789").rstrip("_") != kind:
        raise archive.wrong(f"a layer {layer.version!r} where {kind} stands in this network")
    if kind == "con":
        filters, channels, window, stride = shape
        weight_shape = (filters, channels, window, window)
        both = archive.tensor(
            _join(archive, layer, weight_shape), (math.prod(weight_shape) + filters, 1, 1, 1)
        )
        layer.weight, layer.bias = both[:-filters].reshape(weight_shape), both[-filters:]
        padding = window // 2 if stride == 1 else 0
        for value in (filters, window, window, stride, stride, padding, padding):
            archive.exactly(value, f"a number of a convolution {weight_shape}")
        archive.alias(weight_shape)
        archive.alias((1, filters, 1, 1))
        layer.rates = _rates(archive, layer)
    elif kind == "affine":
        (channels,) = shape
        both = archive.tensor(_join(archive, layer, (channels,)), (2 * channels, 1, 1, 1))
        layer.weight, layer.bias = both[:channels], both[channels:]
        archive.alias((1, channels, 1, 1))
        archive.alias((1, channels, 1, 1))
        archive.exactly(0, "mode of an affine layer")
    elif kind in ("max_pool", "avg_pool"):
        window, stride = shape
        for value in (window, window, stride, stride, 0, 0):
            archive.exactly(value, f"a number of {kind}")
    elif kind == "fc":
        inputs, outputs = shape
        archive.exactly(outputs, "number of outputs")
        archive.exactly(inputs, "number of inputs")
        flat = archive.reshape(layer.weight, (inputs, outputs), "weights of fc")
        layer.weight = archive.tensor(flat, (inputs, outputs, 1, 1)).reshape(inputs, outputs)
        archive.alias((inputs, outputs, 1, 1))
        archive.alias((0, 0, 0, 0))
        archive.exactly(1, "bias mode of fc")
        layer.rates = _rates(archive, layer)
    for wanted in _APPENDED[layer.version]:
        if archive.flag(wanted) is not wanted:
            raise archive.wrong(f"a {layer.version} layer with another use of its flags")
    if len(layer.flags) != 3:
        raise archive.wrong(f"{len(layer.flags)} flags where 3 belong")
    layer.flags = tuple(archive.flag(value) for value in layer.flags)
    # Gradients and outputs that a network saved in the middle of training still contains.
    for _ in range(3):
        archive.skipped_tensor()
    if innermost:
        archive.exactly(1, "sample expansion factor")


def _join(archive: Reader | Writer, layer: DlibLayer, shape: tuple[int, ...]) -> np.ndarray:
    weight = archive.reshape(layer.weight, shape, f"weights of {layer.kind}")
    return np.concatenate(
        [weight, archive.reshape(layer.bias, shape[:1], f"shifts of {layer.kind}")]
    )


def _rates(archive: Reader | Writer, layer: DlibLayer) -> tuple[float, ...]:
    rates = layer.rates or (1.0, 1.0, 1.0, 0.0)
    if len(rates) != 4:
        raise archive.wrong(f"{len(rates)} rates where 4 belong")
    return tuple(archive.real(value, 53) for value in rates)


def fresh_layers() -> list[DlibLayer]:
    """The layers of a file for a network that was not read from one.

    Versions and flags are as in dlib's own file; there are no weights yet. dlib's third flag says
    that the next wrapper outwards works in place, which only a rectifier does.
    """
    version = {
        "con": "con_4",
        "affine": "affine_",
        "relu": "relu_",
        "max_pool": "max_pool_2",
        "avg_pool": "avg_pool_2",
        "add_prev": "add_prev_",
        "fc": "fc_2",
    }
    kinds = [kind for kind, _ in _chain()]
    outer = [*kinds[1:], ""]
    return [
        DlibLayer(kind, version[kind], flags=(True, True, following == "relu"))
        for kind, following in zip(kinds, outer, strict=True)
        if kind in version
    ]
