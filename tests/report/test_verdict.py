"""The verdict: its numbers, its baseline and whether intervals overlap, by an oracle of its own."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.report.record import RunRecord
from siamese.report.stored_report import Figures
from siamese.report.verdict import judge_run, strongest
from siamese.report.words import BASELINES

SHARE = st.floats(0.01, 0.99)


@st.composite
def intervals(draw):
    low, value, high = sorted(draw(st.tuples(SHARE, SHARE, SHARE)))
    return value, (low, high)


def figures(auc, around, eer=(0.1, (0.05, 0.12)), baselines=None, **more):
    ci95 = {} if around is None else {"auc": around, "eer": eer[1], "accuracy": (0.85, 0.95)}
    values = {
        "identities": 40, "images": 400, "genuine": 300, "impostor": 300, "prevalence": 0.5,
        "threshold": 1.0, "accuracy": 0.9, "precision": 0.9, "recall": 0.9, "fmr": 0.1, "f1": 0.9,
        "auc": auc, "eer": eer[0], "ci95": ci95, "baselines": baselines or {},
        "one_verdict": {"prevalence": 0.5, "f1": 0.667, "accuracy": 0.5},
    }  # fmt: skip
    return msgspec.convert(values | more, Figures)


def judged(found):
    return judge_run(RunRecord("run", {"test": found}))


@given(intervals(), st.dictionaries(st.sampled_from(list(BASELINES)), intervals(), min_size=1))
def test_the_strongest_baseline_is_named_and_whether_intervals_overlap(run, others):
    baselines = {
        name: msgspec.to_builtins(figures(value, around)) | {"gain_in_auc": [0.01, -0.1, 0.1]}
        for name, (value, around) in others.items()
    }
    said = judged(figures(*run, baselines=baselines)).against
    best = max(value for value, _ in others.values())
    name = next(n for n, words in BASELINES.items() if words in said)
    value, around = others[name]
    assert value == best
    both = max(run[1][0], around[0]) <= min(run[1][1], around[1])
    assert ("intervals overlap" in said) == both
    assert ("intervals do not overlap" in said) == (not both)
    shown = [float(text) for text in re.findall(r"\d\.\d+", said.split("strongest")[0])]
    assert shown == pytest.approx([run[0], *run[1]], abs=6e-4)


def test_a_run_is_good_by_the_upper_end_of_its_error_rate_alone():
    baseline = {"untrained": msgspec.to_builtins(figures(0.7, (0.6, 0.8)))}
    baseline["untrained"]["gain_in_auc"] = [0.2, 0.1, 0.3]
    for eer, grade in (((0.02, (0.01, 0.04)), "good"), ((0.02, (0.01, 0.06)), "fair"),
                       ((0.02, (0.01, 0.2)), "poor"), ((0.3, (0.2, 0.4)), "poor")):  # fmt: skip
        verdict = judged(figures(0.95, (0.93, 0.97), eer, baseline, fmr=0.02, recall=0.98))
        assert verdict.grade == grade
    assert judged(figures(0.95, (0.93, 0.97), (0.02, (0.01, 0.2)))).headline.startswith("Not shown")


@pytest.mark.parametrize("gain", [[0.01, -0.02, 0.04], [-0.1, -0.2, -0.05], [0.1, None, None]])
def test_what_is_not_shown_to_beat_its_baseline_is_not_good(gain):
    worse = msgspec.to_builtins(figures(0.9, (0.8, 0.95))) | {"gain_in_auc": gain}
    found = figures(
        0.99, (0.98, 1.0), (0.01, (0.0, 0.02)), {"untrained": worse}, fmr=0.02, recall=0.98
    )
    verdict = judged(found)
    assert verdict.grade == "fair"
    assert "baseline" in verdict.headline


def test_guessing_is_called_so():
    verdict = judged(figures(0.53, (0.45, 0.6), (0.48, (0.4, 0.55))))
    assert verdict.grade == "poor"
    assert "guessing" in verdict.headline
    assert "no use" in verdict.sentence


def test_few_identities_are_never_enough_to_decide_alone():
    """Two of them told apart by chance have no error, and no interval."""
    two = judged(figures(1.0, None, (0.0, None), identities=2))
    assert two.grade == "poor"
    assert "not known" in two.headline
    assert "decide" not in two.sentence
    eight = judged(figures(1.0, (1.0, 1.0), (0.0, (0.0, 0.0)), identities=8))
    assert eight.grade == "fair"
    assert "decide alone" not in eight.sentence
    assert "up to 31.2 % of other identities" in eight.sure  # 0.688 ** 8 = 0.05
    forty = judged(figures(1.0, (1.0, 1.0), (0.0, (0.0, 0.0)), fmr=0.0, recall=1.0))
    assert forty.grade == "good"
    assert "up to 7.2 % of other identities" in forty.sure


def test_a_threshold_too_wide_for_the_identities_is_not_good():
    verdict = judged(figures(0.99, (0.98, 1.0), (0.02, (0.01, 0.03)), fmr=0.3, recall=0.99))
    assert verdict.grade == "fair"
    assert "threshold" in verdict.headline
    assert "chosen anew" in verdict.sentence


def test_what_an_interval_does_not_show_is_not_called_guessing():
    verdict = judged(figures(0.8, (0.45, 0.95), (0.2, (0.05, 0.5))))
    assert (verdict.grade, "Not shown" in verdict.headline) == ("poor", True)
    assert "mean nothing" not in verdict.sentence


def test_what_is_not_known_is_said():
    verdict = judged(figures(0.9, None))
    assert "interval not known" in verdict.sentence
    assert "not known" in verdict.sure
    assert any("groups" in limit and "not known" in limit for limit in verdict.limits)
    assert strongest(figures(0.9, None)) is None


def test_where_matches_are_rare_most_of_what_is_accepted_is_wrong():
    """Of 100,000 pairs, 1,000 genuine: 900 accepted rightly and 9,900 wrongly."""
    verdict = judged(figures(0.9, (0.85, 0.95)))
    assert any(f"{9900 / 10800:.1%}".replace("%", " %") in limit for limit in verdict.limits)


def test_groups_that_differ_are_named():
    cell = {"identities": 9, "images": 20, "genuine": 9, "impostor": 9, "fmr": 0.1, "fnmr": 0.1}
    cells = [
        cell | {"groups": ["a", "a"], "ci95": {"fmr": [0.0, 0.1]}},
        cell | {"groups": ["b", "b"]},
    ]
    unequal = {"group": "a", "highest": 0.1, "differs": ["a", "b"]}
    column = {"cells": cells, "disparities": {"fnmr": unequal}}
    limits = judged(figures(0.9, (0.85, 0.95), groups={"group_age": column})).limits
    assert any("pairs of a are falsely refused more often than those of b" in t for t in limits)
    assert any("For b (group_age)" in text and "not known" in text for text in limits)
