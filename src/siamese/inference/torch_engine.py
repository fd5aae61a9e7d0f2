"""TorchEngine: a bundle's network and distance, run by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from siamese.data.embedding import embed_batch
from siamese.data.tta import TestTimeAugmentation
from siamese.inference.components import Components


class TorchEngine:
    """Runs a bundle's network as training did.

    Args:
        parts: whose network and distance; both are moved to the device.
        tta: changed copies over which embeddings are averaged, 0 for none.
        device: e.g. ``"cpu"`` or ``"cuda"``.

    Raises:
        ConfigError: a ``tta`` that is no number of copies, or one without an augmentation.
    """

    def __init__(self, parts: Components, tta: int = 0, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._views = TestTimeAugmentation.of(parts.augmentation, tta)
        self._backbone = parts.backbone.for_inference().to(self.device).eval()
        self._distance = parts.distance.to(self.device).eval()

    @torch.inference_mode()
    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """See :meth:`siamese.inference.engine.Engine.embed`."""
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
        found: np.ndarray = embed_batch(self._backbone, images, self._views).cpu().numpy()
        return found

    @torch.inference_mode()
    def measure(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """See :meth:`siamese.inference.engine.Engine.measure`."""
        found: np.ndarray = self._distance.measure(self.given(a), self.given(b)).cpu().numpy()
        return found

    def given(self, embeddings: np.ndarray) -> Any:
        """(n, D) float32 tensor on the device."""
        return torch.from_numpy(embeddings).to(self.device)
