"""Train the two baselines and our recipes on their splits, and print the README's table.

    python benchmarks/baselines.py LFW [SETTING=VALUE ...] [--out runs/baselines]
                                   [--only EXPERIMENT ...] [--readme README.md]

LFW is the folder with one folder per person. Settings go to every run that is started now, e.g.
max_epochs=3 where 200 epochs take too long; the table says how many steps each run has. A run that
lies in the folder already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import torch

# Experiment -> (split seeds, the split whose figures count, metric)
RUNS = {
    "face_comparer": ([0], "validation", "accuracy"),
    "face_comparer_plus": ([0, 1, 2, 3, 4], "validation", "accuracy"),
    "face_similarity": ([0], "test", "f1"),
    "face_similarity_plus": ([0], "test", "f1"),
}
PUBLISHED = {
    "face_comparer": ("", "0.90 to 0.91", ""),
    "face_similarity": ("0.987", "0.938", "**0.576**"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lfw", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument(
        "--readme", type=Path, help="write the table there, too, between the comments 'baselines'"
    )
    args = parser.parse_args()
    for name in args.only:
        for seed in RUNS[name][0]:
            folder = args.out / f"{name}-{seed}"
            if not (folder / "evaluation.json").exists():
                words = [
                    f"experiment={name}",
                    f"data.root={args.lfw}",
                    f"data.seed={seed}",
                    f"hydra.run.dir={folder}",
                    "overwrite=true",  # a run that was stopped before its end
                ]
                words = ["train", *words, *args.settings]
                print(f"siamese {' '.join(words)}", file=sys.stderr, flush=True)
                command = [str(Path(sys.executable).parent / "siamese"), *words]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    table = "\n".join(lines(args.only, args.out))
    print(table)
    if args.readme:
        text = args.readme.read_text(encoding="utf-8")
        marked = re.sub(
            r"(<!-- baselines -->\n).*?(<!-- /baselines -->)",
            lambda m: f"{m[1]}{table}\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        args.readme.write_text(marked, encoding="utf-8")


def lines(names: list[str], out: Path) -> list[str]:
    """The table, in Markdown."""
    found = [
        "| experiment, figure | split seed | epochs, steps, minutes | train | validation | test | "
        "test ROC AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        seeds, split, metric = RUNS[name]
        label = f"{name}, {'F1' if metric == 'f1' else metric}"
        if name in PUBLISHED:
            found.append(f"| {label}, as published | | | {' | '.join(PUBLISHED[name])} | |")
        scores, pairs = [], 0
        for seed in seeds:
            folder = out / f"{name}-{seed}"
            figures = json.loads((folder / "evaluation.json").read_text())
            minutes = json.loads((folder / "timing.json").read_text())["training_seconds"] / 60
            last = torch.load(
                folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
            )
            cells = [
                f"{figures[s][metric]:.3f} "
                f"({figures[s]['ci95'][metric][0]:.3f}-{figures[s]['ci95'][metric][1]:.3f})"
                for s in ("train", "validation", "test")
            ]
            effort = f"{last['epoch'] + 1}, {last['global_step']:,}, {minutes:.0f}"
            found.append(
                f"| {label} | {seed} | {effort} | {' | '.join(cells)} | "
                f"{figures['test']['auc']:.3f} |"
            )
            scores.append(figures[split][metric])
            pairs += figures[split]["genuine"] + figures[split]["impostor"]
        # The splits of different seeds overlap in people: the deviation is not that of independent
        # tests.
        if len(scores) > 1:
            mean = (
                f"**{statistics.mean(scores):.3f}** (deviation {statistics.stdev(scores):.3f}; "
                f"{pairs:,} pairs)"
            )
            place = ["", mean, ""] if split == "validation" else ["", "", mean]
            found.append(f"| {label}, mean of {len(scores)} | | | {' | '.join(place)} | |")
    return found


if __name__ == "__main__":
    main()
