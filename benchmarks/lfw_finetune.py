"""dlib's network fine-tuned inside LFW's ten folds.

    python benchmarks/lfw_finetune.py LFW [--steps 120] [--rate 3e-6] [--positive-margin 0.35]
                                      [--jitter 0]

Each of ten trainings takes the whole of LFW but the people of one fold, whose pairs it then
measures. So every pair is measured by a network that was trained without the people of its fold.
The folds are judged as always, at thresholds that the other nine chose. (Those nine were measured
by networks that knew people of the tenth: one number per fold depends on them.)
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch

import siamese
from siamese.inference.pretrained import CROPPER, pretrained_backbone
from siamese.pairs.fixed_pairs import FixedPairs

IDENTITIES, IMAGES, STRANGERS = 32, 3, 16


def embedded(network: siamese.DlibResNet, chips: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    network = network.eval().for_inference()
    with torch.inference_mode():
        parts = [network(_tensor(chips[rows[i : i + 64]])) for i in range(0, len(rows), 64)]
    return torch.cat(parts)


def fine_tuned(
    chips: np.ndarray, who: np.ndarray, steps: int, rate: float, positive_margin: float
) -> siamese.DlibResNet:
    """Contrastive loss with both margins, on the hardest impostor pairs of each batch.

    A batch holds several images each of some people, and single images of strangers.
    """
    rng, network = np.random.default_rng(0), pretrained_backbone().train()
    loss = siamese.ContrastiveLoss(
        margin=0.5, positive_margin=positive_margin, reduction="balanced", hardest=0.02
    )
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=rate, weight_decay=0
    )
    _, inverse, counts = np.unique(who, return_inverse=True, return_counts=True)
    rows_of = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    several, single = np.flatnonzero(counts > 1), np.flatnonzero(counts == 1)
    for step in range(steps):
        chosen = [
            rng.permutation(rows_of[p])[:IMAGES]
            for p in rng.choice(several, IDENTITIES, replace=False)
        ]
        chosen += [rows_of[p] for p in rng.choice(single, STRANGERS, replace=False)]
        rows = np.concatenate(chosen)
        mirrored = rng.random(len(rows)) < 0.5
        batch = np.where(mirrored[:, None, None, None], chips[rows][:, :, ::-1], chips[rows])
        warm, left = 0.1 * steps, 1 - step / steps
        optimizer.param_groups[0]["lr"] = (
            rate * min(1, (step + 1) / warm) * (1 - math.cos(math.pi * left)) / 2
        )
        cost = loss(network(_tensor(batch)), torch.from_numpy(inverse[rows]))
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    return network


def _tensor(chips: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(chips)).permute(0, 3, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="LFW")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rate", type=float, default=3e-6)
    parser.add_argument("--positive-margin", type=float, default=0.35)
    parser.add_argument(
        "--jitter", type=int, default=0, metavar="N", help="measure with N jittered copies, too"
    )
    args = parser.parse_args()
    table, pairs = siamese.load_lfw(args.root), siamese.lfw_view2(args.root)
    result = siamese.crop_files(table.paths, CROPPER, progress=False)
    chips = np.stack([siamese.read_image(file) for file in result.files])
    seen = np.array([faces > 0 for faces in result.faces])
    row = {file: i for i, file in enumerate(table.files)}
    left, right = (
        np.array([row[pairs.files[i]] for i in side]) for side in (pairs.left, pairs.right)
    )
    missing, who = ~(seen[left] & seen[right]), np.array(table.identities)
    distance, ways = siamese.EuclideanDistance(), {"": 0}
    if args.jitter:
        ways[f", {args.jitter} jittered copies"] = args.jitter
    found = {
        f"{name}{way}": np.zeros(len(pairs), np.float32)
        for way in ways
        for name in ("pretrained", "fine-tuned")
    }
    start = time.perf_counter()
    for fold in range(pairs.folds):
        here = pairs.fold == fold
        rows, inverse = np.unique(np.concatenate([left[here], right[here]]), return_inverse=True)
        sides = FixedPairs(inverse[: here.sum()], inverse[here.sum() :], "fold")
        train = np.flatnonzero(~np.isin(who, who[rows]) & seen)
        tuned = fine_tuned(chips[train], who[train], args.steps, args.rate, args.positive_margin)
        for name, network in (("pretrained", pretrained_backbone()), ("fine-tuned", tuned)):
            for way, network.jitter in ways.items():
                embeddings = embedded(network, chips, rows)
                found[f"{name}{way}"][here] = distance.between(embeddings, sides.left, sides.right)
        print(
            f"fold {fold}: {len(train):,} images, {time.perf_counter() - start:.0f} s", flush=True
        )
    for name, distances in found.items():
        e = siamese.cross_validate(distances, pairs.same, pairs.fold, missing=missing)
        print(
            f"{name}: {e.mean:.4f} +- {e.standard_error:.4f}, no face wrong {e.strict_mean:.4f} "
            f"+- {e.strict_standard_error:.4f}, "
            f"EER {e.eer:.4f}, AUC {e.auc:.5f}"
        )


if __name__ == "__main__":
    main()
