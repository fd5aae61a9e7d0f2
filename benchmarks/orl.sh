#!/usr/bin/env bash
# Train on ORL from scratch over five split seeds, and print test F1, its mean and spread: the
# figures of the README.
set -euo pipefail
out=${1:-runs/orl-seeds}
for seed in 0 1 2 3 4; do
  siamese train data.seed=$seed hydra.run.dir="$out/$seed" overwrite=true > /dev/null
done
python - "$out" <<'PY'
import json, statistics, sys
from pathlib import Path

f1 = []
for seed, run in enumerate(sorted(Path(sys.argv[1]).iterdir())):
    test = json.loads((run / "evaluation.json").read_text())["test"]
    seconds = json.loads((run / "timing.json").read_text())["training_seconds"]
    low, high = test["ci95"]["f1"]
    f1.append(test["f1"])
    print(
        f"split seed {seed}: test F1 {test['f1']:.3f} ({low:.3f}-{high:.3f}), "
        f"AUC {test['auc']:.3f}, EER {test['eer']:.3f}, {seconds:.0f} s of training"
    )
mean, deviation = statistics.mean(f1), statistics.stdev(f1)
print(f"test F1 over {len(f1)} seeds: mean {mean:.3f}, standard deviation {deviation:.3f}")
PY
