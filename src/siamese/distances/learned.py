"""A distance with weights: a small network over the difference of two embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.bounds import WIDEST, check_real, check_whole
from siamese.distances.base import DISTANCES, Distance, widen
from siamese.errors import ConfigError

# Of the learned distance's leaky rectifier.
SLOPE = 0.33


@DISTANCES.register("learned")
class LearnedDistance(Distance):
    """A small network's probability that two embeddings show different identities, in [0, 1].

    It is always float32. This is the head of https://github.com/aleju/face-comparer (2016), which
    sees ``|a - b|`` only, so that a and b can be exchanged: Gaussian noise and dropout while
    training, a dense layer, batch normalisation, a leaky rectifier (slope 0.33), dropout, and a
    dense layer to one number, the logit. Train it with :class:`siamese.PairCrossEntropyLoss`.
    Unlike the other distances it need not be 0 for equal embeddings.

    Args:
        embedding_size: D, length of the embeddings that it compares, >= 1.
        hidden: width of the inner layer, >= 1.
        noise: standard deviation of the noise, in the unit of the embeddings, >= 0.
        dropout: probability of dropping a component of ``|a - b|`` while training, 0 <= dropout <
            1.
        hidden_dropout: probability of dropping an inner feature while training, 0 <= hidden_dropout
            < 1.

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
            raise ConfigError(
                f"embedding_size and hidden must be at least 1, not {embedding_size} and {hidden}"
            )
        if not (noise >= 0 and 0 <= dropout < 1 and 0 <= hidden_dropout < 1):
            raise ConfigError(
                f"noise must be at least 0, dropout and hidden_dropout at least 0 and below 1, "
                f"not {noise}, {dropout} and {hidden_dropout}"
            )
        check_whole("embedding_size", embedding_size, 1, WIDEST)
        check_whole("hidden", hidden, 1, WIDEST)
        check_real("noise", noise, 0, 1e6)
        self.embedding_size, self.hidden = embedding_size, hidden
        self.noise, self.dropout, self.hidden_dropout = noise, dropout, hidden_dropout
        self.inner = nn.Linear(embedding_size, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.outer = nn.Linear(hidden, 1)

    def largest(self, unit_length: bool) -> float:
        return 1.0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """See :meth:`Distance.forward`: ``1 / (1 + exp(-logit))``, float32."""
        return self._logits(a, b).sigmoid().float()

    def logits(self, a: Tensor, b: Tensor) -> Tensor:
        """Log-odds that matching rows are different identities.

        Args:
            a, b: (n, embedding_size) floating point; while training n >= 2, for the batch
                normalisation.

        Returns:
            (n,) float32, in (-inf, inf).
        """
        return self._logits(a, b).float()

    def _logits(self, a: Tensor, b: Tensor) -> Tensor:
        if a.ndim != 2 or b.ndim != 2:
            raise ConfigError(
                f"the learned distance compares (n, D) embeddings, not {tuple(a.shape)} and "
                f"{tuple(b.shape)}"
            )
        for x in (a, b):
            if x.shape[-1] != self.embedding_size:
                raise ConfigError(
                    f"the learned distance compares embeddings of {self.embedding_size} numbers, "
                    f"these have {x.shape[-1]}; set distance.embedding_size={x.shape[-1]} and "
                    f"train again"
                )
        with torch.autocast(a.device.type, enabled=False):
            apart = (widen(a) - widen(b)).abs()
            return self._training_distance(apart) if self.training else self._exact_distance(apart)

    def _training_distance(self, x: Tensor) -> Tensor:
        x = x.to(self.inner.weight.dtype)
        x = F.dropout(x + self.noise * torch.randn_like(x), self.dropout)
        x = F.dropout(F.leaky_relu(self.norm(self.inner(x)), SLOPE), self.hidden_dropout)
        logits: Tensor = self.outer(x)[:, 0]
        return logits

    def _exact_distance(self, x: Tensor) -> Tensor:
        # A matrix product adds in an order that depends on the number of rows, so its last bits do,
        # too. In float64 they are about 1e-8 of the step between two float32 numbers, and rounding
        # removes them: except for one pair in many millions, a result depends on its two embeddings
        # alone. The sigmoid is applied before rounding for the same reason.
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
