"""Checkpoints on disk: the old or the new one after any fault, and never a damaged one."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
from tests.helpers import assert_says

from siamese.checkpoint_files import read_checkpoint, remove_leftovers, write_checkpoint
from siamese.errors import CheckpointError

CONTENT = {"weights": torch.arange(6.0), "epoch": 3}


@pytest.fixture
def path(tmp_path):
    write_checkpoint(CONTENT, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_what_is_written_is_read(path):
    content = read_checkpoint(path)
    assert torch.equal(content["weights"], CONTENT["weights"])
    assert content["epoch"] == 3
    assert torch.load(path, weights_only=True)["epoch"] == 3  # an ordinary checkpoint
    assert os.listdir(path.parent) == ["last.ckpt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_one_before(number, step, path, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint({"epoch": 4}, path)
    words = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota"}
    assert_says(caught.value, path, words.get(number, "cannot be written"), "is untouched")
    assert read_checkpoint(path)["epoch"] == 3
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_a_file_that_may_not_grow_is_a_full_disk(path):
    """A real short write: a limit on the size of files of this process."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot be written"):
            write_checkpoint({"weights": torch.zeros(9_000), "epoch": 4}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert read_checkpoint(path)["epoch"] == 3


def test_what_reads_back_differently_does_not_take_the_name(path, monkeypatch):
    monkeypatch.setattr("siamese.checkpoint_files._same", lambda *_: False)
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint({"epoch": 4}, path)
    assert_says(caught.value, "reads back differently", "is untouched")
    assert read_checkpoint(path)["epoch"] == 3


WRITER = """
import sys, torch
from pathlib import Path
from siamese.checkpoint_files import write_checkpoint
print("ready", flush=True)
for epoch in range(10_000):
    write_checkpoint({"epoch": epoch, "weights": torch.full((200_000,), float(epoch))}, sys.argv[1])
"""


def test_a_kill_at_any_moment_leaves_a_whole_one(tmp_path):
    path = tmp_path / "last.ckpt"
    for seed in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.02, 0.15))
        process.kill()
        process.wait()
        if path.exists():
            content = read_checkpoint(path)
            assert (content["weights"] == content["epoch"]).all()
    assert path.exists()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_no_flipped_bit_is_taken_for_weights(path):
    whole = path.read_bytes()
    refused = 0
    for seed in range(300):
        drawn = random.Random(seed)
        content = bytearray(whole)
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            assert_says(error, path)
            refused += 1
        else:  # in what fills the gaps between the parts
            assert torch.equal(found["weights"], CONTENT["weights"])
            assert found["epoch"] == 3
    assert refused > 100


def test_torch_alone_takes_a_flipped_bit_for_a_weight(path):
    """Why there is a check of our own."""
    with zipfile.ZipFile(path) as archive:
        part = next(i for i in archive.infolist() if i.filename.endswith("data/0"))
    content = bytearray(path.read_bytes())
    at = content.find(CONTENT["weights"].numpy().tobytes(), part.header_offset)
    content[at + 6] ^= 8
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["weights"], CONTENT["weights"])
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(path)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    for name in ("pipe.ckpt", "."):
        with pytest.raises(CheckpointError, match="not a regular file"):
            read_checkpoint(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.ckpt")


def test_a_list_is_no_checkpoint(tmp_path):
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="it holds a list"):
        read_checkpoint(tmp_path / "list.ckpt")


class Huge:
    """What torch makes without room for it being in the file."""

    def __reduce__(self):
        return (bytearray, (3_000_000_000,))


def test_nothing_is_made_that_is_larger_than_the_file(tmp_path):
    torch.save({"state_dict": {}, "x": Huge()}, tmp_path / "huge.ckpt")
    assert (tmp_path / "huge.ckpt").stat().st_size < 2000
    with pytest.raises(CheckpointError, match="bytearray"):
        read_checkpoint(tmp_path / "huge.ckpt")


def test_an_object_in_it_is_named(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": {"root": tmp_path}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "x.ckpt")
    assert_says(caught.value, "holds an object of pathlib", "leave it out", "save_hyperparameters")


def test_parts_that_are_compressed_are_refused(path, tmp_path):
    """They could unpack to any size."""
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "x.ckpt", "w", 8) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    with pytest.raises(CheckpointError, match="compressed"):
        read_checkpoint(tmp_path / "x.ckpt")
