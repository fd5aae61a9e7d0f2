"""A small part of the torture of files: none crashes, hangs, runs anything or raises a stranger."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "torture" / "files.py"


def test_hostile_files_are_read_or_refused():
    """20 of each kind; the script itself runs thousands (python benchmarks/torture/files.py)."""
    command = [sys.executable, str(SCRIPT), "--cases", "20", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "200 files: 0 wrong"
