"""Processes of this machine: they end with the one that started them."""

import signal
import subprocess
import sys
import time

import pytest

KILLED = """
import os, signal
import psutil
from siamese.faces.tasks import over_processes

found = over_processes(bytes, [(1 << 20,)] * 40, workers=2)
next(found)
print(*[child.pid for child in psutil.Process().children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_the_one_that_started_them_however_it_ended(tmp_path):
    psutil = pytest.importorskip("psutil")
    with (tmp_path / "said").open("w+") as said:  # through a pipe it would be waited for them
        done = subprocess.run([sys.executable, "-c", KILLED], stdout=said, check=False)
        said.seek(0)
        children = [int(pid) for pid in said.read().split()]
    assert done.returncode == -signal.SIGKILL
    assert len(children) >= 2

    def runs(pid):
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until = time.monotonic() + 20
    while any(runs(pid) for pid in children):
        assert time.monotonic() < until, children
        time.sleep(0.1)
