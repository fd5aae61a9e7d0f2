"""Time `import siamese`, the verifier and `siamese verify` from a cold start.

    python benchmarks/imports.py [--rounds R] [--photographs A B]

Times stand against importing torch alone; medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import siamese

COMMANDS = {
    "python": "pass",
    "import siamese": "import siamese",
    "import torch": "import torch",
    "import siamese.Verifier": "import siamese; siamese.Verifier",
    "import pytorch_lightning": "import pytorch_lightning",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--photographs",
        nargs=2,
        metavar=("A", "B"),
        help="what to verify; default: two of the ORL faces",
    )
    args = parser.parse_args()
    photographs = args.photographs or [str(path) for path in siamese.load_orl().paths[:2]]
    commands = {name: [sys.executable, "-c", code] for name, code in COMMANDS.items()}
    commands["siamese verify A B"] = [sys.executable, "-m", "siamese", "verify", *photographs]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            start = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
            # 0: the same person; 1: different people.
            assert done.returncode in (0, 1), f"{name}: exit code {done.returncode}"
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name}: {value:.3f} s, {value / median['import torch']:.2f} of import torch")


if __name__ == "__main__":
    main()
