"""Train on ORL from scratch over five split seeds, each beside its baselines: docs/results.md.

    python benchmarks/orl.py [SETTING=VALUE ...] [--seeds 0 1 2 3 4] [--out runs/orl-seeds]

24 people are trained on, 8 choose the threshold, 8 are tested. Settings are chosen on other seeds
than 0 to 4. A run that lies in the folder already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from recorded import refuse_other_settings

BASELINES = ("untrained", "descriptors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/orl-seeds"))
    args = parser.parse_args()
    print(
        "| split seed | F1, trained | before training | fixed descriptors | AUC, trained | "
        "before training | fixed descriptors | seconds |\n|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for seed in args.seeds:
        folder = args.out / str(seed)
        words = [f"data.seed={seed}", f"hydra.run.dir={folder}", "overwrite=true", "plots=false"]
        words += args.settings
        if (folder / "evaluation.json").exists():
            refuse_other_settings(folder, words)
        else:
            command = [sys.executable, "-m", "siamese", "train", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        test = json.loads((folder / "evaluation.json").read_text())["test"]
        known = [test, *(test["baselines"][name] for name in BASELINES)]
        seconds = json.loads((folder / "timing.json").read_text())["training_seconds"]
        rows.append([*(e["f1"] for e in known), *(e["auc"] for e in known)])
        low, high = test["ci95"]["f1"]
        cells = [f"{value:.3f}" for value in rows[-1]]
        cells[0] += f" ({low:.3f}-{high:.3f})"
        print(f"| {seed} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)
    if len(rows) > 1:
        means = [
            f"**{statistics.mean(column):.3f}** ({statistics.stdev(column):.3f})"
            for column in zip(*rows, strict=True)
        ]
        print(f"| mean (deviation) | {' | '.join(means)} | |")


if __name__ == "__main__":
    main()
