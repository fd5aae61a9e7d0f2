"""What `rotations` changes: which crops of LFW, and which verdicts on photographs turned by hand.

    python benchmarks/turned_photographs.py LFW [--pairs 200]    verdicts on turned photographs
    python benchmarks/turned_photographs.py LFW --crops          crops of View 2 that change

The verdicts are those of the pretrained bundle on the first pairs of View 1 in random order, half
of them genuine; one photograph of each pair is turned, and the other one stays upright. LFW is the
folder with the images' folder and pairs.txt, pairsDevTrain.txt, pairsDevTest.txt.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

import siamese
from siamese.errors import FaceError
from siamese.faces.images import read_image
from siamese.inference.pretrained import CROPPER

PLAIN, TURNING = (dataclasses.replace(CROPPER, rotations=turning) for turning in (False, True))


def count_changes(root: str) -> None:
    """Crops of all photographs of View 2, byte by byte."""
    paths = siamese.lfw_view2(root).paths
    plain, turning = (
        siamese.crop_files(paths, cropper, workers=1, progress=False)
        for cropper in (PLAIN, TURNING)
    )
    changed = [
        path.name
        for path, one, other in zip(paths, plain.files, turning.files, strict=True)
        if (one and one.read_bytes()) != (other and other.read_bytes())
    ]
    print(
        f"{len(changed)} of {len(paths):,} crops of View 2 change: {', '.join(changed) or 'none'}"
    )
    print(f"photographs without a face: {plain.faces.count(0)} and {turning.faces.count(0)}")
    print(f"seconds: {plain.seconds:.0f} and {turning.seconds:.0f} (0: in the cache before)")


def verifier(cropper: siamese.DlibHogCropper) -> siamese.Verifier:
    cropper = dataclasses.replace(cropper, no_face="error")
    return siamese.Verifier(dataclasses.replace(siamese.pretrained_bundle(), cropper=cropper))


def count_verdicts(root: str, pairs: int) -> None:
    """Right, wrong and refused, of genuine and of impostor pairs."""
    view1 = siamese.lfw_view1(root)
    order = np.random.default_rng(0).permutation(len(view1))
    print("| pairs | turned by | rotations | right | wrong | no face |")
    print("|---|---|---|---|---|---|")
    verifiers = {"off": verifier(PLAIN), "on": verifier(TURNING)}
    for kind in (True, False):
        rows = [row for row in order if view1.same[row] == kind][:pairs]
        images = [
            tuple(read_image(view1.paths[side[row]]) for side in (view1.left, view1.right))
            for row in rows
        ]
        for quarters in range(4):
            for name, judge in verifiers.items():
                counts = dict.fromkeys(("right", "wrong", "no face"), 0)
                for upright, other in images:
                    try:
                        verdict = judge.verify(upright, np.rot90(other, quarters))
                        counts["right" if verdict.same == kind else "wrong"] += 1
                    except FaceError:
                        counts["no face"] += 1
                print(
                    f"| {'genuine' if kind else 'impostor'} | {90 * quarters} degrees | {name} | "
                    f"{' | '.join(map(str, counts.values()))} |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="LFW")
    parser.add_argument("--pairs", type=int, default=200, help="of each kind")
    parser.add_argument("--crops", action="store_true", help="count crops that change instead")
    args = parser.parse_args()
    if args.crops:
        count_changes(args.root)
    else:
        count_verdicts(args.root, args.pairs)


if __name__ == "__main__":
    main()
