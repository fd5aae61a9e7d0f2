"""Train the two baselines and our recipes on their splits, and print their table.

    python benchmarks/baselines.py LFW [SETTING=VALUE ...] [--out runs/baselines]
                                   [--only EXPERIMENT ...] [--document FILE]

LFW is the folder with one folder per person. Settings go to every run that is started now, e.g.
max_epochs=3 where 200 epochs take too long; the table says how many steps each run has. A run that
lies in the folder already is not trained again, one that was stopped goes on. Beside each figure
stand those of the same run before training, and of fixed descriptors. The second table is the curve
of the figure against epochs, by the threshold of each epoch.
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

from siamese.report.history import read_history

# Experiment -> (split seeds, the split whose figures count, metric)
RUNS = {
    "face_comparer": ([0], "validation", "accuracy"),
    "face_comparer_plus": ([0, 1, 2, 3, 4], "validation", "accuracy"),
    "face_similarity": ([0], "test", "f1"),
    "face_similarity_plus": ([0, 1, 2, 3, 4], "test", "f1"),
}
# Epochs that the second table shows where they were validated; our recipes validate every third.
SHOWN = (1, 2, 3, 6, 12, 18, 24, 30, 40, 60, 100, 150, 200)
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
        "--document", type=Path, help="write the table there, too, between the comments 'baselines'"
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
                if (folder / "checkpoints" / "last.ckpt").exists():
                    words = [f"hydra.run.dir={folder}", f"resume={folder}"]
                words = ["train", *words, *args.settings]
                print(f"siamese {' '.join(words)}", file=sys.stderr, flush=True)
                command = [str(Path(sys.executable).parent / "siamese"), *words]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    table = "\n".join([*lines(args.only, args.out), "", *curves(args.only, args.out)])
    print(table)
    if args.document:
        text = args.document.read_text(encoding="utf-8")
        marked = re.sub(
            r"(<!-- baselines -->\n).*?(<!-- /baselines -->)",
            lambda m: f"{m[1]}{table}\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        args.document.write_text(marked, encoding="utf-8")


def lines(names: list[str], out: Path) -> list[str]:
    """The table, in Markdown."""
    found = [
        "| experiment, figure | split seed | epochs, steps, minutes | train | validation | test | "
        "test ROC AUC | before training | fixed descriptors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        seeds, split, metric = RUNS[name]
        label = f"{name}, {'F1' if metric == 'f1' else metric}"
        if name in PUBLISHED:
            found.append(f"| {label}, as published | | | {' | '.join(PUBLISHED[name])} | | | |")
        scores, pairs, beside = [], 0, []
        for seed in seeds:
            folder = out / f"{name}-{seed}"
            figures = json.loads((folder / "evaluation.json").read_text())
            # Of a run that was resumed, the seconds of its last sitting alone are known.
            each = json.loads((folder / "timing.json").read_text())["seconds_per_epoch"]
            last = torch.load(
                folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
            )
            cells = [
                f"{figures[s][metric]:.3f} "
                f"({figures[s]['ci95'][metric][0]:.3f}-{figures[s]['ci95'][metric][1]:.3f})"
                for s in ("train", "validation", "test")
            ]
            minutes = each * (last["epoch"] + 1) / 60
            effort = f"{last['epoch'] + 1}, {last['global_step']:,}, {minutes:.0f}"
            known = figures[split].get("baselines", {})
            beside.append([known.get(b, {}).get(metric) for b in ("untrained", "descriptors")])
            others = ["" if value is None else f"{value:.3f}" for value in beside[-1]]
            found.append(
                f"| {label} | {seed} | {effort} | {' | '.join(cells)} | "
                f"{figures['test']['auc']:.3f} | {' | '.join(others)} |"
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
            means = [
                f"{statistics.mean(column):.3f}" if None not in column else ""
                for column in zip(*beside, strict=True)
            ]
            found.append(
                f"| {label}, mean of {len(scores)} | | | {' | '.join(place)} | | "
                f"{' | '.join(means)} |"
            )
    return found


def curves(names: list[str], out: Path) -> list[str]:
    """The figure on the split that the threshold is chosen on, against epochs; the first seed's."""
    rows = {}
    for name in names:
        seeds, _, metric = RUNS[name]
        history = read_history(out / f"{name}-{seeds[0]}" / "history.csv")
        (logged,) = (k for k in history if k.endswith(f"/{metric}") and not k.startswith("train"))
        rows[f"{name}, {metric}"] = dict(zip(*history[logged], strict=True))
    shown = [epoch for epoch in SHOWN if any(epoch - 1 in at for at in rows.values())]
    found = [
        f"| epochs: figure where the threshold is chosen | {' | '.join(map(str, shown))} |",
        f"|---|{'---|' * len(shown)}",
    ]
    for title, at in rows.items():
        cells = [f"{at[epoch - 1]:.3f}" if epoch - 1 in at else "" for epoch in shown]
        found.append(f"| {title} | {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    main()
