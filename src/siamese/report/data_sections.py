"""The sections on pictures, data and settings of one run's report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from siamese.distances.verdict import is_match
from siamese.report.page_parts import (
    PageGallery,
    PageImage,
    PagePair,
    PageSection,
    PageTable,
)
from siamese.report.record import RunRecord
from siamese.report.stored_report import Doubt, GalleryImage, GalleryPair
from siamese.report.words import UNKNOWN, percent
from siamese.verification.curves import CHANCE

_COUNTS = ("identities", "images", "kept", "no_face", "several_faces", "skipped", "bad")
_LACKS = "Not known: the folder does not have them."
_WORST = 5  # identities that are listed
_DOUBTS = 30  # suspected labels that are listed
KEPT_DOUBTS = 100  # and that a run keeps


def mistakes_section(record: RunRecord, faces: bool) -> PageSection:
    """The worst mistakes with their images, and labels that may be wrong."""
    stored = record.stored
    if stored is None:
        return PageSection("mistakes", "The worst mistakes", [_LACKS])
    figures = record.figures[record.judged]
    kinds = (
        ("False matches", stored.false_matches, "fp", figures.impostor, "impostor"),
        ("False non-matches", stored.false_non_matches, "fn", figures.genuine, "genuine"),
    )
    galleries = []
    for title, pairs, count, among, kind in kinds:
        total = figures.confusion.get(count, len(pairs))
        share = percent(total / among) if among else UNKNOWN
        counted = f"{total:,} of {among:,} {kind} pairs ({share})"
        counted += (
            f"; {len(pairs)} of the worst, at most 3 of the same two identities." if pairs else "."
        )
        galleries.append(PageGallery(title, counted, [_pair(pair, faces) for pair in pairs]))
    said = [] if faces and stored.faces else ["Images are left out of this page (faces=false)."]
    if stored.doubts is None:
        said.append("Nobody looked for wrong labels here: there are too many images.")
    elif not stored.doubts:
        said.append("No label looks wrong: no image is near another identity and far from its own.")
    else:
        found = len(stored.doubts)
        many = f"{found} labels{' or more' if found >= KEPT_DOUBTS else ''}"
        said.append(
            f"{many if found > 1 else 'One label'} may be wrong: an image is nearer to another "
            f"identity than to any other image of its own. Such images are marked, and somebody "
            f"should look." + (f" The {_DOUBTS} clearest are listed." if found > _DOUBTS else "")
        )
        if figures.auc < CHANCE:
            said.append("The network is no better than guessing, so that its doubts mean little.")
    points = [_doubt(doubt) for doubt in (stored.doubts or [])[:_DOUBTS]]
    table = _worst_identities(record)
    tables = [table] if table else []
    return PageSection(
        "mistakes", "The worst mistakes", said, tables=tables, galleries=galleries, points=points
    )


def _worst_identities(record: RunRecord) -> PageTable | None:
    """Whose genuine pairs are missed most; None where pairs are not kept, or none is missed."""
    pairs, stored = record.pairs, record.stored
    if pairs is None or stored is None or not stored.identities:
        return None
    threshold = record.figures[record.judged].threshold
    accepted = np.asarray(is_match(pairs.distances, threshold), dtype=bool)
    own = pairs.labels[pairs.pairs.left]
    size = max(len(stored.identities), int(pairs.labels.max()) + 1)
    every = np.bincount(own[pairs.pairs.same], minlength=size)
    missed = np.bincount(own[pairs.pairs.same & ~accepted], minlength=size)
    order = np.lexsort([np.arange(size), -missed])[:_WORST]
    rows = [
        [stored.identities[i], f"{missed[i]:,} of {every[i]:,}", percent(missed[i] / every[i])]
        for i in order.tolist()
        if missed[i] and i < len(stored.identities)
    ]
    header = ["identity", "genuine pairs missed", "share"]
    total = percent(float(missed.sum() / max(1, every.sum())))
    note = f"Of all identities together {total} of the genuine pairs are missed."
    return PageTable("Identities that are missed most", header, rows, note) if rows else None


def _pair(pair: GalleryPair, faces: bool) -> PagePair:
    said = f"distance {pair.distance:.4f}"
    if pair.probability is not None:
        said += f", P(same) {percent(pair.probability)}"
    return PagePair(_image(pair.left, faces), _image(pair.right, faces), said)


def _image(image: GalleryImage, faces: bool) -> PageImage:
    doubt = image.doubt
    words = ""
    if doubt is not None:
        words = (
            f"label doubtful: nearer to {doubt.other_identity} ({doubt.other:.3f}) than to its own "
            f"({doubt.own:.3f})"
        )
    return PageImage(image.file, image.identity, image.thumbnail if faces else "", words)


def _doubt(doubt: Doubt) -> str:
    return (
        f"{doubt.file} ({doubt.identity}): {doubt.other:.4f} from {doubt.other_file} "
        f"({doubt.other_identity}), {doubt.own:.4f} from the nearest of its own"
    )


def batch_section(record: RunRecord, faces: bool) -> PageSection:
    """What the network saw in training: some images of the first batch, augmented."""
    title = "A training batch"
    batch = record.stored.batch if record.stored else []
    if not batch:
        said = "Not known: this is no training run, or the folder does not have it."
        return PageSection("batch", title, [said])
    if not faces or not batch[0].thumbnail:
        return PageSection("batch", title, ["Images are left out of this page (faces=false)."])
    pairs = [PagePair(_image(image, faces), None) for image in batch]
    said = f"{len(batch)} images of the first batch, augmented as the network sees them."
    return PageSection("batch", title, galleries=[PageGallery("", said, pairs)])


def data_section(record: RunRecord) -> PageSection:
    """Who is in which split, what was left out, skew, and what leaks between splits."""
    tables, points = [], list(record.stored.leaks) if record.stored else []
    splits = _mapping(record.data.get("splits"))
    if splits:
        rows = []
        for split, counts in splits.items():
            known = _mapping(counts)
            cells = [_count(known.get(name)) for name in _COUNTS]
            rows.append([record.called(str(split)), *cells])
        header = ["split", *(name.replace("_", " ") for name in _COUNTS)]
        note = "Without a face, skipped and bad images are in no figure."
        tables.append(PageTable("Images and what became of them", header, rows, note))
    left_out = _mapping(_mapping(record.data.get("accounts")).get("left_out"))
    points += [f"{_count(n)} files left out: {reason}" for reason, n in left_out.items()]
    tables += list(_skew(record))
    said = [] if tables else [_LACKS]
    if record.skew and len(tables) < 2:
        said.append("Every identity has as many images as every other: there is no skew.")
    caution = record.figures[record.judged].caution
    if caution:
        points.insert(0, f"{caution}.")
    return PageSection("data", "Data", said, tables=tables, points=points)


def _skew(record: RunRecord) -> Iterator[PageTable]:
    """How many images identities have; of data in which all have alike, nothing."""
    rows, skewed = [], False
    for split, found in record.skew.items():
        known = _mapping(found)
        values = [known.get(n) for n in ("identities", "images", "median", "mean")]
        deviation = known.get("standard deviation")
        if all(isinstance(v, (int, float)) for v in (*values, deviation)):
            shown = [f"{values[0]:,}", f"{values[1]:,}", f"{values[2]:g}", f"{values[3]:.2f}"]
            rows.append([record.called(str(split)), *shown, f"{deviation:.2f}"])
            skewed |= bool(deviation)
    if skewed:
        header = ["split", "identities", "images", "median", "mean", "standard deviation"]
        note = "Images of each identity. The larger the deviation, the more few identities count."
        yield PageTable("Skew", header, rows, note)


def settings_section(record: RunRecord) -> PageSection:
    """Versions, parts, timings, and the settings as they were recorded."""
    facts = record.provenance
    names = ("siamese", "torch", "dataset", "split_protocol", "split_seed", "epochs", "kept",
             "sampler", "loss", "batch_seed")  # fmt: skip
    rows = [[name.replace("_", " "), _flat(facts[name])] for name in names if name in facts]
    rows += [[kind, _flat(part)] for kind, part in record.parts.items() if part]
    rows += [[name.replace("_", " "), f"{value:,.2f}"] for name, value in record.timing.items()]
    tables = [PageTable("", ["", ""], rows)] if rows else []
    folded = [("All settings", record.settings)] if record.settings else []
    config = facts.get("config")
    if not folded and isinstance(config, dict):
        folded.append(("All settings", json.dumps(config, indent=2, ensure_ascii=False)[:65_536]))
    said = [] if tables or folded else ["Not known: this folder is of no training run."]
    return PageSection(
        "settings", "Settings, versions, timings", said, tables=tables, folded=folded
    )


def _flat(value: Any) -> str:
    """A setting on one line."""
    if isinstance(value, dict):
        name = value.get("name", "")
        rest = ", ".join(f"{k} {_flat(v)}" for k, v in value.items() if k != "name")
        return f"{name}: {rest}" if name and rest else f"{name}{rest}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(v) for v in value) + "]"
    return " ".join(str(value).split())[:600]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else UNKNOWN
