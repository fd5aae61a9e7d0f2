"""How well a gallery finds people: labelled photographs are searched, and the answers counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamese.datasets.identities import IdentityTable, normalise_identity
from siamese.errors import NO_FACE, DataError, FaceError, ImageError
from siamese.evaluation.data import other_table
from siamese.inference.gallery.gallery import Gallery
from siamese.inference.gallery.search_threshold import RATE, SearchThreshold
from siamese.progress import progress_bar
from siamese.verification.identification import SearchEvaluation, SearchFigures, evaluate_search


@dataclass(frozen=True)
class SearchMistake:
    """A photograph for which a search gave the wrong answer.

    Attributes:
        photograph: the file.
        identity: whom it shows.
        enrolled: whether that person is.
        named: whom the search named; None for nobody.
        nearest: the nearest person.
        distance: to that person's nearest photograph, which is ``photograph_of_nearest``.
        photograph_of_nearest: as the gallery has it.
    """

    photograph: str
    identity: str
    enrolled: bool
    named: str | None
    nearest: str
    distance: float
    photograph_of_nearest: str


@dataclass(frozen=True)
class GalleryEvaluation:
    """What searches for labelled photographs found.

    Attributes:
        search: ranks and distances of each probe.
        threshold: of the searches, and what is known of it.
        figures: the error rates at that threshold.
        left_out: photograph -> why it was not searched.
        mistakes: the wrong answers at that threshold, the nearest first.
    """

    search: SearchEvaluation
    threshold: SearchThreshold
    figures: SearchFigures
    left_out: dict[str, str] = field(default_factory=dict, repr=False)
    mistakes: tuple[SearchMistake, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of those left out, how many for each reason."""
        search = self.search
        return {
            "people": search.people,
            "photographs": search.photographs,
            "probes": len(search.labels),
            "mated": int(search.mated.sum()),
            "rank1": search.rank(1),
            "mean_average_precision": search.mean_average_precision,
            "cmc": None if not search.mated.any() else search.cmc().tolist(),
            "ci95": {name: list(ends) for name, ends in search.ci95.items()},
            "figures": self.figures.to_dict(),
            "promise": self.threshold.in_words,
            "left_out": dict(Counter(self.left_out.values())),
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }


def evaluate_gallery(
    gallery: Gallery,
    data: IdentityTable | str | Path,
    *,
    root: str | Path | None = None,
    rate: float = RATE,
    confidence: float | None = None,
    threshold: float | None = None,
    progress: bool = True,
) -> GalleryEvaluation:
    """Search labelled photographs of people who are enrolled, and of others who are not.

    Of each photograph the face is searched that the bundle's cropper chooses. Photographs that are
    enrolled themselves, by their content, are left out: they would be found in any case.

    Args:
        gallery: to search in.
        data: a folder of one folder per person, a CSV or Parquet file, or a table. Who has the name
            of somebody enrolled is that person.
        root: where the photographs of a CSV file lie.
        rate, confidence, threshold: as for :meth:`siamese.Gallery.search`.
        progress: show a progress bar.

    Raises:
        DataError: no photographs, or none that can be searched.
        GalleryError: nobody is enrolled.
        ConfigError: numbers out of range.
    """
    limit = gallery.threshold(rate, threshold, confidence)
    names, rows = gallery.rows()
    table = other_table(data, root)
    found, labels, left_out, photographs = [], [], {}, []
    with progress_bar("searching", len(table), progress) as advance:
        for path, name in zip(table.paths, table.identities, strict=True):
            advance(1)
            try:
                if gallery.is_enrolled(name, path):
                    left_out[str(path)] = "enrolled already"
                    continue
                look = gallery.verifier.look(path)
                if look.faces == 0:
                    left_out[str(path)] = NO_FACE
                    continue
            except FaceError as error:
                left_out[str(path)] = error.kind
                continue
            except ImageError as error:
                left_out[str(path)] = error.reason
                continue
            found.append(gallery.verifier.embed_faces([look.face])[0])
            written = table.spellings.get(name, name)
            shown = gallery.name_of(name) if name in gallery else written
            labels.append(normalise_identity(shown))
            photographs.append((str(path), shown))
    if not found:
        why = ", ".join(f"{n:,} {reason}" for reason, n in Counter(left_out.values()).items())
        raise DataError(f"{table.root}: nothing to search for ({why}); give other photographs")
    search = evaluate_search(
        rows,
        [normalise_identity(name) for name in names],
        np.stack(found),
        labels,
        getattr(gallery.verifier.bundle, "distance", gallery.verifier.bundle.distance_name),
    )
    mistakes = _mistakes(gallery, photographs, np.stack(found), limit)
    return GalleryEvaluation(search, limit, search.at(limit.threshold), left_out, mistakes)


def _mistakes(
    gallery: Gallery,
    photographs: list[tuple[str, str]],
    embeddings: np.ndarray,
    limit: SearchThreshold,
) -> tuple[SearchMistake, ...]:
    """The wrong answers, the nearest first."""
    wrong = []
    answers = gallery.search_embeddings(embeddings, 1, threshold=limit)
    for (photograph, identity), (nearest, *_) in zip(photographs, answers, strict=True):
        enrolled = identity in gallery
        named = nearest.name if nearest.accepted else None
        if named != (identity if enrolled else None):
            wrong.append(
                SearchMistake(
                    photograph,
                    identity,
                    enrolled,
                    named,
                    nearest.name,
                    nearest.distance,
                    nearest.photograph,
                )
            )
    return tuple(sorted(wrong, key=lambda one: one.distance))
