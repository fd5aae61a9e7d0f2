"""Bundle: the result of a training run, in two files: weights and a JSON description.

Loading them executes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from siamese.backbones.base import Backbone
from siamese.data.transforms import Augmentation
from siamese.data.tta import TestTimeAugmentation
from siamese.distances.base import DISTANCES, Distance, not_fitted
from siamese.errors import (
    BundleError,
    CalibrationError,
    MissingDependencyError,
    SiameseError,
    UnknownNameError,
    first_line,
)
from siamese.faces.croppers.base import Cropper
from siamese.inference.components import Components, tensors_of
from siamese.inference.seen import Seen
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy

VERSION = 4
DESCRIPTION, WEIGHTS = "bundle.json", "weights.safetensors"
RUN = "run.json"  # in the folder of a run: what its bundle will be made of
SWEEP = "sweep.csv"  # in the folder of a sweep: its runs, the best first
A_SWEEP = "a sweep, which holds several runs; give the folder of one (sweep.csv, the best first)"
PRETRAINED = "pretrained"  # instead of a folder: the bundle that needs no training


@dataclass(frozen=True, repr=False)
class Bundle:
    """Everything that is needed to say whether two images show the same identity.

    Attributes:
        backbone: images to embeddings, its own normalisation included.
        distance: between embeddings, with its weights if it is learned.
        cropper: from an image to what the backbone sees.
        operating_point: the threshold and where it came from.
        augmentation: how training changed the images; test-time augmentation uses it. None where it
            had none.
        provenance: data set, versions, seeds, test figures, for people to read. Code reads only the
            name of the data set: to warn where LFW's benchmark tests a network trained on LFW.
        calibration: the counts that the threshold was chosen from, so that another policy can be
            applied later. None in bundles of older versions.
        tta: changed copies over which embeddings are averaged, as they were for the threshold; 0
            for none. See :class:`siamese.TestTimeAugmentation`.
        seen: hashes of the images and names that it was trained or calibrated on, to warn when it
            is tested on them; None where that is not known.

    Raises:
        BundleError: a calibration whose point is not the operating point.
        ConfigError: a ``tta`` that is no number of copies, or one without an augmentation.
    """

    backbone: Backbone
    distance: Distance
    cropper: Cropper
    operating_point: OperatingPoint
    provenance: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Augmentation | None = None
    calibration: Calibration | None = None
    tta: int = 0
    seen: Seen | None = None

    def __post_init__(self) -> None:
        TestTimeAugmentation.of(self.augmentation, self.tta)
        if self.calibration is not None and self.calibration.point != self.operating_point:
            raise BundleError(
                "the calibration is not that of the operating point; give "
                "operating_point=calibration.point"
            )

    def __repr__(self) -> str:
        return (
            f"Bundle({type(self.backbone).__name__}, {type(self.distance).__name__}, "
            f"{type(self.cropper).__name__}, {self.operating_point!r})"
        )

    @property
    def components(self) -> Components:
        """What turns images into distances."""
        return Components(self.backbone, self.distance, self.cropper, self.augmentation)

    @property
    def test_time_augmentation(self) -> TestTimeAugmentation | None:
        """The copies that embeddings are averaged over; None for none."""
        return TestTimeAugmentation.of(self.augmentation, self.tta)

    def with_policy(self, policy: str | dict[str, Any] | Policy | float) -> Calibration:
        """Another threshold on the calibration pairs; see :meth:`siamese.Calibration.with_policy`.

        Raises:
            CalibrationError: the bundle keeps no calibration, or the pairs cannot support the
                policy.
            ConfigError: an unknown policy or setting.
        """
        if self.calibration is None:
            raise CalibrationError(
                "no policy can be applied: the bundle keeps no calibration; make one with siamese "
                "calibrate, or give a threshold"
            )
        return self.calibration.with_policy(policy)

    def save(self, folder: str | Path) -> Path:
        """Write ``bundle.json`` and ``weights.safetensors`` into ``folder``.

        It appears complete or not at all.

        Raises:
            ConfigError: a component of a class that is not registered.
            BundleError: the folder cannot be written, or the distance is not fitted: it would go on
                measuring as another one.
        """
        from safetensors.torch import save as to_bytes

        if self.distance.needs_fit:
            raise BundleError(f"no bundle can be written: {not_fitted(self.distance)}")
        tensors = self.components.tensors()
        if self.calibration:
            tensors |= {
                f"calibration.{k}": torch.from_numpy(v)
                for k, v in self.calibration.arrays().items()
            }
        weights = to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
        description = {
            "version": VERSION,
            **self.components.describe(),
            "tta": self.tta,
            "operating_point": self.operating_point.to_dict(),
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "seen": self.seen.to_dict() if self.seen else None,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "provenance": dict(self.provenance),
        }
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        folder = free_folder(folder)
        unique = f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}"
        temporary, old = folder.with_name(f"{unique}.tmp"), folder.with_name(f"{unique}.old")
        try:
            temporary.mkdir(parents=True)
            (temporary / WEIGHTS).write_bytes(weights)
            (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = error.strerror or error
            raise BundleError(
                f"{folder}: cannot be written ({reason}); free some space or choose another folder"
            ) from error
        shutil.rmtree(old, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read a bundle, or the one in a run's folder; in evaluation mode on the CPU.

        The word ``"pretrained"`` is :func:`siamese.pretrained_bundle`.

        Names are looked up among the registered classes; nothing in the files is executed.

        Raises:
            BundleError: missing, incomplete, altered, or of a newer version.
        """
        if folder == PRETRAINED:
            from siamese.inference.pretrained import pretrained_bundle

            return pretrained_bundle()
        folder = Path(folder).expanduser()
        if folder.name == DESCRIPTION:  # the file in it was given
            folder = folder.parent
        folder = bundle_in(folder) or folder
        description, weights = _read(folder)
        try:
            _check(folder, description, weights)
            return cls._build(folder, description, _tensors(weights))
        except (BundleError, MissingDependencyError):  # of a plug-in
            raise
        except UnknownNameError as error:
            raise BundleError(f"{folder}: {error}") from error
        except KeyError as error:
            raise _invalid(folder, f"no entry {error}") from error
        except _DAMAGE as error:
            if isinstance(error, RuntimeError) and "state_dict" in str(error):
                raise _misfit(folder, description, error) from error
            raise _invalid(folder, first_line(error)) from error

    @classmethod
    def _build(
        cls, folder: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> Bundle:
        """From a description and weights that belong together."""
        components = Components.build(description)
        if description["version"] == 1:  # had no distance with weights
            tensors = {f"backbone.{k}": v for k, v in tensors.items()}
        components.load_tensors(tensors)
        parts = ("backbone.", "distance.", "calibration.")
        if unknown := [k for k in tensors if not k.startswith(parts)]:
            raise BundleError(
                f"{folder}: weights of unknown parts ({unknown[0]}); copy it again or train a new "
                f"one"
            )
        if not all(bool(t.isfinite().all()) for t in tensors.values()):
            raise BundleError(
                f"{folder}: some weights are NaN or infinite: the training diverged; train again, "
                f"at a lower rate"
            )
        point = OperatingPoint.from_dict(description["operating_point"])
        name = DISTANCES.name(components.distance)
        if point.distance != name:
            raise BundleError(
                f"{folder}: its threshold is for {point.distance} distance, but it measures "
                f"{name}; train again"
            )
        counts = {k: v.numpy() for k, v in tensors_of("calibration", tensors)}
        kept = description.get("calibration")
        return cls(
            components.backbone.eval(),
            components.distance.eval(),
            components.cropper,
            point,
            description.get("provenance", {}),
            components.augmentation,
            Calibration.restore(point, kept, counts) if kept else None,
            description.get("tta", 0),
            Seen.from_dict(description["seen"]) if description.get("seen") else None,
        )


# What damaged or altered files make their readers raise.
_DAMAGE = (SiameseError, TypeError, AttributeError, RuntimeError, ValueError, MemoryError)


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    """A bundle's two files."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return description, (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        if (folder / RUN).is_file():
            raise BundleError(f"{folder}: {_why_none(folder)}") from error
        if (folder / SWEEP).is_file():
            raise BundleError(f"{folder}: {A_SWEEP}") from error
        if not folder.exists():
            raise BundleError(
                f"{folder}: no such folder; give a bundle, or the folder of a run"
            ) from error
        raise BundleError(
            f"{folder}: no bundle ({Path(str(error.filename)).name} is missing); give the 'bundle' "
            f"folder of a training run, train one (siamese train), or take the one that needs no "
            f"training: pretrained (siamese.Verifier.pretrained())"
        ) from error
    except NotADirectoryError as error:
        raise BundleError(f"{folder}: a file, not a bundle; give the folder of one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{folder}: bundle cannot be read ({error}); copy it again from the training run"
        ) from error


def _why_none(run: Path) -> str:
    """Why a run's folder holds no bundle."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if reason := json.loads((run / RUN).read_text(encoding="utf-8")).get("missing"):
            return str(reason)
    if not (run / "checkpoints" / "last.ckpt").is_file():
        return "the run ended before its first epoch did, and has no bundle; train again"
    return (
        f"the run has no bundle yet; siamese evaluate {run} --out DIR makes one of its last "
        f"checkpoint"
    )


def _check(folder: Path, description: dict[str, Any], weights: bytes) -> None:
    """Refuse files of a newer version, and two that do not belong together."""
    if description["version"] > VERSION:
        raise BundleError(
            f"{folder}: written by a newer siamese (bundle version {description['version']}); "
            f"upgrade siamese"
        )
    if hashlib.sha256(weights).hexdigest() != description["weights_sha256"]:
        raise BundleError(
            f"{folder}: weights and description do not belong together (checksum); copy the bundle "
            f"again"
        )


def _misfit(folder: Path, description: dict[str, Any], error: RuntimeError) -> BundleError:
    """Weights that do not fit the class of that name as it is now."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    named = description.get("origins")
    remedy = "copy it again or train a new one"
    if isinstance(named, dict) and named:
        whole = ", ".join(map(str, named.values()))
        remedy = f"{whole} must be the class that it was trained with, unchanged"
    return BundleError(
        f"{folder}: its weights do not fit its network ({'; '.join(lines)[:200]}); {remedy}"
    )


def _invalid(folder: Path, reason: str) -> BundleError:
    return BundleError(f"{folder}: not a valid bundle ({reason}); copy it again or train a new one")


def bundle_in(folder: Path) -> Path | None:
    """Where the bundle of a folder lies: there, or, in the folder of a run, in ``bundle``."""
    places = (folder, folder / "bundle")
    return next((place for place in places if (place / DESCRIPTION).is_file()), None)


def free_folder(folder: str | Path) -> Path:
    """Where a bundle can be written: a folder that does not exist, is empty, or holds a bundle.

    Raises:
        BundleError: it holds something else, or cannot be read.
    """
    folder = Path(folder).expanduser()
    try:
        other = folder.exists() and (
            not folder.is_dir() or {p.name for p in folder.iterdir()} - {DESCRIPTION, WEIGHTS}
        )
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    if other:
        raise BundleError(
            f"{folder}: holds something else than a bundle and is left alone; choose another folder"
        )
    return folder


def _tensors(weights: bytes) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(weights)
    except SafetensorError as error:
        raise BundleError(f"{WEIGHTS} is damaged ({error}); copy the bundle again") from error
