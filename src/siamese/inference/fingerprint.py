"""Fingerprint: of all that an embedding depends on, so that those of two networks never mix."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import torch

from siamese.inference.components import Components


def fingerprint_of(parts: Components, tta: int) -> str:
    """SHA-256 over network, distance, cropper and test-time augmentation, 64 hexadecimal digits.

    Threshold, calibration and what becomes of images without a face have no part in it: embeddings
    stay as they are where these change.

    Args:
        parts: what turns images into distances.
        tta: changed copies over which embeddings are averaged.
    """
    described = parts.describe()
    facts = {
        "backbone": described["backbone"],
        "distance": described["distance"],
        "cropper": parts.cropper.pixel_settings(),
        "tta": tta,
        "augmentation": asdict(parts.augmentation) if tta and parts.augmentation else None,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(parts.tensors().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().data if array.numel() else b"")
    return digest.hexdigest()
