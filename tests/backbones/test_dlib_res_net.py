"""dlib's network in PyTorch against dlib itself.

With controls that a wrong network would be caught, and what training needs of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import assert_says, orl_folder, random_image
from torch import nn
from torch.nn import functional as F

from siamese.backbones import dlib_res_net
from siamese.backbones.base import BACKBONES
from siamese.backbones.dlib_res_net import SMALLEST, DlibResNet
from siamese.backbones.layers.views import jitter_maps, warp
from siamese.errors import ConfigError, MissingDependencyError, WeightsError
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.images import read_image
from siamese.weight_files import RESNET, pretrained_file

dlib = pytest.importorskip("dlib")
FIVE_POINT = DlibHogCropper(
    size=150,
    margin=0.25,
    aligner="five_point",
    upsample=1,
    min_score=-0.5,
    several_faces="prominent",
)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def file() -> Path:
    try:
        return pretrained_file(RESNET)
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def network(file: Path) -> DlibResNet:
    return DlibResNet("dlib").eval()


@pytest.fixture(scope="module")
def chips(file: Path) -> np.ndarray:
    """Aligned faces of 60 people of LFW, or else of 40 of ORL; and coloured images of nothing."""
    if root := os.environ.get("SIAMESE_LFW"):
        identities = sorted(path for path in Path(root).iterdir() if path.is_dir())[:: 5749 // 60]
        images = [sorted(identity.glob("*.jpg"))[0] for identity in identities]
        assert len(images) >= 60
    else:
        images = [orl_folder() / f"s{n}" / "1.pgm" for n in range(1, 41)]
    return np.stack(
        [FIVE_POINT(read_image(path)).image for path in images]
        + [random_image(seed, 150, 150) for seed in range(4)]
    )


@pytest.fixture(scope="module")
def descriptors(file: Path, chips: np.ndarray) -> np.ndarray:
    """What dlib itself makes of the chips."""
    model = dlib.face_recognition_model_v1(str(file))
    return np.array([model.compute_face_descriptor(chip) for chip in chips])


def tensor(chips: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(chips).permute(0, 3, 1, 2).contiguous()


@torch.inference_mode()
def embedded(network: nn.Module, chips: np.ndarray) -> np.ndarray:
    return torch.cat([network(part) for part in tensor(chips).split(32)]).float().numpy()


def largest_difference(network: nn.Module, chips: np.ndarray, descriptors: np.ndarray) -> float:
    return float(np.abs(embedded(network, chips) - descriptors).max())


def test_descriptors_are_dlibs(network, chips, descriptors):
    assert largest_difference(network, chips, descriptors) < TOLERANCE
    assert largest_difference(network.for_inference(), chips, descriptors) < TOLERANCE
    # They are not of unit length: there is something to compare.
    assert 1.2 < np.linalg.norm(descriptors[:-4], axis=1).mean() < 1.6


def test_floating_point_images_are_the_same_images(network, chips, descriptors):
    with torch.inference_mode():
        found = network(tensor(chips[:8]).float() / 255).numpy()
    assert np.abs(found - descriptors[:8]).max() < TOLERANCE


def on_the_other_side(out, padding, *args, **kwargs):
    """F.pad with what belongs to the right and to the bottom put to the left and to the top."""
    swapped = [padding[i ^ 1] for i in range(4)] + list(padding[4:])
    return REAL_PAD(out, swapped, *args, **kwargs)


REAL_PAD, REAL_MAX, REAL_AVG = F.pad, F.max_pool2d, F.avg_pool2d


@pytest.mark.parametrize(
    "wrong", ["bgr", "255", "padding", "ceil_max", "ceil_avg", "first_channels"]
)
def test_a_wrong_network_would_be_caught(network, chips, descriptors, monkeypatch, wrong):
    images = chips
    if wrong == "bgr":
        images = np.ascontiguousarray(chips[..., ::-1])
    elif wrong == "255":
        real = dlib_res_net.PIXEL_RANGE
        monkeypatch.setattr(dlib_res_net, "PIXEL_RANGE", 255)
        assert real == 256
    elif wrong == "padding":
        monkeypatch.setattr(dlib_res_net.F, "pad", on_the_other_side)
    elif wrong == "ceil_max":
        monkeypatch.setattr(
            dlib_res_net.F, "max_pool2d", lambda x, k, s: REAL_MAX(x, k, s, ceil_mode=True)
        )
    elif wrong == "ceil_avg":
        monkeypatch.setattr(
            dlib_res_net.F, "avg_pool2d", lambda x, k, s: REAL_AVG(x, k, s, ceil_mode=True)
        )
    else:  # the zero channels of the shortcut in front of the others
        monkeypatch.setattr(
            dlib_res_net.F,
            "pad",
            lambda x, p: REAL_PAD(x, p if len(p) == 4 else (*p[:4], p[5], p[4])),
        )
    assert largest_difference(network, images, descriptors) > 10 * TOLERANCE


def test_the_unchanged_file_comes_back_byte_for_byte(network, file, tmp_path):
    assert network.save_dlib(tmp_path / "same.dat").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("folded", [False, True])
def test_dlib_runs_a_network_that_was_changed_here(network, chips, tmp_path, folded):
    changed = DlibResNet("dlib").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1 + 0.02 * torch.randn(parameter.shape, generator=generator))
    written = changed.for_inference() if folded else changed
    model = dlib.face_recognition_model_v1(str(written.save_dlib(tmp_path / "changed.dat")))
    theirs = np.array([model.compute_face_descriptor(chip) for chip in chips[:10]])
    assert np.abs(embedded(changed, chips[:10]) - theirs).max() < TOLERANCE
    assert np.abs(embedded(network, chips[:10]) - theirs).max() > 100 * TOLERANCE  # it was a change
    again = DlibResNet(str(tmp_path / "changed.dat")).eval()
    assert np.abs(embedded(again, chips[:10]) - theirs).max() < TOLERANCE


def test_a_network_of_random_weights_can_be_written_and_run_by_dlib(chips, tmp_path):
    torch.manual_seed(0)
    fresh = DlibResNet().eval()
    model = dlib.face_recognition_model_v1(str(fresh.save_dlib(tmp_path / "fresh.dat")))
    theirs = np.array([model.compute_face_descriptor(chip) for chip in chips[:3]])
    np.testing.assert_allclose(embedded(fresh, chips[:3]), theirs, rtol=1e-4, atol=1e-4)


def test_weights_that_are_none_are_refused(tmp_path):
    (tmp_path / "none.dat").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError) as caught:
        DlibResNet(str(tmp_path / "none.dat"))
    assert_says(caught.value, "none.dat", "network")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    import importlib.metadata

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(MissingDependencyError) as caught:
        DlibResNet("dlib")
    assert_says(
        caught.value,
        RESNET,
        "face-recognition-models",
        "pip install 'siamese-lightning[pretrained]'",
    )


def test_the_package_is_found_without_being_imported(file):
    import subprocess
    import sys

    code = (
        "import sys, siamese; siamese.DlibResNet('dlib'); "
        "print('face_recognition_models' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_settings_come_back_without_the_file(network):
    settings = BACKBONES.settings(
        DlibResNet("dlib", affine_rate=0.1, mirror=True, jitter=4, unit_length=True)
    )
    assert settings["weights"] is None  # a bundle brings them along
    again = BACKBONES.build(settings)
    assert BACKBONES.settings(again) == settings
    folded = BACKBONES.build(BACKBONES.settings(network.for_inference()))
    folded.load_state_dict(network.for_inference().state_dict(), strict=True)


# Training.


def test_every_weight_learns_and_affine_layers_only_if_they_may(network):
    for rate in (0.0, 0.1):
        net = DlibResNet("dlib", affine_rate=rate).train()
        net(
            tensor(np.stack([random_image(s, 150, 150) for s in range(2)]))
        ).square().sum().backward()
        for name, parameter in net.named_parameters():
            affine = name.endswith(("scale", "shift"))
            assert parameter.requires_grad is (not affine or rate > 0), name
            if parameter.requires_grad:
                assert bool(parameter.grad.isfinite().all()), name
                assert bool((parameter.grad != 0).any()), name


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    net = DlibResNet(affine_rate=1).double().eval()
    x = torch.rand(1, 3, SMALLEST, SMALLEST, dtype=torch.float64)
    weight = net.blocks[4].first.weight
    net(x).sum().backward()
    step = torch.zeros_like(weight)
    step[3, 5, 1, 1] = 1e-6
    with torch.no_grad():
        weight += step
        up = net(x).sum()
        weight -= 2 * step
        down = net(x).sum()
    assert float(weight.grad[3, 5, 1, 1]) == pytest.approx(float(up - down) / 2e-6, rel=1e-4)


def test_learning_rates_fall_from_the_head_to_the_stem():
    net = DlibResNet(affine_rate=0.1)
    shares = {id(p): share for p, share in net.learning_rates(0.5)}
    assert len(shares) == len(list(net.parameters()))
    assert shares[id(net.head.weight)] == 1
    assert shares[id(net.blocks[-1].second.weight)] == 0.5
    assert shares[id(net.blocks[0].first.bias)] == 0.5**14
    assert shares[id(net.stem.weight)] == 0.5**15
    assert shares[id(net.blocks[-1].second.scale)] == pytest.approx(0.05)
    assert {share for _, share in DlibResNet(affine_rate=1).learning_rates()} == {1.0}


# Precision, layout, export, size.


def test_half_precision_and_autocast_stay_near(network, chips, descriptors):
    for kind, nearness in ((torch.bfloat16, 0.05), (torch.float16, 0.005)):
        found = embedded(DlibResNet("dlib").eval().to(kind), chips[:8])
        assert np.linalg.norm(found - descriptors[:8], axis=1).max() < nearness, kind
        assert found.dtype == np.float32
    with torch.autocast("cpu", torch.bfloat16):
        found = embedded(network, chips[:8])
    assert np.linalg.norm(found - descriptors[:8], axis=1).max() < 0.05


def test_images_one_by_one_and_together(network, chips, descriptors):
    alone = np.concatenate([embedded(network, chips[i : i + 1]) for i in range(6)])
    assert np.abs(alone - descriptors[:6]).max() < TOLERANCE


def test_onnx_runtime_computes_the_same(file, chips, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net = DlibResNet("dlib", mirror=True, unit_length=True).eval().for_inference()
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        net,
        (tensor(chips[:2]),),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        external_data=False,
        verbose=False,
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        (found,) = session.run(None, {session.get_inputs()[0].name: tensor(chips[:count]).numpy()})
        assert np.abs(found - embedded(net, chips[:count])).max() < TOLERANCE


@pytest.mark.parametrize("side", [SMALLEST, 112, 151, 160, 224])
def test_other_sizes_are_taken(network, side):
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, side, side, dtype=torch.uint8)).isfinite().all()


def test_too_small_images_are_refused(network):
    with pytest.raises(ConfigError) as caught:
        network(torch.zeros(1, 3, SMALLEST - 1, 150, dtype=torch.uint8))
    assert_says(caught.value, "102x150", "data.cropper.size=150")


# Views.


def test_mirrored_and_of_unit_length_on_paper(network, chips):
    one, other = (
        embedded(network, chips[:4]),
        embedded(network, np.ascontiguousarray(chips[:4, :, ::-1])),
    )
    found = embedded(DlibResNet("dlib", mirror=True).eval(), chips[:4])
    np.testing.assert_allclose(found, (one + other) / 2, atol=1e-6)
    unit = embedded(DlibResNet("dlib", mirror=True, unit_length=True).eval(), chips[:4])
    np.testing.assert_allclose(
        unit, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6
    )
    mirrored = embedded(
        DlibResNet("dlib", mirror=True).eval(), np.ascontiguousarray(chips[:4, :, ::-1])
    )
    np.testing.assert_allclose(mirrored, found, atol=1e-6)


def test_jittered_copies_are_like_dlibs(network, chips, descriptors):
    """The mean over ours lies as near to the mean over dlib's as another mean of dlib's does."""
    ours = embedded(DlibResNet("dlib", jitter=40).eval(), chips[:3])
    for row in range(3):
        copies = np.stack(dlib.jitter_image(chips[row], num_jitters=400))
        theirs = embedded(network, copies)
        mean = theirs.mean(axis=0)
        chance = np.linalg.norm(theirs.reshape(10, 40, -1).mean(axis=1) - mean, axis=1).max()
        assert np.linalg.norm(ours[row] - mean) < 2 * chance
        # The image as it is would not pass.
        assert np.linalg.norm(descriptors[row] - mean) > 2 * chance


def test_jitter_maps_move_turn_and_enlarge_as_fmr_as_dlib_does():
    maps, mirrored = jitter_maps(256, 150)
    assert mirrored.sum() == 128
    linear, shift = maps[:, :, :2].double(), maps[:, :, 2].double()
    scale = linear.det().abs().sqrt()
    assert float(scale.min()) > 144 / 0.99999 / 150 - 1e-3
    assert float(scale.max()) < 144 / 0.97 / 150 + 1e-6
    angle = torch.rad2deg(torch.atan2(-linear[:, 0, 1], linear[:, 1, 1]))
    assert 2.9 < float(angle.abs().max()) <= 3
    assert 0.018 * 144 < float(shift.abs().max()) * 150 / 2 <= 0.02 * 144
    assert bool((linear.det() < 0).eq(mirrored).all())
    # They are spread evenly: every eighth of the range has an eighth of the copies.
    for values in (angle, scale, shift[:, 0], shift[:, 1]):
        counts = torch.histc(values, 8)
        assert int((counts - 32).abs().max()) <= 2


def test_the_map_that_changes_nothing_changes_nothing():
    images = torch.rand(2, 3, 20, 20)
    torch.testing.assert_close(warp(images, torch.eye(2, 3)), images)
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(warp(images, mirror), images.flip(3))
    # It is black beyond the image.
    assert float(warp(images, torch.tensor([[3.0, 0, 0], [0, 3, 0]]))[:, :, 0, 0].max()) == 0


def test_views_are_for_use_only(network, chips):
    net = DlibResNet("dlib", mirror=True, jitter=4)
    assert not net.same_at_use
    assert network.same_at_use
    with torch.no_grad():
        torch.testing.assert_close(net.train()(tensor(chips[:2])), network(tensor(chips[:2])))
    assert (net.eval()(tensor(chips[:2])) - network(tensor(chips[:2]))).abs().max() > 1e-3


@pytest.mark.parametrize(
    "setting", [{"jitter": -1}, {"jitter": 1.5}, {"affine_rate": 2}, {"affine_rate": float("nan")}]
)
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        DlibResNet(**setting)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(1, 3, 64, 64), ["103 pixels", "64x64", "size=150"]),
        (torch.zeros(1, 150, 150, 3), ["(1, 150, 150, 3)", "permute(2, 0, 1)[None]"]),
        (torch.zeros(3, 150, 150), ["(3, 150, 150)", "[None]"]),
        (torch.zeros(1, 1, 150, 150), ["(1, 1, 150, 150)", "(B, 3, H, W)"]),
        (np.zeros((1, 3, 150, 150), np.uint8), ["ndarray", "torch.from_numpy"]),
        (torch.zeros(1, 3, 150, 150, dtype=torch.int64), ["torch.int64", "uint8 0..255"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value.shape),
)
def test_what_are_no_images_is_said(images, words):
    with pytest.raises(ConfigError) as caught:
        DlibResNet()(images)
    assert_says(caught.value, *words)


@pytest.mark.parametrize("weights", ["Dlib", "", 5, "nowhere/net.dat"])
def test_weights_that_are_not_there(weights):
    with pytest.raises(WeightsError) as caught:
        DlibResNet(weights)
    assert_says(caught.value, repr(str(weights)), "no such file", "'dlib'")
