"""What other data show of a bundle beside a moved threshold: silent where nothing is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from tests.helpers import assert_says

from siamese.evaluation.findings import no_threshold_helps, worse_figures
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.thresholds import calibrate

BALANCED = MaxF1(prevalence="balanced")


def found(seed, identities=40, apart=1.0, within=0.6):
    """The calibration of invented identities, their pairs balanced."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(identities), 5)
    places = apart * rng.normal(size=(identities, 6))
    rows = places[who] + within * rng.normal(size=(len(who), 6))
    return calibrate(rows, who, pairs="balanced_pairs", probability=None)


@pytest.fixture(scope="module")
def own():
    return found(0)


def at_its_threshold(own, here):
    """The figures of another calibration's threshold here."""
    return here.with_policy(own.threshold).point


@pytest.mark.parametrize(("identities", "most"), [(8, 4), (20, 1)])
def test_identities_of_the_same_kind_are_seldom_called_worse(identities, most):
    """Of 24 draws of one population: the own figures of few identities flatter."""
    alarms = 0
    for seed in range(24):
        few = found(seed, identities)
        alarms += worse_figures(few.point, at_its_threshold(few, found(1000 + seed))) is not None
    assert alarms <= most
    assert worse_figures(few.point, few.point) is None


@pytest.mark.parametrize(
    ("changed", "title", "other"),
    [
        ({"apart": 0.3, "within": 0.2}, "false match rate", "recall"),  # all are closer together
        ({"apart": 2.0, "within": 1.2}, "recall", "false match rate"),  # all are further apart
    ],
)
def test_the_rate_that_is_worse_is_stated_here_and_there(own, changed, title, other):
    here = at_its_threshold(own, found(1, **changed))
    said = worse_figures(own.point, here)
    name = {"recall": "recall", "false match rate": "fmr"}[title]
    values = [f"{p.figures[name]:.3g}" for p in (here, own.point)]
    ends = [f"{end:.3g}" for p in (here, own.point) for end in p.ci95[name]]
    assert_says(said, f"the {title} is {values[0]} here", f"identities {values[1]}", *ends)
    assert other not in said


def test_without_intervals_nothing_is_called_worse(own):
    here = at_its_threshold(own, found(1, apart=0.3, within=0.2))
    assert worse_figures(own.point, here) is not None
    assert worse_figures(replace(own.point, ci95={}), here) is None
    assert worse_figures(own.point, replace(here, ci95={})) is None
    assert worse_figures(own.point.with_threshold(1.0), here) is None


def test_no_threshold_helps_where_distances_are_chance_and_some_does_where_they_are_not():
    useless = found(2, apart=0.0)
    said = no_threshold_helps(useless)
    best = useless.with_policy(BALANCED).f1
    assert_says(said, "hardly tells", f"best F1 is {best:.3f} (95 % interval", "every pair 0.667")
    assert all(no_threshold_helps(found(seed, apart=0.0)) for seed in range(3, 9))
    assert not any(no_threshold_helps(found(seed)) for seed in range(3, 9))
    assert no_threshold_helps(replace(useless, draws=None)) is None


def test_too_few_identities_to_show_much_are_not_held_against_the_network():
    few = found(16, identities=8, apart=0.8, within=1.0).with_policy(BALANCED)
    assert few.f1 > 0.7
    assert few.point.ci95["f1"][0] < 2 / 3
    assert no_threshold_helps(few) is None


@pytest.mark.parametrize("prevalence", [0.01, 0.98])
def test_whether_a_threshold_helps_does_not_depend_on_the_prevalence(own, prevalence):
    """Where nearly all pairs are genuine, accepting every pair is as good as the best threshold."""
    for here in (own, found(2, apart=0.0)):
        usual = here.with_policy(MaxF1(prevalence=prevalence))
        assert no_threshold_helps(usual) == no_threshold_helps(here)
