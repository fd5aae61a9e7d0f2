"""export_onnx: a bundle as one .onnx file, checked against torch before it is kept."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.backbones.base import own_network
from siamese.distances.numpy_measures import FORMULAS
from siamese.errors import (
    BundleError,
    ConfigError,
    ImageError,
    MissingDependencyError,
    did_you_mean,
    first_line,
)
from siamese.faces.chip_template import chip_points
from siamese.faces.croppers.base import CROPPERS
from siamese.faces.croppers.dlib_croppers import DlibCropper
from siamese.inference.given_image import ImageLike, read_given
from siamese.inference.loading import ONNX
from siamese.inference.onnx.check import OnnxExport, compare_with_torch, made_up_crops
from siamese.inference.onnx.metadata import (
    KEY,
    PRECISIONS,
    VERSION,
    Precision,
    StoredChipPoint,
    StoredDistance,
    StoredInput,
    StoredModel,
    StoredOutput,
    read_metadata,
)
from siamese.inference.onnx.precision import halved, quantised
from siamese.inference.onnx.wire import SUM, skeleton_of
from siamese.notices import warn_once
from siamese.storage import write_whole

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle


def export_onnx(
    bundle: Bundle | str | Path,
    path: str | Path,
    *,
    precision: str = "float32",
    images: Iterable[ImageLike] | None = None,
) -> OnnxExport:
    """Write a bundle as one .onnx file, which onnxruntime runs without torch.

    The network takes ``images`` (n, 3, S, S) uint8 RGB, as the cropper gives them, and gives
    ``embeddings`` (n, D) float32: normalisation of its input, averaging over the mirror image and
    unit length are inside. The metadata's key ``siamese`` holds JSON: the cropper's settings, the
    landmarks' places in an aligned chip, distance, operating point, calibration, provenance
    (``docs/export.md``). ``siamese.Verifier.load(path)`` uses all of them.

    Before the file is kept, onnxruntime and torch embed the same crops: eight that are made up, and
    those of ``images``.

    Args:
        bundle: with euclidean or cosine distance, and without test-time augmentation; or its
            folder, a run's, or ``"pretrained"``.
        path: of the file, ending in ``.onnx``; an existing one is replaced.
        precision: of the weights. ``"float32"`` as they are; ``"float16"`` rounded, for half the
            size; ``"int8"`` weights and what flows between layers in 8 bits, for a quarter.
        images: photographs of the kind that it will be used on, some dozens to a few hundred, by
            which ``"int8"`` chooses its ranges; images that the cropper refuses, or that
            cannot be read, are left out.

    Raises:
        ConfigError: a bundle that cannot be exported, an unknown precision, ``"int8"`` without
            images, or a path that does not end in ``.onnx``.
        BundleError: the network cannot be expressed in ONNX, the file differs too much from the
            bundle, or cannot be written.
        MissingDependencyError: the extra ``onnx`` is not installed.
    """
    path = Path(path).expanduser()
    if isinstance(bundle, (str, Path)):
        from siamese.inference.bundle import Bundle as Loaded

        bundle = Loaded.load(bundle)
    kind = _check(bundle, path, precision)
    crops = [] if images is None else _crops_of(bundle, images)
    if kind == "int8" and not crops:
        raise ConfigError(
            "int8 chooses its ranges by photographs: give some dozens of the kind that it will be "
            "used on, images=[...] (--images FOLDER)"
        )
    size = bundle.cropper.size
    model = _to_model(bundle, size)
    if kind == "float16":
        model = halved(model)
    elif kind == "int8":
        model = quantised(model, crops)
    content, stored = _with_metadata(model, bundle, kind)
    export = compare_with_torch(path, content, stored, bundle, [*made_up_crops(size), *crops])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or choose "
            f"another place"
        ) from error
    return export


def _check(bundle: Bundle, path: Path, precision: str) -> Precision:
    """Refuse what cannot be exported, before anything takes time."""
    if path.suffix.lower() != ONNX:
        raise ConfigError(f"{path}: the file's name must end in {ONNX}")
    kind = next((known for known in PRECISIONS if known == precision), None)
    if kind is None:
        raise ConfigError(
            f"precision={precision!r} is not known{did_you_mean(str(precision), PRECISIONS)}"
        )
    if bundle.tta:
        raise ConfigError(
            f"the bundle averages over tta={bundle.tta} changed copies, which no .onnx file can "
            f"make; choose its threshold without: siamese calibrate BUNDLE --data IDENTITIES --tta "
            f"0"
        )
    if bundle.distance_name not in FORMULAS:
        raise ConfigError(
            f"the bundle measures by {bundle.distance_name} distance, which has weights of its "
            f"own; only {' and '.join(FORMULAS)} can be exported: siamese calibrate BUNDLE --data "
            f"IDENTITIES --distance cosine"
        )
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingDependencyError(
                f"exporting to ONNX needs {package}, which is not installed; run: pip install "
                f"'siamese-lightning[onnx]'"
            ) from error
    return kind


class _Exported(nn.Module):
    """A bundle's network from uint8 to float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images)
        return found.float()


def _fixed(part: nn.Module) -> nn.Module:
    """A network whose parts that an exporter cannot follow are replaced."""
    fixed: Callable[[], nn.Module] | None = getattr(part, "fixed", None)
    found = fixed() if callable(fixed) else part
    for name, child in list(found.named_children()):
        setattr(found, name, _fixed(child))
    return found


def _to_model(bundle: Bundle, size: int) -> Any:
    """The network as an ``onnx.ModelProto``."""
    own = copy.deepcopy(bundle.backbone.for_inference()).cpu()
    network = _Exported(_fixed(own)).eval()
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with torch.no_grad(), _quiet():
            network(example)  # what is worked out at the first call, and kept
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_shapes=({0: batch},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
    except Exception as error:  # the exporter's errors, and those of what it runs
        if isinstance(error, ImportError) and str(error.name).startswith("onnx"):
            raise MissingDependencyError(
                f"the installed onnxscript does not know torch {torch.__version__} ({error}): pip "
                f"install --upgrade onnxscript"
            ) from error
        name = type(own_network(bundle.backbone)).__name__
        raise BundleError(
            f"{name} cannot be expressed in ONNX ({_cause(error)}); its operations must not depend "
            f"on what is in an image"
        ) from error
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise BundleError(
            f"{type(own_network(bundle.backbone)).__name__} can be expressed in ONNX only for a "
            f"fixed number of images; nothing in it must depend on their number"
        )
    return model


def _cause(error: BaseException) -> str:
    """The first error of a chain, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


@contextlib.contextmanager
def _quiet() -> Any:
    """Inside the ``with`` block the exporter says nothing of its own workings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _with_metadata(model: Any, bundle: Bundle, precision: Precision) -> tuple[bytes, StoredModel]:
    """The whole file, and what it says of itself."""
    digest = skeleton_of(_bytes(model)).sha256
    own = bundle.fingerprint
    if precision != "float32":  # its embeddings are others
        own = hashlib.sha256(f"{own} {precision} {digest}".encode()).hexdigest()
    calibration = bundle.calibration
    network = own_network(bundle.backbone)
    stored = StoredModel(
        version=VERSION,
        precision=precision,
        input=StoredInput(bundle.cropper.size),
        output=StoredOutput(
            model.graph.output[0].type.tensor_type.shape.dim[1].dim_value,
            any(getattr(network, kind, False) is True for kind in ("unit_length", "whiten")),
        ),
        cropper=CROPPERS.settings(bundle.cropper),
        chip=_chip(bundle),
        distance=StoredDistance(bundle.distance_name, FORMULAS[bundle.distance_name]),  # type: ignore[arg-type]
        operating_point=bundle.operating_point.to_dict(),
        calibration=base64.b64encode(calibration.encode()).decode() if calibration else None,
        tta=0,
        fingerprint=own,
        provenance=dict(bundle.provenance),
    )
    text = stored.encode()
    read_metadata(memoryview(text.encode()))  # what would not be read again is not written
    del model.metadata_props[:]
    model.producer_name, model.doc_string = "siamese", "embeds crops of images; see metadata"
    return sealed(model, text), stored


def sealed(model: Any, text: str) -> bytes:
    """An ``onnx.ModelProto`` with metadata, and the digest of all, as the content of a file."""
    model.metadata_props.add(key=KEY, value=text)
    model.metadata_props.add(key=SUM, value=skeleton_of(_bytes(model)).sha256)
    return _bytes(model)


def _bytes(model: Any) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _chip(bundle: Bundle) -> list[StoredChipPoint] | None:
    """The landmarks' places, where crops are aligned by them."""
    cropper = bundle.cropper
    if not isinstance(cropper, DlibCropper) or cropper.aligner != "five_point":
        return None
    return [StoredChipPoint(*point) for point in chip_points(cropper.size, cropper.margin)]


def _crops_of(bundle: Bundle, images: Iterable[ImageLike]) -> list[np.ndarray]:
    """The crops of images, without those that the cropper refuses, or that cannot be read."""
    found, broken = [], []
    for image in images:
        try:
            crop = bundle.cropper(read_given(image)[1])
        except ImageError as error:
            broken.append(first_line(error))
            continue
        if bundle.cropper.verdict(crop.faces) == "keep" and crop.faces != 0:
            found.append(crop.image)
    if broken:
        warn_once(f"images that cannot be read are left out, {len(broken):,}, such as {broken[0]}")
    return found
