"""Another distance for a finished bundle: fitted to half of some people, gained on the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from siamese.data.manifest import SplitManifest
from siamese.datasets.other_data import OTHER
from siamese.errors import CalibrationError
from siamese.verification.curves import auc
from siamese.verification.figures import gain_in_auc
from siamese.verification.pair_distances import PairDistances
from siamese.verification.point import Interval

FITTING = "fitting"  # the split of the identities that a distance is fitted to


@dataclass(frozen=True)
class DistanceGain:
    """A distance and the bundle's own one, on the same pairs.

    Attributes:
        distance, own: their registered names.
        auc, own_auc: areas under the ROC curve.
        eer, own_eer: equal error rates.
        auc_gain: 95 % interval of how much larger the area is, over identities; None with fewer
            than 5 of them.
        fitted_to: number of identities that the distance was fitted to; 0 for one that needs none.
    """

    distance: str
    own: str
    auc: float
    own_auc: float
    eer: float
    own_eer: float
    auc_gain: Interval | None
    fitted_to: int

    @classmethod
    def of(cls, new: PairDistances, own: PairDistances, fitted_to: int) -> DistanceGain:
        """Compare distances of the same pairs."""
        areas = auc(new.curve()), auc(own.curve())
        gain = gain_in_auc(new, own)
        return cls(new.distance, own.distance, *areas, new.eer(), own.eer(), gain, fitted_to)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        fitted = f", fitted to {self.fitted_to:,} other identities," if self.fitted_to else ""
        low_high = self.auc_gain
        gain = f"{self.auc - self.own_auc:+.4f}"
        if low_high is not None:
            gain += f", 95 % interval {low_high[0]:+.4f} to {low_high[1]:+.4f}"
        return (
            f"{self.distance} distance{fitted} against the bundle's own ({self.own}) on these "
            f"pairs: AUC {self.auc:.4f} against {self.own_auc:.4f} ({gain}), EER {self.eer:.4f} "
            f"against {self.own_eer:.4f}"
        )


def divide_identities(manifest: SplitManifest) -> None:
    """Give half of the identities of the one split to a second one, ``"fitting"``.

    Sorted by their number of images, and then by name, they take turns, so that both halves are
    alike; nobody is in both. The same identities are divided alike whatever their order.

    Raises:
        CalibrationError: fewer than four identities with two images or more.
    """
    entries = manifest.splits[OTHER]
    counts = Counter(entry["identity"] for entry in entries)
    several = sum(n > 1 for n in counts.values())
    if several < 4:
        raise CalibrationError(
            f"a distance is fitted to half of the identities, and the threshold chosen on the "
            f"others, so four with two images or more are needed, better 200: there are "
            f"{several}; give more, or leave out the distance (--distance)"
        )
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    fitting = set(ordered[::2])
    parts: Mapping[bool, list[dict[str, Any]]] = {True: [], False: []}
    for entry in entries:
        parts[entry["identity"] in fitting].append(entry)
    manifest.splits[FITTING], manifest.splits[OTHER] = parts[True], parts[False]
