"""dlib's face descriptors of a folder of identities, for benchmarks/calibration.py.

    python benchmarks/lfw_descriptors.py FOLDER OUT.npz [--workers W]

The face nearest to the image's centre counts; where none is found, the box in which LFW's funnelled
faces lie. dlib's network was trained on other people, its detector among others on images of LFW.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import numpy as np

from siamese.datasets.identities import IdentityTable
from siamese.faces.images import read_image
from siamese.weight_files import FIVE_POINT, RESNET, pretrained_file

_MODELS: dict[str, object] = {}


def described(paths: list[Path]) -> tuple[np.ndarray, int]:
    """(n, 128) float32 descriptors, and on how many images no face was found."""
    import dlib

    if not _MODELS:
        _MODELS["detector"] = dlib.get_frontal_face_detector()
        _MODELS["landmarks"] = dlib.shape_predictor(str(pretrained_file(FIVE_POINT)))
        _MODELS["network"] = dlib.face_recognition_model_v1(str(pretrained_file(RESNET)))
    chips, missed = [], 0
    for path in paths:
        image = read_image(path)
        height, width = image.shape[:2]
        centres = [
            (face.center().x - width / 2, face.center().y - height / 2, face)
            for face in _MODELS["detector"](image, 1)
        ]
        faces = [face for *_, face in sorted(centres, key=lambda at: at[0] ** 2 + at[1] ** 2)]
        middle = (width * 7 // 25, height * 7 // 25, width * 18 // 25, height * 18 // 25)
        box = faces[0] if faces else dlib.rectangle(*middle)
        missed += not faces
        chips.append(dlib.get_face_chip(image, _MODELS["landmarks"](image, box), 150, 0.25))
    found = _MODELS["network"].compute_face_descriptor(chips)
    return np.array([np.array(d) for d in found], dtype=np.float32), missed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    table = IdentityTable.from_folder(args.folder)
    groups = [table.paths[i : i + 32] for i in range(0, len(table), 32)]
    parts = joblib.Parallel(args.workers, verbose=1)(
        joblib.delayed(described)(group) for group in groups
    )
    embeddings = np.concatenate([part for part, _ in parts])
    np.savez(args.out, embeddings=embeddings, identities=np.array(table.identities))
    print(
        f"{embeddings.shape} descriptors of {len(table.distinct_identities):,} identities; no face "
        f"found on {sum(missed for _, missed in parts)}"
    )


if __name__ == "__main__":
    main()
