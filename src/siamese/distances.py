"""Distances between embeddings: smaller is more alike, always; and the one comparator that turns a distance into a verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.errors import ConfigError
from siamese.registry import Registry

Values = TypeVar("Values", Tensor, np.ndarray)

# Numbers of a pair-form block: bounds the memory of `Distance.between` at about BLOCK x 8 x 3 bytes.
BLOCK = 1 << 20
# Components that are added in one go: beyond 32,768 numbers torch shares one sum out among threads.
COLUMNS = 1 << 14
# Of the learned distance's leaky rectifier.
SLOPE = 0.33


@overload
def is_match(distance: float, threshold: float) -> bool: ...
@overload
def is_match(distance: Values, threshold: float) -> Values: ...
def is_match(distance, threshold):  # type: ignore[no-untyped-def]
    """The verdict "same identity": ``distance <= threshold``.

    The only comparison of a distance with a threshold in this package: calibration, metrics, verification and reports all
    call it, so that applying a calibrated threshold again gives the very counts that were reported. Numbers are compared as they are:
    numpy and torch would round the threshold to the array's precision first, up perhaps.

    Args:
        distance: a number, or an array or tensor of any shape.
        threshold: a number of Python in the unit of the distance.

    Returns:
        bool, or booleans in the shape of ``distance``.
    """
    if isinstance(distance, Tensor) and distance.is_floating_point() and distance.dtype != torch.float64:
        return distance.float() <= float(floor(threshold))
    if isinstance(distance, (np.ndarray, np.floating)) and distance.dtype in (np.float16, np.float32):
        return distance.astype(np.float32) <= floor(threshold)
    return distance <= threshold


def floor(threshold: float) -> np.float32:
    """The largest float32 number that is not above a threshold: it accepts the same float32 distances."""
    with np.errstate(over="ignore"):
        rounded = np.float32(threshold)
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded


class Distance(nn.Module):
    """A distance between embeddings: differentiable (``forward``), and measured for verdicts (``measure`` and what calls it).

    ``forward`` runs in float32 or wider, also under autocast: squares of float16 overflow beyond 256. ``measure`` runs in
    float64 and in evaluation mode, and rounds to float32 at the end, so that the result of one pair depends on its two
    embeddings alone, bit for bit, not on how many pairs are computed together or on how. Thresholds are compared with what
    ``measure`` gives.

    Attributes:
        squared: whether the distance is a rising function, :meth:`of_squares`, of the squared euclidean distance between
            :meth:`rows`. Then all pairs can be counted by matrix products.
    """

    squared = False

    @property
    def learned(self) -> bool:
        """Whether it has weights: they are trained with the backbone's, and nothing can be measured without them."""
        return next(self.parameters(), None) is not None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of matching rows.

        Args:
            a, b: (n, D) floating point.

        Returns:
            (n,) float32 (float64 for float64 input), >= 0.
        """
        raise NotImplementedError

    def rows(self, embeddings: Tensor) -> Tensor:
        """(N, D) embeddings as (N, D) float64 points (float32 where the device has no float64)."""
        return embeddings.to(torch.float32 if embeddings.device.type == "mps" else torch.float64)

    def of_squares(self, squares: Tensor) -> Tensor:
        """Squared euclidean distances between rows, any shape, to distances of that shape; works in place where it can."""
        raise NotImplementedError

    @torch.no_grad()
    def measure(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of matching rows as verdicts compare them.

        Args:
            a, b: (n, D) floating point.

        Returns:
            (n,) float32, >= 0, without gradient.
        """
        with _evaluating(self), torch.autocast(a.device.type, enabled=False):
            measured: Tensor = self.of_rows(self.rows(a), self.rows(b)) if self.squared else self(a, b).float()
            return measured

    def of_rows(self, a: Tensor, b: Tensor) -> Tensor:
        """(n,) float32 distances of matching :meth:`rows` (n, D)."""
        # The order in which torch adds hangs on the layout, and in long rows on how many there are and on the threads.
        parts = torch.split((a - b).square_().contiguous(), COLUMNS, dim=-1)
        return self.of_squares(sum((p.sum(dim=-1) for p in parts[1:]), start=parts[0].sum(dim=-1))).float()

    def matrix(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of every row of ``a`` (n, D) to every row of ``b`` (m, D), as (n, m) float32.

        Computed in the pair form: the last bits of a matrix product depend on the tile.
        """
        n, m = len(a), len(b)
        left = torch.arange(n, device=a.device).repeat_interleave(m)
        right = torch.arange(m, device=a.device).repeat(n)
        step = max(1, BLOCK // max(1, a.shape[1]))
        out = [self.measure(a[i], b[j]) for i, j in zip(torch.split(left, step), torch.split(right, step), strict=True)]
        return torch.cat(out).view(n, m) if len(left) else a.new_zeros(n, m, dtype=torch.float32)

    @torch.no_grad()
    def between(self, embeddings: Tensor, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances of many pairs of rows of one embedding matrix, in bounded memory.

        Args:
            embeddings: (N, D) floating point.
            left, right: (n,) int64 row numbers.

        Returns:
            (n,) float32 numpy array.
        """
        rows_a, rows_b = torch.as_tensor(left), torch.as_tensor(right)
        step = max(1, BLOCK // max(1, embeddings.shape[1]))
        points = self.rows(embeddings) if self.squared else embeddings
        form = self.of_rows if self.squared else self.measure
        parts = [
            form(points[i.to(points.device)], points[j.to(points.device)]).cpu()
            for i, j in zip(torch.split(rows_a, step), torch.split(rows_b, step), strict=True)
        ]
        return torch.cat(parts).numpy() if len(rows_a) else np.zeros(0, dtype=np.float32)


DISTANCES: Registry[Distance] = Registry("distance")


@DISTANCES.register("euclidean")
class EuclideanDistance(Distance):
    """``||a - b||_2``, in [0, inf); 0 exactly for equal rows, with gradient 0 there (not NaN)."""

    squared = True

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares.sqrt_()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            length: Tensor = torch.linalg.vector_norm(_wide(a) - _wide(b), dim=-1)
            return length


@DISTANCES.register("cosine")
class CosineDistance(Distance):
    """``1 - cos(a, b)``, in [0, 2], computed as ``||a/|a| - b/|b|||^2 / 2``: exact, not rounding noise, where a equals b.

    A zero vector has no direction; it is at distance 1/2 from every unit vector and 0 from another zero vector.
    """

    squared = True

    def rows(self, embeddings: Tensor) -> Tensor:
        return _directions(super().rows(embeddings))

    def of_squares(self, squares: Tensor) -> Tensor:
        return squares.div_(2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            difference = _directions(_wide(a)) - _directions(_wide(b))
            return difference.square().sum(dim=-1) / 2


@DISTANCES.register("learned")
class LearnedDistance(Distance):
    """A small network's probability that two embeddings show different people, in [0, 1]; always float32.

    The head of https://github.com/aleju/face-comparer (2016), which sees ``|a - b|`` only, so that a and b can change places:
    Gaussian noise and dropout while training, a dense layer, batch normalisation, a leaky rectifier (slope 0.33), dropout,
    and a dense layer to one number, the logit. Train it with :class:`siamese.PairCrossEntropyLoss`. Unlike the others it need
    not be 0 for equal embeddings.

    Args:
        embedding_size: D, length of the embeddings that it compares, >= 1.
        hidden: width of the inner layer, >= 1.
        noise: standard deviation of the noise, in the unit of the embeddings, >= 0.
        dropout: probability of dropping a component of ``|a - b|`` while training, 0 <= dropout < 1.
        hidden_dropout: probability of dropping an inner feature while training, 0 <= hidden_dropout < 1.

    Raises:
        ConfigError: a setting out of range; on a call, embeddings of another length.
    """

    def __init__(
        self,
        embedding_size: int = 512,
        hidden: int = 256,
        noise: float = 0.5,
        dropout: float = 0.2,
        hidden_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if embedding_size < 1 or hidden < 1:
            raise ConfigError(f"embedding_size and hidden must be at least 1, not {embedding_size} and {hidden}")
        if not (noise >= 0 and 0 <= dropout < 1 and 0 <= hidden_dropout < 1):
            raise ConfigError(
                f"noise must be at least 0, dropout and hidden_dropout at least 0 and below 1, not {noise}, {dropout} and "
                f"{hidden_dropout}"
            )
        self.embedding_size, self.hidden = embedding_size, hidden
        self.noise, self.dropout, self.hidden_dropout = noise, dropout, hidden_dropout
        self.inner = nn.Linear(embedding_size, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.outer = nn.Linear(hidden, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """See :meth:`Distance.forward`: ``1 / (1 + exp(-logit))``, float32."""
        return self._logits(a, b).sigmoid().float()

    def logits(self, a: Tensor, b: Tensor) -> Tensor:
        """Log-odds that matching rows are different people.

        Args:
            a, b: (n, embedding_size) floating point; while training n >= 2, for the batch normalisation.

        Returns:
            (n,) float32, in (-inf, inf).
        """
        return self._logits(a, b).float()

    def _logits(self, a: Tensor, b: Tensor) -> Tensor:
        for x in (a, b):
            if x.shape[-1] != self.embedding_size:
                raise ConfigError(
                    f"the learned distance compares embeddings of {self.embedding_size} numbers, these have {x.shape[-1]}; set "
                    f"distance.embedding_size={x.shape[-1]} and train again"
                )
        with torch.autocast(a.device.type, enabled=False):
            apart = (_wide(a) - _wide(b)).abs()
            return self._trained(apart) if self.training else self._measured(apart)

    def _trained(self, x: Tensor) -> Tensor:
        x = x.to(self.inner.weight.dtype)
        x = F.dropout(x + self.noise * torch.randn_like(x), self.dropout)
        x = F.dropout(F.leaky_relu(self.norm(self.inner(x)), SLOPE), self.hidden_dropout)
        logits: Tensor = self.outer(x)[:, 0]
        return logits

    def _measured(self, x: Tensor) -> Tensor:
        # A matrix product adds in an order that depends on how many rows there are, and so do its last bits. Computed in
        # float64 those are about 1e-8 of what a float32 can tell apart, and rounding takes them off: but for one pair in many
        # millions, a result depends on its two embeddings alone. The sigmoid is taken before rounding for the same reason.
        x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)  # mps has no float64
        w = {name: value.to(x.dtype) for name, value in self.state_dict(keep_vars=True).items()}
        x = F.linear(x, w["inner.weight"], w["inner.bias"])
        x = F.batch_norm(
            x,
            w["norm.running_mean"],
            w["norm.running_var"],
            w["norm.weight"],
            w["norm.bias"],
            training=False,
            eps=self.norm.eps,
        )
        return F.linear(F.leaky_relu(x, SLOPE), w["outer.weight"], w["outer.bias"])[:, 0]


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; then every part goes back to the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _directions(x: Tensor) -> Tensor:
    """Rows of length 1, zero where a row is zero; divided by their largest component first, so that no square over- or underflows."""
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    return F.normalize(x / torch.where(largest > 0, largest, 1), dim=-1)


def as_distance(distance: str | Distance) -> Distance:
    """A distance from itself or its name.

    Raises:
        ConfigError: an unknown name, or that of a learned distance, which is nothing without its weights.
    """
    if isinstance(distance, Distance):
        return distance
    built = DISTANCES.build(distance)
    if built.learned:
        raise ConfigError(
            f"distance {distance!r} has weights that must be trained; give the trained object instead of the name"
        )
    return built


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
