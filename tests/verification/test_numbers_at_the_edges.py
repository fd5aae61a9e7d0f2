"""Numbers of every kind and size: the right answer, or one line that says what to do.

The oracle is plain float64 arithmetic, pair by pair, and fractions where thresholds are compared.
"""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from tests.helpers import assert_says

from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.distances.verdict import is_match
from siamese.errors import CalibrationError, ConfigError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import Pairs
from siamese.pairs.fixed_pairs import FixedPairs
from siamese.pairs.ordered_pairs import OrderedPairs
from siamese.training.metrics import VerificationThreshold
from siamese.verification.calibration import Calibration
from siamese.verification.confusion import count_verdicts
from siamese.verification.curves import ThresholdCurve
from siamese.verification.figures import evaluate_pairs
from siamese.verification.folds import cross_validate
from siamese.verification.groups import evaluate_groups
from siamese.verification.measure import measure_pairs
from siamese.verification.paired import compare_pairs
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.precision import Precision
from siamese.verification.policies.recall import Recall
from siamese.verification.thresholds import calibrate, max_f1

WHO = np.repeat(np.arange(8), 4)
_RNG = np.random.default_rng(0)
# Numbers that every kind of floating point holds, but for those of 8 bits.
ROWS = torch.tensor(_RNG.normal(size=(8, 4))[WHO] + 0.5 * _RNG.normal(size=(32, 4)))
ROWS = ROWS.bfloat16().double().numpy()
TENSOR = torch.tensor(ROWS)
LEFT, RIGHT = np.triu_indices(32, 1)
SAME = WHO[LEFT] == WHO[RIGHT]
EXACT = np.sqrt(((ROWS[LEFT] - ROWS[RIGHT]) ** 2).sum(axis=1))
DISTANCES = EXACT.astype(np.float32)


@pytest.fixture(autouse=True)
def _no_warning():
    """Nothing overflows, loses a part or is cast behind the user's back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="policy|one identity")
        yield


def best_f1(distances, same):
    """Among all distances, by fractions: the highest F1, and the smallest threshold that has it."""
    genuine = int(same.sum())

    def f1(t):
        accepted = distances <= t
        return Fraction(2 * int((accepted & same).sum()), int(accepted.sum()) + genuine)

    return max(f1(t) for t in np.unique(distances))


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2)] * 32)


def quantized(numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.as_tensor(numbers).float(), 0.1, 0, torch.qint8)


def negated(numbers):
    """A tensor that torch keeps as the negative of another."""
    return torch.complex(torch.zeros_like(numbers), -numbers).conj().imag


SAME_ROWS = {
    "gradient": TENSOR.clone().requires_grad_(),
    "of a graph": TENSOR.clone().requires_grad_() * 1,
    "float16": TENSOR.half(),
    "bfloat16": TENSOR.bfloat16(),
    "longdouble": ROWS.astype(np.longdouble),
    "big-endian": ROWS.astype(">f4"),
    "big-endian half": ROWS.astype(">f2"),
    "fortran": np.asfortranarray(ROWS),
    "negative strides": np.ascontiguousarray(ROWS[::-1, ::-1])[::-1, ::-1],
    "negative bit": negated(TENSOR),
    "strided": TENSOR.repeat_interleave(2, 1)[:, ::2],
    "rows": list(TENSOR.half().requires_grad_()),
    "fractions": [[Fraction(x) for x in row] for row in ROWS.tolist()],
    "decimals": [[Decimal(x) for x in row] for row in ROWS.tolist()],
    "objects": ROWS.astype(object),
    "nothing masked": np.ma.array(ROWS),
    "parameter": torch.nn.Parameter(TENSOR.clone()),
}
NO_ROWS = {
    "sparse": (TENSOR.to_sparse(), "to_dense()"),
    "quantized": (quantized(TENSOR), "dequantize()"),
    "meta": (TENSOR.to("meta"), "meta device"),
    "nested": (nested(), "nested"),
    "complex": (TENSOR + 0j, "give real ones"),
    "masked": (np.ma.array(ROWS, mask=ROWS > 1), "masked"),
    "strings": (ROWS.astype(str), "give (N, D) numbers"),
    "words among objects": (np.where(ROWS > 1, "1", ROWS.astype(object)), "give numbers"),
    "missing": (np.where(ROWS > 1, None, ROWS.astype(object)), "give numbers"),
    "large whole": (WHO[:, None] + 2**62, "2^53"),
    "unsigned": (torch.tensor(WHO[:, None].astype("u8") + np.uint64(2**63)), "2^53"),
    "huge whole": ([[10**400 + int(n)] for n in WHO], "numbers"),
    "beyond float64": (ROWS.astype(np.longdouble) * np.longdouble("1e4000"), "range of float64"),
    "below float64": (ROWS.astype(np.longdouble) * np.longdouble("1e-4000"), "range of float64"),
    "dates": (ROWS.astype("M8[s]"), "give (N, D) numbers"),
    "one number": (np.float64(3), "give (N, D)"),
    "1e38": (ROWS * 1e38, "too large"),
    "1e-20": (ROWS * 1e-20, "too small"),
    "1e-45": (np.float32(1e-45) * WHO[:, None].astype("f4"), "too small"),
}


@pytest.mark.parametrize("rows", SAME_ROWS.values(), ids=SAME_ROWS)
def test_embeddings_of_every_kind_are_measured_alike(rows):
    assert (measure_pairs(rows, WHO).distances == DISTANCES).all()
    assert (EuclideanDistance().between(rows, LEFT, RIGHT) == DISTANCES).all()
    assert calibrate(rows, WHO, intervals=False).f1 == float(best_f1(DISTANCES, SAME))
    assert (EuclideanDistance().matrix(rows, ROWS).numpy()[LEFT, RIGHT] == DISTANCES).all()


@pytest.mark.parametrize(("rows", "words"), NO_ROWS.values(), ids=NO_ROWS)
def test_embeddings_that_cannot_be_read_are_refused(rows, words):
    for use in (calibrate, measure_pairs):
        with pytest.raises(CalibrationError) as error:
            use(rows, WHO)
        assert_says(error.value, words)
    if not words.startswith("too "):
        with pytest.raises(CalibrationError) as error:
            EuclideanDistance().between(rows, [0], [1])


def test_metrics_read_the_same_tensors():
    known = VerificationThreshold()
    known.update(TENSOR, torch.tensor(WHO))
    far = torch.tensor(WHO.astype("u8") + np.uint64(2**64 - 9))
    rows = torch.arange(32).to(torch.uint64)
    for embeddings, labels in ((SAME_ROWS["gradient"], far), (SAME_ROWS["negative bit"], far)):
        metric = VerificationThreshold()
        metric.update(embeddings, labels, rows)
        assert metric.compute() == known.compute()
    for name in ("sparse", "quantized", "meta", "nested", "complex"):
        with pytest.raises(CalibrationError) as error:
            VerificationThreshold().update(NO_ROWS[name][0], torch.tensor(WHO))
        assert_says(error.value, NO_ROWS[name][1])


SAME_WHO = {
    "bfloat16": torch.tensor(WHO).bfloat16(),
    "gradient": torch.tensor(WHO).double().requires_grad_(),
    "big-endian": WHO.astype(">i8"),
    "near 2^64": WHO.astype("u8") + np.uint64(2**64 - 9),
    "0 and near 2^64": np.where(WHO == 0, np.uint64(0), WHO.astype("u8") + np.uint64(2**64 - 9)),
    "tensor near 2^64": torch.tensor(WHO.astype("u8") + np.uint64(2**64 - 9)),
    "least": WHO + np.iinfo(np.int64).min,
    "huge": [10**30 + int(n) for n in WHO],
    "among floats": [np.int64(2**53 + n) if n else 0.5 for n in WHO],
    "decimals": [Decimal(int(n)) for n in WHO],
    "ends in zeros": ["a" + "\0" * int(n) for n in WHO],
    "minus zero": WHO * np.where(np.arange(32) % 2, -1.0, 1.0) ** (WHO == 0),
    "bytes": [b"%d" % n for n in WHO],
    "days": WHO.astype("M8[D]"),
}
NO_WHO = {
    "NaN": np.where(WHO == 0, np.nan, WHO),
    "NaN of numpy": [np.float32("nan")] * 4 + WHO[4:].tolist(),
    "infinite": [float("inf")] * 4 + WHO[4:].tolist(),
    "bfloat16 NaN": torch.tensor(np.where(WHO == 0, np.nan, WHO)).bfloat16(),
    "decimal NaN": [Decimal("nan")] * 4 + WHO[4:].tolist(),
    "no day": np.where(WHO == 0, np.datetime64("NaT"), WHO.astype("M8[D]")),
    "none": None,
    "masked": np.ma.array(WHO, mask=WHO == 0),
    "bytes and names": ["a", b"a"] * 16,
    "numbers and bytes": [1, b"1"] * 16,
    "truth and names": [True, "True"] * 16,
    "sets": [{1}, {2}] * 16,
    "complex": WHO * 1j,
    "structured": np.zeros(32, [("a", "f4")]),
    "sparse": torch.tensor(WHO).to_sparse(),
    "meta": torch.tensor(WHO).to("meta"),
    "quantized": quantized(WHO),
}


@pytest.mark.parametrize("who", SAME_WHO.values(), ids=SAME_WHO)
def test_identities_of_every_kind_are_told_apart(who):
    for rows in (ROWS, TENSOR):
        for rule in (AllPairs(), BalancedPairs(), OrderedPairs()):
            assert np.array_equal(measure_pairs(rows, who, rule).pairs.same, rule(WHO).same)


@pytest.mark.parametrize("who", NO_WHO.values(), ids=NO_WHO)
def test_identities_that_are_missing_or_mixed_are_refused(who):
    for rows in (ROWS, TENSOR):
        with pytest.raises(CalibrationError) as error:
            measure_pairs(rows, who)
        assert_says(error.value, "ive" if not isinstance(who, np.ma.MaskedArray) else "leave")


def test_pair_rules_take_unsigned_labels_and_names_and_refuse_others():
    for rule in (AllPairs(), BalancedPairs(), OrderedPairs(), FixedPairs([0, 1], [1, 9], "x")):
        known = rule(WHO)
        names = np.array([f"p{n}" for n in WHO])
        for who in (SAME_WHO["0 and near 2^64"], SAME_WHO["least"], names, names.astype(object)):
            found = rule(who)
            assert (found.left == known.left).all()
            assert (found.same == known.same).all()
        mixed = np.array([1, "a"] * 16, dtype=object)
        for who in (WHO * np.nan, WHO[None], np.ma.array(WHO, mask=WHO == 1), None, mixed):
            with pytest.raises(CalibrationError):
                rule(who)
    for wrong in (2.5, "5", np.nan, True, 0, None):
        for made in (lambda w=wrong: BalancedPairs(w), lambda w=wrong: OrderedPairs(limit=w)):
            with pytest.raises(ConfigError, match="whole number"):
                made()


@pytest.mark.parametrize(
    "rows", [[0.5], [np.nan], [-1], [2**63], np.array([True]), np.ma.array([3], mask=[1]), ["3"]]
)
def test_what_are_no_row_numbers_is_refused(rows):
    for use in (
        lambda: Pairs(rows, [1], [True]),
        lambda: FixedPairs(rows, [1], "x"),
        lambda: EuclideanDistance().between(ROWS, rows, [1]),
    ):
        with pytest.raises(CalibrationError):
            use()
    for distance in (EuclideanDistance(), CosineDistance(), LearnedDistance(4).eval()):
        with pytest.raises(CalibrationError, match="there are 32"):
            distance.between(ROWS, [32], [1])
        with pytest.raises(CalibrationError, match="row by row"):
            distance.measure(ROWS[:3], ROWS[:1])
        with pytest.raises(CalibrationError, match="cannot be compared"):
            distance.matrix(ROWS, ROWS[:, :1])


@pytest.mark.parametrize(
    ("a", "b"),
    [(1e38, -1e38), (3e38, -3e38), (1e-45, 0), (1e-200, 0), (1e200, 0), (1e-30, -1e-30), (1e20, 0)],
)
def test_single_distances_are_rounded_once_from_the_true_one(a, b):
    for kind in (np.float32, np.float64):
        with np.errstate(all="ignore"):
            x, y = kind([[a]]), kind([[b]])
            true = np.float32(abs(float(x[0, 0]) - float(y[0, 0])))
        assert EuclideanDistance().measure(x, y).numpy()[0] == true


def test_rows_of_zeros_have_no_direction_and_minus_zero_is_zero():
    rows = ROWS.copy()
    rows[[3, 17]] = 0
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    points = rows / np.where(lengths, lengths, 1)
    expected = ((points[LEFT] - points[RIGHT]) ** 2).sum(axis=1) / 2
    assert measure_pairs(rows, WHO, distance="cosine").distances == pytest.approx(expected)
    other = np.where(rows == 0, -0.0, rows)
    assert calibrate(other, WHO).point.to_dict() == calibrate(rows, WHO).point.to_dict()


@pytest.mark.parametrize("held", [0, 10**6])
@pytest.mark.parametrize("exponent", [-50, 40, 90])
def test_a_power_of_two_scales_the_threshold_and_changes_nothing_else(
    monkeypatch, tmp_path, held, exponent
):
    monkeypatch.setattr("siamese.verification.measure.HELD", held)
    scale = 2.0**exponent
    one, other = calibrate(ROWS, WHO), calibrate(ROWS * scale, WHO)
    assert other.threshold == one.threshold * scale
    assert other.band == (one.band[0] * scale, one.band[1] * scale)
    assert other.confusion == one.confusion
    assert other.probability(1.2 * scale) == pytest.approx(one.probability(1.2))
    assert Calibration.load(other.save(tmp_path / "kept.npz")).threshold == other.threshold


SAME_DISTANCES = {
    "gradient": torch.tensor(DISTANCES).requires_grad_(),
    "big-endian": DISTANCES.astype(">f4"),
    "negative strides": np.ascontiguousarray(DISTANCES[::-1])[::-1],
    "longdouble": DISTANCES.astype(np.longdouble),
    "list": DISTANCES.tolist(),
}
SAME_LABELS = {
    "gradient": torch.tensor(SAME).float().requires_grad_(),
    "bfloat16": torch.tensor(SAME).bfloat16(),
    "big-endian": SAME.astype(">i4"),
}
NO_DISTANCES = {
    "sparse": torch.tensor(DISTANCES).to_sparse(),
    "quantized": quantized(DISTANCES),
    "meta": torch.tensor(DISTANCES).to("meta"),
    "complex": DISTANCES + 0j,
    "strings": DISTANCES.astype(str),
    "objects": DISTANCES.astype(object),
    "masked": np.ma.array(DISTANCES, mask=DISTANCES > 3),
    "unsigned": np.arange(496, dtype="u8") + np.uint64(2**63),
    "more digits": DISTANCES.astype(np.longdouble) / 3,
    "dates": DISTANCES.astype("M8[s]"),
    "NaN": DISTANCES * np.nan,
    "one": np.float32(1),
    "none": None,
}
NO_LABELS = {
    "words": SAME.astype(int).astype(str),
    "NaN": np.where(SAME, 1, np.nan),
    "objects": SAME.astype(object),
    "masked": np.ma.array(SAME, mask=SAME),
    "sparse": torch.tensor(SAME).to_sparse(),
}
FOLD = np.arange(496) % 4


def test_plain_distances_and_labels_of_every_kind():
    best, known = max_f1(DISTANCES, SAME), cross_validate(DISTANCES, SAME, FOLD)
    assert best.f1 == float(best_f1(DISTANCES, SAME))
    for distances in SAME_DISTANCES.values():
        assert max_f1(distances, SAME).confusion == best.confusion
        assert cross_validate(distances, SAME, FOLD).mean == known.mean
    for same in SAME_LABELS.values():
        assert max_f1(DISTANCES, same) == best
        assert cross_validate(DISTANCES, same, FOLD) == known


@pytest.mark.parametrize(
    ("distances", "same"),
    [(d, SAME) for d in NO_DISTANCES.values()] + [(DISTANCES, s) for s in NO_LABELS.values()],
    ids=[*NO_DISTANCES, *(f"labels {n}" for n in NO_LABELS)],
)
def test_plain_distances_and_labels_that_cannot_be_counted_are_refused(distances, same):
    for use in (
        lambda: max_f1(distances, same),
        lambda: ThresholdCurve.of(distances, same),
        lambda: count_verdicts(distances, same, 1.0),
        lambda: cross_validate(distances, same, FOLD),
    ):
        with pytest.raises(CalibrationError) as error:
            use()
        assert_says(error.value)


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-500, 2.0**500, 2.0**1020])
def test_plain_distances_of_any_size_have_their_best_threshold(scale):
    best, found = max_f1(EXACT, SAME), max_f1(EXACT * scale, SAME)
    assert (found.threshold, found.confusion) == (best.threshold * scale, best.confusion)
    apart = max_f1(np.where(SAME, -1.7e308, 1.7e308), SAME)
    assert apart.f1 == count_verdicts(np.where(SAME, -1.7e308, 1.7e308), SAME, 0).f1 == 1
    assert -1.7e308 <= apart.threshold < 1.7e308


THRESHOLDS = [
    -0.0,
    5e-324,
    np.float16(1.5),
    np.float32(1.3),
    np.longdouble(1.5),
    2,
    Fraction(1, 3),
    Fraction(3, 2),
    1e308,
    -1e308,
    torch.tensor(1.5, requires_grad=True),
    np.array([1.5]),
]
NO_THRESHOLDS = [
    np.nan,
    True,
    "1.5",
    Decimal("1.5"),
    None,
    1j,
    np.array([1.5, 2]),
    torch.tensor(1.5).to("meta"),
]


def plain(number):
    if isinstance(number, (torch.Tensor, np.ndarray)):
        number = number.item()
    return Fraction(float(number)) if isinstance(number, np.generic) else Fraction(number)


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda t: f"{type(t).__name__} {t!r:.9}")
def test_thresholds_of_every_kind_are_compared_as_the_numbers_that_they_are(threshold):
    accepted = sum(Fraction(float(d)) <= plain(threshold) for d in DISTANCES)
    for kind in (DISTANCES, DISTANCES.astype(">f4"), EXACT, torch.tensor(DISTANCES)):
        exact = accepted
        if kind is EXACT:
            exact = sum(Fraction(float(d)) <= plain(threshold) for d in EXACT)
        assert int(is_match(kind, threshold).sum()) == exact
    pairs = measure_pairs(ROWS, WHO)
    found = evaluate_pairs(pairs, threshold)
    assert found.confusion.tp + found.confusion.fp == accepted
    assert type(found.threshold) is float
    assert pairs.curve().at(threshold) == pairs.count_verdicts(threshold) == found.confusion


def test_whole_numbers_beyond_float64_and_infinity_accept_all_or_nothing():
    pairs = measure_pairs(ROWS, WHO)
    for most in (10**400, np.inf, -(10**400), -np.inf):
        assert is_match(DISTANCES, most).all() == (most > 0)
        assert pairs.count_verdicts(most).tp == (48 if most > 0 else 0)
        with pytest.raises(CalibrationError, match="finite"):
            evaluate_pairs(pairs, most)


@pytest.mark.parametrize("threshold", NO_THRESHOLDS, ids=lambda t: f"{type(t).__name__}")
def test_what_is_no_threshold_is_refused(threshold):
    pairs = measure_pairs(ROWS, WHO)
    for use in (
        lambda: is_match(DISTANCES, threshold),
        lambda: pairs.count_verdicts(threshold),
        lambda: pairs.curve().at(threshold),
        lambda: evaluate_pairs(pairs, threshold),
        lambda: evaluate_groups(pairs, ["a"] * 32, threshold),
        lambda: compare_pairs(pairs, pairs, threshold, 1.0),
    ):
        with pytest.raises(CalibrationError) as error:
            use()
        assert_says(error.value, "threshold")


def test_what_is_no_distance_is_refused():
    found = calibrate(ROWS, WHO)
    wrong = [NO_DISTANCES[n] for n in ("sparse", "complex", "masked")]
    for judge in (lambda d: is_match(d, 1.5), found.probability, found.is_uncertain):
        for distance in ("1", None, True, *wrong):
            with pytest.raises(CalibrationError) as error:
                judge(distance)
            assert_says(error.value)
    flat = calibrate(ROWS, WHO, probability="platt").probability
    assert 0 <= flat(1e308) <= flat(np.inf) < 1e-9 < flat(torch.tensor(1.0).bfloat16())


SHARES = [np.float32(0.25), np.float16(0.25), np.longdouble(0.25), Fraction(1, 4)]
NO_SHARES = [Decimal("0.25"), "0.25", True, 0, 1, np.nan, 1e-308, 1e308, 10**400, 1j, None]


def test_prevalences_of_every_kind_become_numbers_of_python_or_are_refused():
    pairs, fitted = measure_pairs(ROWS, WHO), calibrate(ROWS, WHO).probability
    uses = [
        lambda p: evaluate_pairs(pairs, 1.5, prevalence=p).at_prevalence["prevalence"],
        lambda p: evaluate_groups(pairs, ["a"] * 32, 1.5, prevalence=p).prevalence,
        lambda p: compare_pairs(pairs, pairs, 1.5, 1.5, prevalence=p).prevalence,
        lambda p: fitted.at(p).prevalence,
        lambda p: MaxF1(prevalence=p).describe()["prevalence"],
    ]
    for use in uses:
        for share in SHARES:
            assert (type(use(share)), use(share)) == (float, 0.25)
        for share in NO_SHARES[: -1 if use in uses[:3] else None]:
            with pytest.raises((CalibrationError, ConfigError)) as error:
                use(share)
            assert_says(error.value, "prevalence must be")
    for share in SHARES:
        assert (pairs.curve().f1(share) == pairs.curve().f1(0.25)).all()


@pytest.mark.parametrize("value", [*NO_SHARES[:4], *NO_SHARES[5:], np.inf, 5e-324, -0.0])
def test_costs_and_rates_that_no_pairs_support_are_refused(value):
    for make in (
        lambda: Cost(value, value),
        lambda: Cost(1, value),
        lambda: Fmr(value),
        lambda: Fmr(value, confidence=0.95),
        lambda: Recall(value),
        lambda: Precision(value, confidence=0.9),
        lambda: MaxF1(smooth=[] if value is None else value),
        lambda: Fmr(0.1, gallery="many" if value is None else value),
    ):
        with pytest.raises(ConfigError) as error:
            make()
        assert_says(error.value, "must be")


@pytest.mark.parametrize("size", [1e-12, Fraction(1, 3), np.float32(0.5), 1, 1e12])
def test_only_the_ratio_of_costs_chooses_and_what_is_saved_is_loaded(tmp_path, size):
    found = calibrate(ROWS, WHO, Cost(size, size))
    least = min(
        int((match & ~SAME).sum() + (~match & SAME).sum())
        for match in (t >= DISTANCES for t in [-1.0, *DISTANCES])
    )
    assert found.confusion.fp + found.confusion.fn == least
    kept = Calibration.load(found.save(tmp_path / "kept.npz"))
    assert kept.point.to_dict() == found.point.to_dict()
