#!/usr/bin/env bash
# Train on ORL from scratch over five split seeds, and print test F1, its mean and spread: the figures of the README.
set -euo pipefail
out=${1:-runs/orl-seeds}
for seed in 0 1 2 3 4; do
  siamese train data.seed=$seed hydra.run.dir="$out/$seed" > /dev/null
done
python - "$out" <<'PY'
import json, statistics, sys
from pathlib import Path

rows = [(json.loads((p / "evaluation.json").read_text())["test"], json.loads((p / "timing.json").read_text())) for p in sorted(Path(sys.argv[1]).iterdir())]
for seed, (test, timing) in enumerate(rows):
    low, high = test["ci95"]["f1"]
    print(f"split seed {seed}: test F1 {test['f1']:.3f} ({low:.3f}-{high:.3f}), AUC {test['auc']:.3f}, EER {test['eer']:.3f}, {timing['training_seconds']:.0f} s of training")
f1 = [test["f1"] for test, _ in rows]
print(f"test F1 over {len(f1)} split seeds: mean {statistics.mean(f1):.3f}, standard deviation {statistics.stdev(f1):.3f}")
PY
