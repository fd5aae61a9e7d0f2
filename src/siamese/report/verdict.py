"""The verdict on a run: is it good, against what, for which use, how sure, and for whom it is not.

The grades are a convention of the report, by the equal error rate, whose upper end of the 95 %
interval counts: up to 1 % it may decide alone where errors are cheap, up to 5 % with a person who
checks doubtful cases, up to 15 % it proposes and a person decides. Above that it is not good
enough, nor where the interval is not known. Where it is not shown to be better than what it is
compared with, or was measured on fewer than 30 identities, it is not called good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from siamese.report.record import RunRecord
from siamese.report.stored_report import Figures
from siamese.report.words import (
    BASELINES,
    UNKNOWN,
    figure_at,
    interval,
    listed,
    number,
    overlap,
    percent,
)
from siamese.verification.curves import CHANCE

# Upper end of the equal error rate -> grade, headline, use.
GRADES = (
    (0.01, "good", "Good", "to decide alone where a wrong verdict is cheap to put right"),
    (0.05, "good", "Good", "to decide, with a person who checks what is close to the threshold"),
    (0.15, "fair", "Of use, with a person", "to propose matches that a person confirms"),
    (
        1.01,
        "poor",
        "Not good enough",
        "to sort pictures for a person who decides",
    ),
)
FEW = 30  # identities of which an interval is wide
RARE = 0.01  # a prevalence as in searches, at which precision is told
_OFTEN = 0.02  # share of images without a face that is worth a sentence


@dataclass(frozen=True)
class ReportVerdict:
    """What a report says first.

    Attributes:
        grade: "good", "fair" or "poor".
        headline: a word or two.
        sentence: is it good, against which baseline, for what use.
        against: the strongest baseline, and whether the difference is shown.
        sure: how sure that is, a sentence.
        limits: for whom, and for what, it is not good.
    """

    grade: str
    headline: str
    sentence: str
    against: str
    sure: str
    limits: tuple[str, ...]


def judge_run(record: RunRecord) -> ReportVerdict:
    """The verdict on a run, from its figures alone."""
    figures = record.figures[record.judged]
    grade, headline, use = _grade(figures)
    if grade == "good" and record.chosen_on_judged:
        grade, headline = "fair", "Good on the identities that it was chosen on"
    seen = " that it never saw" if record.judged == "test" and not figures.caution else ""
    said = (
        f"On {figures.identities:,} identities{seen}, {_right(figures)} of its verdicts are right"
    )
    beside = []
    one = figures.one_verdict.get("accuracy")
    if one is not None:
        beside.append(f"one verdict for all pairs would be right in {percent(one)}")
    if found := strongest(figures):
        beside.append(f"{BASELINES[found[0]]} in {_right(found[1])}")
    said += f", where {' and '.join(beside)}" if beside else ""
    said += f". It can serve {use}."
    against, sure = f"{_against(figures)}.", _sure(record, figures)
    return ReportVerdict(grade, headline, said, against, sure, tuple(_limits(record)))


def _right(figures: Figures) -> str:
    """The accuracy with its interval."""
    value, around = figure_at(figures, "accuracy")
    return f"{percent(value)} ({interval(around, 'percent')})"


def strongest(figures: Figures) -> tuple[str, Figures] | None:
    """The measured baseline with the largest area under the ROC curve; None without any."""
    known = [(name, each) for name, each in figures.baselines.items() if name in BASELINES]
    return max(known, key=lambda found: found[1].auc, default=None)


def _grade(figures: Figures) -> tuple[str, str, str]:
    """Grade, headline and use."""
    lowest = figures.ci95.get("auc", (figures.auc, figures.auc))[0]
    if figures.auc < CHANCE:
        return "poor", "No better than guessing", "no use: its verdicts mean nothing"
    if lowest <= 0.5:
        return "poor", "Not shown to be better than guessing", "no use before that is shown"
    if "eer" not in figures.ci95:
        return "poor", "How good it is, is not known", "to see that everything works"
    highest = figures.ci95["eer"][1]
    grade, headline, use = next(found[1:] for found in GRADES if highest <= found[0])
    if grade == "poor" and figures.eer <= GRADES[-2][0]:
        headline = "Not shown to be good enough"
    if grade == "good" and figures.identities < FEW:
        grade, headline, use = GRADES[-2][1], "Good on few identities", GRADES[-2][3]
    # Of other data the curve may be good, and a threshold that was chosen elsewhere too wide.
    halved = (figures.fmr + 1 - figures.recall) / 2
    if grade == "good" and halved > GRADES[-3][0] and figures.fmr > highest:
        return "fair", "Good, but not at this threshold", "if its threshold is chosen anew"
    behind = [name for name, each in figures.baselines.items() if not _ahead(each)]
    if behind and grade != "poor":
        return "fair", "Not shown to be better than a baseline", use
    return grade, headline, use


def _ahead(baseline: Figures) -> bool:
    """Whether the run is shown to be better than a baseline."""
    gain = baseline.gain_in_auc
    return gain is not None and gain[1] is not None and gain[1] > 0


def _against(figures: Figures) -> str:
    """The strongest baseline, whether the intervals overlap, and the paired difference."""
    found = strongest(figures)
    around = interval(figures.ci95.get("auc"))
    area = f"By ROC AUC, which needs no threshold, it has {number(figures.auc)} ({around})"
    if found is None:
        return f"{area}; guessing has 0.5, and no other baseline was measured"
    name, baseline = found
    said = (
        f"{area}; the strongest baseline, {BASELINES[name]}, has {number(baseline.auc)} "
        f"({interval(baseline.ci95.get('auc'))})"
    )
    both = overlap(figures.ci95.get("auc"), baseline.ci95.get("auc"))
    if both is not None:
        said += f": the 95 % intervals {'overlap' if both else 'do not overlap'}"
    return f"{said}{_gain(baseline)}"


def _gain(baseline: Figures) -> str:
    if baseline.gain_in_auc is None:
        return ""
    observed, low, high = baseline.gain_in_auc
    if low is None or high is None:
        return f", and the difference of {observed:+.3f} has no interval: too few identities"
    shown = f"{observed:+.3f} ({low:+.3f} to {high:+.3f})"
    if low > 0:
        return f", and measured on the same pairs it is better by {shown}"
    if high < 0:
        return f", and measured on the same pairs it is worse: {shown}"
    return f", and measured on the same pairs it is not shown to differ: {shown}"


def _sure(record: RunRecord, figures: Figures) -> str:
    """How sure the verdict is."""
    around = figures.ci95.get("eer")
    count = f"{figures.identities:,} identities ({figures.images:,} images)"
    if around is None:
        return (
            f"How sure this is, is {UNKNOWN}: {count} are too few for an interval. Measure it on "
            f"more people."
        )
    said = (
        f"The equal error rate, where both kinds of error are equally frequent, is "
        f"{percent(figures.eer)}; on other identities of this kind it may well be anything from "
        f"{interval(around, 'percent')}"
    )
    few = ""
    if around[1] == 0:  # a bootstrap of no errors has none: the exact interval of 0 of n
        unseen = 1 - 0.05 ** (1 / max(1, figures.identities))
        few = (
            f" That no error was seen proves little: with 95 % confidence, errors befall up to "
            f"{percent(unseen)} of other identities."
        )
    if figures.identities < FEW:
        few += f" {count} are few: more of them would make this surer."
    called = record.called(record.judged)
    on = called if called != record.judged else f"the {called} identities"
    split = "" if record.judged == "test" else f" Measured on {on}."
    return f"{said} (95 % interval over identities).{few}{split}"


def _limits(record: RunRecord) -> Iterator[str]:
    """For whom, and for what, the run is not good."""
    figures = record.figures[record.judged]
    if figures.caution:
        yield f"Its figures flatter: {figures.caution}."
    if record.chosen_on_judged:
        yield (
            "Its figures flatter: the threshold was chosen on these same identities. How good it "
            "is for others, figures of test identities say."
        )
    rare = RARE * figures.recall + (1 - RARE) * figures.fmr
    if rare and figures.fmr:
        wrong = (1 - RARE) * figures.fmr / rare
        if wrong > 0.05:
            yield (
                f"Not as it stands where matches are rare: if one pair in 100 shows one identity, "
                f"{percent(wrong)} of what this threshold accepts is wrong. Choose the threshold "
                f"for that prevalence."
            )
    for column, found in figures.groups.items():
        for rate, words in (("fmr", "falsely accepted"), ("fnmr", "falsely refused")):
            unequal = found.disparities.get(rate)
            if unequal and unequal.differs:
                high, low = unequal.differs
                yield (
                    f"Not alike for all groups of {column}: pairs of {high} are {words} more "
                    f"often than those of {low} (95 % intervals do not overlap)."
                )
        unknown = [
            cell.groups[0]
            for cell in found.cells
            if cell.groups[0] == cell.groups[1] and "fmr" not in cell.ci95
        ]
        if unknown:
            yield f"For {listed(unknown[:6])} ({column}) it is {UNKNOWN}: too few identities."
    if not figures.groups:
        yield f"Whether it serves all groups of people alike is {UNKNOWN}: the data name no groups."
    if lost := _lost(record):
        yield lost
    name = record.stored.name if record.stored else record.provenance.get("dataset")
    of = f" of {name!r}" if isinstance(name, str) and name else " that it was measured on"
    yield f"For images unlike those{of} (age, light, camera, pose) nothing is known."


def _lost(record: RunRecord) -> str | None:
    """Images on which the cropper found nothing: people whom it never serves."""
    counts = record.data.get("splits", {}) if isinstance(record.data, dict) else {}
    each = counts.get(record.judged) if isinstance(counts, dict) else None
    if not isinstance(each, dict):
        return None
    images, kept = each.get("images"), each.get("kept")
    if not isinstance(images, int) or not isinstance(kept, int) or not images:
        return None
    share = 1 - kept / images
    if share < _OFTEN:
        return None
    return f"On {percent(share)} of the images nothing was found to compare; no figure has them."
