"""TrainingRun: what a training gave, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siamese.evaluation.stages import RunEvaluation
from siamese.inference.bundle import DESCRIPTION
from siamese.inference.verifier import Verifier
from siamese.verification.calibration import Calibration
from siamese.verification.figures import SplitEvaluation
from siamese.verification.point import OperatingPoint


@dataclass(frozen=True, repr=False)
class TrainingRun:
    """What a run gave.

    Attributes:
        folder: holds all of ``bundle/``, ``checkpoints/{best,last}.ckpt``, ``split.json``,
            ``crops.json``, ``skew.json``, ``evaluation.json``, ``timing.json``, ``run.json``,
            ``history.csv``, ``logs/``, ``plots/`` and ``report.html``. Of a plain network, which no
            bundle can name, there is no ``bundle/``.
        evaluation: the bundle and its figures on every split.
        seconds: of training, without data preparation and evaluation.
        seconds_per_epoch: validation included; of a resumed run, of the epochs since.
    """

    folder: Path
    evaluation: RunEvaluation
    seconds: float
    seconds_per_epoch: float

    @property
    def evaluations(self) -> dict[str, SplitEvaluation]:
        """Split -> figures."""
        return self.evaluation.evaluations

    @property
    def calibration(self) -> Calibration:
        """The threshold with its curve, its interval, and the probability of a distance."""
        calibration = self.evaluation.calibration
        assert calibration is not None  # a run ends with one
        return calibration

    @property
    def operating_point(self) -> OperatingPoint:
        """The threshold and where it came from."""
        return self.evaluation.operating_point

    @property
    def bundle(self) -> Path:
        """The bundle's folder: what ``Verifier.load`` takes; see ``folder``."""
        return self.folder / "bundle"

    @property
    def verifier(self) -> Verifier:
        """A verifier with this run's bundle."""
        saved = (self.bundle / DESCRIPTION).is_file()
        return Verifier.load(self.bundle) if saved else Verifier(self.evaluation.bundle)

    def __repr__(self) -> str:
        return f"TrainingRun({str(self.folder)!r}, {self.evaluation!r})"
