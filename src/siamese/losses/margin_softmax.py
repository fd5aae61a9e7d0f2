"""Softmax over the training identities with an angular margin: NormFace, CosFace, ArcFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.errors import ConfigError, did_you_mean
from siamese.losses.base import LOSSES, EmbeddingLoss, nothing

KINDS = ("softmax", "cosface", "arcface")


@LOSSES.register("margin_softmax_loss")
class MarginSoftmaxLoss(EmbeddingLoss):
    """Classify the training identities by angles to one learned direction per identity.

    With t_j the angle between the embedding and direction j, and y the identity on the image, the
    loss is the cross-entropy of the logits ``s cos t_j`` for j other than y and, for y,

    * ``"cosface"``: ``s (cos t_y - m)`` (Wang et al., *CosFace: Large Margin Cosine Loss for Deep
      Face Recognition*, CVPR 2018, equation 4);
    * ``"arcface"``: ``s cos(t_y + m)`` (Deng et al., *ArcFace: Additive Angular Margin Loss for
      Deep Face Recognition*, CVPR 2019, equation 3); where t_y + m is beyond 180 degrees, and the
      cosine would rise again, ``s (cos t_y - m sin m)``, as in the authors' code;
    * ``"softmax"``: ``s cos t_y`` (Wang et al., *NormFace: L2 Hypersphere Embedding for Face
      Verification*, ACM MM 2017); ``margin`` is not used.

    The value says nothing about identities that it was not bound to: ``open_set`` is False.

    Args:
        identities: number of training identities; None leaves it to :meth:`bind`.
        embedding_size: D of the embeddings it sees while training; None leaves it to :meth:`bind`.
        margin: m, >= 0; for arcface in radians, below pi / 2.
        scale: s, > 0. Cosines alone lie in -1..1, too narrow a range for a confident softmax.
        kind: ``"cosface"``, ``"arcface"`` or ``"softmax"``.
        warmup_steps: training calls over which the margin grows linearly from 0; 0 for the whole
            margin from the start.

    Attributes:
        weight: (identities, embedding_size), a direction per identity; None until bound.
        calls: () int64 buffer, calls in training mode so far.

    Raises:
        ConfigError: a setting out of range or an unknown kind; on a call, not bound, or embeddings
            or labels that do not fit.
    """

    open_set = False
    weight: nn.Parameter | None
    calls: Tensor

    def __init__(
        self,
        identities: int | None = None,
        embedding_size: int | None = None,
        margin: float = 0.2,
        scale: float = 30.0,
        kind: str = "cosface",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ConfigError(f"kind={kind!r} is not known{did_you_mean(kind, KINDS)}")
        if not 0 <= margin < (math.pi / 2 if kind == "arcface" else math.inf):
            raise ConfigError(
                f"margin must be at least 0, and for arcface (radians) below pi / 2, not {margin}"
            )
        if not 0 < scale < math.inf:
            raise ConfigError(f"scale must be above 0, not {scale}")
        if warmup_steps < 0:
            raise ConfigError(f"warmup_steps must be at least 0, not {warmup_steps}")
        self.identities, self.embedding_size = identities, embedding_size
        self.margin, self.scale, self.kind, self.warmup_steps = margin, scale, kind, warmup_steps
        self.register_parameter("weight", None)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        if identities is not None and embedding_size is not None:
            self.bind(identities, embedding_size)

    def bind(self, identities: int, embedding_size: int) -> None:
        """See :meth:`EmbeddingLoss.bind`; makes the weight.

        Binding again with the same numbers changes nothing.

        Raises:
            ConfigError: a number below 1, or another one than the loss was bound to or made with.
        """
        for name, own, new in (
            ("identities", self.identities, identities),
            ("embedding_size", self.embedding_size, embedding_size),
        ):
            if new < 1:
                raise ConfigError(f"{name} must be at least 1, not {new}")
            if own is not None and own != new:
                raise ConfigError(
                    f"margin softmax has {name}={own} and cannot be bound to {name}={new}; leave "
                    f"{name} out, or make a new loss"
                )
        if self.weight is not None:
            return
        self.identities, self.embedding_size = identities, embedding_size
        # Only the direction of a row counts, and those of a normal distribution are uniform. Short
        # rows (the 0.01 of the authors' code) turn fast, since the gradient is proportional to 1 /
        # length; they grow with every step, so that they turn more slowly later.
        self.weight = nn.Parameter(torch.empty(identities, embedding_size).normal_(std=0.01))

    def forward(self, embeddings: Tensor, labels: Tensor, pairs: Tensor | None = None) -> Tensor:
        """See :meth:`EmbeddingLoss.forward`; ``pairs`` is ignored.

        The loss compares images with identities, not with each other.
        """
        weight = self._check(embeddings, labels)
        if not len(labels):
            return nothing(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            cosines = F.linear(F.normalize(wide, dim=1), F.normalize(weight.to(wide.dtype), dim=1))
            own = cosines.gather(1, labels[:, None])
            logits = self.scale * cosines.scatter(1, labels[:, None], self._with_margin(own))
            if self.training:
                self.calls += 1
            return F.cross_entropy(logits, labels)

    def extra_repr(self) -> str:
        return (
            f"identities={self.identities}, embedding_size={self.embedding_size}, "
            f"margin={self.margin}, scale={self.scale}, kind={self.kind!r}, "
            f"warmup_steps={self.warmup_steps}"
        )

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """(B, 1) cosines to the right direction -> the values that replace them."""
        if self.kind == "softmax":
            return cosine
        margin = cosine.new_full((), self.margin)
        if self.warmup_steps:
            margin = margin * (self.calls / self.warmup_steps).clamp(max=1).to(cosine.dtype)
        if self.kind == "cosface":
            return cosine - margin
        # The root has no slope at 0. It is kept away from 0, so that an embedding in its own
        # direction has a gradient of 0, not NaN.
        sine = ((1 - cosine) * (1 + cosine)).clamp(min=1e-12).sqrt()
        turned = cosine * margin.cos() - sine * margin.sin()  # cos(t + m)
        return turned.where(cosine > -margin.cos(), cosine - margin * margin.sin())

    def _check(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        if self.weight is None:
            raise ConfigError(
                "margin softmax does not know the training identities yet; call "
                "loss.bind(identities, embedding_size) before training (siamese.train does), or "
                "give both numbers to its constructor"
            )
        identities, size = self.weight.shape
        if embeddings.shape[-1] != size:
            raise ConfigError(
                f"margin softmax was bound to embeddings of {size} numbers, these have "
                f"{embeddings.shape[-1]}; bind it with the length that the backbone gives while "
                f"training"
            )
        # One check per step costs little; without it an accelerator would end the process without a
        # reason.
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= identities):
            raise ConfigError(
                f"margin softmax was bound to {identities} identities, labels "
                f"0..{identities - 1}, and met labels {int(labels.min())}.."
                f"{int(labels.max())}; it can only be called for the training identities, "
                f"numbered from 0"
            )
        return self.weight
