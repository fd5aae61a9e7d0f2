"""The threshold of a whole search: its arithmetic, what it stands on, and what it keeps."""

import numpy as np
import pytest

import siamese
from siamese.inference.gallery.search_threshold import SearchThreshold


@pytest.fixture(scope="module")
def bundle():
    """What a threshold is chosen from: a calibration of 300 people in a space of 16 numbers."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(300), 4)
    middles = random.normal(size=(300, 16))
    embeddings = middles[labels] + 0.35 * random.normal(size=(1200, 16))

    class Bundle:
        calibration = siamese.calibrate(embeddings, labels)
        operating_point = calibration.point

    return Bundle


def test_the_arithmetic_of_independent_comparisons(bundle):
    found = SearchThreshold.choose(bundle, 50, 0.01)
    assert 1 - (1 - found.pair_rate) ** 50 == pytest.approx(0.01)
    assert found.basis == "observed"
    curve = bundle.calibration.curve
    accepted = curve.at(found.threshold)
    assert accepted.fp <= found.pair_rate * curve.impostor
    further = curve.at(np.nextafter(found.threshold, np.inf) + 0.02)
    assert further.fp > found.pair_rate * curve.impostor
    assert "1 % of searches among 50 photographs" in found.in_words
    assert "1 - (1 - 0.01)^(1/50)" in found.in_words


def test_more_people_and_smaller_rates_need_smaller_thresholds(bundle):
    sizes = [SearchThreshold.choose(bundle, n, 0.01).threshold for n in (1, 10, 100, 10_000)]
    rates = [SearchThreshold.choose(bundle, 10, r).threshold for r in (0.5, 0.1, 0.01, 1e-5)]
    for row in (sizes, rates):
        assert row == sorted(row, reverse=True)
        assert len(set(row)) == len(row)


def test_what_the_calibration_cannot_know_is_said(bundle):
    impostors = bundle.calibration.curve.impostor
    few = SearchThreshold.choose(bundle, 2000, 0.01)
    assert 1 <= few.pair_rate * impostors < 30
    assert few.basis == "few"
    assert "may be several times as high" in few.in_words
    none = SearchThreshold.choose(bundle, 1_000_000, 0.01)
    assert none.basis == "none"
    assert bundle.calibration.curve.at(none.threshold).fp == 0
    assert "not known" in none.in_words


def test_a_promise_is_stricter_and_says_so(bundle):
    plain = SearchThreshold.choose(bundle, 10, 0.05)
    promised = SearchThreshold.choose(bundle, 10, 0.05, confidence=0.95)
    assert promised.threshold < plain.threshold
    assert (promised.basis, promised.confidence) == ("promised", 0.95)
    assert "with 95 % confidence" in promised.in_words


def test_the_rate_is_kept_on_strangers(bundle):
    """People and photographs nobody calibrated on: the share of searches that name somebody."""
    random = np.random.default_rng(1)
    found = SearchThreshold.choose(bundle, 100, 0.1).threshold
    enrolled = random.normal(size=(100, 16)) + 0.35 * random.normal(size=(100, 16))
    probes = random.normal(size=(3000, 16)) + 0.35 * random.normal(size=(3000, 16))
    at = siamese.evaluate_search(enrolled, np.arange(100), probes, np.arange(100, 3100)).at(found)
    assert 0.03 < at.fpir < 0.15


def test_without_a_calibration_the_bundles_own_threshold_is_taken():
    class Bundle:
        calibration = None
        operating_point = siamese.pretrained_bundle().operating_point

    found = SearchThreshold.choose(Bundle, 10, 0.01)
    assert (found.basis, found.threshold) == ("own", Bundle.operating_point.threshold)
    with pytest.raises(siamese.CalibrationError, match="nothing can be promised"):
        SearchThreshold.choose(Bundle, 10, 0.01, confidence=0.95)
    given = SearchThreshold.choose(Bundle, 10, threshold=0.25)
    assert (given.basis, given.threshold, given.rate) == ("given", 0.25, None)


@pytest.mark.parametrize("wrong", [0, 1, -0.1, float("nan"), "0.01", None, True])
def test_rates_are_rates(wrong, bundle):
    with pytest.raises(siamese.ConfigError, match="rate of searches"):
        SearchThreshold.choose(bundle, 10, wrong)
