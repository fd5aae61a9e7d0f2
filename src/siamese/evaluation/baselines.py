"""Baselines: what the same identities give without the training, so that a figure says something.

Each is concluded as the run itself is: fitted on its training images, its threshold chosen by the
same policy on the calibrating split, judged on the same pairs.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from siamese.backbones.base import Backbone
from siamese.backbones.descriptor_net import DescriptorNet
from siamese.backbones.layers.whitening import Whitening
from siamese.data.dataset import CropDataset
from siamese.data.embedding import EVAL_BATCH
from siamese.data.samplers.base import BatchPlan
from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError, ConfigError, did_you_mean, first_line
from siamese.evaluation.baseline import BASELINES, Baseline
from siamese.evaluation.data import EvaluationData, prepare_once
from siamese.evaluation.stages import RunEvaluation, conclude
from siamese.inference.components import Components
from siamese.inference.no_face import with_no_face
from siamese.processes import apart, together
from siamese.verification.figures import gain_in_auc
from siamese.verification.point import Interval
from siamese.verification.policies.base import Policy

# Whether the run is better, where that is known.
COMPARED = {1: "better than", 0: "not shown to differ from", -1: "worse than"}
PASSED = 30  # batches that an untrained network gathers statistics from
COMPONENTS = 300  # of the descriptors, where there are images enough
# Of which descriptors are computed: about 10 ms and 70 KB of the cache for each image.
DESCRIBED = 20_000


def check_baselines(names: Sequence[str]) -> tuple[str, ...]:
    """The names of baselines, each once.

    Raises:
        ConfigError: an unknown one.
    """
    if isinstance(names, str):
        raise ConfigError(f"baselines is a list: baselines=[{names}]")
    for name in names:
        if name not in BASELINES:
            raise ConfigError(f"baseline {name!r} is not known{did_you_mean(str(name), BASELINES)}")
    return tuple(dict.fromkeys(names))


def beside_baselines(
    names: Iterable[str],
    run: RunEvaluation,
    untrained: Components,
    policy: Policy,
    cache: str | Path | None = None,
) -> RunEvaluation:
    """A run's evaluation with baselines beside it, and a sentence on what training brought.

    Args:
        names: of the baselines. One that cannot be measured is left out, and a note says why.
        run: what they are compared with.
        untrained: the run's components with the weights that they had before training.
        policy: how thresholds are chosen.
        cache: of crops.

    Of several processes the first one measures, and tells the others.
    """
    found, notes = [], []
    for name in names:
        try:
            measure = functools.partial(_measured, name, run, untrained, policy, cache)
            found.append(together().by_first(measure))
        except Exception as error:  # the run is saved: no baseline is worth an error
            reason = first_line(error) or type(error).__name__
            notes.append(f"no baseline {BASELINES[name]!r}: {reason}")
    compared = replace(run, baselines=tuple(found))
    said = note_on_training(compared)
    return replace(compared, notes=(*([said] if said else []), *run.notes, *notes))


def _measured(
    name: str,
    run: RunEvaluation,
    untrained: Components,
    policy: Policy,
    cache: str | Path | None,
) -> Baseline:
    """A baseline beside a run; by one process: it may fail, and others would wait for it."""
    with apart():
        components, data = _prepared(name, run, untrained, cache)
        return _compared(name, conclude(components, data, policy), run)


def before_training(components: Components) -> Components:
    """A copy that training does not change, on the CPU."""
    backbone, distance = copy.deepcopy((components.backbone, components.distance))
    return replace(components, backbone=backbone.cpu(), distance=distance.cpu())


def fingerprint(components: Components) -> str:
    """SHA-256 of all weights: whether two runs began alike."""
    found = hashlib.sha256()
    for name, tensor in sorted(components.tensors().items()):
        found.update(name.encode())
        # As bytes: numpy knows no bfloat16.
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _prepared(
    name: str, run: RunEvaluation, untrained: Components, cache: str | Path | None
) -> tuple[Components, EvaluationData]:
    """What a baseline is made of, and the crops it sees."""
    if name == "untrained":
        gather_statistics(untrained.backbone, run.data.datasets["train"])
        return untrained, run.data
    if name == "descriptors":
        images = sum(len(data) for data in run.data.datasets.values())
        if images > DESCRIBED:
            raise CalibrationError(
                f"descriptors of {images:,} images would take {images * 0.011 / 60:.0f} minutes "
                f"and {images * 7e4 / 1e9:.0f} GB, and are left out above {DESCRIBED:,}; "
                f"module/backbone=descriptor_net measures them as a run of its own"
            )
        # Where training mirrors no image, left and right may matter; of an augmentation that is not
        # ours nobody knows.
        mirror = untrained.augmentation is not None and untrained.augmentation.flip > 0
        size = min(COMPONENTS, max(1, len(run.data.datasets["train"]) // 2))
        backbone: Backbone = DescriptorNet(size, mirror)
        # A learned distance belongs to its network; one in closed form is fitted anew.
        distance = EuclideanDistance() if untrained.distance.learned else untrained.distance
        return replace(untrained, backbone=backbone, distance=distance), run.data
    from siamese.inference.pretrained import pretrained_bundle

    parts = pretrained_bundle().components
    splits = [split for split in run.data.datasets if split != "train"]
    return parts, _cropped_for(parts, run.data, splits, cache)


@torch.no_grad()
def gather_statistics(backbone: Backbone, data: CropDataset) -> None:
    """What training batches tell a network by passing through it, its weights unchanged.

    Batch normalisation and whitening keep statistics; without any, they would make the baseline
    worse than it is. Those that came with the network stay.
    """
    keeping = [m for m in backbone.modules() if _count(m) is not None]
    came = {m: copy.deepcopy(m.state_dict()) for m in keeping if _count(m)}
    if len(came) == len(keeping):
        return
    was_training = [m.training for m in backbone.modules()]
    backbone.train()
    for module in came:
        if isinstance(module, _BatchNorm):  # what comes after it is to see what it gives at use
            module.eval()
    # Not in order, which is that of the identities: a batch would be of a few alone.
    order = np.random.default_rng(0).permutation(len(data))
    plans = itertools.cycle(order[i : i + EVAL_BATCH] for i in range(0, len(order), EVAL_BATCH))
    with torch.random.fork_rng(devices=[]):  # of dropout
        torch.manual_seed(0)
        for rows in itertools.islice(plans, PASSED):
            if len(rows) > 1:  # of one image there are none
                backbone(data[BatchPlan(rows)]["image"])
    for module, state in came.items():
        module.load_state_dict(state)
    for module, training in zip(backbone.modules(), was_training, strict=True):
        module.training = training


def _count(module: nn.Module) -> int | None:
    """How many batches its statistics are of; None for a module without any."""
    found = module.batches if isinstance(module, Whitening) else None
    if isinstance(module, _BatchNorm) and module.track_running_stats:
        found = module.num_batches_tracked
    return None if found is None else int(found)


def _cropped_for(
    parts: Components, data: EvaluationData, splits: Sequence[str], cache: str | Path | None
) -> EvaluationData:
    """The images of some splits as another network sees them, each one kept."""
    manifest = replace(
        data.manifest,
        splits={k: v for k, v in data.manifest.splits.items() if k in splits},
        pairs={k: v for k, v in data.manifest.pairs.items() if k in splits},
    )
    cropper = with_no_face(parts.cropper, "whole_image")
    prepared = prepare_once(manifest, cropper, cache=cache, bad_images="quarantine", progress=False)
    if any(len(prepared.splits[s].crops) != len(data.datasets[s]) for s in splits):
        raise CalibrationError("it does not see the same images: some were left out")
    return EvaluationData.of_prepared(manifest, prepared, data.pair_rules)


def _compared(name: str, baseline: RunEvaluation, run: RunEvaluation) -> Baseline:
    """The figures of the splits that were not trained on, and what the run gained."""
    shown = {s: e for s, e in baseline.evaluations.items() if s != "train"}
    gain = {}
    for split in shown:
        interval: Interval | None = gain_in_auc(run.distances[split], baseline.distances[split])
        observed = run.evaluations[split].auc - shown[split].auc
        gain[split] = (observed, *(interval or (None, None)))
    return Baseline(name, shown, gain)


def note_on_training(run: RunEvaluation) -> str | None:
    """In one sentence whether training helped, and whether fixed descriptors do as well.

    Judged on the test identities, or, without any, on those that the threshold was chosen on.
    """
    split = judged_split(run)
    known = {b.name: b for b in run.baselines if split in b.gain}
    if "untrained" not in known:
        return None
    area = f"ROC AUC of the {split} identities {run.evaluations[split].auc:.3f}"
    parts: list[str] = []
    for name, baseline in known.items():
        beside = f"{baseline.evaluations[split].auc:.3f}, {_difference(baseline.gain[split])}"
        if name == "untrained":
            helped = _helped(baseline.gain[split])
            parts.insert(0, f"{helped} ({area}; {BASELINES[name]} {beside})")
        else:
            verdict = COMPARED[_sign(baseline.gain[split])]
            parts.append(f"{verdict} {BASELINES[name]} ({beside})")
    return "; ".join(parts)


def judged_split(run: RunEvaluation) -> str:
    """The split whose figures say how good a run is."""
    return "test" if "test" in run.evaluations else run.operating_point.split


def _sign(gain: tuple[float, float | None, float | None]) -> int:
    """1 where the run is better, -1 where it is worse, 0 where that is not known."""
    _, low, high = gain
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


def _helped(gain: tuple[float, float | None, float | None]) -> str:
    said = {1: "training helped", -1: "training did harm"}
    return said.get(_sign(gain), "whether training helped is not certain")


def _difference(gain: tuple[float, float | None, float | None]) -> str:
    observed, low, high = gain
    if low is None:
        return f"{observed:+.3f}"
    return f"{observed:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
