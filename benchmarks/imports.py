"""Time `import siamese` and the verifier against importing torch alone; medians of interleaved runs.

python benchmarks/imports.py [--rounds R]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": "pass",
    "import siamese": "import siamese",
    "import torch": "import torch",
    "import siamese.Verifier": "import siamese; siamese.Verifier",
    "import pytorch_lightning": "import pytorch_lightning",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds):
        for name, code in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name}: {value:.3f} s, {value / median['import torch']:.2f} of import torch")


if __name__ == "__main__":
    main()
