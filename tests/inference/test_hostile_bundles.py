"""Bundles that somebody edited on purpose, with a digest that fits: refused before they cost."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import assert_says, edit_bundle, reseal
from tests.inference.test_bundle import bundle, point

from siamese.backbones.base import BACKBONES
from siamese.backbones.described_net import DescribedNet
from siamese.backbones.ensemble_net import EnsembleNet
from siamese.backbones.small_res_net import SmallResNet
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.learned import LearnedDistance
from siamese.errors import BundleError
from siamese.faces.croppers.base import CROPPERS
from siamese.inference.bundle import Bundle
from siamese.verification.thresholds import calibrate

SECONDS, MEMORY = 3.0, 600 << 20  # of one refusal, on a busy machine


@pytest.fixture
def folder(tmp_path):
    return bundle().save(tmp_path / "bundle")


def refused(folder, *words):
    start = time.perf_counter()
    with pytest.raises(BundleError) as error:
        Bundle.load(folder)
    assert time.perf_counter() - start < SECONDS
    assert_says(error.value, *words)
    assert "checksum" not in str(error.value)


def every_byte(content, seed):
    """A byte of each part of a file, changed."""
    for place in np.random.default_rng(seed).integers(0, len(content), 12).tolist():
        changed = bytearray(content)
        changed[place] ^= 1
        yield bytes(changed)
    yield content + b" "
    yield content[:-1]
    yield b""


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors", "SHA256SUMS"])
def test_any_byte_that_changed_is_seen(folder, name):
    (folder / "README.md").unlink()  # its line is told by a note: see test_model_card.py
    reseal(folder)
    kept = (folder / name).read_bytes()
    for seed, content in enumerate(every_byte(kept, 3)):
        (folder / name).write_bytes(content)
        with pytest.raises(BundleError) as error:
            Bundle.load(folder)
        assert_says(error.value, folder, "copy")
        assert seed >= 0
    (folder / name).write_bytes(kept)
    Bundle.load(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=r"missing|no bundle"):
        Bundle.load(folder)


def test_the_digest_is_one_that_other_tools_check(folder):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["operating_point"].update(threshold=99), "beyond every distance"),
        (lambda d: d["operating_point"].update(threshold=-1), "beyond every distance"),
        (lambda d: d["cropper"].pop("size"), "cropper has no size"),
        (lambda d: d["backbone"].pop("whiten"), "backbone has no whiten"),
        (lambda d: d["backbone"].update(unit_length="x"), "unit_length must be true or false"),
        (lambda d: d["backbone"].update(widths=[8.5]), "whole number"),
        (lambda d: d.update(version=float("nan")), "NaN is no number"),
        (lambda d: d.update(version=True), "$.version"),
        (lambda d: d.update(version="5"), "$.version"),
        (lambda d: d.update(version=-1), "version"),
        (lambda d: d.pop("version"), "version"),
        (lambda d: d.update(more=1), "unknown field `more`"),
        (lambda d: d.pop("tta"), "`tta`"),
        (lambda d: d.update(tta=10**9), "$.tta"),
        (lambda d: d.update(tta=1.0), "$.tta"),
        (lambda d: d.update(provenance=[]), "$.provenance"),
        (lambda d: d.update(seen={"images": "0"}), "$.seen"),
        (lambda d: d.update(origins={"backbone": "a\nb"}), "$.origins"),
        (lambda d: d.update(augmentation={"flip": 0.5}), "augmentation has no rotation"),
        (lambda d: d.update(augmentation={"flip": "much"}), "$.augmentation"),
        (lambda d: d["backbone"].update(dropout=10**400), "too large a number"),
        (lambda d: d["backbone"].update(name="x" * 5000), "4,096 characters"),
        (lambda d: d["backbone"].update(name={}), "needs a 'name'"),
        (lambda d: d["backbone"].update(more=[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]), "nested"),
        (lambda d: d["operating_point"].update(genuine=2), "not as many as its pairs"),
        (lambda d: d["operating_point"].update(prevalence=0.4), "prevalence is not that of"),
        (lambda d: d["operating_point"].update(f1=0.9), "f1 is not that of its counts"),
        (lambda d: d["operating_point"].update(tp=-1), "$.tp"),
        (lambda d: d["operating_point"].update(figures={"fmr": 1.5}), "$.figures"),
        (lambda d: d["operating_point"].update(settings={"prevalence": 7}), "prevalence"),
        (lambda d: d["operating_point"].update(promise={"figure": "fmr"}), "direction"),
        (lambda d: d["operating_point"].pop("gap"), "operating_point has no gap"),
    ],
)
def test_values_of_a_wrong_type_or_beyond_their_range(folder, change, words):
    edit_bundle(folder, change)
    refused(folder, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": 5, "version": 5}', "'version' stands twice"),
        ("[" * 50 + "]" * 50, "object"),
        ("[" * 70 + "]" * 70, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("1" * 5000, "too large a number"),
        ('"\\ud800"', "surrogate"),
        ("1e999", "too large a number"),
        ("", "not JSON"),
    ],
)
def test_what_is_no_plain_json(folder, text, words):
    (folder / "bundle.json").write_text(text)
    refused(reseal(folder), words)


def zeroed(path):
    from safetensors.torch import load, save

    tensors = load(path.read_bytes())
    zero = {k: torch.zeros_like(v) if k.startswith("backbone.") else v for k, v in tensors.items()}
    path.write_bytes(save(zero))


def headed(change):
    def write(path):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + length])
        change(head)
        text = json.dumps(head).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return write


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (zeroed, "all weights of SmallResNet are zero"),
        (lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]), "head too long"),
        (lambda p: p.write_bytes(b"abc"), "cut off"),
        (headed(lambda h: h["backbone.head.weight"].update(shape=[10**9, 10**9])), "damaged"),
        (headed(lambda h: h["backbone.head.weight"].update(shape=[-1])), "no shape"),
        (headed(lambda h: h["backbone.head.weight"].update(dtype="F64")), "damaged"),
        (headed(lambda h: h["backbone.head.weight"].update(data_offsets=[0, 256])), "damaged"),
        (headed(lambda h: h.pop("backbone.head.bias")), "damaged"),
        (headed(lambda h: h.update(x=h.pop("backbone.head.bias"))), "do not fit its network"),
    ],
)
def test_weights_that_are_no_weights_of_it(folder, write, words):
    write(folder / "weights.safetensors")
    refused(reseal(folder), words)


def test_a_threshold_beyond_all_distances_is_none(tmp_path):
    torch.manual_seed(0)
    plain = SmallResNet(widths=(8,), depths=(1,), learned_size=8, whiten=False, gradient_cells=0)
    for name, distance, words in (
        ("cosine", CosineDistance(), "0 to 2"),
        ("learned", LearnedDistance(embedding_size=8, hidden=4), "0 to 1"),
    ):
        own = replace(point(0.5), distance=name)
        made = bundle(backbone=plain, distance=distance, operating_point=own)
        folder = made.save(tmp_path / name)
        edit_bundle(folder, lambda d: d["operating_point"].update(threshold=2.5))
        refused(folder, words)
        with pytest.raises(BundleError, match=words):  # nor is it written
            replace(made, operating_point=replace(own, threshold=2.5)).save(tmp_path / "far")
        assert not (tmp_path / "far").exists()
    # Without a bound no threshold is too large.
    folder = bundle(99.0, backbone=plain).save(tmp_path / "e")
    assert Bundle.load(folder).operating_point.threshold == 99


def test_what_would_not_be_loaded_is_not_written(tmp_path):
    for wrong in (
        {"provenance": {"n": 10**30}},
        {"operating_point": replace(point(), f1=0.3)},
        {"augmentation": Augmentation(), "tta": 5000},
    ):
        with pytest.raises(BundleError, match="no bundle can be written"):
            bundle(**wrong).save(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_threshold_must_be_that_of_its_counts(tmp_path):
    numbers = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    rows = numbers.normal(size=(12, 4))[who] + 0.3 * numbers.normal(size=(48, 4))
    rows /= 2 * np.linalg.norm(rows, axis=1, keepdims=True)
    for policy in ("max_f1", 0.3):
        kept = calibrate(rows, who, "max_f1")
        kept = kept if policy == "max_f1" else kept.with_policy(policy)
        folder = bundle(operating_point=kept.point, calibration=kept).save(tmp_path / str(policy))
        Bundle.load(folder)
        moved = {"threshold": kept.threshold * 1.5, "gap": None}
        edit_bundle(folder, lambda d, moved=moved: d["operating_point"].update(moved))
        edit_bundle(folder, lambda d: d["calibration"].update(band=None))
        refused(folder, "other counts at the threshold")
        edit_bundle(folder, lambda d: d.update(calibration=None))
        refused(folder, "counts of a calibration, and no calibration")


# Values that no setting should take memory or time for.
LARGE = [10**12, 65_536, "x", [10**9]]


def attacks(tmp_path):
    """Every setting of every backbone, distance and cropper of ours, and nested ones."""
    kinds = {"backbone": BACKBONES, "distance": DISTANCES, "cropper": CROPPERS}
    for kind, registry in kinds.items():
        for name in registry:
            if not registry[name].__module__.startswith("siamese."):
                continue  # of another test
            settings = {"name": name}
            if name == "described_net":
                inner = BACKBONES.settings(SmallResNet(widths=(8,), depths=(1,)))
                settings["network"] = {"backbone": inner}
            built = registry.build(settings)
            whole = registry.settings(built)
            for argument in whole:
                for value in LARGE:
                    yield kind, whole | {argument: value}
            if name == "small_res_net":
                for n in (10**30, 10**6, 120):
                    yield kind, whole | {"depths": [n, 1, 1, 1]}
                yield kind, whole | {"depths": [8] * 16, "widths": [8] * 16}
                yield kind, whole | {"widths": [65_536] * 4}
            if name == "described_net":
                nested = whole
                for _ in range(3):
                    nested = whole | {"network": {"backbone": nested}}
                yield kind, nested
                yield kind, whole | {"network": {"backbone": inner | {"widths": [65_536]}}}


def hostile(folder):
    """In a process of its own: refuse all, and say what it took."""
    from siamese.errors import SiameseError

    home = Path(folder)
    Bundle.load(home)
    kept = json.loads((home / "bundle.json").read_text())
    cases = list(attacks(home))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    slowest, refusals = 0.0, 0
    for kind, settings in cases:
        (home / "bundle.json").write_text(json.dumps(kept | {kind: settings}))
        reseal(home)
        start = time.perf_counter()
        try:
            Bundle.load(home)
        except SiameseError as error:
            refusals += 1
            text = str(error)
            assert "\n" not in text, (settings, text)
            assert "memory" not in text.lower(), (settings, text)
            assert len(text) < 800, (settings, text)
        took = time.perf_counter() - start
        assert took < SECONDS, (settings, took)
        slowest = max(slowest, took)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps({"cases": len(cases), "refused": refusals, "slowest": slowest, "peak": grown}))


# torch's compiler takes a second to import, and is not needed to count a network's weights.
COUNTING = """
import sys
from siamese.backbones.base import BACKBONES
from siamese.data.transforms import Augmentation
from siamese.distances.base import DISTANCES
from siamese.inference.room import check_room

for registry in (BACKBONES, DISTANCES):
    for name in registry:
        settings = {"name": name}
        if name == "described_net":
            settings["network"] = {"backbone": {"name": "small_res_net"}}
        check_room(lambda: (registry.build(settings),), {"x": (10**9,)})
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
"""


def test_no_setting_takes_time_or_memory(tmp_path):
    """For each setting of each class, values that would: refused by number, not by running out."""
    folder = bundle().save(tmp_path / "bundle")
    script = (
        f"{COUNTING}\nfrom tests.inference.test_hostile_bundles import hostile\n"
        f"hostile({str(folder)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["cases"] > 200
    # Some change nothing that is built, such as where the crop's padding comes from.
    assert found["refused"] > 0.8 * found["cases"]


def test_an_ensemble_is_no_larger_than_its_weights(tmp_path):
    net = EnsembleNet(views=(0.9,), size=32, width=2, learned_size=4)
    folder = bundle(backbone=DescribedNet(net, components=3)).save(tmp_path / "bundle")
    Bundle.load(folder)
    inner = lambda d: d["backbone"]["network"]["backbone"]  # noqa: E731
    edit_bundle(folder, lambda d: inner(d).update(width=8192))
    refused(folder, "numbers in", "its weights are")
    edit_bundle(folder, lambda d: inner(d).update(width=10**9))
    refused(folder, "width must be a whole number")
    edit_bundle(folder, lambda d: inner(d).pop("width"))
    refused(folder, "backbone.network has no width")
