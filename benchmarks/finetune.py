"""dlib's network on the ORL faces, as it comes and fine-tuned.

    python benchmarks/finetune.py [--seeds 0,1,2,3,4] [SETTING=VALUE ...]

The figures are F1 and EER on balanced pairs of people never seen, at a threshold from other people.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from siamese.cli.main import main as siamese
from siamese.data.dataset import CropDataset
from siamese.data.manifest import SplitManifest
from siamese.data.prepared import prepare
from siamese.evaluation.embedding import measure_splits
from siamese.inference.bundle import Bundle
from siamese.inference.pretrained import pretrained_backbone
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.verification.figures import evaluate_pairs
from siamese.verification.policies.base import as_policy
from siamese.verification.thresholds import calibrate_pairs


def as_it_comes(run: Path) -> dict[str, float]:
    """The same people and pairs, with the network that the run started from."""
    bundle, manifest = Bundle.load(run), SplitManifest.load(run / "split.json")
    splits = prepare(manifest, bundle.cropper, progress=False).splits
    crops = {name: CropDataset(part.crops, part.table.labels) for name, part in splits.items()}
    distances = measure_splits(
        pretrained_backbone(), bundle.distance, crops, dict.fromkeys(crops, BalancedPairs())
    )
    found = calibrate_pairs(distances["calibration"], as_policy("max_f1"), "calibration")
    return evaluate_pairs(distances["test"], found.threshold, "test").to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", default="0,1,2,3,4", help="of the splits, with commas between them"
    )
    args, settings = parser.parse_known_args()
    rows = []
    for seed in map(int, args.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            words = [
                "experiment=finetune",
                "data=orl",
                f"data.seed={seed}",
                "trainer.enable_progress_bar=false",
                *settings,
            ]
            code = siamese(["train", *words, f"hydra.run.dir={folder}"])
            assert code == 0, f"training ended with {code}"
            before = as_it_comes(Path(folder))
            after = json.loads((Path(folder) / "evaluation.json").read_text())["test"]
            rows.append((seed, before, after))
    print(
        "\n| split seed | F1 before (95 %) | F1 after (95 %) | EER before | EER after "
        "|\n|---|---|---|---|---|"
    )
    for seed, before, after in rows:
        f1 = [
            f"{d['f1']:.4f} ({d['ci95']['f1'][0]:.3f}-{d['ci95']['f1'][1]:.3f})"
            for d in (before, after)
        ]
        print(f"| {seed} | {f1[0]} | {f1[1]} | {before['eer']:.4f} | {after['eer']:.4f} |")
    means = [
        statistics.fmean(row[side][name] for row in rows)
        for name in ("f1", "eer")
        for side in (1, 2)
    ]
    print(f"| mean | {means[0]:.4f} | {means[1]:.4f} | {means[2]:.4f} | {means[3]:.4f} |")


if __name__ == "__main__":
    main()
