"""A folder's figures for the page: evaluated once, in the background, and at any threshold."""

from __future__ import annotations

import contextlib
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from siamese.app.facts import point_facts
from siamese.app.limits import Refused
from siamese.app.words import for_visitor
from siamese.datasets.other_data import OTHER
from siamese.errors import SiameseError
from siamese.evaluation.stages import RunEvaluation
from siamese.progress import listening
from siamese.verification.calibration import Calibration
from siamese.verification.policies.base import OBSERVED
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.thresholds import calibrate_pairs

_REMEDY = "start the page again, with other people"


class _Abandoned(BaseException):
    """Nobody waits for the figures any more; caught by nothing on its way."""


class FolderFigures:
    """The figures of a bundle on a folder of people.

    Args:
        name: what to call the folder.
        evaluate: gives the evaluation; called once, in a thread of its own.
    """

    def __init__(self, name: str, evaluate: Callable[[], RunEvaluation]) -> None:
        self._name, self._evaluate = name, evaluate
        self._state: dict[str, Any] = {"state": "running", "doing": "starting"}
        self._counts: Calibration | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._abandoned = False

    def start(self) -> threading.Thread:
        """Begin; the thread does not keep the process from ending."""
        self._thread.start()
        return self._thread

    def abandon(self, seconds: float = 15.0) -> bool:
        """Stop at the next step, with the processes that look for faces.

        Args:
            seconds: to wait for that at most.

        Returns:
            whether it has stopped.
        """
        self._abandoned = True
        if self._thread.is_alive():
            with _without_words():
                self._thread.join(seconds)
        return not self._thread.is_alive()

    def to_dict(self) -> dict[str, Any]:
        """How far it is, or the figures, or why there are none; plain JSON values."""
        return {"name": self._name} | self._state

    def at(self, threshold: float) -> dict[str, Any]:
        """The figures at another threshold, from the same counts.

        Raises:
            Refused: there are none yet.
        """
        if self._counts is None:
            raise Refused(409, "the figures are not there yet; wait until they are")
        moved = self._counts.with_policy(threshold)
        return point_facts(moved.point, moved)

    def _run(self) -> None:
        try:
            with listening(self._hear):
                found = self._evaluate()
                self._hear("counting", 0, None)
                self._counts = _counts_of(found)
            self._state = _figures(found) | {
                "at": self.at(found.operating_point.threshold),
                "state": "done",
            }
        except _Abandoned:
            self._state = {"state": "failed", "error": "stopped"}
        except SiameseError as error:
            self._state = {"state": "failed", "error": for_visitor(str(error), _REMEDY)}
        except Exception as error:  # no thread may die without a word
            traceback.print_exc()
            what = f"unexpected {type(error).__name__}; the terminal has more"
            self._state = {"state": "failed", "error": what}

    def _hear(self, what: str, done: int, total: int | None) -> None:
        if self._abandoned:
            raise _Abandoned
        self._state = {"state": "running", "doing": what, "done": done, "total": total}


@contextlib.contextmanager
def _without_words() -> Iterator[None]:
    """Inside the ``with`` block joblib's threads say nothing of tasks that are given up."""
    before = threading.excepthook
    threading.excepthook = lambda args: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        threading.excepthook = before


def _counts_of(found: RunEvaluation) -> Calibration:
    """The pairs' counts, from which figures and intervals at any threshold follow.

    At the bundle's threshold they are those of the evaluation (one bootstrap for both).
    """
    point = found.operating_point
    policy = MaxF1(point.stated_prevalence or OBSERVED)
    return calibrate_pairs(
        found.distances[OTHER], policy, OTHER, probability=None, beside=(point.threshold,)
    )


def _figures(found: RunEvaluation) -> dict[str, Any]:
    """What does not depend on the threshold."""
    figures = found.evaluations[OTHER]
    summary = found.data.prepared.summary()["splits"][OTHER]
    ci95 = {name: list(ends) for name, ends in figures.ci95.items() if name in ("auc", "eer")}
    return {
        "people": figures.identities,
        "images": figures.images,
        "genuine": figures.genuine,
        "impostor": figures.impostor,
        "auc": figures.auc,
        "eer": figures.eer,
        "ci95": ci95,
        "left_out": {k: summary[k] for k in ("skipped", "bad") if summary.get(k)},
        "notes": [for_visitor(note) for note in found.notes],
    }
