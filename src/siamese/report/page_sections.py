"""The sections of one run's report, from its record; what is not known is said."""

from __future__ import annotations

from collections.abc import Iterator

from siamese.report.charts import distance_chart, learning_charts
from siamese.report.error_charts import (
    det_chart,
    reliability_chart,
    roc_chart,
    threshold_chart,
)
from siamese.report.page_parts import PageSection, PageTable
from siamese.report.record import RunRecord
from siamese.report.stored_report import Figures, StoredSplit
from siamese.report.words import (
    BASELINES,
    TITLES,
    UNKNOWN,
    figure_at,
    interval,
    number,
)
from siamese.verification.point import GIVEN, OperatingPoint

_FIGURES = ("auc", "eer", "f1", "accuracy", "recall", "fmr")
_SPLITS = ("train", "calibration", "validation", "test")


def baselines_section(record: RunRecord) -> PageSection:
    """The figures of the judged split, each beside its baselines."""
    figures = record.figures[record.judged]
    known = {name: each for name, each in figures.baselines.items() if name in BASELINES}
    header = ["", "this run", "one verdict for all pairs", *(BASELINES[n] for n in known)]
    alone = {"auc": 0.5, "eer": 0.5, "recall": 1.0, "fmr": 1.0} | figures.one_verdict
    rows = []
    for name in _FIGURES:
        cells = [_shown(each, name) for each in (figures, *known.values())]
        single = number(alone[name]) if name in alone else UNKNOWN
        rows.append([TITLES[name], cells[0], single, *cells[1:]])
    gains = [_gain(each) for each in known.values()]
    rows.append(["gain in ROC AUC over it", "", f"{figures.auc - 0.5:+.3f}", *gains])
    for rate, recall in figures.recall_at_fmr.items():
        around = figures.ci95.get(f"recall@fmr={rate}")
        others = [
            number(each.recall_at_fmr[rate]) if rate in each.recall_at_fmr else UNKNOWN
            for each in known.values()
        ]
        label = f"recall at false match rate {rate}"
        rows.append([label, f"{number(recall)} ({interval(around)})", "0", *others])
    share = figures.at_prevalence.get("prevalence", figures.prevalence)
    note = (
        f"On {figures.genuine:,} genuine and {figures.impostor:,} impostor pairs; F1 and accuracy "
        f"at a prevalence of {share:.3g}. In brackets: 95 % intervals from a bootstrap over "
        f"identities. Each baseline is judged at a threshold of its own, chosen alike; the gain is "
        f"measured on the same draws of identities."
    )
    lacking = [words for name, words in BASELINES.items() if name not in known]
    said = [f"Not measured: {'; '.join(lacking)}."] if lacking else []
    if "pretrained" not in known and record.history:
        said.append(
            "Of faces, dlib's network may do better than a small one of one's own: siamese compare "
            "pretrained RUN --on RUN measures both on the same people."
        )
    return PageSection(
        "figures",
        "Figures beside baselines",
        said,
        tables=[PageTable(_who(record), header, rows, note), *_other_splits(record)],
    )


def _who(record: RunRecord) -> str:
    figures = record.figures[record.judged]
    called = record.called(record.judged)
    return f"{called}: {figures.identities:,} identities, {figures.images:,} images"


def _other_splits(record: RunRecord) -> Iterator[PageTable]:
    """The splits side by side, where there are several."""
    if len(record.figures) < 2:
        return
    splits = list(record.figures)
    rows = [
        [TITLES[name], *(_shown(record.figures[split], name) for split in splits)]
        for name in _FIGURES
    ]
    note = (
        "Figures of the training and the calibration identities flatter: weights, epoch or "
        "threshold were chosen by them."
    )
    yield PageTable("All splits", ["", *(record.called(s) for s in splits)], rows, note)


def _shown(figures: Figures, name: str) -> str:
    value, around = figure_at(figures, name)
    return f"{number(value)} ({interval(around)})"


def _gain(baseline: Figures) -> str:
    if baseline.gain_in_auc is None:
        return UNKNOWN
    observed, low, high = baseline.gain_in_auc
    if low is None or high is None:
        return f"{observed:+.3f} (interval not known)"
    return f"{observed:+.3f} ({low:+.3f} to {high:+.3f})"


def threshold_section(record: RunRecord) -> PageSection:
    """The threshold, where it is from, and what it promises."""
    point = record.point
    if point is None:
        figures = record.figures[record.judged]
        said = [
            f"Two images count as one identity where their distance is at most "
            f"{figures.threshold:.4f}. How that was chosen is {UNKNOWN}: the folder does not say."
        ]
        return PageSection("threshold", "The threshold and its promise", said)
    on = record.stored.chosen_on if record.stored else point.split
    if on == point.split:  # of other data, a sentence of the bundle's says on whom
        on = f"the {on} identities" if on in _SPLITS else f"the {on}"
    given = point.policy == GIVEN
    said = [
        f"Two images count as one identity where their {point.distance} distance is at most "
        f"{point.threshold:.4f}. The threshold is {point.choice_in_words()}."
        + ("" if point.confusion is None or given else f" It was chosen on {on}."),
        _promise(point),
    ]
    tables = []
    if point.figures:
        rows = [
            [
                TITLES.get(name, name),
                f"{number(value)} ({interval(point.ci95.get(name))})",
                _one(name, point.target_prevalence or point.prevalence),
            ]
            for name, value in point.figures.items()
        ]
        pairs = f"{point.genuine or 0:,} genuine and {point.impostor or 0:,} impostor pairs"
        share = f"at a prevalence of {point.target_prevalence or point.prevalence or 0:.3g}"
        note = f"On the {pairs} that it was chosen on, {share}: too good for others."
        title = "What it reached where it was chosen"
        if given:
            note, title = f"On {pairs}, {share}.", f"What it reaches on {on}"
        header = ["", "at the threshold", "accepting every pair"]
        tables.append(PageTable(title, header, rows, note))
    around = point.ci95.get("threshold")
    points = [
        f"95 % interval of the threshold: {around[0]:.4f} to {around[1]:.4f}."
        if around
        else "The interval of the threshold is not known: too few identities, or it was given."
    ]
    if point.gap:
        low, high = point.gap
        points.append(f"Anywhere from {low:.4f} to {high:.4f} the same pairs are accepted.")
    return PageSection(
        "threshold", "The threshold and its promise", said, tables=tables, points=points
    )


def _promise(point: OperatingPoint) -> str:
    if point.promise_in_words:
        return f"Its promise: {point.promise_in_words}."
    return (
        "It promises nothing for other people: no error rate is guaranteed. A policy such as "
        "fmr with a confidence does."
    )


def _one(name: str, share: float | None) -> str:
    """A figure of accepting every pair."""
    if share is None:
        return UNKNOWN
    known = {"f1": 2 * share / (1 + share), "recall": 1.0, "fmr": 1.0}
    return number(known.get(name, share))


def learning_section(record: RunRecord) -> PageSection:
    """Losses and the error rate of the calibration identities over epochs."""
    kept = record.point.epoch + 1 if record.point and record.point.epoch is not None else None
    charts = learning_charts(record.history, kept, bool(record.stored and record.stored.one_rule))
    said = () if charts else ("No epochs were recorded: nothing was trained here.",)
    return PageSection("learning", "Learning", said, charts)


def distances_section(record: RunRecord) -> PageSection:
    """Distances of the judged split, beside those of the calibrating one."""
    if record.stored is None:
        return PageSection("distances", "Distances", [_LACKS])
    point, charts = record.point, []
    threshold = record.figures[record.judged].threshold
    band = point.ci95.get("threshold") if point else None
    unit = point.distance if point else "the"
    order = [record.judged, *(s for s in record.stored.splits if s not in (record.judged, "train"))]
    for number_, split in enumerate(order):
        found = record.stored.splits.get(split)
        if found and found.histogram:
            title = f"Distances: {found.called}"
            chart = distance_chart(
                found.histogram, threshold, band, unit, f"distances-{number_}", title
            )
            charts.append(chart)
    return PageSection("distances", "Distances", [] if charts else [_LACKS], charts)


_LACKS = "Not known: the folder does not have them."


def errors_section(record: RunRecord) -> PageSection:
    """ROC and DET of the judged split, and errors at every threshold."""
    found = _split(record)
    if found is None or found.curve is None:
        return PageSection("errors", "Errors", [_LACKS])
    threshold = record.figures[record.judged].threshold
    lines = {found.called: (found.curve, threshold)}
    det = det_chart(lines)
    unit = record.point.distance if record.point else "the"
    charts = [roc_chart(lines), det, threshold_chart(found.curve, threshold, unit)]
    said = []
    if det is None:
        said.append(
            "There is no DET curve: no threshold makes errors of both kinds on these pairs."
        )
    return PageSection("errors", "Errors", said, [chart for chart in charts if chart])


def _split(record: RunRecord) -> StoredSplit | None:
    return record.stored.splits.get(record.judged) if record.stored else None


def reliability_section(record: RunRecord) -> PageSection:
    """Whether stated probabilities are kept by identities that they were not fitted to."""
    figures, found = record.figures[record.judged], _split(record)
    judged = figures.reliability
    if record.chosen_on_judged:
        said = [
            "Not shown: probabilities were fitted to these same identities, so that they prove "
            "nothing here. Those of test identities do."
        ]
        return PageSection("reliability", "Reliability", said)
    chart = None
    share = record.point.target_prevalence if record.point else None
    if found and found.curve and share is not None:
        genuine, impostor = found.curve.genuine, found.curve.impostor
        chart = reliability_chart(found.probabilities, share, genuine, impostor, found.called)
    said = []
    error = judged.get("calibration_error") if judged else None
    if isinstance(error, (int, float)):
        brier = judged.get("brier") if judged else None
        alone = share * (1 - share) if share is not None else None
        said.append(
            f"Stated probabilities are off by {float(error):.3f} on average"
            + (
                f"; their mean squared error (Brier) is {brier:.4f}, that of always stating the "
                f"prevalence {alone:.4f}."
                if isinstance(brier, (int, float)) and alone is not None
                else "."
            )
        )
    if chart is None:
        said.append("No probabilities were judged here." if judged is None else _LACKS)
    return PageSection("reliability", "Reliability", said, [chart] if chart else [])
