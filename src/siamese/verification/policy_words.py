"""How a policy chooses a threshold, in words for who knows no policy's name."""

from __future__ import annotations

from siamese.verification.policies.base import BALANCED, OBSERVED, PEOPLE, POLICIES, Policy

# What is compared -> its plural.
PLURALS = {"person": "people", "identity": "identities"}


def policy_in_words(policy: Policy, *, one: str = "identity", observed: float | None = None) -> str:
    """How a policy chooses, to follow "the threshold is".

    All settings that the threshold depends on are in it.

    Args:
        policy: a policy; one that says no aim of its own is called by its name and settings.
        one: what a pair shows, ``"person"`` or ``"identity"``.
        observed: the share of genuine pairs among those that it chose on, 0..1; None where that
            is not known.

    >>> from siamese.verification.policies.max_f1 import MaxF1
    >>> policy_in_words(MaxF1("balanced"), one="person")
    'chosen for the highest F1, as if half of the pairs showed one person'
    """
    # Of a class that was made from one of ours the aim may be another.
    if "aim" not in vars(type(policy)):
        name, *settings = POLICIES.settings(policy).items()
        return f"chosen by the policy {name[1]}{settings_in_words(dict(settings))}"
    said = [f"chosen {policy.aim}"]
    if policy.smooth is not None:
        by = "" if isinstance(policy.smooth, str) else f" by {policy.smooth:g}"
        said.append(f"with distances smoothed{by}")
    if policy.weights == PEOPLE:
        said.append(f"with every {one} counting alike")
    if policy.weighs_kinds:
        said.append(_prevalence(policy, one, observed))
    if policy.assured_at is not None:
        said.append(
            f"promised for other {PLURALS.get(one, one)} with "
            f"{percent_in_words(policy.assured_at)} confidence"
        )
    return ", ".join(said)


def settings_in_words(settings: dict[str, object]) -> str:
    """A policy's settings that are set, to follow its name; empty where there are none."""
    return "".join(
        f", {name} {value:g}" if isinstance(value, float) else f", {name} {value}"
        for name, value in settings.items()
        if value is not None
    )


def _prevalence(policy: Policy, one: str, observed: float | None) -> str:
    """Which share of genuine pairs it counts with; one that was stated is not that of the pairs."""
    if policy.prevalence == OBSERVED and observed is None:
        return f"where pairs show one {one} as often as those that it was chosen on"
    if policy.prevalence == OBSERVED:
        return f"where {percent_in_words(observed or 0.0)} of the pairs show one {one}"
    half = policy.prevalence in (BALANCED, 0.5)
    share = "half" if half else percent_in_words(float(policy.prevalence))
    return f"as if {share} of the pairs showed one {one}"


def percent_in_words(share: float) -> str:
    """A share, 0..1, in per cent: three digits, and as many more as tell it from all.

    >>> percent_in_words(0.0001169), percent_in_words(0.5), percent_in_words(0.99995)
    ('0.0117 %', '50 %', '99.995 %')
    """
    short = f"{100 * share:.3g}"
    return f"{100 * share:.15g} %" if short == "100" else f"{short} %"
