"""Engine: what embeds crops and measures distances, by torch or by another runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from siamese.faces.croppers.base import Cropper
from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint


class Engine(Protocol):
    """A network and a distance that are ready to run."""

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed crops, as many as go through the network together.

        Args:
            crops: n of (S, S, 3) uint8 RGB, n >= 1.

        Returns:
            (n, D) float32.
        """

    def measure(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of matching rows, as verdicts compare them.

        Args:
            a, b: (n, D) float32.

        Returns:
            (n,) float32; each depends on its two rows alone, bit for bit.
        """

    def given(self, embeddings: np.ndarray) -> Any:
        """Embeddings in the kind of array that users of this engine expect.

        Args:
            embeddings: (n, D) float32.

        Returns:
            a tensor on the engine's device, or the array itself where torch is not needed.
        """


class Verifiable(Protocol):
    """What a :class:`siamese.Verifier` works with: a bundle, or a network in another format."""

    @property
    def cropper(self) -> Cropper:
        """From an image to what the network sees."""

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold and where it came from."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What is told of how it was made, for people to read; it may hold anything."""

    @property
    def calibration(self) -> Calibration | None:
        """The counts that the threshold was chosen from; None where they were not kept."""

    @property
    def tta(self) -> int:
        """Changed copies over which embeddings are averaged; 0 for none."""

    @property
    def distance_name(self) -> str:
        """By which distance embeddings are compared, as the registry has it ("euclidean")."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that an embedding depends on, 64 hexadecimal digits."""

    def with_policy(self, policy: Any) -> Calibration:
        """Another threshold on the calibration pairs."""

    def engine(self, tta: int, device: Any) -> Engine:
        """What runs its network.

        Args:
            tta: changed copies over which embeddings are averaged.
            device: where, ``"cpu"`` or ``"cuda"``.
        """
