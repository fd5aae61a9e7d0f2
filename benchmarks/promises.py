"""What each policy promises on some identities, and what others find.

    python benchmarks/promises.py EMBEDDINGS.npz --strangers [--people 50 500] [--repetitions R]
    python benchmarks/promises.py --simulate [--people 50 150] [--repetitions R]
    python benchmarks/promises.py EMBEDDINGS.npz [--halvings H]      all with [--most K]

The first two say how often a promise is kept on strangers, without and with a confidence
(benchmarks/strangers.py). The last one, in detail: EMBEDDINGS.npz as for benchmarks/calibration.py;
the identities are halved in H ways. On the calibration half the promise must hold exactly, in every
halving: nothing better is there, and a rate is kept. On the other half: how often its figure lies
in the interval stated at calibration, how often what was promised lies in the other half's own 95 %
interval, and how often the two intervals meet. A figure of new identities varies as the
calibration's own does, so the first two would be 83 % of the halvings for figures of normal
distribution, the last nearly all. `--most K` takes at most K images of each identity, at random:
with all of LFW more than half of the genuine pairs show one man.
"""

from __future__ import annotations

import argparse

import numpy as np

import siamese
import strangers
from siamese.verification.probability import reliability

POLICIES: dict[str, tuple[siamese.Policy, str, str]] = {
    "max_f1": (siamese.MaxF1(), "f1", "highest"),
    "max_f1, balanced": (siamese.MaxF1(prevalence="balanced"), "f1", "highest"),
    "max_accuracy, balanced": (siamese.MaxAccuracy(prevalence="balanced"), "accuracy", "highest"),
    "eer": (siamese.Eer(), "fmr", "equal"),
    "fmr, rate=0.01": (siamese.Fmr(0.01), "fmr", "at most"),
    "fmr, rate=0.001": (siamese.Fmr(1e-3), "fmr", "at most"),
    "fmr, rate=0.0001": (siamese.Fmr(1e-4), "fmr", "at most"),
    "recall, rate=0.9": (siamese.Recall(0.9), "recall", "at least"),
    "recall, rate=0.99": (siamese.Recall(0.99), "recall", "at least"),
    "cost, false_match=10, balanced": (
        siamese.Cost(10, prevalence="balanced"),
        "accuracy",
        "lowest cost",
    ),
}


def kept(policy: siamese.Policy, found: siamese.Calibration) -> bool:
    """Whether the promise holds on the calibration pairs, by the counts at every kept threshold."""
    curve, point = found.curve, found.point
    recall, fmr = point.figures["recall"], point.figures["fmr"]
    share = point.target_prevalence or point.prevalence
    if isinstance(policy, siamese.MaxF1):
        return point.figures["f1"] >= curve.f1(share).max() - 1e-12
    if isinstance(policy, siamese.MaxAccuracy):
        return point.figures["accuracy"] >= curve.accuracy(share).max() - 1e-12
    if isinstance(policy, siamese.Eer):
        return abs(fmr - 1 + recall) <= np.abs(curve.fmr - curve.fnmr).min() + 1e-12
    if isinstance(policy, siamese.Fmr):
        return fmr <= policy.rate and recall >= curve.recall[curve.fmr <= policy.rate].max()
    if isinstance(policy, siamese.Recall):
        return recall >= policy.rate and fmr <= curve.fmr[curve.recall >= policy.rate].min()
    assert isinstance(policy, siamese.Cost)
    costs = (
        policy.false_non_match * share * curve.fnmr + policy.false_match * (1 - share) * curve.fmr
    )
    return (
        policy.false_non_match * share * (1 - recall) + policy.false_match * (1 - share) * fmr
        <= costs.min() + 1e-12
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="EMBEDDINGS.npz", nargs="?")
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--people", type=int, nargs="+", metavar="N")
    parser.add_argument("--repetitions", type=int, default=100, metavar="R")
    parser.add_argument("--halvings", type=int, default=20)
    parser.add_argument(
        "--most", type=int, metavar="K", help="images of one identity at most (default: all)"
    )
    args = parser.parse_args()
    if bool(args.source) == args.simulate:
        parser.error("give EMBEDDINGS.npz or --simulate")
    if args.strangers or args.simulate:
        strangers.show(args.source, args.people, args.repetitions, args.most)
        return
    with np.load(args.source, allow_pickle=False) as stored:
        rows, who = stored["embeddings"], np.unique(stored["identities"], return_inverse=True)[1]
    if args.most:
        rows, who = strangers.capped(rows, who, args.most)
    identities = who.max() + 1
    sizes = np.bincount(who)
    pairs = sizes * (sizes - 1) // 2
    print(
        f"{len(who):,} images of {identities:,} identities, {pairs.sum():,} genuine pairs, "
        f"{pairs.max() / pairs.sum():.1%} of them of one identity\n"
    )
    counts = {name: np.zeros(4, dtype=int) for name in POLICIES}
    errors: dict[str, list[float]] = {"calibration": [], "other": []}
    lines: dict[str, str] = {}
    for halving in range(args.halvings):
        chosen = np.random.default_rng(halving).permutation(identities) < identities // 2
        mine, others = chosen[who], ~chosen[who]
        first = siamese.calibrate(rows[mine], who[mine])
        theirs = siamese.calibrate(rows[others], who[others])
        chance = first.with_policy(siamese.MaxF1(prevalence="balanced")).probability
        assert chance is not None
        for half, curve in (("calibration", first.curve), ("other", theirs.curve)):
            errors[half].append(reliability(chance, curve).calibration_error)
        for name, (policy, figure, aim) in POLICIES.items():
            found = siamese.calibrate(rows[mine], who[mine], policy, probability=None)
            # Their figures at this threshold, at the policy's prevalence, with their interval.
            there = theirs.with_policy(policy).with_policy(found.threshold).point
            low, high = found.point.ci95[figure]
            their_low, their_high = there.ci95[figure]
            promised = (
                policy.rate
                if isinstance(policy, (siamese.Fmr, siamese.Recall))
                else found.point.figures[figure]
            )
            counts[name] += [
                kept(policy, found),
                low <= there.figures[figure] <= high,
                their_low <= promised <= their_high,
                max(low, their_low) <= min(high, their_high),
            ]
            lines.setdefault(
                name,
                f"{found.threshold:.4f} ({found.band[0]:.4f}-{found.band[1]:.4f}) | {figure} "
                f"{aim} | {found.point.figures[figure]:.5f} "
                f"({low:.5f}-{high:.5f}) | {there.figures[figure]:.5f} "
                f"({their_low:.5f}-{their_high:.5f})",
            )
    print(
        "| policy | threshold (95 %) | promise | calibration identities (95 %) | other identities "
        "(95 %) | holds | inside | covers | meet |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, line in lines.items():
        print(f"| {name} | {line} | {' | '.join(f'{c}/{args.halvings}' for c in counts[name])} |")
    print(
        f"\nexpected calibration error of the probability, balanced: "
        f"{np.mean(errors['calibration']):.4f} on the calibration identities, "
        f"{np.mean(errors['other']):.4f} on the others"
    )


if __name__ == "__main__":
    main()
