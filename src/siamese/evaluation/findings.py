"""What other data show of a finished bundle, in sentences: it is worse there, or of no use."""

from __future__ import annotations

import numpy as np

from siamese.verification.calibration import Calibration
from siamese.verification.point import OperatingPoint, rates_at
from siamese.verification.policies.max_f1 import MaxF1

# Figures that no prevalence changes, and whether more of them is worse.
_RATES = {"recall": ("recall", False), "fmr": ("false match rate", True)}
# The F1 of accepting every pair, where half of the pairs are genuine.
ACCEPT_ALL = 2 / 3
# With a few identities an interval reaches far down, also that of a good network: such a best F1 is
# not held against it.
HARDLY = 0.7


def worse_figures(own: OperatingPoint, here: OperatingPoint) -> str | None:
    """Which rates at one threshold are worse on other pairs than where it was chosen.

    A rate is where the two 95 % intervals do not overlap. By chance that is rare: at most 1 of 24
    simulated draws from one population where the threshold was chosen on 20 identities, and at most
    4 where on 8, since its figures on those flatter (``tests/evaluation/test_findings.py`` holds
    both).

    Args:
        own: the threshold on the pairs that it was chosen on.
        here: the same threshold on other pairs.

    Returns:
        a sentence with both figures; None where no rate is worse, or nothing is known of it.
    """
    found = []
    for name, (title, more_is_worse) in _RATES.items():
        if not all(name in p.figures and name in p.ci95 for p in (own, here)):
            continue
        (low, high), (own_low, own_high) = here.ci95[name], own.ci95[name]
        if low > own_high if more_is_worse else high < own_low:
            there = f"{own.figures[name]:.3g} ({own_low:.3g}-{own_high:.3g})"
            found.append(
                f"the {title} is {here.figures[name]:.3g} here (95 % interval {low:.3g}-{high:.3g})"
                f", on the bundle's own identities {there}"
            )
    return f"at the bundle's threshold {'; '.join(found)}" if found else None


def no_threshold_helps(found: Calibration) -> str | None:
    """What to say of distances that hardly tell the identities of a calibration apart.

    The best F1 of all thresholds is compared with that of accepting every pair, both where half of
    the pairs are genuine: where nearly all are, even good distances add little to accepting all.

    Args:
        found: with intervals; without, nothing is known.

    Returns:
        None where the best F1 is 0.7 or more, or its 95 % interval lies above the other.
    """
    if found.draws is None:
        return None
    policy = MaxF1(prevalence="balanced", weights=found.weights)
    threshold, _, _ = found.curve.choose(policy)
    recall, fmr = (np.float64(rate) for rate in found.curve.rates(threshold))
    best = float(rates_at(recall, fmr, 0.5)["f1"])
    low, high = found.draws.figures(threshold, 0.5, found.curve)["f1"]
    if best >= HARDLY or low > ACCEPT_ALL:
        return None
    return (
        f"this network hardly tells these identities apart, no threshold helps: where half of the "
        f"pairs are genuine, the best F1 is {best:.3f} (95 % interval {low:.3f}-{high:.3f}), and "
        f"that of accepting every pair {ACCEPT_ALL:.3f}"
    )
