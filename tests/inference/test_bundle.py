"""Bundles: whole, checked, safe; and the verifier that reads them."""

import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import as_of_version, edit_bundle, reseal

from siamese.backbones.base import BACKBONES, Backbone
from siamese.backbones.small_res_net import SmallResNet
from siamese.data.transforms import Augmentation
from siamese.data.tta import TestTimeAugmentation
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.distances.plda import PldaDistance
from siamese.errors import BundleError, ConfigError, ImageError
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.croppers.none import NoCropper
from siamese.inference.bundle import Bundle
from siamese.inference.verifier import Verifier
from siamese.verification.point import OperatingPoint


def point(threshold=0.5):
    return OperatingPoint(
        threshold,
        "max_f1",
        "euclidean",
        "calibration",
        {"name": "all_pairs"},
        1,
        1,
        0.5,
        1.0,
        1,
        0,
        0,
        1,
    )


def bundle(threshold=0.5, **parts):
    torch.manual_seed(0)
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    return Bundle(
        **(
            {
                "backbone": net,
                "distance": EuclideanDistance(),
                "cropper": NoCropper(32),
                "operating_point": point(threshold),
            }
            | parts
        )
    )


def random_image(path, seed=0, size=(40, 50)):
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)
    return path


def test_a_saved_bundle_gives_the_same_answers(tmp_path):
    saved = bundle(
        distance=CosineDistance(),
        operating_point=replace(point(), distance="cosine"),
        provenance={"dataset": "none"},
    )
    saved.save(tmp_path / "bundle")
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    first, second = Verifier(saved).verify(a, b), Verifier.load(tmp_path / "bundle").verify(a, b)
    assert first == second
    assert Bundle.load(tmp_path / "bundle").provenance == {"dataset": "none"}
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "bundle.json",
        "weights.safetensors",
    ]
    assert Verifier.load(tmp_path).verify(a, b) == first  # the folder of the run will do


def test_the_verdict_is_distance_up_to_and_including_the_threshold(tmp_path):
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    distance = Verifier(bundle()).verify(a, b).distance
    assert distance > 0
    assert Verifier(bundle(threshold=distance)).verify(a, b).same
    below = np.nextafter(np.float32(distance), np.float32(0)).item()
    assert not Verifier(bundle(threshold=below)).verify(a, b).same
    again = Verifier(bundle()).verify(a, a)
    assert (again.same, again.distance) == (True, 0.0)
    swapped = Verifier(bundle()).verify(b, a)
    assert swapped.distance == pytest.approx(distance, abs=1e-6)


def test_paths_images_and_arrays_are_alike(tmp_path):
    path = random_image(tmp_path / "a.png")
    image = Image.open(path)
    embeddings = Verifier(bundle()).embed([path, str(path), image, np.asarray(image)])
    assert embeddings.shape == (4, bundle().backbone.embedding_size)
    torch.testing.assert_close(embeddings, embeddings[:1].expand(4, -1))
    grey = np.asarray(image.convert("L"))
    assert torch.equal(
        Verifier(bundle()).embed([grey]), Verifier(bundle()).embed([Image.fromarray(grey)])
    )
    for bad in (np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="give \\(H, W, 3\\)"):
            Verifier(bundle()).embed([bad])


def test_a_fixed_box_beside_the_image_is_an_error_not_a_verdict(tmp_path):
    verifier = Verifier(
        bundle(cropper=FixedBoxCropper(32, left=500, top=500, right=600, bottom=600))
    )
    with pytest.raises(ImageError, match="does not touch"):
        verifier.verify(random_image(tmp_path / "a.png"), random_image(tmp_path / "b.png"))


def altered(folder, **changes):
    edit_bundle(folder, lambda description: description.update(changes))


def broken_weights(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda f: (f / "bundle.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "bundle.json").write_text("[]") and reseal(f), "not a valid bundle"),
        (broken_weights, "checksum"),
        (lambda f: altered(f, version=99), "newer siamese"),
        (lambda f: altered(f, backbone={"name": "torch.hub.load"}), "unknown backbone"),
        (
            lambda f: edit_bundle(f, lambda d: d["backbone"].update(depths=[2])),
            "weights do not fit its network",
        ),
        (
            lambda f: altered(f, backbone={"_target_": "os.system", "command": "true"}),
            "needs a 'name'",
        ),
        (lambda f: edit_bundle(f, lambda d: d["cropper"].update(size=-1)), "size must be"),
        (lambda f: edit_bundle(f, lambda d: d["cropper"].update(size=32.5)), "size must be"),
        (lambda f: (f / "bundle.json").write_text("[" * 100_000), "cannot be read"),
        (
            lambda f: altered(f, distance={"name": "cosine"}),
            "threshold is for 'euclidean' distance, but it measures cosine",
        ),
        (lambda f: altered(f, operating_point={"threshold": 1}), "operating_point has no policy"),
        (
            lambda f: altered(f, operating_point=point().to_dict() | {"threshold": True}),
            "calibrate again",
        ),
        (
            lambda f: altered(f, operating_point=point().to_dict() | {"threshold": None}),
            "calibrate again",
        ),
    ],
)
def test_an_altered_bundle_is_refused_in_one_line(tmp_path, fault, words):
    folder = bundle().save(tmp_path / "bundle")
    fault(folder)
    with pytest.raises(BundleError, match=words) as caught:
        Verifier.load(folder)
    assert "\n" not in str(caught.value)


def test_saving_again_replaces_and_failing_leaves_nothing(tmp_path, monkeypatch):
    folder = bundle(0.25).save(tmp_path / "bundle")
    bundle(0.75).save(folder)
    assert Bundle.load(folder).operating_point.threshold == 0.75
    monkeypatch.setattr(
        "pathlib.Path.write_bytes",
        lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(BundleError, match="No space left"):
        bundle(0.9).save(folder)
    monkeypatch.undo()
    assert Bundle.load(folder).operating_point.threshold == 0.75
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="left alone"):
        bundle().save(tmp_path / "precious")
    assert [p.name for p in tmp_path.rglob("*")] == ["precious", "thesis.txt"]


def test_weights_that_are_not_finite_are_no_verdict(tmp_path):
    diverged = bundle()
    torch.nn.init.constant_(diverged.backbone.head.weight, float("nan"))
    with pytest.raises(BundleError, match="diverged"):
        Verifier.load(diverged.save(tmp_path / "bundle"))


def test_an_unregistered_backbone_is_refused_with_the_remedy(tmp_path):
    class Mine(Backbone):
        pass

    with pytest.raises(
        ConfigError, match=r"Mine is not a registered backbone: put @siamese.BACKBONES.register"
    ):
        bundle(backbone=Mine()).save(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())
    assert "mine" not in BACKBONES


def test_verifying_imports_neither_lightning_nor_hydra_nor_albumentations(tmp_path):
    bundle().save(tmp_path / "bundle")
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    script = (
        "import sys; from siamese.cli.main import main; "
        f"code = main(['verify', {str(a)!r}, {str(b)!r}, '--bundle', "
        f"{str(tmp_path / 'bundle')!r}]); "
        "heavy = {m.split('.')[0] for m in sys.modules} & "
        "{'pytorch_lightning', 'lightning', 'hydra', 'omegaconf', 'albumentations', 'cv2', "
        "'matplotlib', 'torchmetrics', 'rich', 'joblib'}; "
        "print(sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def learned_distance(seed=3):
    torch.manual_seed(seed)
    distance = LearnedDistance(embedding_size=8, hidden=6)
    with torch.no_grad():  # not the running statistics of a fresh one
        distance.norm.running_mean.normal_()
        distance.norm.running_var.uniform_(0.5, 2)
    return distance


def test_a_learned_distance_travels_with_its_weights(tmp_path):
    net = SmallResNet(widths=(8,), depths=(1,), learned_size=8, whiten=False, gradient_cells=0)
    saved = bundle(
        backbone=net,
        distance=learned_distance(),
        operating_point=replace(point(), distance="learned"),
    )
    saved.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    assert not loaded.distance.training
    for name, value in saved.distance.state_dict().items():
        assert torch.equal(loaded.distance.state_dict()[name], value)
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    first = Verifier.load(tmp_path / "bundle").verify(a, b)
    assert first == Verifier(saved).verify(a, b) == Verifier.load(tmp_path / "bundle").verify(b, a)
    embeddings = Verifier(saved).embed([a, b])
    assert first.distance == saved.distance.eval()(embeddings[:1], embeddings[1:]).item()
    assert 0 <= first.distance <= 1


def test_a_bundle_of_version_1_still_loads(tmp_path):
    from safetensors.torch import load, save

    folder = bundle(0.5).save(tmp_path / "bundle")
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    expected = Verifier.load(folder).verify(a, b)
    old = save(
        {
            k.removeprefix("backbone."): v
            for k, v in load((folder / "weights.safetensors").read_bytes()).items()
        }
    )
    (folder / "weights.safetensors").write_bytes(old)
    as_of_version(folder, 1)
    assert Verifier.load(folder).verify(a, b) == expected


def test_another_threshold_changes_the_verdict_and_not_the_distance(tmp_path):
    a, b = random_image(tmp_path / "a.png", 1), random_image(tmp_path / "b.png", 2)
    usual = Verifier(bundle(0.5)).verify(a, b)
    lenient = Verifier(bundle(0.5), threshold=usual.distance).verify(a, b)
    strict = Verifier(bundle(0.5), threshold=np.nextafter(usual.distance, 0)).verify(a, b)
    assert (lenient.same, strict.same) == (True, False)
    assert usual.distance == lenient.distance == strict.distance
    assert lenient.threshold == usual.distance
    with pytest.raises(ConfigError, match="finite number"):
        Verifier(bundle(), threshold=float("nan"))


def test_tta_averages_embeddings_over_equally_changed_images(tmp_path):
    changes = Augmentation(rotation=30.0, brightness=0.4)
    one = bundle(augmentation=changes)
    replace(one, tta=4).save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").tta == 4
    assert Bundle.load(tmp_path / "bundle").augmentation == changes
    a, b = (
        np.asarray(Image.open(random_image(tmp_path / f"{i}.png", i, (32, 32)))) for i in (1, 2)
    )
    verifier, plain = Verifier.load(tmp_path / "bundle"), Verifier(one)
    tta = TestTimeAugmentation(changes, 4)
    by_hand = [
        torch.stack([plain.embed([tta(image, view)])[0] for view in range(4)]) for image in (a, b)
    ]
    assert not torch.equal(by_hand[0][0], by_hand[0][1])
    found = verifier.verify(a, b)
    expected = (by_hand[0].mean(dim=0) - by_hand[1].mean(dim=0)).norm()
    assert found.distance == pytest.approx(float(expected), abs=1e-6)
    assert torch.allclose(verifier.embed([a])[0], by_hand[0].mean(dim=0), atol=1e-6)
    assert Verifier(one, tta=4).verify(a, b).distance == found.distance
    assert verifier.verify(b, a).distance == found.distance
    assert verifier.verify(a, b) == found  # no chance in it
    assert found.distance != plain.verify(a, b).distance


@pytest.mark.parametrize(
    ("tta", "words"),
    [
        (-1, "at least 0"),
        (1.5, "whole number"),
        (True, "whole number"),
        (3, "no augmentation to make copies with"),
    ],
)
def test_tta_that_cannot_be_done(tta, words):
    with pytest.raises(ConfigError, match=words):
        Verifier(bundle(), tta=tta)


def test_tta_that_would_change_nothing_is_refused():
    nothing = {f.name: 0.0 for f in fields(Augmentation)}
    with pytest.raises(ConfigError, match="changes nothing"):
        Verifier(bundle(augmentation=Augmentation(**nothing)), tta=2)


def test_a_file_is_no_bundle(tmp_path):
    (tmp_path / "readme.md").touch()
    with pytest.raises(BundleError, match="a file, not a bundle; give the folder"):
        Verifier.load(tmp_path / "readme.md")


def test_a_distance_that_is_not_fitted_is_not_saved(tmp_path):
    """The bundle would go on measuring as the euclidean distance, under the name of PLDA."""
    point = replace(bundle().operating_point, distance="plda")
    unfitted = replace(bundle(), distance=PldaDistance(), operating_point=point)
    with pytest.raises(BundleError, match=r"plda.*not fitted.*siamese\.PldaDistance\.fit"):
        unfitted.save(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    folder = bundle().save(tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename, failed = Path.rename, []

    def fail(self, target):
        if self.name.endswith(".tmp"):
            failed.append(self)
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(BundleError, match="No space left"):
        bundle().save(folder)
    assert failed
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
