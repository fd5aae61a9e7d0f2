"""Augmentation with albumentations: a pure function of the image and a seed.

So the result does not depend on the process that computes it, or on when.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

# A pipeline is seeded and then drawn from: nobody may come between, since batches are loaded in a
# thread beside the main one.
_DRAWING = threading.RLock()
_PCG64 = {"bit_generator": "PCG64", "has_uint32": 0, "uinteger": 0}


@dataclass(frozen=True)
class Augmentation:
    """Random changes that leave the identity the same; every strength of 0 switches its change off.

    Args:
        flip: probability of mirroring left and right, 0..1.
        rotation: largest angle either way, degrees.
        scale: largest change of size, as a share: 0.1 gives factors of 0.9 to 1.1.
        shear: largest shear either way along both axes, degrees.
        translation: largest shift either way along both axes, as a share of the side; of whole
            pixels where it is the only change of place but mirroring.
        brightness: largest change either way, as a share of the full range.
        contrast: largest change either way, as a share.
        gamma: largest change either way, as a share: 0.2 gives exponents of 0.8 to 1.2.
        blur: probability of a slight blur, 0..1.
        noise: largest standard deviation of Gaussian noise, as a share of the full range.
        erasing: probability of covering one or two random rectangles (Zhong et al., *Random
            Erasing*, AAAI 2020), 0..1.
        grey: probability of removing the colour at the end, 0..1; give 1 for grey images, or noise
            will colour them.
    """

    flip: float = 0.5
    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 4.0
    translation: float = 0.05
    brightness: float = 0.2
    contrast: float = 0.2
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erasing: float = 0.0
    grey: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            top = {"rotation": 180.0, "shear": 80.0}.get(field.name, 1.0)
            if not 0 <= value <= top:
                raise ValueError(
                    f"augmentation {field.name} must be between 0 and {top:g}, not {value}"
                )

    def __call__(self, image: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        """Augment one image.

        Args:
            image: (H, W, 3) uint8.
            seed: whole numbers >= 0; the result depends on them and the image alone.

        Returns:
            (H, W, 3) uint8.
        """
        if not self.changes:
            return image
        with _DRAWING:
            self._start(seed)
            for step in self._steps:
                image = step(image=image)["image"]
        return np.ascontiguousarray(image)

    def _start(self, seed: tuple[int, ...]) -> None:
        first, high, low = np.random.SeedSequence(seed).generate_state(3, np.uint64).tolist()
        self._python.seed(first)
        state = {"state": high << 64 | low, "inc": 1}
        self._numpy.bit_generator.state = dict(_PCG64, state=state)

    @property
    def changes(self) -> bool:
        """Whether it changes anything at all."""
        return any(getattr(self, field.name) for field in fields(self))

    # All steps draw from one pair of generators, so that what one draws tells nothing about the
    # next; and the pair is started anew for each image, since a new pair takes longer.
    @cached_property
    def _python(self) -> random.Random:
        return random.Random()

    @cached_property
    def _numpy(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64())

    @cached_property
    def _steps(self) -> list[Any]:
        # Otherwise importing it asks the network for its newest version.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A
        import cv2

        from siamese.data.shift import Shift

        steps: list[Any] = []
        if self.flip:
            steps.append(A.HorizontalFlip(p=self.flip))
        if self.rotation or self.scale or self.shear:
            steps.append(
                A.Affine(
                    rotate=(-self.rotation, self.rotation),
                    scale=(1 - self.scale, 1 + self.scale),
                    shear=dict.fromkeys("xy", (-self.shear, self.shear)),
                    translate_percent=dict.fromkeys("xy", (-self.translation, self.translation)),
                    border_mode=cv2.BORDER_REPLICATE,
                    p=1.0,
                )
            )
        elif self.translation:
            steps.append(Shift(self.translation))
        if self.brightness or self.contrast:
            steps.append(
                A.RandomBrightnessContrast(
                    brightness_limit=self.brightness, contrast_limit=self.contrast, p=1.0
                )
            )
        if self.gamma:
            steps.append(
                A.RandomGamma(
                    gamma_limit=(max(1.0, 100 * (1 - self.gamma)), 100 * (1 + self.gamma)), p=1.0
                )
            )
        if self.blur:
            steps.append(A.Blur(blur_limit=(3, 3), p=self.blur))
        if self.noise:
            steps.append(A.GaussNoise(std_range=(0, self.noise), p=0.5))
        if self.erasing:
            steps.append(
                A.CoarseDropout(
                    num_holes_range=(1, 2),
                    hole_height_range=(0.15, 0.45),
                    hole_width_range=(0.15, 0.45),
                    fill="random_uniform",
                    p=self.erasing,
                )
            )
        if self.grey:
            steps.append(A.ToGray(num_output_channels=3, p=self.grey))
        for step in steps:
            step.set_random_state(self._numpy, self._python)
        return steps


def draw(pipeline: Any, image: np.ndarray, seed: tuple[int, ...]) -> Any:
    """What an albumentations pipeline makes of an image; it depends on image and seed alone.

    Left unseeded, a pipeline repeats one stream of random numbers in every worker and every epoch.
    Seeded by its own set_random_seed, all of its transforms would start alike: an image that is
    moved far would be a bright one, too.

    Args:
        pipeline: an ``albumentations.Compose`` or a single transform.
        image: (H, W, 3) uint8.
        seed: whole numbers >= 0.
    """
    start = stable_seed(*seed)
    with _DRAWING:
        pipeline.set_random_state(np.random.default_rng(start), random.Random(start))
        return pipeline(image=image)["image"]


def _new_lock() -> None:
    """A process that is forked while a thread draws would wait for that thread for ever."""
    global _DRAWING
    _DRAWING = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def stable_seed(*numbers: int) -> int:
    """Mix whole numbers >= 0 into one of 32 bits, the same on every machine.

    Numpy's SeedSequence spreads them well.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
