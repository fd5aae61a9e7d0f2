"""All pairs in a stream, the same however it is cut.

Counts and thresholds against brute force in fractions, where ties are the rule.
"""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import assert_in_the_middle, assert_says, note_passes
from tests.random_cases import THOROUGH, random_cases
from tests.strategies import crowd

from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.learned import LearnedDistance
from siamese.distances.plda import PldaDistance
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.confusion import Confusion, count_verdicts
from siamese.verification.curves import auc
from siamese.verification.measure import measure_pairs
from siamese.verification.policies import fmr
from siamese.verification.policies.cost import Cost
from siamese.verification.policies.eer import Eer
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_accuracy import MaxAccuracy
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.precision import Precision
from siamese.verification.policies.recall import Recall
from siamese.verification.streaming import cells, stream, tiles
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate_pairs


@DISTANCES.register("lifted_of_a_test")
class Lifted(EuclideanDistance):
    """Rows add something of their own to the squares of their distances."""

    def row_terms(self, rows):
        return rows.square().sum(dim=1) / 2


ANY = [EuclideanDistance(), CosineDistance(), Lifted()]
prevalences = st.sampled_from(["observed", "balanced", 0.01, 0.3, 0.9])
rates = st.sampled_from([0.05, 0.25, 1 / 3, 0.5, 0.75, 0.9])
chosen_by = st.one_of(
    st.builds(MaxF1, prevalences),
    st.builds(MaxAccuracy, prevalences),
    st.builds(Eer),
    st.builds(Recall, rates),
    st.builds(Fmr, rates),
    st.builds(Fmr, rates, gallery=st.integers(1, 9)),
    st.builds(Precision, rates, prevalences),
    st.builds(Cost, st.sampled_from([1, 2, 10]), st.sampled_from([1, 3]), prevalences),
)


@st.composite
def labelled_rows(draw, identities=4, most=14):
    """Rows on a coarse lattice: distances tie, rows coincide; at least one pair of either kind."""
    n, d = draw(st.integers(3, most)), draw(st.integers(1, 3))
    half = st.integers(-3, 3).map(lambda v: v / 2)
    rows = draw(st.lists(st.lists(half, min_size=d, max_size=d), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, identities), min_size=n, max_size=n))
    labels[:3] = [0, 0, 1]
    scale = draw(st.sampled_from([1.0, 1e-3, 0.1, 1e4]))
    return torch.tensor(rows, dtype=torch.float32) * scale + draw(
        st.sampled_from([0.0, 0.0, 100.0])
    ), np.array(labels)


def pairwise(rows, labels, distance):
    """(distance, same) of every pair, one pair at a time."""
    n = len(labels)
    return [
        (float(distance.measure(rows[i : i + 1], rows[j : j + 1])), bool(labels[i] == labels[j]))
        for i in range(n)
        for j in range(i + 1, n)
    ]


def worth(policy, tp, fp, g, i):
    """What the policy's description says is wanted, in fractions; None where it is not allowed."""
    at = getattr(policy, "prevalence", "observed")
    p = {"observed": Fraction(g, g + i), "balanced": Fraction(1, 2)}.get(at) or Fraction(str(at))
    recall, fmr = Fraction(tp, g), Fraction(fp, i)
    if isinstance(policy, MaxF1):
        if not tp:
            return Fraction(0)
        precision = p * recall / (p * recall + (1 - p) * fmr)
        return 2 * precision * recall / (precision + recall)
    if isinstance(policy, MaxAccuracy):
        return p * recall + (1 - p) * (1 - fmr)
    if isinstance(policy, Eer):
        return -abs(fmr - (1 - recall))
    # A third as a floating point number is not a third: a billionth of a pair is forgiven.
    if isinstance(policy, Recall):
        return -fmr if tp >= Fraction(str(policy.rate)) * g - Fraction(1, 10**9) else None
    if isinstance(policy, Precision):
        hit, false = p * recall, (1 - p) * fmr
        return recall if not tp + fp or hit / (hit + false) >= Fraction(str(policy.rate)) else None
    if isinstance(policy, Fmr) and policy.gallery:
        # A search with no false match among so many, each independent of the others.
        right = (1 - (Fraction(fp) - Fraction(1, 10**9)) / i) ** policy.gallery
        return tp + fp if right >= 1 - Fraction(str(policy.rate)) else None
    if isinstance(policy, Fmr):  # the largest threshold: the most pairs, of either kind
        return tp + fp if fp <= Fraction(str(policy.rate)) * i + Fraction(1, 10**9) else None
    return -(p * (1 - recall) * policy.false_non_match + (1 - p) * fmr * policy.false_match)


REFUSING = (MaxAccuracy, Cost, Fmr, Precision)  # where refusing every pair can be best


def best(policy, pairs):
    """(threshold, tp, fp) of the smallest of the best; None where every pair is refused."""
    g, i = sum(s for _, s in pairs), sum(not s for _, s in pairs)
    found = (None, 0, 0)
    highest = worth(policy, 0, 0, g, i) if isinstance(policy, REFUSING) else None
    for t in sorted({d for d, _ in pairs}):
        tp, fp = sum(s and d <= t for d, s in pairs), sum(not s and d <= t for d, s in pairs)
        value = worth(policy, tp, fp, g, i)
        if value is not None and (highest is None or value > highest):
            found, highest = (t, tp, fp), value
    return found


@random_cases(500)
@given(
    labelled_rows(),
    chosen_by,
    st.integers(1, 20),
    st.sampled_from(ANY),
    st.booleans(),
)
def test_no_threshold_beats_the_streamed_one_and_of_equals_it_is_the_smallest(
    case, policy, tile, distance, finer
):
    rows, labels = case
    pairs = pairwise(rows, labels, distance)
    threshold, tp, fp = best(policy, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmr, "RULE_OF", 0)  # these are few pairs
        if finer:  # so many pairs that bins are refined twice, and keys settled at once
            patch.setattr(stream, "LIMIT", 2)
            patch.setattr(cells, "WAITING", 3)
        found, counts, gap = StreamedDistances(rows, labels, distance, tile).choose(policy)
    assert (counts.tp, counts.fp, counts.total) == (tp, fp, len(pairs))
    if threshold is None:
        assert found < min(d for d, _ in pairs)
        assert gap is None
        return
    every = np.array([d for d, _ in pairs], dtype=np.float32)
    assert_in_the_middle(found, threshold, every)
    larger = every[every > threshold]
    if len(larger):  # up to the next distance all counts are the same, and no farther
        assert gap == (threshold, np.nextafter(larger.min(), np.float32(0)))
    else:
        assert gap is None


@random_cases(100)
@given(
    labelled_rows(),
    st.integers(1, 20),
    st.sampled_from(ANY),
    st.data(),
)
def test_counts_are_those_of_single_pairs_at_every_threshold(case, tile, distance, data):
    rows, labels = case
    pairs, streamed = (
        pairwise(rows, labels, distance),
        StreamedDistances(rows, labels, distance, tile),
    )
    d, same = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    some = float(data.draw(st.sampled_from(d.tolist())))
    for t in (
        some,
        np.nextafter(some, -9),
        np.nextafter(some, 9),
        some * 1.3,
        -1.0,
        -0.0,
        1e30,
        float(np.float32(some / 2)),
    ):
        assert streamed.count_verdicts(float(t)) == count_verdicts(d, same, float(t))
    curve = streamed.curve()
    assert (curve.genuine, curve.impostor) == (same.sum(), (~same).sum())
    for t, tp, fp in zip(
        curve.thresholds.tolist(), curve.tp.tolist(), curve.fp.tolist(), strict=True
    ):
        c = count_verdicts(d, same, t)
        assert (c.tp, c.fp) == (tp, fp)


@random_cases(100)
@given(labelled_rows(), st.integers(1, 20), st.integers(1, 8))
def test_the_extremes_are_the_closest_impostor_and_the_fmrthest_genuine_pairs(case, tile, count):
    rows, labels = case
    pairs = pairwise(rows, labels, EuclideanDistance())
    left, right, found = StreamedDistances(rows, labels, EuclideanDistance(), tile).extremes(count)
    same = labels[left] == labels[right]
    assert sorted(found[~same].tolist()) == sorted(d for d, s in pairs if not s)[:count]
    farthest = sorted((d for d, s in pairs if s), reverse=True)[:count]
    assert sorted(found[same].tolist()) == farthest[::-1]
    assert found.tolist() == [
        float(EuclideanDistance().measure(rows[[i]], rows[[j]]))
        for i, j in zip(left, right, strict=True)
    ]
    shown = StreamedDistances(rows, labels, EuclideanDistance(), tile).pairs_to_show(count)
    sides = shown.pairs.left.tolist(), shown.pairs.right.tolist()
    assert len({frozenset(pair) for pair in zip(*sides, strict=True)}) == len(shown.pairs)


EVERY = (
    MaxF1(),
    MaxF1(prevalence="balanced"),
    MaxAccuracy(),
    MaxAccuracy(prevalence=0.4),
    Eer(),
    Fmr(1e-3),
    Fmr(0.05),
    Recall(0.9),
    Cost(10, 1, prevalence="balanced"),
)


@pytest.mark.random_cases
@pytest.mark.parametrize(
    "distance", [*ANY, PldaDistance.fit(*crowd(400, 100, seed=3), shrinkage=0.5)]
)
def test_tiles_and_threads_change_no_bit_and_held_pairs_give_the_same(distance):
    rows, labels = crowd()
    held = measure_pairs(rows, labels, AllPairs(), distance, limit=10**9)
    expected = [held.choose(policy) for policy in EVERY]
    before = torch.get_num_threads()
    try:
        step = 1 if THOROUGH else 3
        cases = ((1, 64), (1, 768), (2, 97), (2, 768), (1, 10_000), (5, 30))
        for number, (threads, tile) in enumerate(cases):
            torch.set_num_threads(threads)
            streamed = StreamedDistances(rows, labels, distance, tile)
            assert [streamed.choose(policy) for policy in EVERY] == expected
            # Each policy, on some tiles, as the first that a stream is asked for.
            for k in range(number % step, len(EVERY), step):
                policy, choice = EVERY[k], expected[k]
                assert StreamedDistances(rows, labels, distance, tile).choose(policy) == choice
    finally:
        torch.set_num_threads(before)
    shuffled = np.random.default_rng(1).permutation(len(labels))
    assert [
        StreamedDistances(rows[shuffled], labels[shuffled], distance).choose(p) for p in EVERY
    ] == expected


def test_a_learned_distance_is_streamed_pair_by_pair():
    torch.manual_seed(0)
    distance = LearnedDistance(8).eval()
    rows, labels = crowd(40, 8, 8)
    held = measure_pairs(rows, labels, AllPairs(), distance, limit=10**9)
    streamed = StreamedDistances(rows, labels, distance, tile=9)
    for policy in (MaxF1(), Eer(), Recall(0.5)):
        assert streamed.choose(policy) == held.choose(policy)


def miscounted(rows, labels, policies=EVERY, tile=tiles.TILE):
    """Whether counts or thresholds are not those of pairs that are held, measured one by one."""
    held = measure_pairs(rows, labels, AllPairs(), EuclideanDistance(), limit=10**9)
    streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile)
    curve = streamed.curve()
    exact = [held.count_verdicts(float(t)) for t in curve.thresholds]
    wrong = [c.fp for c in exact] != curve.fp.tolist() or [c.tp for c in exact] != curve.tp.tolist()
    return wrong or any(streamed.choose(p) != held.choose(p) for p in policies)


FEW = (MaxF1(), MaxAccuracy(prevalence=0.4), Eer(), Recall(0.9))


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("spread", [3e-3, 1e-4, 1e-7, 1e-9])
def test_rows_close_to_each_other_and_far_from_the_origin_are_counted_exactly(spread, sides):
    """There a matrix product loses most digits of a distance, or all of them.

    Where rows lie on two sides of the origin, moving them does not help.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, 300)
    far = np.where(labels % sides, 50, -50)[:, None]
    rows = torch.tensor(
        (rng.normal(size=(40, 8))[labels] + rng.normal(size=(300, 8))) * spread + far,
        dtype=torch.float64,
    )
    rows[:5] = rows[5]
    assert not miscounted(rows, labels, FEW)
    assert not miscounted(rows, labels, FEW, tile=50)


def test_the_bound_on_rounding_is_needed(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 40
    far = np.where(labels % 2, 50, -50)[:, None]  # on two sides: moving the rows does not help
    rows = torch.tensor(rng.normal(size=(300, 8)) * 3e-4 + far, dtype=torch.float64)
    assert not miscounted(rows, labels, FEW)
    monkeypatch.setattr(tiles, "UNIT", 0.0)
    assert miscounted(rows, labels, FEW)


def test_rows_are_moved_to_where_a_product_tells_their_distances(monkeypatch):
    """Far from the origin nearly every pair would have to be measured by itself."""
    rows, labels = crowd(600, 80, 8)
    measured, of = [], tiles.Tiles.measured
    monkeypatch.setattr(
        tiles.Tiles, "measured", lambda self, i, j: (measured.append(len(i)), of(self, i, j))[1]
    )
    for origin in (0, 1000):
        StreamedDistances(rows.double() + origin, labels, EuclideanDistance()).choose(MaxF1())
    assert sum(measured) < 10


def test_the_margin_at_the_ends_of_bins_is_needed(monkeypatch):
    """Without it a square's bin is taken for its distance's."""
    rows, labels = crowd(1500, 100, 4)
    assert not miscounted(rows, labels, FEW)
    monkeypatch.setattr(tiles, "MARGIN_STEPS", 0)
    assert miscounted(rows, labels, FEW)


def test_one_row_a_million_times_fmrther_out_changes_nothing_for_the_others():
    rows, labels = crowd(300, 40, 8)
    rows[7] *= 1e6
    assert not miscounted(rows, labels, FEW)
    assert not miscounted(rows, labels, FEW, tile=64)
    held = calibrate_pairs(measure_pairs(rows, labels, AllPairs(), EuclideanDistance()))
    streamed = calibrate_pairs(StreamedDistances(rows, labels, EuclideanDistance(), 64))
    assert streamed.point.confusion == held.point.confusion
    assert streamed.threshold == held.threshold
    pairs = held.point.genuine * held.point.impostor
    assert streamed.curve.auc == pytest.approx(held.curve.auc, abs=2e4 / pairs)
    assert streamed.curve.eer == pytest.approx(held.curve.eer, abs=2e-3)
    assert streamed.band == pytest.approx(held.band, rel=0.02)
    for policy in (Fmr(1e-3), Recall(0.9), Eer()):
        # Of a streamed curve's thresholds, 0.1 % apart, one stands for each exact one.
        assert streamed.with_policy(policy).threshold == pytest.approx(
            held.with_policy(policy).threshold, rel=1.1e-3
        )


@pytest.mark.parametrize("best", [0, 10_000, -1])
def test_a_threshold_where_none_was_expected_is_found_all_the_same(monkeypatch, best):
    rows, labels = crowd()
    # With one tile there is nothing to expect a threshold from.
    expected = StreamedDistances(rows, labels, EuclideanDistance()).choose(MaxF1())
    passes = []

    def counter(self, policy, genuine, impostor):
        edges = self._tiles.edges
        found = cells.Cells.of_bins(edges, genuine, impostor).select_cells(
            np.array([best % len(edges)])
        )
        return cells.Counter(found.start, found.end, 0)

    monkeypatch.setattr(StreamedDistances, "_expect", counter)
    note_passes(monkeypatch, passes)
    streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile=100)
    assert streamed.choose(MaxF1()) == expected
    assert passes[-1] == ()  # over all tiles, once more


def test_where_it_is_expected_one_pass_is_enough(monkeypatch):
    rows, labels = crowd(2000, 300)
    passes = []
    note_passes(monkeypatch, passes)
    StreamedDistances(rows, labels, EuclideanDistance(), tile=400).choose(MaxF1())
    assert () not in passes


@pytest.mark.parametrize("threads", [1, 3, tiles.MAX_THREADS + 2])
def test_an_error_in_a_thread_is_raised_and_the_number_of_threads_stays(monkeypatch, threads):
    rows, labels = crowd()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        monkeypatch.setattr(StreamedDistances, "_count", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            StreamedDistances(rows, labels, EuclideanDistance(), tile=50).curve()
        assert torch.get_num_threads() == threads
        with ThreadPoolExecutor(1) as pool:  # nor does a thread that starts later have fewer
            assert pool.submit(torch.get_num_threads).result() == threads
    finally:
        torch.set_num_threads(before)


def test_fmr_takes_the_most_genuine_pairs_that_the_rate_allows_and_needs_30_expected_errors():
    rows, labels = crowd()
    pairs = AllPairs()(labels)
    d = EuclideanDistance().between(rows, pairs.left, pairs.right)
    streamed = StreamedDistances(rows, labels, EuclideanDistance())
    for rate in (0.1, 0.01, 1e-3, 3e-4):
        # The first impostor pair too many.
        allowed = np.sort(d[~pairs.same])[int(rate * pairs.impostor)]
        found, counts, _ = streamed.choose(Fmr(rate))
        assert counts.fp <= rate * pairs.impostor
        assert counts.tp == np.count_nonzero(d[pairs.same] < allowed)
        assert_in_the_middle(found, d[d < allowed].max(), d)
    with pytest.raises(CalibrationError) as error:
        streamed.choose(Fmr(1e-5))
    assert_says(error.value, "1e-05", "rule of 30", "3,000,000", "more identities")


@pytest.mark.parametrize(
    ("scale", "words"),
    [(3e38, "too large"), (1e300, "too large"), (1e-32, "too small"), (1e-310, "too small")],
)
def test_numbers_whose_distances_float32_cannot_hold_are_refused_with_a_remedy(scale, words):
    rows = torch.tensor([[0.3], [-1.0], [0.0]], dtype=torch.float64) * scale
    with pytest.raises(CalibrationError) as error:
        StreamedDistances(rows, np.array([0, 0, 1]), EuclideanDistance())
    assert_says(error.value, words, "divide them by their largest norm")


def test_the_equal_error_rate_is_exact_between_the_curves_thresholds():
    for seed in range(20):
        rows, labels = crowd(200, 30, 4, seed)
        held = measure_pairs(rows, labels, AllPairs(), EuclideanDistance())
        streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile=60)
        assert streamed.eer() == held.eer()


def test_a_learned_distance_that_saturates_is_told_apart_where_the_area_hangs_on_it():
    class Saturated(LearnedDistance):
        def forward(self, a, b):
            return torch.sigmoid(12 + 0.5 * torch.linalg.vector_norm(a.float() - b.float(), dim=1))

    rows, labels = crowd(200, 30, 4)
    DISTANCES._classes["saturated"] = Saturated
    try:
        held = measure_pairs(rows, labels, AllPairs(), Saturated(4))
        streamed = StreamedDistances(rows, labels, Saturated(4), tile=60)
        assert auc(held.curve()) - auc(streamed.binned()) > 0.1  # all pairs lie in one bin or two
        assert auc(streamed.curve()) == pytest.approx(auc(held.curve()), abs=1e-4)
        assert streamed.eer() == held.eer()
        drawn = [bootstrap_identities(c) for c in (held, streamed)]
        assert len(drawn[1].thresholds) < len(drawn[0].thresholds)
    finally:
        del DISTANCES._classes["saturated"]


def test_rows_that_are_all_the_same_are_all_accepted():
    rows, labels = torch.full((9, 3), 0.1), np.arange(9) // 3
    for rows in (torch.full((9, 3), 0.1), torch.zeros(9, 3)):
        streamed = StreamedDistances(rows, labels, EuclideanDistance(), tile=4)
        assert streamed.choose(MaxF1()) == (0.0, Confusion(9, 27, 0, 0), None)


def test_fmr_refuses_every_pair_where_too_many_impostor_pairs_have_the_smallest_distance():
    labels = np.arange(40) // 2
    rows = torch.tensor((np.arange(40) % 2)[:, None], dtype=torch.float32).expand(-1, 3)
    for measured in (
        StreamedDistances(rows, labels, EuclideanDistance()),
        measure_pairs(rows, labels, AllPairs(), EuclideanDistance()),
    ):
        threshold, counts, _ = measured.choose(Fmr(0.1))
        assert counts == Confusion(0, 0, 20, 760)
        assert measured.count_verdicts(threshold) == counts
