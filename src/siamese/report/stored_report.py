"""The types of ``report.json`` and of what else a report reads of a run, checked before use."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from siamese.errors import CalibrationError
from siamese.report.thumbnails import is_thumbnail
from siamese.verification.point import OperatingPoint

VERSION = 1
_MANY = 20_000  # elements of a list
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]  # a picture's axes overflow beyond
Numbers = Annotated[list[Real], Meta(max_length=_MANY)]
Counts = Annotated[list[Count], Meta(max_length=_MANY)]
Pair = tuple[float, float]
Text = Annotated[str, Meta(max_length=20_000)]


class StoredCurve(Struct):
    """See :func:`siamese.report.condensed.curve_points`."""

    thresholds: Numbers
    tp: Counts
    fp: Counts
    genuine: Count
    impostor: Count

    def __post_init__(self) -> None:
        if not len(self.thresholds) == len(self.tp) == len(self.fp) > 0:
            raise ValueError("a curve whose parts are not of one length")
        if max(self.tp) > self.genuine or max(self.fp) > self.impostor:
            raise ValueError("a curve that counts more pairs than there are")


class StoredHistogram(Struct):
    """See :func:`siamese.report.condensed.histogram`."""

    edges: Numbers
    genuine: Counts
    impostor: Counts

    def __post_init__(self) -> None:
        if not len(self.edges) - 1 == len(self.genuine) == len(self.impostor) > 0:
            raise ValueError("a histogram whose parts do not fit")
        if any(high <= low for low, high in itertools.pairwise(self.edges)):
            raise ValueError("a histogram whose bins do not follow each other")


class StoredBin(Struct):
    """See :func:`siamese.report.condensed.probability_bins`."""

    stated: Share
    genuine: Count
    impostor: Count


class StoredSplit(Struct):
    """What is drawn of a split."""

    called: Text
    curve: StoredCurve | None = None
    histogram: StoredHistogram | None = None
    probabilities: Annotated[list[StoredBin], Meta(max_length=100)] = []


class Doubt(Struct):
    """An image that is nearer to another identity than to its own, and by how much."""

    file: Text
    identity: Text
    own: float
    other: float
    other_file: Text
    other_identity: Text


class GalleryImage(Struct):
    """An image of a gallery; ``thumbnail`` is empty where images are left out."""

    file: Text
    identity: Text
    thumbnail: str = ""
    doubt: Doubt | None = None

    def __post_init__(self) -> None:
        if self.thumbnail and not is_thumbnail(self.thumbnail):
            raise ValueError("a thumbnail that is no small JPEG in base64")


class GalleryPair(Struct):
    """Two images with their distance, and what the bundle says of it."""

    left: GalleryImage
    right: GalleryImage
    distance: float
    probability: Share | None = None


Gallery = Annotated[list[GalleryPair], Meta(max_length=100)]


class StoredReport(Struct):
    """What is kept of a run for its report, beside ``evaluation.json``.

    Attributes:
        version: of the format.
        name: of the data set.
        judged: the split by which the run is judged.
        point: the operating point, :meth:`siamese.OperatingPoint.to_dict`.
        chosen_on: the images that the threshold was chosen on, in words.
        faces: whether images were kept.
        splits: split -> what is drawn of it.
        identities: names by label, of the judged split; empty where they are many.
        pairs: digest of the judged split's files, in order: only pairs of the same are compared.
        false_matches, false_non_matches: the worst mistakes.
        mistakes: how many there are of each.
        doubts: suspected wrong labels; None where nobody looked.
        batch: augmented images of the first training batch, with their identities.
        leaks: what is known of images that two splits share, in sentences.
        data: :meth:`PreparedData.summary`; who is in which split, and what was left out.
        timing: what took how many seconds.
        one_rule: whether training and validation loss can be compared.
        notes: what must be known beside the figures.
    """

    version: Annotated[int, Meta(ge=1)]
    name: Text
    judged: Text
    point: dict[str, Any]
    chosen_on: Text
    faces: bool
    splits: Annotated[dict[str, StoredSplit], Meta(max_length=50)]
    pairs: Text = ""
    identities: Annotated[list[Text], Meta(max_length=_MANY)] = []
    false_matches: Gallery = []
    false_non_matches: Gallery = []
    mistakes: dict[str, Count] = {}
    doubts: Annotated[list[Doubt], Meta(max_length=200)] | None = None
    batch: Annotated[list[GalleryImage], Meta(max_length=100)] = []
    leaks: list[Text] = []
    data: dict[str, Any] = {}
    timing: dict[str, float] = {}
    one_rule: bool = False
    notes: list[Text] = []

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The operating point; None where it is none."""
        try:
            return OperatingPoint.from_dict(self.point)
        except CalibrationError:
            return None


class StoredDisparity(Struct):
    """See :class:`siamese.GroupDisparity`."""

    group: Text
    highest: Share
    ratio: float | None = None
    differs: tuple[str, str] | None = None


class StoredCell(Struct):
    """See :class:`siamese.GroupFigures`."""

    groups: tuple[str, str]
    identities: Count
    images: Count
    genuine: Count
    impostor: Count
    fnmr: Share | None = None
    fmr: Share | None = None
    ci95: dict[str, Pair] = {}


class StoredColumn(Struct):
    """See :class:`siamese.GroupEvaluation`."""

    cells: Annotated[list[StoredCell], Meta(max_length=5000)]
    unknown: Count = 0
    disparities: dict[str, StoredDisparity] = {}


class Figures(Struct):
    """What a report needs of a split's figures, :meth:`siamese.SplitEvaluation.to_dict`."""

    identities: Count
    images: Count
    genuine: Count
    impostor: Count
    prevalence: Share
    threshold: Real
    accuracy: Share
    precision: Share
    recall: Share
    fmr: Share
    f1: Share
    auc: Share
    eer: Share
    confusion: dict[str, Count] = {}
    ci95: dict[str, Pair] = {}
    one_verdict: dict[str, float] = {}
    at_prevalence: dict[str, float] = {}
    recall_at_fmr: dict[str, float] = {}
    reliability: dict[str, Any] | None = None
    groups: dict[str, StoredColumn] = {}
    baselines: dict[str, Figures] = {}
    gain_in_auc: tuple[float, float | None, float | None] | None = None  # of a baseline
    caution: Text = ""


def as_figures(values: Any) -> dict[str, Figures]:
    """Split -> figures, of the content of ``evaluation.json``.

    Raises:
        ValueError: it holds something else.
    """
    if isinstance(values, dict):
        values = {split: _renamed(figures) for split, figures in values.items()}
    found = msgspec.convert(values, dict[str, Figures])
    if not found:
        raise ValueError("it has no split")
    return found


# What version 0.1.0 called figures.
_RENAMED = {"people": "identities", "far": "fmr", "recall_at_far": "recall_at_fmr"}


def _renamed(figures: Any) -> Any:
    """Figures of a split by the names that they have in this version."""
    if not isinstance(figures, dict):
        return figures
    found = {_RENAMED.get(name, name): value for name, value in figures.items()}
    if isinstance(ends := found.get("ci95"), dict):
        found["ci95"] = {str(name).replace("far", "fmr"): value for name, value in ends.items()}
    return found
