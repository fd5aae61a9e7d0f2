"""Bundle: the result of a training run: weights, a JSON description, a card for people, a digest.

Loading them executes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from siamese.backbones.base import Backbone, own_network
from siamese.bounds import shown
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
from siamese.inference.card_file import check_card
from siamese.inference.components import Components, tensors_of
from siamese.inference.engine import Engine
from siamese.inference.model_card import card_of
from siamese.inference.room import head_of, is_constant
from siamese.inference.seen import Seen
from siamese.inference.signature import SIGNATURE, Keys, check_signature, wanted_keys
from siamese.inference.stored_bundle import VERSION, EarlierBundle, StoredBundle, checked
from siamese.inference.sums import CARD, LARGEST_SUMS, SUMS, altered, sums_of
from siamese.reading import parse_json, read_bytes, read_object
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy

DESCRIPTION, WEIGHTS = "bundle.json", "weights.safetensors"
# All that can lie in a bundle's folder.
FILES = (DESCRIPTION, WEIGHTS, SUMS, SIGNATURE, CARD)
# Bytes that are read at most.
_LARGEST_DESCRIPTION, _LARGEST_WEIGHTS = 1 << 26, 1 << 33
_ROUNDING = 1e-4  # of the largest distance that there is
_MOST_VALUES = 2_000_000  # in a description: the hashes of whom it was made of are most of them
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

    @property
    def distance_name(self) -> str:
        """By which distance embeddings are compared, as the registry has it ("euclidean")."""
        return DISTANCES.name(self.distance)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that an embedding depends on, 64 hexadecimal digits.

        Two bundles with the same one give the same embeddings; see
        :func:`siamese.inference.fingerprint.fingerprint_of`.
        """
        from siamese.inference.fingerprint import fingerprint_of

        return fingerprint_of(self.components, self.tta)

    def engine(self, tta: int = 0, device: str | torch.device = "cpu") -> Engine:
        """What runs its network; see :class:`siamese.inference.torch_engine.TorchEngine`."""
        from siamese.inference.torch_engine import TorchEngine

        return TorchEngine(self.components, tta, device)

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

    @property
    def card(self) -> str:
        """The model card in markdown: what it is for, its data, threshold, figures and limits."""
        return card_of(self)

    def save(self, folder: str | Path) -> Path:
        """Write ``bundle.json``, ``weights.safetensors``, ``SHA256SUMS`` and a model card.

        They appear complete or not at all. A bundle that lay there is replaced, with its signature
        and its card (``README.md``, :attr:`card`).

        Raises:
            ConfigError: a component of a class that is not registered.
            BundleError: the folder cannot be written, the distance is not fitted (it would go on
                measuring as another one), or a value that :meth:`load` would refuse.
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
            "provenance": dict(self.provenance),
        }
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        files = {DESCRIPTION: text.encode(), WEIGHTS: weights, CARD: self.card.encode()}
        folder = free_folder(folder)
        try:  # what would not be loaded again is not written
            checked(parse_json(files[DESCRIPTION], _MOST_VALUES))
            point = OperatingPoint.from_dict(description["operating_point"])
        except (ValueError, CalibrationError) as error:
            raise BundleError(
                f"{folder}: no bundle can be written: {first_line(error)}; correct that value"
            ) from error
        _check_threshold(folder, point, self.components)
        unique = f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}"
        temporary, old = folder.with_name(f"{unique}.tmp"), folder.with_name(f"{unique}.old")
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                (temporary / name).write_bytes(content)
            (temporary / SUMS).write_bytes(sums_of(files))
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if old.exists() and not folder.exists():
                old.rename(folder)
            reason = error.strerror or error
            raise BundleError(
                f"{folder}: cannot be written ({reason}); free some space or choose another folder"
            ) from error
        shutil.rmtree(old, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path, trusted: Keys | None = None) -> Bundle:
        """Read a bundle, or the one in a run's folder; in evaluation mode on the CPU.

        The word ``"pretrained"`` is :func:`siamese.pretrained_bundle`.

        Names are looked up among the registered classes; nothing in the files is executed. Both are
        held against ``SHA256SUMS``, and every value is checked before anything is built of it. That
        shows damage, and careless editing; only a signature shows whose bundle it is. What a file
        announces is bounded by its own size: memory is at most about three times that of the two
        files, and 100 MB.

        Args:
            folder: of the bundle, or of a run.
            trusted: public keys, or files of them, one of which must have signed the bundle
                (``siamese sign``). By default those in the file that the environment variable
                ``SIAMESE_TRUSTED_KEYS`` names; where it is not set, no signature is asked for. With
                both, the key must be among both. What ``"pretrained"`` means is part of the
                installed package, and needs no signature.

        Raises:
            BundleError: missing, incomplete, altered, of a newer version, or not signed by a
                trusted key.
            ConfigError: ``trusted`` is no list of keys.
            MissingDependencyError: a signature is asked for, and the extra ``sign`` is not
                installed.
        """
        if folder == PRETRAINED:
            from siamese.inference.pretrained import pretrained_bundle

            return pretrained_bundle()
        return cls._load(folder, wanted_keys(trusted))

    @classmethod
    def _load(cls, folder: str | Path, keys: frozenset[str] | None) -> Bundle:
        """From a folder; ``keys`` as from :func:`wanted_keys`."""
        found, sums = cls._load_with_sums(folder, keys)
        if sums is not None:
            check_card(_place(folder), sums, signed=keys is not None)
        return found

    @classmethod
    def _load_with_sums(
        cls, folder: str | Path, keys: frozenset[str] | None
    ) -> tuple[Bundle, bytes | None]:
        """The same, and the digest that it was checked against; None where it has none."""
        folder = _place(folder)
        description, weights, sums = _read(folder)
        if keys is not None:
            check_signature(folder, sums, keys)
        try:
            stored = checked(description)
            if isinstance(stored, EarlierBundle):
                _check_weights(folder, stored, weights)
            return cls._build(folder, stored, weights), sums
        except (BundleError, MissingDependencyError):  # of a plug-in
            raise
        except UnknownNameError as error:
            raise BundleError(f"{folder}: {error}") from error
        except KeyError as error:
            raise _invalid(folder, f"no entry {error}") from error
        except _DAMAGE as error:
            if isinstance(error, RuntimeError) and "state_dict" in str(error):
                raise _misfit(folder, stored.origins, error) from error
            raise _invalid(folder, first_line(error)) from error

    @classmethod
    def _build(cls, folder: Path, stored: StoredBundle | EarlierBundle, weights: bytes) -> Bundle:
        """From a description and weights that belong together."""
        shapes = head_of(weights)
        whole = isinstance(stored, StoredBundle)
        components = Components.build(msgspec.structs.asdict(stored), shapes, whole)
        point = OperatingPoint.from_dict(stored.operating_point)
        _check_threshold(folder, point, components)
        tensors = _tensors(weights)
        if stored.version == 1:  # had no distance with weights
            tensors = {f"backbone.{k}": v for k, v in tensors.items()}
        if not all(bool(t.isfinite().all()) for t in tensors.values()):
            raise BundleError(
                f"{folder}: some weights are NaN or infinite: the training diverged; train again, "
                f"at a lower rate"
            )
        components.load_tensors(tensors)
        for part in (components.backbone, components.distance):
            if is_constant(part):
                raise BundleError(
                    f"{folder}: all weights of {type(part).__name__} are zero: it tells nothing "
                    f"apart; copy the bundle again or train a new one"
                )
        parts = ("backbone.", "distance.", "calibration.")
        if unknown := [k for k in tensors if not k.startswith(parts)]:
            raise BundleError(
                f"{folder}: weights of unknown parts ({unknown[0]!r:.80}); copy it again or train "
                f"a new one"
            )
        counts = {k: v.numpy() for k, v in tensors_of("calibration", tensors)}
        kept = stored.calibration
        if whole and counts and kept is None:
            raise BundleError(
                f"{folder}: it has the counts of a calibration, and no calibration; copy it again"
            )
        seen = stored.seen
        return cls(
            components.backbone.eval(),
            components.distance.eval(),
            components.cropper,
            point,
            stored.provenance,
            components.augmentation,
            None if not kept else Calibration.restore(point, kept, counts),
            stored.tta,
            Seen.from_dict(msgspec.to_builtins(seen)) if seen else None,
        )


# What damaged or altered files make their readers raise.
_DAMAGE = (
    SiameseError,
    TypeError,
    AttributeError,
    RuntimeError,
    ValueError,
    MemoryError,
    OverflowError,
    IndexError,
    AssertionError,
)


def _place(given: str | Path) -> Path:
    """Where a bundle lies that was named by its folder, that of its run, or its description."""
    folder = Path(given).expanduser()
    if folder.name == DESCRIPTION:
        folder = folder.parent
    return bundle_in(folder) or folder


def _read(folder: Path) -> tuple[Any, bytes, bytes | None]:
    """A bundle's description, weights, and digest, against which the two others were checked."""
    try:
        written = read_bytes(folder / DESCRIPTION, _LARGEST_DESCRIPTION)
        description = parse_json(written, _MOST_VALUES)
        weights = read_bytes(folder / WEIGHTS, _LARGEST_WEIGHTS)
        sums = _sums(folder, description)
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
    except (OSError, ValueError, MemoryError) as error:
        raise BundleError(
            f"{str(folder)!r:.200}: bundle cannot be read ({first_line(error)}); copy it again "
            f"from the training run"
        ) from error
    if sums is not None and (wrong := altered({DESCRIPTION: written, WEIGHTS: weights}, sums)):
        raise BundleError(
            f"{folder}: {' and '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} not as it was "
            f"written (checksum): damaged, or edited; copy the bundle again"
        )
    return description, weights, sums


def _sums(folder: Path, description: Any) -> bytes | None:
    """The digest of a bundle; None for an earlier version's that has none."""
    version = description.get("version") if isinstance(description, dict) else None
    if type(version) is int and version > VERSION:
        raise BundleError(
            f"{folder}: written by a newer siamese (bundle version {shown(version)}); upgrade "
            f"siamese"
        )
    if type(version) is int and version < VERSION and not (folder / SUMS).exists():
        return None
    return read_bytes(folder / SUMS, LARGEST_SUMS)


def _why_none(run: Path) -> str:
    """Why a run's folder holds no bundle."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if reason := read_object(run / RUN).get("missing"):
            return " ".join(str(reason)[:500].split())
    if not (run / "checkpoints" / "last.ckpt").is_file():
        return "the run ended before its first epoch did, and has no bundle; train again"
    return (
        f"the run has no bundle yet; siamese evaluate {run} --out DIR makes one of its last "
        f"checkpoint"
    )


def _check_weights(folder: Path, stored: EarlierBundle, weights: bytes) -> None:
    """Refuse weights that an earlier version wrote for another description."""
    if hashlib.sha256(weights).hexdigest() != stored.weights_sha256:
        raise BundleError(
            f"{folder}: weights and description do not belong together (checksum); copy the bundle "
            f"again"
        )


def _check_threshold(folder: Path, point: OperatingPoint, components: Components) -> None:
    """Refuse a threshold of another distance, or one that no distance lies on both sides of."""
    name = DISTANCES.name(components.distance)
    if point.distance != name:
        raise BundleError(
            f"{folder}: its threshold is for {point.distance[:80]!r} distance, but it measures "
            f"{name}; train again"
        )
    network = own_network(components.backbone)
    unit = any(getattr(network, kind, False) is True for kind in ("unit_length", "whiten"))
    most = components.distance.largest(unit)
    # A little less than 0 refuses every pair.
    if not -_ROUNDING <= point.threshold <= most + _ROUNDING:
        raise BundleError(
            f"{folder}: its threshold, {point.threshold:g}, lies beyond every distance that it can "
            f"measure (0 to {most:g}): it would judge all pairs alike; calibrate again"
        )


def _misfit(folder: Path, named: Mapping[str, str], error: RuntimeError) -> BundleError:
    """Weights that do not fit the class of that name as it is now."""
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    remedy = "copy it again or train a new one"
    if named:
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

    A README.md without a bundle beside it is no card, but somebody's own.

    Raises:
        BundleError: it holds something else, or cannot be read.
    """
    folder = Path(folder).expanduser()
    try:
        found = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        other = folder.exists() and (
            not folder.is_dir() or found - set(FILES) or (CARD in found and len(found) == 1)
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
        raise BundleError(
            f"{WEIGHTS} is damaged ({first_line(error):.200}); copy the bundle again"
        ) from error
