"""A loader whose process is killed, or cannot hand on a batch: one line, and an end."""

import errno
import os
import resource
import signal

import pytest
import torch
from tests.helpers import assert_says, write_identities
from torch.utils.data import get_worker_info

import siamese
from siamese.data.loader_faults import in_words, loader_error
from siamese.errors import LoaderError


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("identities"), [4] * 12)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def without_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


@pytest.mark.parametrize("fault", [killed, without_files])
def test_the_training_ends_and_keeps_what_it_did(fault, identities, tmp_path):
    def augment(image, seed):
        if get_worker_info() is not None and seed[1:3] == (1, 1):
            fault()
        return image

    data = siamese.FolderDataModule(
        identities,
        cropper=siamese.NoCropper(32),
        sampler=siamese.IdentitySampler(4, 2, steps=3),
        augmentation=augment,
        workers=1,
        progress=False,
    )
    net = siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=8)
    with pytest.raises(LoaderError) as caught:
        siamese.train(
            siamese.SiameseModule(net, "contrastive_loss"),
            data,
            tmp_path,
            max_epochs=3,
            baselines=(),
            plots=False,
            verbose=False,
        )
    assert_says(caught.value, "was killed or has ended", "data.workers=0", f"resume={tmp_path}")
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] in (3, 4)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "was killed or has ended",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
            "was killed or has ended",
        ),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "was killed or has ended",
        ),
        (EOFError(), "was killed or has ended"),
        (RuntimeError("unable to open shared memory object </torch_1>"), "--shm-size"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory has run out"),
    ],
)
def test_what_torch_and_the_system_say(error, words):
    assert_says(in_words(error), words)


def test_other_errors_stay_what_they_are():
    for error in (
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("out of resource: shared memory, Required: 1, Hardware limit: 0"),
        OSError(errno.ENOENT, "No such file or directory", "a.png"),
    ):
        assert in_words(error) is None
    with pytest.raises(BrokenPipeError) as caught:  # of a logger's connection, say
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert in_words(caught.value) is not None
    assert loader_error(caught.value) is None
