"""Fingerprint: of all that an embedding depends on, so that those of two networks never mix."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle


def fingerprint_of(bundle: Bundle) -> str:
    """SHA-256 over network, distance, cropper and test-time augmentation, 64 hexadecimal digits.

    Threshold, calibration and what becomes of images without a face have no part in it: embeddings
    stay as they are where these change.

    Args:
        bundle: of any origin.
    """
    parts = bundle.components
    described = parts.describe()
    facts = {
        "backbone": described["backbone"],
        "distance": described["distance"],
        "cropper": parts.cropper.pixel_settings(),
        "tta": bundle.tta,
        "augmentation": asdict(parts.augmentation) if bundle.tta and parts.augmentation else None,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(parts.tensors().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().data if array.numel() else b"")
    return digest.hexdigest()
