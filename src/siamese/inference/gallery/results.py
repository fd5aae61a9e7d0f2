"""What enrolling and searching give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from siamese.faces.align import Box
from siamese.faces.quality import Quality
from siamese.inference.gallery.search_threshold import SearchThreshold


@dataclass(frozen=True)
class Enrolment:
    """What became of the photographs of a person.

    Attributes:
        name: of the person, as the gallery has it.
        added: photographs that were enrolled.
        known: those that were enrolled before, by their content.
        left_out: photograph -> why it was not enrolled.
        notes: photograph -> what to know of it: low quality, several faces.
    """

    name: str
    added: int
    known: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        notes = {photograph: list(said) for photograph, said in self.notes.items()}
        return asdict(self) | {"left_out": dict(self.left_out), "notes": notes}


@dataclass(frozen=True)
class Candidate:
    """A person who may be on a photograph.

    Attributes:
        name: of the person.
        distance: of the nearest of the person's photographs, >= 0.
        photograph: which one that is, as it was given.
        accepted: whether the distance is at most the threshold of the search.
    """

    name: str
    distance: float
    photograph: str
    accepted: bool


@dataclass(frozen=True)
class Identification:
    """Whom one face shows, among those who are enrolled.

    Attributes:
        name: the nearest person, where that one is accepted; None where nobody enrolled is.
        candidates: the nearest people, nearest first, accepted or not.
        threshold: of the search, and what is known of it.
        people: how many are enrolled.
        box: of the face on the photograph, pixels; None where the bundle looks for no face, or none
            was found.
        quality: of the face; None as ``box``.
    """

    name: str | None
    candidates: tuple[Candidate, ...]
    threshold: SearchThreshold
    people: int
    box: Box | None = None
    quality: Quality | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the threshold as its number."""
        return {
            "name": self.name,
            "candidates": [asdict(one) for one in self.candidates],
            "threshold": self.threshold.threshold,
            "people": self.people,
            "box": self.box and list(self.box),
            "quality": self.quality and self.quality.to_dict(),
        }
