"""siamese.calibrate on arrays from anywhere.

The same answer for every kind of array; unusable input refused with its remedy.
"""

import numpy as np
import pytest
import torch
from tests.helpers import assert_says

from siamese.distances.euclidean import EuclideanDistance
from siamese.errors import CalibrationError, ConfigError, SiameseError
from siamese.notices import forget_what_was_said
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.confusion import count_verdicts
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.thresholds import calibrate


def identities(count=10, each=4, d=4, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(count), each)
    return rng.normal(size=(count, d))[who] + spread * rng.normal(size=(len(who), d)), who


@pytest.fixture(params=["held", "streamed"])
def either(request, monkeypatch):
    """Both ways to compare."""
    if request.param == "streamed":
        monkeypatch.setattr("siamese.verification.measure.HELD", 0)


def without(rows, value):
    rows = rows.copy()
    rows[3, 1] = value
    return rows


ROWS, WHO = identities()
UNUSABLE = [
    (without(ROWS, np.nan), WHO, "max_f1", ["1 of 40 embeddings", "leave these images out"]),
    (without(ROWS, np.inf), WHO, "max_f1", ["1 of 40 embeddings", "leave these images out"]),
    (ROWS[:, 0], WHO, "max_f1", ["(40,)", "give (N, D)"]),
    (ROWS[None], WHO, "max_f1", ["(1, 40, 4)", "give (N, D)"]),
    (ROWS[:, :0], WHO, "max_f1", ["(40, 0)", "give (N, D)"]),
    (ROWS + 1j, WHO, "max_f1", ["complex", "give real"]),
    ([["a", "b"]] * 40, WHO, "max_f1", ["give (N, D) numbers"]),
    (ROWS, WHO[:-1], "max_f1", ["40 embeddings", "(39,)", "one identity for each"]),
    (ROWS, np.where(WHO == 0, np.nan, WHO), "max_f1", ["NaN", "number or name"]),
    (ROWS, [None] * 40, "max_f1", ["missing", "number or name"]),
    (ROWS, ["a", float("nan")] * 20, "max_f1", ["missing", "number or name"]),
    (ROWS, [1, "1"] * 20, "max_f1", ["several types", "strings"]),
    (ROWS, np.zeros(40), "max_f1", ["780 genuine and 0 impostor", "several identities"]),
    (ROWS, np.arange(40), "max_f1", ["0 genuine and 780 impostor", "two images or more"]),
    (np.zeros((0, 4)), [], "max_f1", ["0 genuine and 0 impostor", "two images"]),
    (ROWS[:1], WHO[:1], "max_f1", ["0 genuine and 0 impostor", "two images"]),
    (
        ROWS,
        WHO,
        Fmr(1e-4),
        ["0.0001", "720 impostor", "rule of 30", "300,000", "0.042", "more identities"],
    ),
    (ROWS[:5], WHO[:5], Fmr(0.5), ["4 impostor", "these support none"]),
    (ROWS * 1e200, WHO, "max_f1", ["too large", "divide"]),
    (ROWS * 1e-200, WHO, "max_f1", ["too small", "divide"]),
]


@pytest.mark.parametrize(("rows", "who", "policy", "words"), UNUSABLE)
def test_what_cannot_be_calibrated_on_is_refused_with_the_remedy(either, rows, who, policy, words):
    with pytest.raises(CalibrationError) as error:
        calibrate(rows, who, policy)
    assert_says(error.value, *words)


def test_all_pairs_are_advised_only_where_they_were_not_taken():
    for pairs, advised in (("all_pairs", False), ("balanced_pairs", True)):
        with pytest.raises(CalibrationError) as error:
            calibrate(ROWS, WHO, Fmr(1e-4), pairs=pairs)
        assert ("--pairs all_pairs), or on more identities" in str(error.value)) == advised
        assert ("; calibrate on more identities" in str(error.value)) != advised


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"policy": "max_f2"}, ["did you mean 'max_f1'"]),
        ({"policy": {"name": "fmr", "rat": 0.1}}, ["did you mean 'rate'"]),
        ({"policy": 0.5}, ["0.5 is a threshold, not a policy", "with_policy"]),
        ({"policy": None}, ["choose one of", "max_f1"]),
        ({"distance": "euclidian"}, ["did you mean 'euclidean'"]),
        ({"pairs": "all"}, ["all_pairs"]),
        ({"probability": "isotone"}, ["did you mean 'isotonic'"]),
        ({"distance": "learned"}, ["has weights", "in Python", "give the trained object"]),
        ({"policy": Fmr}, ["Fmr is a class", "Fmr()"]),
        ({"pairs": AllPairs}, ["AllPairs is a class", "AllPairs()"]),
        ({"policy": "fmr,rate=0.1"}, ["how the command writes", "siamese.Fmr(...)"]),
        ({"seed": -1}, ["seed must be a whole number"]),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_one(settings, words):
    with pytest.raises(ConfigError) as error:
        calibrate(ROWS, WHO, **settings)
    assert_says(error.value, *words)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fmr(0),
        lambda: Fmr("a"),
        lambda: Recall(1.2),
        lambda: Recall(True),
        lambda: Cost(-1),
        lambda: Cost(1, float("inf")),
        lambda: MaxF1(prevalence="obs"),
        lambda: MaxF1(prevalence=float("nan")),
        lambda: MaxF1(prevalence=None),
        lambda: MaxAccuracy(prevalence=1),
    ],
)
def test_a_policys_settings_are_checked_where_they_are_given(make):
    with pytest.raises(ConfigError) as error:
        make()
    assert_says(error.value, "must be")


def test_every_kind_of_array_gives_the_same_answer(either):
    rows, names = ROWS.astype(np.float32), np.array([f"identity {w}" for w in WHO])
    expected = calibrate(rows, names)
    wide = torch.tensor(rows, requires_grad=True)
    for embeddings, who in (
        (wide, torch.tensor(WHO)),
        (rows.tolist(), names.tolist()),
        (rows.astype(np.float64), WHO.astype(float)),
    ):
        found = calibrate(embeddings, who)
        assert found.point.to_dict() == expected.point.to_dict()
        assert found.probability == expected.probability
    assert wide.grad is None
    for half in (torch.float16, torch.bfloat16):
        few_bits = torch.tensor(rows).to(half)
        expected = calibrate(few_bits.double(), WHO).threshold
        assert calibrate(few_bits, WHO).threshold == expected
    whole = (ROWS * 100).astype(int)
    assert calibrate(whole, WHO).threshold == calibrate(whole.astype(float), WHO).threshold


def test_a_strangers_numbers_are_not_changed():
    rows, who = ROWS.copy(), WHO.copy()
    calibrate(rows, who)
    assert (rows == ROWS).all()
    assert (who == WHO).all()


def test_whole_numbers_that_a_float_would_make_equal_are_different_identities():
    with pytest.warns(UserWarning, match="accepts every pair|one identity"):
        point = calibrate(np.zeros((60, 2)), [2**63, 2**63 + 1, -1] * 20).point
    assert (point.identities, point.genuine) == (3, 3 * 190)


def test_the_rate_that_an_error_names_is_supported():
    for impostor in range(31, 1500):
        with pytest.raises(CalibrationError) as error:
            Fmr(1e-6).check(1, impostor)
        rate = float(str(error.value).split("support is ")[1].split(";")[0])
        if rate < 1:
            Fmr(rate).check(1, impostor)


def test_without_intervals_nothing_is_said_about_identities_that_were_not_there():
    found = calibrate(ROWS, WHO, intervals=False)
    with pytest.raises(CalibrationError, match="intervals=False"):
        found.is_uncertain(1.0)
    assert found.shift_from(calibrate(ROWS, WHO)) is None
    for judge in (calibrate(ROWS, WHO).is_uncertain, found.probability):
        for wrong, words in (
            (np.nan, "not a number"),
            ("near", "no distance"),
            (None, "NaN|no distance"),
        ):
            with pytest.raises(CalibrationError, match=words):
                judge(wrong)


@pytest.mark.filterwarnings("ignore:one identity has")
def test_all_distances_equal_accepts_everything_and_says_so(either):
    for rows in (np.ones((40, 4)), np.zeros((40, 4))):
        forget_what_was_said()
        with pytest.warns(
            UserWarning, match="accepts every pair of split 'calibration'.*are they all alike"
        ):
            found = calibrate(rows, WHO)
        assert (found.threshold, found.confusion.tp, found.confusion.fp) == (0.0, 60, 720)
        assert found.probability(0.0) == pytest.approx(60 / 780)


def test_perfect_separation_is_found_and_claims_no_certainty(either):
    found = calibrate(WHO[:, None] * 9.0 + ROWS * 0.01, WHO)
    assert (found.f1, found.confusion.fp, found.confusion.fn) == (1.0, 0, 0)
    assert 0.9 < found.probability(0.01) < 1
    assert 0 < found.probability(20.0) < 0.01


@pytest.mark.parametrize("policy", [MaxAccuracy(prevalence=0.001), Cost(1000)])
def test_a_policy_that_is_best_served_by_refusing_everybody_says_so(either, policy):
    # Two images of different identities are alike to the last bit: nothing can be accepted without
    # them.
    rows = np.concatenate([ROWS, ROWS[:1]])
    with pytest.warns(
        UserWarning, match=r"refuses every genuine pair \(all 60\).*another prevalence"
    ):
        found = calibrate(rows, np.append(WHO, 99), policy)
    assert (found.confusion.tp, found.confusion.fp) == (0, 0)
    assert found.threshold < 0
    assert np.isfinite(
        [found.threshold, *found.point.figures.values(), found.probability(0.1)]
    ).all()


def test_three_identities_are_enough_for_a_threshold_and_too_few_for_an_interval(either):
    found = calibrate(ROWS[:12], WHO[:12])
    assert (found.band, found.point.ci95) == (None, {})
    with pytest.raises(CalibrationError, match="fewer than 5 identities"):
        found.is_uncertain(1.0)


@pytest.mark.parametrize("policy", [MaxF1(), Eer(), Recall(0.9), MaxF1(prevalence=0.3)])
def test_nothing_that_is_stated_is_nan_and_intervals_hold_the_figure(either, policy):
    found = calibrate(*identities(30, 5, spread=0.8), policy)
    assert set(found.point.ci95) == {"threshold", "recall", "fmr", "precision", "f1", "accuracy"}
    for name, (low, high) in found.point.ci95.items():
        value = found.threshold if name == "threshold" else found.point.figures[name]
        assert low <= value <= high
    low, high = found.band
    assert found.is_uncertain(np.array([low, high, found.threshold])).all()
    assert not found.is_uncertain(np.nextafter(high, 99))


def test_another_policy_later_is_the_one_asked_for_at_once(either):
    embeddings, who = identities(30, 5, spread=0.8)
    found = calibrate(embeddings, who)
    for policy in (
        Eer(),
        Fmr(0.05),
        Recall(0.8),
        "max_accuracy",
        {"name": "max_f1", "prevalence": "balanced"},
    ):
        later, at_once = found.with_policy(policy), calibrate(embeddings, who, policy)
        # A streamed curve keeps thresholds 0.1 % apart; the counts at them are exact.
        assert later.threshold == pytest.approx(at_once.threshold, rel=1e-3)
        d = EuclideanDistance().between(
            torch.tensor(embeddings), *(lambda p: (p.left, p.right))(AllPairs()(who))
        )
        assert later.confusion == count_verdicts(d, AllPairs()(who).same, later.threshold)
        assert later.point.settings == at_once.point.settings
    given = found.with_policy(1.25)
    assert (given.threshold, given.point.policy) == (1.25, "given")
    assert given.point.target_prevalence == found.point.target_prevalence
    grid = np.linspace(0, 5, 50)
    assert given.probability(grid) == pytest.approx(found.probability(grid))
    assert given.band[0] <= 1.25 <= given.band[1]
    for number in (-1.0, 1e9):  # below and beyond all distances nothing is open
        assert found.with_policy(number).band == (number, number)
    for number in (float("nan"), float("inf")):
        with pytest.raises(SiameseError, match="finite"):
            found.with_policy(number)
