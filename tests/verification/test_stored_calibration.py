"""What a bundle keeps of a calibration.

Exact counts at every threshold that was asked for, from streamed and thinned curves too.
"""

import numpy as np
import pytest
from tests.strategies import crowd

from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.calibration import Calibration
from siamese.verification.curves import ThresholdCurve
from siamese.verification.measure import measure_pairs
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate_pairs

POLICIES = [
    MaxF1(),
    MaxF1(prevalence="balanced"),
    Eer(),
    Fmr(0.01),
    Recall(0.9),
    MaxAccuracy(),
    Cost(1000, prevalence=1e-4),
]


@pytest.fixture(scope="module")
def both():
    rows, labels = crowd(400, 60, 12)
    return StreamedDistances(rows, labels, EuclideanDistance()), measure_pairs(
        rows, labels, AllPairs(), EuclideanDistance(), limit=10**9
    )


@pytest.mark.filterwarnings("ignore:policy .* refuses every genuine pair")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_streamed_calibration_is_stored_and_restored_whole(both, policy):
    streamed, held = both
    calibration = calibrate_pairs(streamed, policy)
    # Most chosen thresholds lie between two of the curve's: it would not be restored without their
    # own counts.
    again = Calibration.restore(calibration.point, calibration.to_dict(), calibration.arrays())
    assert (
        again.curve.at(again.threshold)
        == held.count_verdicts(again.threshold)
        == again.point.confusion
    )
    assert again.with_policy(calibration.threshold).confusion == calibration.confusion


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_keeps_everything_to_the_last_bit(both, which, tmp_path):
    found = calibrate_pairs(both[which], Fmr(0.01))
    again = Calibration.load(found.save(tmp_path / "found.npz"))
    assert (again.point, again.probability) == (found.point, found.probability)
    assert again.band == found.band
    assert again.curve.resolution == found.curve.resolution
    for name, part in found.arrays(whole=True).items():
        assert again.arrays(whole=True)[name].dtype == part.dtype
        assert (again.arrays(whole=True)[name] == part).all()
    for policy in (MaxF1(), Eer(), 4.0):
        assert again.with_policy(policy).point == found.with_policy(policy).point
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.npz"]


def test_a_file_that_is_no_calibration_is_refused_by_its_name(both, tmp_path):
    good = calibrate_pairs(both[1], intervals=False).save(tmp_path / "good.npz")
    (tmp_path / "half.npz").write_bytes(good.read_bytes()[:500])
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").touch()
    with np.load(good) as file:
        parts = dict(file)
    np.savez(tmp_path / "altered.npz", **parts | {"tp": parts["tp"][::-1]})
    np.savez(tmp_path / "pickle.npz", **parts | {"tp": np.array([{}])})
    for name in ("half", "other", "text", "empty", "altered", "pickle", "absent"):
        with pytest.raises(CalibrationError, match=f"{name}.npz: "):
            Calibration.load(tmp_path / f"{name}.npz")
    with pytest.raises(CalibrationError, match="cannot be written"):
        calibrate_pairs(both[1], intervals=False).save(tmp_path / "nowhere" / "found.npz")


def test_counts_at_thresholds_that_will_be_asked_for_are_exact(both):
    streamed, held = both
    asked = [float(d) for d in np.random.default_rng(0).choice(held.distances, 50, replace=False)]
    calibration = calibrate_pairs(streamed, beside=tuple(asked), intervals=False, probability=None)
    plain = calibrate_pairs(streamed, intervals=False, probability=None)
    expected = [held.count_verdicts(t) for t in asked]
    assert [calibration.with_policy(t).confusion for t in asked] == expected
    # Otherwise the test tells nothing.
    assert [plain.with_policy(t).confusion for t in asked] != expected


@pytest.mark.parametrize("refuses", [False, True])
def test_a_thinned_curve_is_fine_and_exact_and_keeps_the_threshold_and_the_end(refuses):
    rng = np.random.default_rng(0)
    distances = rng.uniform(1, 2, 20_000).astype(np.float32)
    same = rng.random(20_000) < 0.3
    whole = ThresholdCurve.of(distances, same)
    below = np.nextafter(whole.thresholds[0], np.float32(0))
    if refuses:  # as a streamed curve begins: below all distances
        whole = ThresholdCurve(
            *(
                np.insert(part, 0, first)
                for part, first in ((whole.thresholds, below), (whole.tp, 0), (whole.fp, 0))
            )
        )
    assert whole.thin(limit=len(whole.thresholds)) is whole
    for keep in whole.thresholds[[1, 777, 12_345]].tolist():
        thin = whole.thin(keep, limit=1000)
        assert thin.is_valid
        assert 500 < len(thin.thresholds) < 2500
        assert keep in thin.thresholds
        assert all(thin.at(t) == whole.at(t) for t in thin.thresholds.tolist())
        assert (thin.tp[0], thin.fp[0]) == (0, 0)
        assert (thin.genuine, thin.impostor) == (whole.genuine, whole.impostor)
        assert np.diff(thin.thresholds[1:]).max() <= thin.resolution * thin.thresholds[-1]
    assert whole.thin(limit=1000).resolution == 2**-10
