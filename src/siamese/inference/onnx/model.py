"""OnnxModel: an exported bundle, read from one .onnx file; torch is not needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.distances.numpy_measures import LARGEST as LARGEST_DISTANCE
from siamese.errors import (
    BundleError,
    CalibrationError,
    ConfigError,
    MissingDependencyError,
    SiameseError,
    first_line,
)
from siamese.faces.croppers.base import CROPPERS, Cropper
from siamese.inference.engine import Engine
from siamese.inference.onnx.metadata import KEY, StoredModel, read_metadata
from siamese.inference.onnx.wire import SUM, skeleton_of
from siamese.inference.signature import Keys, wanted_keys
from siamese.reading import read_bytes
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint

if TYPE_CHECKING:
    from siamese.verification.policies.base import Policy

# Bytes of a file: no message of protocol buffers may have more.
_LARGEST = (1 << 31) - 1
_ROUNDING = 1e-4  # of the largest distance that there is


@dataclass(frozen=True, repr=False)
class OnnxModel:
    """A network with everything that is needed to compare two images, as a bundle has it.

    :class:`siamese.Verifier` takes it in place of a bundle. :func:`siamese.export_onnx` writes such
    files.

    Attributes:
        path: of the file.
        cropper: from an image to what the network sees.
        operating_point: the threshold and where it came from.
        calibration: the counts that the threshold was chosen from; None where they were not kept.
        distance_name: ``"euclidean"`` or ``"cosine"``.
        precision: of its weights: ``"float32"``, ``"float16"`` or ``"int8"``.
        embedding_size: D, length of an embedding.
        fingerprint: of all that an embedding depends on: in float32 that of the bundle.
        provenance: of the bundle, for people to read.
        tta: 0: an exported network makes no changed copies.
    """

    path: Path
    cropper: Cropper
    operating_point: OperatingPoint
    calibration: Calibration | None
    distance_name: str
    precision: str
    embedding_size: int
    fingerprint: str
    provenance: Mapping[str, Any]
    _content: bytes = field(repr=False)
    _stored: Any = field(repr=False)  # StoredModel
    tta: int = 0

    @classmethod
    def load(cls, path: str | Path, trusted: Keys | None = None) -> OnnxModel:
        """Read a file that :func:`siamese.export_onnx` wrote.

        Nothing in it is executed while it is read. It is looked through, within bounds, before
        onnxruntime gets it: a network that reads other files, has operators that are not ONNX's
        own, or parts that run other parts (branches, loops), is refused, and so is a file that is
        not the one its digest was made of.

        Args:
            path: of the file.
            trusted: as for :meth:`siamese.Bundle.load`. Such a file has no signature: where one is
                asked for, it is refused.

        Raises:
            BundleError: missing, damaged, altered, of a newer version, not written by siamese, or
                a signature is asked for.
        """
        path = Path(path).expanduser()
        if wanted_keys(trusted) is not None:
            raise BundleError(
                f"{path}: a signature is asked for (trusted, or SIAMESE_TRUSTED_KEYS), and an "
                f".onnx file has none; give the bundle that it was made of, and export it here"
            )
        try:
            content = read_bytes(path, _LARGEST)
            skeleton = skeleton_of(content)
            stored = read_metadata(skeleton.metadata.get(KEY))
            if bytes(skeleton.metadata.get(SUM, b"")) != skeleton.sha256.encode():
                raise BundleError("it is not as it was written (checksum): damaged, or edited")
            return cls._build(path, content, stored)
        except FileNotFoundError as error:
            raise BundleError(
                f"{path}: no such file; give one that siamese export --to onnx wrote"
            ) from error
        except (OSError, ValueError, TypeError, MemoryError, SiameseError) as error:
            raise BundleError(
                f"{str(path)!r:.200}: not a usable .onnx file ({first_line(error):.400}); export "
                f"the bundle again: siamese export BUNDLE --to onnx"
            ) from error

    @classmethod
    def _build(cls, path: Path, content: bytes, stored: StoredModel) -> OnnxModel:
        cropper = CROPPERS.build(stored.cropper)
        if cropper.size != stored.input.size:
            raise BundleError(f"its crops have {cropper.size} pixels, not {stored.input.size}")
        point = OperatingPoint.from_dict(stored.operating_point)
        name = stored.distance.name
        if point.distance != name:
            raise BundleError(
                f"its threshold is for {point.distance!r:.80}, but it measures {name}"
            )
        bounded = stored.output.unit_length or name == "cosine"
        most = LARGEST_DISTANCE[name] if bounded else math.inf
        if not -_ROUNDING <= point.threshold <= most + _ROUNDING:
            raise BundleError(f"its threshold, {point.threshold:g}, lies beyond every distance")
        kept = stored.calibration_bytes
        calibration = None if kept is None else Calibration.decode(kept, "its calibration")
        if calibration is not None and calibration.point != point:
            raise BundleError("its calibration is not that of its operating point")
        return cls(
            path,
            cropper,
            point,
            calibration,
            name,
            stored.precision,
            stored.output.size,
            stored.fingerprint,
            stored.provenance,
            content,
            stored,
        )

    def with_policy(self, policy: str | dict[str, Any] | Policy | float) -> Calibration:
        """Another threshold on the calibration pairs; see :meth:`siamese.Calibration.with_policy`.

        Raises:
            CalibrationError: the file keeps no calibration, or the pairs cannot support the policy.
            ConfigError: an unknown policy or setting.
            MissingDependencyError: a policy with a confidence, or with smoothing, without scipy.
        """
        if self.calibration is None:
            raise CalibrationError(
                "no policy can be applied: the file keeps no calibration; give a threshold, or "
                "calibrate the bundle (siamese calibrate) and export it again"
            )
        try:
            return self.calibration.with_policy(policy)
        except ModuleNotFoundError as error:  # in an environment without torch
            raise MissingDependencyError(
                f"this policy needs {error.name}, which is not installed; run: pip install scipy, "
                f"or give a policy without confidence and smoothing"
            ) from error

    def engine(self, tta: int = 0, device: Any = "cpu") -> Engine:
        """What runs its network; see :class:`siamese.inference.onnx.engine.OnnxEngine`.

        Raises:
            ConfigError: a ``tta`` other than 0, or a device that onnxruntime does not have here.
            MissingDependencyError, BundleError: see there.
        """
        from siamese.inference.onnx.engine import OnnxEngine

        if tta:
            raise ConfigError(
                f"tta={tta}: an exported network makes no changed copies; leave out tta, or use "
                f"the bundle that it was made of"
            )
        return OnnxEngine(str(self.path), self._content, self._stored, str(device))

    def describe(self) -> dict[str, Any]:
        """What the file says of itself, as JSON has it, without the calibration's counts."""
        import msgspec

        found: dict[str, Any] = msgspec.to_builtins(self._stored)
        return {k: v for k, v in found.items() if k != "calibration"}

    def __repr__(self) -> str:
        return f"OnnxModel({str(self.path)!r}, {self.precision}, {self.operating_point!r})"
