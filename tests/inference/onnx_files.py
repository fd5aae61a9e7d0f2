"""A small bundle with a calibration, and its .onnx file, that several tests share."""

from pathlib import Path

import numpy as np
import torch

from siamese.backbones.small_res_net import SmallResNet
from siamese.distances.euclidean import EuclideanDistance
from siamese.faces.croppers.none import NoCropper
from siamese.inference.bundle import Bundle
from siamese.verification.thresholds import calibrate

SIZE = 24


def small_bundle(**parts):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    rows = rng.normal(size=(12, 8))[who] + 0.4 * rng.normal(size=(48, 8))
    rows /= 2 * np.linalg.norm(rows, axis=1, keepdims=True)
    made = calibrate(rows, who, "max_f1")
    given = {
        "backbone": SmallResNet(
            (6,), (1,), 8, unit_length=True, whiten=False, gradient_cells=0
        ).eval(),
        "distance": EuclideanDistance(),
        "cropper": NoCropper(SIZE),
        "operating_point": made.point,
        "calibration": made,
        "provenance": {"data": "made up"},
    }
    return Bundle(**(given | parts))


def pictures(folder: Path, count: int = 4) -> list[Path]:
    from tests.helpers import write_image

    return [write_image(folder / f"{seed}.png", seed) for seed in range(count)]
