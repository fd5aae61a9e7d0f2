"""How often a promise made on some people is kept on others: a part of benchmarks/promises.py.

The people are halved at random, once in each repetition; so many of one half calibrate, and all of
the other half are the strangers. *kept* is the share of repetitions in which the strangers' figure
meets what was promised, of those in which a promise was made: *refused* counts the others. *recall*
is that of the strangers, in the mean of the repetitions in which both thresholds exist. A cost has
no rate to be kept: without a confidence what was reached on the calibration people is taken for the
promise, with one the bound that is stated.

Simulated people come from a world without end: unit-length Gaussian embeddings, 24 numbers, 6
images of each person, whose spreads differ; the strangers are 3,000 people that are drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import siamese

CONFIDENCE = 0.95
POLICIES: dict[str, siamese.Policy] = {
    "fmr, rate=0.01": siamese.Fmr(0.01),
    "fmr, rate=0.001": siamese.Fmr(0.001),
    "fmr, rate=0.0001": siamese.Fmr(0.0001),
    "fmr, rate=0.01, gallery=50": siamese.Fmr(0.01, gallery=50),
    "recall, rate=0.9": siamese.Recall(0.9),
    "recall, rate=0.95": siamese.Recall(0.95),
    "precision, rate=0.95, balanced": siamese.Precision(0.95, "balanced"),
    "precision, rate=0.99, balanced": siamese.Precision(0.99, "balanced"),
    "cost, false_match=10, balanced": siamese.Cost(10, prevalence="balanced"),
}
People = tuple[np.ndarray, np.ndarray]  # (N, D) embeddings and (N,) identities


def capped(rows: np.ndarray, who: np.ndarray, most: int) -> People:
    """At most so many images of each person, at random."""
    shuffled = np.random.default_rng(0).permutation(len(who))
    grouped = shuffled[np.argsort(who[shuffled], kind="stable")]
    rank = np.empty(len(who), dtype=int)
    for places in np.split(grouped, np.cumsum(np.bincount(who))[:-1]):
        rank[places] = np.arange(len(places))
    return rows[rank < most], who[rank < most]


def halves(
    source: str, most: int | None, people: list[int], repetitions: int
) -> Iterator[tuple[dict[int, People], siamese.ThresholdCurve]]:
    """Of each repetition the people that calibrate, by their number, and the strangers' counts."""
    with np.load(source, allow_pickle=False) as stored:
        rows, who = stored["embeddings"], np.unique(stored["identities"], return_inverse=True)[1]
    if most:
        rows, who = capped(rows, who, most)
    identities = who.max() + 1
    print(f"{len(who):,} images of {identities:,} people\n")
    for repetition in range(repetitions):
        order = np.random.default_rng(repetition).permutation(identities)
        mine, others = order[: identities // 2], order[identities // 2 :]
        strangers = np.isin(who, others)
        curve = siamese.measure_pairs(rows[strangers], who[strangers]).curve()
        chosen = {n: np.isin(who, mine[:n]) for n in people}
        yield {n: (rows[these], who[these]) for n, these in chosen.items()}, curve


def world(rng: np.random.Generator, people: int, images: int) -> People:
    """Made-up people: some spread more than others, and some are more alike to all others."""
    numbers, spread = 24, 0.55
    unequal = 1 + np.abs(0.15 * rng.standard_normal((people, 1, 1)))
    centres = rng.standard_normal((people, 1, numbers))
    rows = centres + spread * unequal * rng.standard_normal((people, images, numbers))
    rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).reshape(-1, numbers)
    return rows.astype(np.float32), np.repeat(np.arange(people), images)


def simulated(
    people: list[int], repetitions: int
) -> Iterator[tuple[dict[int, People], siamese.ThresholdCurve]]:
    """As :func:`halves`, of made-up people."""
    curve = siamese.measure_pairs(*world(np.random.default_rng(0), 3000, 4)).curve()
    for repetition in range(repetitions):
        rng = np.random.default_rng([1, repetition])
        yield {n: world(rng, n, 6) for n in people}, curve


def promised(policy: siamese.Policy, found: siamese.Calibration) -> Callable[[float, float], bool]:
    """Whether rates of others, recall and false match rate, meet what was promised."""
    limit, share = found.point.promise["limit"], found.point.target_prevalence
    assert share is not None
    at_least = found.point.promise["direction"] == "at least"

    def kept(recall: float, fmr: float) -> bool:
        figure = float(policy.promised(np.float64(recall), np.float64(fmr), share))
        return figure >= limit if at_least else figure <= limit

    return kept


class Tally:
    """Of one policy and one number of people: how often promises were made and kept."""

    def __init__(self) -> None:
        self.kept: dict[bool, list[bool]] = {False: [], True: []}
        self.refused = {False: 0, True: 0}
        self.recall: list[tuple[float, float]] = []

    def add(
        self, policy: siamese.Policy, first: siamese.Calibration, others: siamese.ThresholdCurve
    ) -> None:
        """One repetition."""
        recalls = {}
        for sure in (False, True):
            settings = policy.describe() | ({"confidence": CONFIDENCE} if sure else {})
            try:
                found = first.with_policy(settings)
            except siamese.CalibrationError:
                self.refused[sure] += 1
                continue
            there = others.at(found.threshold)
            self.kept[sure].append(promised(policy, found)(there.recall, there.fmr))
            recalls[sure] = there.recall
        if len(recalls) == 2:
            self.recall.append((recalls[False], recalls[True]))

    def cells(self) -> list[str]:
        """Of the table's row."""
        found = []
        for sure in (False, True):
            kept, refused = self.kept[sure], self.refused[sure]
            words = f"{np.mean(kept):.0%} of {len(kept)}" if kept else "-"
            found.append(words + (f" ({refused} refused)" if refused else ""))
        if not self.recall:
            return [*found, "-", "-"]
        return found + [f"{recall:.4f}" for recall in np.mean(self.recall, axis=0)]


def show(source: str | None, people: list[int] | None, repetitions: int, most: int | None) -> None:
    """Print the table, of an embedding file or, without one, of simulated people."""
    people = people or ([50, 150] if source is None else [50, 500])
    draws = (
        simulated(people, repetitions)
        if source is None
        else halves(source, most, people, repetitions)
    )
    tallies = {(n, name): Tally() for n in people for name in POLICIES}
    for chosen, others in draws:
        for n, (rows, who) in chosen.items():
            first = siamese.calibrate(rows, who, probability=None)
            for name, policy in POLICIES.items():
                tallies[n, name].add(policy, first, others)
    print(
        f"| people | policy | kept on strangers | kept, confidence={CONFIDENCE} | recall | "
        f"recall, confidence={CONFIDENCE} |"
    )
    print("|---|---|---|---|---|---|")
    for (n, name), tally in tallies.items():
        print(f"| {n} | {name} | {' | '.join(tally.cells())} |")
