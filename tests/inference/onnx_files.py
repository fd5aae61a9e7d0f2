"""A small bundle with a calibration, and its .onnx file, that several tests share."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from siamese.backbones.base import BACKBONES, as_backbone
from siamese.distances.euclidean import EuclideanDistance
from siamese.faces.croppers.none import NoCropper
from siamese.inference.bundle import Bundle
from siamese.verification.thresholds import calibrate

SIZE = 24


@BACKBONES.register("of_the_onnx_tests")
class Plain(nn.Module):
    """A network that is no backbone of ours."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.head = nn.Linear(24, 8)
        self.embedding_size, self.unit_length = 8, True

    def forward(self, images):
        return nn.functional.normalize(self.head(self.layers(images).flatten(1)), dim=1)


def small_bundle(**parts):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    rows = rng.normal(size=(12, 8))[who] + 0.4 * rng.normal(size=(48, 8))
    rows /= 2 * np.linalg.norm(rows, axis=1, keepdims=True)
    made = calibrate(rows, who, "max_f1")
    given = {
        "backbone": as_backbone(Plain()).eval(),
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
