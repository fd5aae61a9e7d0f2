"""How a threshold was chosen, in words: every policy, and every setting that it depends on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import pytest
from tests.helpers import assert_says

import siamese
from siamese.cli.verify import _origin
from siamese.verification.policies.base import POLICIES
from siamese.verification.policy_words import policy_in_words

# Of each setting other values than the default one, and what the words must say of it.
OTHERS = {
    "rate": [(0.25, "0.25"), (0.75, "0.75")],
    "prevalence": [("balanced", "as if half of"), (0.013, "as if 1.3 %"), (0.99995, "99.995 %")],
    "smooth": [("auto", "smoothed"), (0.0625, "smoothed by 0.0625")],
    "weights": [("people", "counting alike")],
    "confidence": [(0.95, "95 % confidence"), (0.9, "90 % confidence")],
    "gallery": [(1, "among 1"), (5000, "among 5,000")],
    "false_match": [(3.0, "3 times as much")],
    "false_non_match": [(8.0, "0.125 times as much")],
}


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_and_each_of_its_settings_is_said(name):
    cls = POLICIES[name]
    assert "aim" in vars(cls), f"{cls.__name__} says no aim of its own"
    plain = policy_in_words(cls(), one="person")
    said = {plain}
    for setting in inspect.signature(cls).parameters:
        for value, words in OTHERS[setting]:
            text = policy_in_words(cls(**{setting: value}), one="person")
            if setting == "prevalence" and not cls.weighs_kinds:  # the threshold is the same
                assert text == plain
                continue
            assert_says(text, words)
            said.add(text)
    for text in said:
        assert text.startswith("chosen ")
        assert not [part for part in ("identit", "_", "None", "=") if part in text], text


def test_words_of_one_policy_are_no_others():
    words = [policy_in_words(POLICIES[name]()) for name in POLICIES]
    assert len(set(words)) == len(words)


def test_the_share_of_the_pairs_is_said_where_it_is_known():
    policy = siamese.MaxF1()
    assert_says(policy_in_words(policy, one="person"), "show one person as often as")
    assert_says(policy_in_words(policy, observed=0.0125), "1.25 % of the pairs show one identity")


def test_a_policy_made_from_one_of_ours_does_not_take_its_words(monkeypatch):
    monkeypatch.setattr(POLICIES, "_classes", dict(POLICIES._classes))

    @POLICIES.register("softer")
    @dataclass(frozen=True)
    class Softer(siamese.Recall):
        pass

    assert policy_in_words(Softer(0.5)).startswith("chosen by the policy softer, rate 0.5")


def calibrated(policy) -> siamese.OperatingPoint:
    rng = np.random.default_rng(0)
    people = np.arange(80) // 4
    embeddings = (rng.normal(size=(20, 8))[people] + 0.3 * rng.normal(size=(80, 8))).astype("f4")
    return siamese.calibrate(embeddings, people, policy).point


def test_a_point_says_it_after_it_was_read_from_a_file():
    point = calibrated(siamese.MaxF1("balanced", smooth="auto"))
    again = siamese.OperatingPoint.from_dict(point.to_dict())
    words = (
        "chosen for the highest F1, with distances smoothed, as if half of the pairs showed one "
    )
    assert again.choice_in_words("person") == f"{words}person"
    assert again.choice_in_words() == f"{words}identity"
    assert again.policy_settings["smooth"] == "auto"
    assert "by max_f1, prevalence balanced, smooth auto on" in repr(again)
    assert _origin(again, "person", {}).startswith(f"{words}person, on 120 genuine and ")
    observed = calibrated("max_f1").choice_in_words()
    assert observed.endswith(f"where {100 * 120 / 3160:.3g} % of the pairs show one identity")


def test_a_point_without_a_known_policy_says_what_it_has():
    given = calibrated("eer").with_threshold(0.5)
    assert given.choice_in_words() == "a number that was given"
    facts = calibrated(siamese.Fmr(0.25)).to_dict() | {"policy": "of_a_package"}
    strange = siamese.OperatingPoint.from_dict(facts)
    assert strange.choice_in_words().startswith("chosen by the policy of_a_package, rate 0.25")
