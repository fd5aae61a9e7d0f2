"""The model card: README.md of a bundle, written from its own figures for people to read.

It has the front matter of Hugging Face's model cards (https://huggingface.co/docs/hub/model-cards)
and the parts of Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019. Every figure stands
beside its baseline, and what is not known is said to be not known.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING

from siamese.backbones.base import own_network
from siamese.faces.croppers.dlib_croppers import DlibCropper
from siamese.inference.card_figures import (
    CardFigures,
    Figures,
    group_rows,
    point_rows,
    test_rows,
)
from siamese.inference.markdown import plain, table, word
from siamese.verification.bootstrap import MIN_IDENTITIES
from siamese.verification.point import GIVEN, OperatingPoint

if TYPE_CHECKING:
    from siamese.inference.bundle import Bundle

LIBRARY = "siamese-lightning"
# What the Hub calls a licence that is not stated.
UNKNOWN = "unknown"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
_MOST_GROUPS = 40  # rows of a table by group
_SETTINGS = ("loss", "sampler", "split_protocol", "split_seed", "batch_seed", "epochs", "kept")


def card_of(bundle: Bundle) -> str:
    """Markdown that says what a bundle is for, what it was measured on, and where it ends.

    The figures come from the bundle's operating point and its provenance
    (:class:`siamese.inference.card_figures.CardFigures`).

    Args:
        bundle: any.
    """
    figures = CardFigures.of(bundle)
    faces = isinstance(bundle.cropper, DlibCropper)
    parts = [
        _front_matter(bundle, faces),
        _purpose(bundle, faces),
        _use(),
        _data(bundle, figures),
        _threshold(bundle.operating_point, figures),
        _test(bundle, figures),
        _limits(bundle, figures, faces),
        _licence(bundle),
        _made_with(bundle),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


_YAML_WORDS = ("yes", "no", "on", "off", "true", "false", "null", "~", "y", "n")


def _front_matter(bundle: Bundle, faces: bool) -> str:
    licence = _licence_of(bundle) or f"{UNKNOWN} # not stated: fill in"
    if licence.lower() in _YAML_WORDS:  # which mean something else than themselves
        licence = f'"{licence}"'
    tags = ["siamese", "metric-learning", "verification", "pytorch"]
    if faces:
        tags.append("face-verification")
    return "\n".join(
        [
            "---",
            f"license: {licence}",
            f"library_name: {LIBRARY}",
            "pipeline_tag: image-feature-extraction",
            "tags:",
            *(f"- {tag}" for tag in tags),
            "---",
        ]
    )


def _purpose(bundle: Bundle, faces: bool) -> str:
    network = own_network(bundle.backbone)
    what = "the same person" if faces else "the same identity"
    return (
        f"# Do two images show {what}?\n\n"
        f"This bundle answers that question for two images: it embeds each of them "
        f"({type(network).__name__}, {bundle.backbone.embedding_size} numbers), measures the "
        f"{bundle.operating_point.distance} distance, and says *{what}* up to a threshold that was "
        f"calibrated.\n\n"
        f"It is made for pairs. In a search among many, each comparison can be a false match: "
        f"choose a threshold for that (`--policy fmr,rate=0.01,gallery=50`). It does not tell age, "
        f"sex or feelings, and it does not tell whether a picture is one of a living person."
    )


def _use() -> str:
    return (
        "## How to use it\n\n"
        "```python\n"
        "import siamese\n"
        'verifier = siamese.Verifier.load("this/folder")\n'
        'print(verifier.verify("one.jpg", "other.jpg"))\n'
        "```\n\n"
        "On the command line: `siamese verify one.jpg other.jpg --bundle this/folder`"
    )


def _data(bundle: Bundle, figures: CardFigures) -> str:
    facts = bundle.provenance
    # The bundle came with another threshold than it has, if that was chosen anew since.
    calibrated = "Threshold calibrated on"
    if figures.anew is not None:
        calibrated = "Threshold that it came with, no longer in use, was calibrated on"
    told = {
        "Network": facts.get("network"),
        "Trained on": facts.get("trained_on", facts.get("dataset")),
        calibrated: facts.get("calibrated_on"),
        "Threshold chosen anew on": figures.chosen_on,
    }
    lines = ["## Data", ""]
    if told["Trained on"] is None:
        lines.append("* Which data it was trained on is not known.")
    lines += [f"* {name}: {word(value)}" for name, value in told.items() if value is not None]
    if figures.splits:
        rows = [["split", "identities", "images"]]
        rows += [
            [name, f"{s.identities:,}", f"{s.images:,}"]
            for name, s in list(figures.splits.items())[:_MOST_GROUPS]
        ]
        lines += ["", *table(rows)]
    elif not facts.get("trained_on"):
        lines.append("* How many people and images it was trained on is not known.")
    return "\n".join(lines)


def _threshold(point: OperatingPoint, figures: CardFigures) -> str:
    lines = ["## Threshold", ""]
    interval = point.ci95.get("threshold")
    where = f"(95 % interval {interval[0]:.4f}-{interval[1]:.4f})" if interval else ""
    lines.append(
        f"{point.distance} distance <= {point.threshold:.4f} "
        f"{where or '(how far it holds is not known: it has no interval)'}"
    )
    lines.append("")
    if point.policy == GIVEN:
        lines.append("* Chosen by: a number that was given, not by a policy.")
    else:
        lines.append(f"* Chosen by: {word(point.policy + point.settings_in_words)}")
    if point.genuine is None or point.impostor is None:
        lines.append("* What it does is not known: it was chosen without any pairs.")
        return "\n".join(lines)
    people = (
        "a number of people that is not known"
        if point.identities is None
        else f"{point.identities:,} identities ({point.images or 0:,} images)"
    )
    where = f"the split {word(point.split)}"
    if figures.anew is not None:
        name = figures.chosen_on
        where = f"{word(name)}, " if name else ""
        where += "the images given to `siamese calibrate`"
    lines.append(
        f"* On: {where}, {people}, {point.genuine:,} genuine and "
        f"{point.impostor:,} impostor pairs (rule {word(point.pair_rule.get('name'))})"
    )
    promise = point.promise_in_words
    lines.append(f"* Promise: {plain(promise) if promise else 'none was asked for'}")
    if point.identities is not None and point.identities < MIN_IDENTITIES:
        lines.append("* These are too few identities to say how far it holds for others.")
    rows = point_rows(point)
    if len(rows) > 1:
        share = point.target_prevalence
        lines += ["", *table(rows), ""]
        if share is not None:
            lines.append(
                f"F1, accuracy and precision are those where {share:.3g} of all pairs are genuine."
            )
        lines.append("The threshold was chosen on these very pairs, so they are a little too good.")
    return "\n".join(lines)


def _test(bundle: Bundle, figures: CardFigures) -> str:
    lines = ["## Figures on people that neither training nor threshold has seen", ""]
    test = figures.test
    if test is not None and test.caution:
        lines = ["## Figures on test images", "", f"**{plain(test.caution)}**", ""]
    elif test is not None and (figures.anew is not None or not figures.same_threshold):
        # Whoever chose the threshold anew may have had these very people.
        lines = ["## Figures on the test people of its training", ""]
    elif figures.benchmarks and figures.anew is not None:
        lines = ["## Figures from before the threshold was chosen anew", ""]
    if test is None and not figures.benchmarks:
        lines.append(
            "Not known. Measure them on people of your own, from whom nothing was chosen: "
            "`siamese evaluate this/folder --data people`"
        )
    if test is not None:
        lines += _test_figures(test, figures.same_threshold, bundle.operating_point.threshold)
    if figures.benchmarks and figures.anew is not None:
        lines += [
            *([""] if lines[-1] else []),
            f"**What follows was measured before the threshold "
            f"{bundle.operating_point.threshold:.4f} was chosen, and is not of that threshold.** "
            f"What the present one does on these people is not known, nor whether it was chosen on "
            f"some of them.",
            "",
        ]
    for found in figures.benchmarks:
        beside = ", ".join(f"{plain(n)} {v:.4f}" for n, v in found.baselines.items())
        lines.append(
            f"* {plain(found.name)}: {plain(found.figure)} {found.value:.4f} +- "
            f"{found.standard_error:.4f} (mean and standard error); beside it: {beside} "
            f"({word(found.command)})"
        )
    return "\n".join(lines)


def _test_figures(test: Figures, same: bool, threshold: float) -> list[str]:
    share = test.one_verdict.get("prevalence")
    lines = [
        f"{test.identities:,} identities, {test.images:,} images, {test.genuine:,} genuine and "
        f"{test.impostor:,} impostor pairs."
    ]
    if share is not None:
        lines.append(f"F1 and accuracy are those where {share:.3g} of all pairs are genuine.")
    if not same:
        lines += [
            "",
            f"**They were measured at the threshold {test.threshold:.4f}; since then "
            f"{threshold:.4f} was chosen.** ROC AUC and equal error rate depend on no threshold; "
            f"the other figures at the present one are not known.",
        ]
    lines += ["", *table(test_rows(test)), ""]
    lines.append(
        "Each column is at its own threshold, chosen alike. *One verdict for all pairs*: F1, "
        "recall and false match rate of accepting every pair, accuracy of the better of accepting "
        "and refusing. Intervals are from a bootstrap over identities."
    )
    if not test.groups:
        lines += [
            "",
            "By group (age, sex, skin, camera, ...): not known; the data named no groups.",
        ]
    for name, values in test.groups.items():
        rows = group_rows(values)
        if rows:
            lines += ["", f"Within each group of {word(name)}:", "", *table(rows[:_MOST_GROUPS])]
    return lines


def _limits(bundle: Bundle, figures: CardFigures, faces: bool) -> str:
    lines = ["## Limits", ""]
    whom = "It was measured on no people that are known here"
    if figures.test is not None:
        whom = f"It was tested on {figures.test.identities:,} identities of the data named above"
    elif figures.benchmarks:
        whom = "It was tested on the benchmarks named above"
    lines.append(
        f"* {whom}. On other people, cameras and years its error rates may be others; measure them "
        f"before you rely on it: `siamese evaluate this/folder --data people`."
    )
    if bundle.provenance.get("dataset") == "lfw" or "LFW" in str(
        bundle.provenance.get("calibrated_on")
    ):
        lines.append(
            "* LFW's photographs are of public figures out of the news, most of them men; dlib's "
            "HOG detector was trained on photographs of LFW among others."
        )
    if isinstance(stated := bundle.provenance.get("limits"), str):
        lines.append(f"* Stated by its maker: {plain(stated)}")
    if not faces:
        lines.append("* It looks for no face. Where its images show people:")
    lines += [
        "* A photograph of a photograph is compared like a face: there is no liveness detection.",
        "* Faces are biometric data. In the European Union processing them to identify people "
        "is forbidden unless a ground such as explicit consent allows it (GDPR, article 9); "
        "other countries and states have laws of their own. This is no legal advice.",
    ]
    lines.append("* These figures are its maker's own statement; nothing in the files proves them.")
    return "\n".join(lines)


def _licence(bundle: Bundle) -> str:
    licence, facts = _licence_of(bundle), bundle.provenance
    if licence:
        text = licence
        if facts.get("network"):
            text += f", of the network: {word(facts['network'])}"
        if facts.get("calibrated_on") and "recalibrated" not in facts:
            text += f". Its threshold was calibrated on {word(facts['calibrated_on'])}"
    else:
        text = (
            "Not stated: fill in, here and in the first lines of this file. The licences of the "
            "photographs that it was trained on may bind it, too. After editing, "
            "`siamese sign this/folder --key KEY` signs the card with the bundle."
        )
    return f"## Licence\n\n{text}"


def _made_with(bundle: Bundle) -> str:
    facts = bundle.provenance
    try:
        here = importlib.metadata.version(LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        here = "not known"
    lines = ["## Made with", "", f"* Card written by {LIBRARY} {here}"]
    for name in ("siamese", "torch"):
        if name in facts:
            lines.append(f"* Trained with {name} {word(facts[name])}")
    lines += [f"* {name}: {word(facts[name])}" for name in _SETTINGS if name in facts]
    lines.append("* All of it: `provenance` in `bundle.json`")
    return "\n".join(lines)


def _licence_of(bundle: Bundle) -> str | None:
    """The identifier of a licence that the provenance names, if it is one."""
    named = bundle.provenance.get("licence")
    return named if isinstance(named, str) and _LICENCE.fullmatch(named) else None
