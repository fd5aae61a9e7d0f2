"""PairMetric and other torchmetrics classes: state over several processes.

All mathematics is in ``siamese.verification``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese.distances.arrays import plain_tensor
from siamese.distances.base import Distance, as_distance
from siamese.distances.inputs import as_tensor
from siamese.errors import CalibrationError
from siamese.pairs.all_pairs import AllPairs
from siamese.pairs.balanced_pairs import BalancedPairs
from siamese.pairs.base import PairRule, as_pair_rule
from siamese.verification.calibration import Calibration
from siamese.verification.confusion import Confusion
from siamese.verification.curves import auc
from siamese.verification.measure import measure_pairs
from siamese.verification.pair_distances import PairDistances
from siamese.verification.policies.base import Policy, as_policy, check_both_kinds
from siamese.verification.policies.fmr import Fmr
from siamese.verification.thresholds import calibrate_pairs

_UNKNOWN = -1  # row of the data set, where it was not given


class PairMetric(Metric):
    """Base of the metrics over the pairs of all images seen, in batches and processes.

    It collects embeddings. With an ``index``, rows are ordered by it and each is counted once, so
    the result does not depend on the order of batches, nor on the duplicates that a distributed
    sampler adds to make its shards equally long. Without one, every row counts.

    ``compute`` needs genuine and impostor pairs, and the two batches of Lightning's sanity check
    may have too few: give ``Trainer(num_sanity_val_steps=0)`` or -1. A process that has added no
    batch takes part all the same.

    Args:
        pairs: which pairs, a pair rule or its name; by default all of them, in memory that does not
            grow with their number.
        distance: an object or a name, by default euclidean.
        kwargs: of ``torchmetrics.Metric``.

    Raises:
        ConfigError: an unknown name.
    """

    full_state_update = False
    higher_is_better: bool | None = None
    is_differentiable = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    indices: list[Tensor]

    def __init__(
        self,
        pairs: str | PairRule | None = None,
        distance: str | Distance | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pairs = as_pair_rule(pairs or AllPairs())
        self.distance = as_distance(distance or "euclidean")
        for state in ("embeddings", "labels", "indices"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, index: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            embeddings: (B, D) floating point.
            labels: (B,) integers, one number per identity.
            index: (B,) integers >= 0, the row of the data set; give it where several processes
                share the work.

        Raises:
            CalibrationError: arguments that are no tensors, shapes that do not fit, embeddings of
                another length than before, labels or index that are not integers, a negative index.
        """
        for name, given in (("embeddings", embeddings), ("labels", labels), ("index", index)):
            if not isinstance(given, Tensor) and not (name == "index" and given is None):
                raise CalibrationError(
                    f"{name} are no tensor but {type(given).__name__}; give tensors, as "
                    f"torch.as_tensor makes them"
                )
        embeddings, labels = as_tensor(embeddings), plain_tensor(labels, "the labels")
        index = None if index is None else plain_tensor(index, "the numbers of index")
        for name, numbers in (("the labels", labels), ("the numbers of index", index)):
            if numbers is not None and (
                numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool
            ):
                raise CalibrationError(
                    f"{name} are {str(numbers.dtype).removeprefix('torch.')}; give (B,) integers"
                )
        if index is not None:
            index = index.long()  # torch does not compare uint64
        if index is not None and bool((index < 0).any()):
            raise CalibrationError(
                "an index is negative; give the row of the data set, or no index at all"
            )
        index = (
            torch.full(labels.shape, _UNKNOWN, dtype=torch.int64, device=labels.device)
            if index is None
            else index
        )
        if (
            embeddings.ndim != 2
            or labels.shape != (len(embeddings),)
            or index.shape != labels.shape
        ):
            raise CalibrationError(
                f"embeddings {tuple(embeddings.shape)}, labels {tuple(labels.shape)} and index "
                f"{tuple(index.shape)} do not fit; give (B, D), (B,) and (B,)"
            )
        before = (
            self.embeddings[-1].shape[1]
            if isinstance(self.embeddings, list) and self.embeddings
            else embeddings.shape[1]
        )
        if embeddings.shape[1] != before:
            raise CalibrationError(
                f"embeddings of length {embeddings.shape[1]} after some of length {before}; give "
                f"all of one length"
            )
        wide = (
            embeddings.detach()
            if embeddings.dtype == torch.float64
            else embeddings.detach().float()
        )
        self.embeddings.append(wide)
        self.labels.append(labels.detach())
        self.indices.append(index.detach())

    def forward(self, embeddings: Tensor, labels: Tensor, index: Tensor | None = None) -> None:
        """Add a batch, as :meth:`update` does, and return nothing.

        A single batch seldom has enough pairs for a figure.
        """
        self.update(embeddings, labels, index)

    def rows(self) -> tuple[Tensor, Tensor]:
        """All embeddings (N, D) and labels (N,) so far, ordered by index, each index once.

        Raises:
            CalibrationError: no batches, or rows of one index that show different identities.
        """
        if not len(self.embeddings):
            raise CalibrationError("no batches were added; call update first")
        index = dim_zero_cat(self.indices)
        order = torch.argsort(index, stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = (ordered[1:] != ordered[:-1]) | (ordered[1:] == _UNKNOWN)
        labels = dim_zero_cat(self.labels)
        who = labels[order]
        strange = (~first[1:] & (who[1:] != who[:-1])).nonzero().flatten()
        if len(strange):
            row = int(strange[0]) + 1
            raise CalibrationError(
                f"index {int(ordered[row])} was given for an image of identity "
                f"{int(who[row - 1])} and for one of identity {int(who[row])}; give the row of the "
                f"data set, not of the batch or of a part, so that no two images share one"
            )
        order = order[first]
        return dim_zero_cat(self.embeddings)[order], labels[order]

    def _sync_dist(self, *arguments: Any, **named: Any) -> None:
        """Gather, also where some processes have no row.

        torchmetrics would send a row of no numbers for them, on which gloo ends the process.
        """
        if distributed.is_available() and distributed.is_initialized():
            own = self.embeddings
            kind = (own[0].shape[1], own[0].dtype) if own else None
            group = named.get("process_group") or self.process_group
            kinds: list[Any] = [None] * distributed.get_world_size(group)
            distributed.all_gather_object(kinds, kind, group=group)
            known = next((kind for kind in kinds if kind is not None), None)
            if not own and known is not None:
                size, dtype = known
                self.embeddings = [torch.empty(0, size, dtype=dtype, device=self.device)]
                for rows in ("labels", "indices"):
                    setattr(self, rows, [torch.empty(0, dtype=torch.int64, device=self.device)])
        super()._sync_dist(*arguments, **named)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside the ``with`` block, :meth:`rows` gives the rows of all processes.

        ``compute`` does the same.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync,
            should_unsync=self._should_unsync,
        ):
            yield

    def pair_distances(self) -> PairDistances:
        """The pairs of all rows so far, with their distances.

        Raises:
            CalibrationError: embeddings that are not finite.
        """
        # A run's own distance may be fitted after the training only.
        return measure_pairs(*self.rows(), self.pairs, self.distance, to_be_fitted=True)


class PairVerification(PairMetric):
    """The best F1, its threshold, AUC and EER over pairs; see :class:`PairMetric`.

    Log it with ``self.log_dict(metric.compute())``: ``self.log`` takes single numbers.

    Args:
        policy: how the threshold is chosen, by default ``"max_f1"``.
        pairs: which pairs, a pair rule or its name; by default balanced ones.
        distance: an object or a name, by default euclidean.
        kwargs: of ``torchmetrics.Metric``.
    """

    def __init__(
        self,
        policy: str | dict[str, Any] | Policy = "max_f1",
        pairs: str | PairRule | None = None,
        distance: str | Distance | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pairs or BalancedPairs(), distance, **kwargs)
        self.policy = as_policy(policy)

    def compute(self) -> dict[str, Tensor]:
        """``threshold``, ``f1`` (of the pairs as they are), ``auc`` and ``eer``, float64 scalars.

        Raises:
            CalibrationError: no genuine or no impostor pair, or embeddings that are not finite.
        """
        distances = self.pair_distances()
        threshold, counts = _chosen(distances, self.policy)
        values = {
            "threshold": threshold,
            "f1": counts.f1,
            "auc": auc(distances.curve()),
            "eer": distances.eer(),
        }
        return {name: _scalar(value) for name, value in values.items()}


class VerificationThreshold(PairMetric):
    """The threshold that a policy chooses, exactly, over all pairs; see :class:`PairMetric`.

    Args:
        policy: name, settings or object: ``"max_f1"``, ``siamese.Fmr(0.01)``.
        pairs, distance, kwargs: of :class:`PairMetric`.
    """

    def __init__(
        self,
        policy: str | dict[str, Any] | Policy = "max_f1",
        pairs: str | PairRule | None = None,
        distance: str | Distance | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pairs, distance, **kwargs)
        self.policy = as_policy(policy)

    def compute(self) -> Tensor:
        """The threshold, a float64 scalar.

        Raises:
            CalibrationError: pairs that cannot support the policy, or embeddings that are not
                finite.
        """
        return _scalar(_chosen(self.pair_distances(), self.policy)[0])

    def calibration(self) -> Calibration:
        """The threshold with its origin, curve, probability and intervals.

        It is found on the rows of all processes; all of them must call it.

        Raises:
            CalibrationError: as :meth:`compute`.
        """
        with self.gathered():
            return calibrate_pairs(self.pair_distances(), self.policy)


class VerificationCurve(PairMetric):
    """The ROC curve over all pairs: false match rate, recall, thresholds; see :class:`PairMetric`.

    Three arrays cannot be logged by ``self.log``; call ``compute`` and draw them.
    """

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """False match rates, recalls and thresholds, each (m,) float64, ascending.

        The recall is the true match rate. The rates at each threshold are exact; up to 500,000
        pairs every distance is a threshold, beyond that they are 0.1 % apart.

        Raises:
            CalibrationError: no genuine or no impostor pair, or embeddings that are not finite.
        """
        distances = self.pair_distances()
        check_both_kinds(distances.genuine, distances.impostor)
        curve = distances.curve()
        arrays = (curve.fmr, curve.recall, curve.thresholds)
        fmr, recall, thresholds = (torch.from_numpy(v.astype("float64")) for v in arrays)
        return fmr, recall, thresholds


class EqualErrorRate(PairMetric):
    """The equal error rate over all pairs, 0..1; see :class:`PairMetric`."""

    higher_is_better = False

    def compute(self) -> Tensor:
        """A float64 scalar.

        Raises:
            CalibrationError: no genuine or no impostor pair, or embeddings that are not finite.
        """
        return _scalar(self.pair_distances().eer())


class RecallAtFmr(PairMetric):
    """The recall (true match rate) at a false match rate of at most ``rate``, exactly.

    It is the share of genuine pairs accepted where at most ``rate`` of the impostor pairs are
    (TAR@FAR), over all pairs.

    Args:
        rate: false match rate, 0 < rate < 1.
        pairs, distance, kwargs: of :class:`PairMetric`.
    """

    higher_is_better = True

    def __init__(
        self,
        rate: float = 1e-3,
        pairs: str | PairRule | None = None,
        distance: str | Distance | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pairs, distance, **kwargs)
        self.policy = Fmr(rate)

    def compute(self) -> Tensor:
        """A float64 scalar, 0..1.

        Raises:
            CalibrationError: fewer than 30 / rate impostor pairs (rule of 30), no genuine pair, or
                embeddings that are not finite.
        """
        return _scalar(self.pair_distances().choose(self.policy).counts.recall)


def _chosen(distances: PairDistances, policy: Policy) -> tuple[float, Confusion]:
    """The policy's threshold and the counts there; a confidence needs draws of identities."""
    if policy.assured_at is None:
        threshold, counts, _ = distances.choose(policy)
        return threshold, counts
    found = calibrate_pairs(distances, policy, probability=None)
    return found.threshold, found.confusion


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
