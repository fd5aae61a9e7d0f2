"""What each policy promises, on photographs of real people.

Exactly where it was calibrated, within the stated interval elsewhere.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from siamese.datasets.lfw import load_lfw
from siamese.distances.euclidean import EuclideanDistance
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.figures import evaluate_pairs
from siamese.verification.measure import measure_pairs
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.thresholds import calibrate

ROOT = os.environ.get("SIAMESE_LFW")
pytestmark = pytest.mark.skipif(
    not ROOT or not Path(ROOT).is_dir(), reason="SIAMESE_LFW does not name the folder of LFW"
)


def expected_cost(policy, counts):
    """Expected cost of a verdict at the policy's prevalence, from counts on pairs."""
    genuine, impostor = counts.tp + counts.fn, counts.fp + counts.tn
    prevalence = float(policy.prevalence_of(genuine, impostor))
    return (
        policy.false_non_match * prevalence * counts.fn / genuine
        + policy.false_match * (1 - prevalence) * counts.fp / impostor
    )


@pytest.fixture(scope="module")
def halves():
    """Two groups of people, with 1,200 photographs each or a little more.

    An embedding is the photograph in grey, 14 x 14: a weak network, but a real one.
    """
    table = load_lfw(ROOT)
    often = sorted(identity for identity, n in table.counts.items() if 3 <= n <= 30)
    order = np.random.default_rng(0).permutation(len(often))
    paths = {}
    for path, identity in zip(table.paths, table.identities, strict=True):
        paths.setdefault(identity, []).append(path)
    groups, identities = [], iter(often[i] for i in order)
    for _ in range(2):
        files, names = [], []
        while len(files) < 1200:
            identity = next(identities)
            files += paths[identity]
            names += [identity] * len(paths[identity])
        images = [
            Image.open(f)
            .convert("L")
            .crop((75, 75, 175, 175))
            .resize((14, 14), Image.Resampling.BOX)
            for f in files
        ]
        rows = np.stack([np.asarray(p, dtype=np.float32).ravel() for p in images])
        rows -= rows.mean(axis=1, keepdims=True)
        groups.append(
            (torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)), np.array(names))
        )
    return groups


def judged(halves, policy):
    """A calibration on one group, counts at every distance there, and the other group's figures."""
    (embeddings, names), (others, their_names) = halves
    found = calibrate(embeddings, names, policy)
    labels = np.unique(their_names, return_inverse=True)[1]
    elsewhere = evaluate_pairs(
        measure_pairs(others, labels, AllPairs(), EuclideanDistance()), found.threshold
    )
    pairs = AllPairs()(np.unique(names, return_inverse=True)[1])
    d = EuclideanDistance().between(embeddings, pairs.left, pairs.right)
    order = np.argsort(d, kind="stable")
    last = np.append(np.diff(d[order]) > 0, True)
    tp, fp = (np.cumsum(kind[order])[last] for kind in (pairs.same, ~pairs.same))
    # The last distance that is accepted: the threshold lies between it and the next one.
    at = np.searchsorted(d[order][last].astype(float), found.threshold, side="right") - 1
    assert (found.point.tp, found.point.fp) == (tp[at], fp[at])
    return found, tp, fp, at, elsewhere


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
def test_fmr(halves, rate):
    found, tp, fp, at, elsewhere = judged(halves, Fmr(rate))
    assert fp[at] <= rate * fp[-1]
    assert tp[fp <= rate * fp[-1]].max() == tp[at]
    assert elsewhere.ci95["fmr"][0] <= rate
    low, high = found.point.ci95["fmr"]
    assert low <= rate <= high


@pytest.mark.parametrize("rate", [0.8, 0.95])
def test_recall(halves, rate):
    found, tp, fp, at, elsewhere = judged(halves, Recall(rate))
    assert tp[at] >= rate * tp[-1]
    assert fp[tp >= rate * tp[-1]].min() == fp[at]
    assert elsewhere.ci95["recall"][1] >= rate
    low, high = found.point.ci95["recall"]
    assert low <= rate <= high


def test_eer(halves):
    _, tp, fp, at, elsewhere = judged(halves, Eer())
    gap = np.abs(fp / fp[-1] - (1 - tp / tp[-1]))
    assert gap[at] == gap.min()
    false_match, false_non_match = (
        elsewhere.ci95["fmr"],
        [1 - r for r in elsewhere.ci95["recall"][::-1]],
    )
    assert max(false_match[0], false_non_match[0]) <= min(false_match[1], false_non_match[1])


@pytest.mark.parametrize(
    ("policy", "figure"),
    [
        (MaxF1(), lambda r, f, p: 2 * p * r / (p * r + (1 - p) * f + p)),
        (MaxF1(prevalence="balanced"), lambda r, f, p: r / (r + f + 1) * 2),
        (MaxAccuracy(prevalence=0.1), lambda r, f, p: 0.1 * r + 0.9 * (1 - f)),
        (Cost(10, 1, prevalence=0.3), lambda r, f, p: -(0.3 * (1 - r) + 10 * 0.7 * f)),
    ],
)
def test_the_optimum_is_one_here_and_hardly_less_than_one_there(halves, policy, figure):
    found, tp, fp, at, elsewhere = judged(halves, policy)
    p = tp[-1] / (tp[-1] + fp[-1])
    values = figure(tp / tp[-1], fp / fp[-1], p)
    assert values[at] == pytest.approx(values.max(), abs=1e-12)
    # The other people's own optimum lies where these people's might have lain.
    others, their_names = halves[1]
    own = calibrate(others, their_names, policy)
    assert max(own.band[0], found.band[0]) <= min(own.band[1], found.band[1])
    if isinstance(policy, Cost):
        best = expected_cost(policy, own.confusion)
        assert expected_cost(policy, elsewhere.confusion) <= 1.05 * best


def test_probabilities_hold_on_the_other_people(halves):
    (embeddings, names), (others, their_names) = halves
    chance = calibrate(embeddings, names, MaxF1(prevalence="balanced")).probability
    labels = np.unique(their_names, return_inverse=True)[1]
    measured = measure_pairs(others, labels, AllPairs(), EuclideanDistance())
    judged = evaluate_pairs(measured, 1.0, probability=chance).reliability
    assert judged.calibration_error < 0.06
    # Chances that are for another share of genuine pairs than they say are found out.
    mistaken = replace(chance.at(0.9), prevalence=chance.prevalence)
    assert evaluate_pairs(measured, 1.0, probability=mistaken).reliability.calibration_error > 0.1
