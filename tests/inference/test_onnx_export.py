"""Bundles in .onnx files: the same embeddings and verdicts as by torch, or no file."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import assert_says, random_image, write_image
from tests.inference.onnx_files import SIZE, pictures, small_bundle
from torch import nn

from siamese.backbones.base import BACKBONES, as_backbone
from siamese.backbones.described_net import DescribedNet
from siamese.backbones.dlib_res_net import DlibResNet
from siamese.backbones.ensemble_net import EnsembleNet
from siamese.backbones.small_res_net import SmallResNet
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.numpy_measures import MEASURES, measure
from siamese.distances.plda import PldaDistance
from siamese.errors import BundleError, CalibrationError, ConfigError, MissingDependencyError
from siamese.faces.croppers.none import NoCropper
from siamese.inference.verifier import Verifier

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

from siamese.inference.onnx import export as exporting  # noqa: E402
from siamese.inference.onnx.export import export_onnx  # noqa: E402
from siamese.inference.onnx.model import OnnxModel  # noqa: E402


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle and its file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    bundle = small_bundle()
    return bundle, export_onnx(bundle, path)


def described():
    net = DescribedNet(SmallResNet((8,), (1,), 8, gradient_cells=2), components=4).eval()
    crops = torch.from_numpy(np.stack([random_image(i, 64, 64) for i in range(24)]))
    net.fit([crops.permute(0, 3, 1, 2).contiguous()], torch.arange(24) // 2)
    return net


NETWORKS = {
    "whitened, with gradients, mirrored": (
        lambda: SmallResNet((8,), (1,), 8, gradient_cells=4),
        40,
        1e-3,
    ),
    "dlib's, moved copies": (lambda: DlibResNet(jitter=2, unit_length=True), 104, 1e-5),
    "that scales by itself": (lambda: EnsembleNet((0.8,), 32, width=4, learned_size=8), 48, 1e-2),
    "beside descriptors": (described, 64, 1e-2),
}


@pytest.mark.parametrize(
    "kind",
    [
        "whitened, with gradients, mirrored",
        "that scales by itself",
        pytest.param("dlib's, moved copies", marks=pytest.mark.slow),
        pytest.param("beside descriptors", marks=pytest.mark.slow),
    ],
)
def test_other_numbers_of_images_give_what_torch_gives(kind, tmp_path):
    make, size, tolerance = NETWORKS[kind]
    torch.manual_seed(1)
    net = make().eval()
    for buffer in net.buffers():  # as after a training
        if buffer.ndim == 1 and buffer.is_floating_point():
            buffer += 0.02 * torch.rand_like(buffer)
    bundle = small_bundle(backbone=net, cropper=NoCropper(size))
    path = export_onnx(bundle, tmp_path / "model.onnx").path
    # An independent way in: neither our reader nor our engine.
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = np.stack([random_image(i, size, size) for i in range(count)])
        given = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        (found,) = session.run(["embeddings"], {"images": given})
        with torch.inference_mode():
            wanted = net(torch.from_numpy(given)).numpy()
        assert found.dtype == np.float32
        apart = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
        assert apart.max() < tolerance


def test_verdicts_are_those_of_the_bundle(whole, tmp_path):
    bundle, export = whole
    for settings in ({}, {"policy": "eer"}, {"threshold": 0.01}):
        mine, other = Verifier.load(export.path, **settings), Verifier(bundle, **settings)
        assert mine.operating_point == other.operating_point
        for a, b in zip(pictures(tmp_path), pictures(tmp_path)[1:], strict=False):
            found, wanted = mine.verify(a, b), other.verify(a, b)
            assert found.distance == pytest.approx(wanted.distance, abs=1e-6)
            assert found.probability == pytest.approx(wanted.probability, abs=1e-4)
            assert (found.same, found.uncertain) == (wanted.same, wanted.uncertain)
            assert (found.prevalence, found.faces) == (wanted.prevalence, wanted.faces)
    assert mine.embed(pictures(tmp_path)).shape == (4, 8)


def test_the_file_says_what_it_is(whole):
    bundle, export = whole
    model = OnnxModel.load(export.path)
    assert model.fingerprint == bundle.fingerprint == export.fingerprint
    assert model.calibration.encode() == bundle.calibration.encode()
    assert model.provenance == {"data": "made up"}
    assert (model.precision, model.embedding_size, model.distance_name) == (
        "float32",
        8,
        "euclidean",
    )
    said = runtime.InferenceSession(export.path).get_modelmeta().custom_metadata_map["siamese"]
    assert json.loads(said)["operating_point"]["threshold"] == bundle.operating_point.threshold
    assert json.loads(said)["chip"] is None
    assert export.bytes == export.path.stat().st_size
    assert export.largest_difference < 1e-5


WITHOUT = """
import sys
for name in ("torch", "scipy", "sklearn", "pytorch_lightning", "safetensors", "onnx", "joblib",
             "albumentations", "cv2", "hydra", "omegaconf", "torchmetrics", "rich"):
    sys.modules[name] = None
import siamese
verifier = siamese.Verifier.load(sys.argv[1], policy="eer")
verdict = verifier.verify(sys.argv[2], sys.argv[3])
print(verdict.to_dict())
print(verifier.embed(sys.argv[2:], progress=False).shape)
from siamese.cli.main import main
raise SystemExit(main(["verify", *sys.argv[2:], "--bundle", sys.argv[1]]))
"""


def test_without_torch_it_verifies(whole, tmp_path):
    bundle, export = whole
    a, b = pictures(tmp_path, 2)
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(export.path), str(a), str(b)],
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = Verifier(bundle, policy="eer").verify(a, b)
    assert found.returncode == (0 if Verifier(bundle).verify(a, b) else 1), found.stderr
    lines = found.stdout.splitlines()
    assert f"'same': {wanted.same}" in lines[0]
    assert lines[1] == "(2, 8)"


def test_without_torch_a_gallery_is_made_and_searched(whole, tmp_path):
    """Nor without what else an environment for such files lacks."""
    path = whole[1].path
    for number in range(2):
        write_image(tmp_path / "people" / "Ann" / f"{number}.png", number)
    code = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'sklearn', 'rich', 'safetensors', 'joblib'):\n"
        "    sys.modules[name] = None\n"
        "from siamese.cli.main import main\n"
        f"assert main(['enrol', {str(tmp_path / 'g')!r}, {str(tmp_path / 'people')!r}, '--bundle', "
        f"{str(path)!r}]) == 0\n"
        f"raise SystemExit(main(['search', {str(tmp_path / 'g')!r}, "
        f"{str(tmp_path / 'people' / 'Ann' / '0.png')!r}, '--threshold', '1e-4']))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "0.png: Ann" in found.stdout


@pytest.mark.parametrize("words", [["verify", "a.jpg", "b.jpg"], ["evaluate", "--help"]])
def test_without_torch_a_bundle_says_what_to_give(words, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from siamese.cli.main import main\n"
        f"raise SystemExit(main({words}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 2
    assert_says(found.stderr.strip(), "torch", "not installed")
    assert words[0] != "verify" or ".onnx" in found.stderr


class Layers(nn.Sequential):
    """Of a name of its own: to register torch's class would change other tests."""


@pytest.mark.parametrize(("precision", "largest"), [("float16", 0.6), ("int8", 0.6)])
def test_smaller_files(precision, largest, whole, tmp_path):
    wide = nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    net = as_backbone(Layers(wide, nn.Flatten(), nn.Linear(64, 8))).eval()
    BACKBONES.register("of_smaller_files")(Layers)
    bundle = small_bundle(backbone=net, cropper=NoCropper(SIZE), calibration=None)
    bundle.__dict__["fingerprint"] = "0" * 64  # layers have no settings
    images = [random_image(seed, SIZE, SIZE) for seed in range(20)]
    full = export_onnx(bundle, tmp_path / "full.onnx")
    found = export_onnx(bundle, tmp_path / "small.onnx", precision=precision, images=images)
    assert found.bytes < largest * full.bytes
    assert found.fingerprint != full.fingerprint  # its embeddings are not to be mixed with others
    assert 1e-6 < found.largest_difference < (1e-3 if precision == "float16" else 0.2)
    assert Verifier.load(found.path).verify(images[0], images[0]).distance == 0


@pytest.mark.parametrize(
    ("parts", "settings", "words"),
    [
        ({"tta": 2, "augmentation": Augmentation()}, {}, ("tta=2", "--tta 0")),
        ({}, {"precision": "float61"}, ("float61", "did you mean 'float16'")),
        ({}, {"precision": "int8"}, ("int8", "--images")),
    ],
)
def test_what_cannot_be_exported_is_refused_at_once(parts, settings, words, tmp_path):
    with pytest.raises(ConfigError) as error:
        export_onnx(small_bundle(**parts), tmp_path / "model.onnx", **settings)
    assert_says(error.value, *words)
    assert not list(tmp_path.iterdir())


def test_a_distance_with_weights_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    plda = PldaDistance.fit(rng.normal(size=(80, 8)), np.arange(80) // 2)
    with pytest.raises(ConfigError) as error:
        export_onnx(small_bundle(distance=plda), tmp_path / "model.onnx")
    assert_says(error.value, "plda", "--distance cosine")
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_onnx(small_bundle(), tmp_path / "model.bin")


class Chooses(nn.Module):
    """Whose layers depend on what is in an image."""

    embedding_size = 3

    def forward(self, images):
        return images.mean((2, 3)) * (1 if bool(images.mean() > 0.5) else 2)


def test_a_network_that_onnx_cannot_say_is_refused(tmp_path):
    BACKBONES.register("chooses")(Chooses)
    with pytest.raises(BundleError) as error:
        export_onnx(small_bundle(backbone=as_backbone(Chooses()).eval()), tmp_path / "model.onnx")
    assert_says(error.value, "Chooses", "cannot be expressed in ONNX")


class OneByOne(nn.Module):
    """Whose graph has as many parts as there were images when it was exported."""

    embedding_size = 3

    def forward(self, images):
        return torch.stack([image.mean((1, 2)) for image in images.float()])


def test_an_onnxscript_that_is_too_old_for_torch_is_named(tmp_path, monkeypatch):
    def export(*args, **settings):
        name = "onnxscript._framework_apis.torch_9_9"
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(MissingDependencyError) as caught:
        export_onnx(small_bundle(), tmp_path / "model.onnx")
    assert_says(caught.value, "onnxscript does not know torch", "pip install --upgrade onnxscript")


def test_a_network_for_a_fixed_number_of_images_is_refused(tmp_path):
    BACKBONES.register("one_by_one")(OneByOne)
    with pytest.raises(BundleError) as error:
        export_onnx(small_bundle(backbone=as_backbone(OneByOne()).eval()), tmp_path / "model.onnx")
    assert_says(error.value, "OneByOne", "only for a fixed number of images", "must depend on")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_from_the_bundle_is_not_kept(tmp_path, monkeypatch):
    class Mirrored(exporting._Exported):
        def forward(self, images):
            return super().forward(images.flip(1))  # as where colours are in another order

    monkeypatch.setattr(exporting, "_Exported", Mirrored)
    with pytest.raises(BundleError) as error:
        export_onnx(small_bundle(), tmp_path / "model.onnx")
    assert_says(error.value, "not kept", "from torch's")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e18])
def test_numpy_measures_the_same_numbers_as_torch(name, scale):
    rng = np.random.default_rng(3)
    for size in (2, 128, 769):
        a = (rng.normal(size=(2000, size)) * scale).astype(np.float32)
        b = (a + 0.3 * scale * rng.normal(size=a.shape)).astype(np.float32)
        b[:5] = a[:5]
        b[5], a[6] = 0, 0
        found = measure(name, a, b)
        assert found.dtype == np.float32
        assert np.array_equal(found, DISTANCES.build(name).measure(a, b).numpy())
        assert not found[:5].any()


def test_numpy_refuses_rows_that_do_not_match():
    with pytest.raises(CalibrationError, match="row by row"):
        measure("cosine", np.zeros((2, 3)), np.zeros((2, 4)))


def test_a_cosine_bundle(tmp_path):
    base = small_bundle(calibration=None)
    point = replace(base.operating_point, distance="cosine")
    bundle = small_bundle(distance=CosineDistance(), operating_point=point, calibration=None)
    path = export_onnx(bundle, tmp_path / "model.onnx").path
    a, b = pictures(tmp_path, 2)
    found, wanted = Verifier.load(path).verify(a, b), Verifier(bundle).verify(a, b)
    assert found.distance == pytest.approx(wanted.distance, abs=1e-6)
    with pytest.raises(CalibrationError, match="keeps no calibration"):
        Verifier.load(path, policy="eer")
    with pytest.raises(ConfigError, match="no changed copies"):
        Verifier.load(path, tta=2)
    with pytest.raises(ConfigError, match="'tpu' cannot be used"):
        Verifier.load(path, device="tpu")


def test_lists_without_torch_name_the_package_that_they_need(whole, tmp_path):
    a, b = pictures(tmp_path, 2)
    (tmp_path / "pairs.csv").write_text(f"{a.name},{b.name}\n")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1].split(',')))\n"
        "from siamese.cli.main import main\n"
        "raise SystemExit(main(sys.argv[2:]))"
    )
    words = ["verify", "--pairs", str(tmp_path / "pairs.csv"), "--bundle", str(whole[1].path)]
    for lacking, exit_code in (("torch,scipy,onnx,safetensors", 0), ("torch,filelock", 2)):
        out = str(tmp_path / f"{exit_code}.csv")
        found = subprocess.run(
            [sys.executable, "-c", code, lacking, *words, "--out", out],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == exit_code, found.stderr
    assert "needs the package filelock, which is not installed" in found.stderr
    assert "bug" not in found.stderr
