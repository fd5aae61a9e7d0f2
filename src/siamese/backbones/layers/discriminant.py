"""Discriminant: principal components, then within-class whitening, fitted to descriptors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.errors import ConfigError

# An identity's images beyond this number add no weight, so that one identity with many images does
# not dominate the within-class scatter.
IMAGES = 8
# Random directions beyond those kept, and rounds of refinement, of the randomised decomposition.
OVERSAMPLING, ROUNDS = 50, 3
BLOCK = 1024  # descriptors in float32 at a time


class Discriminant(nn.Module):
    """From descriptors to unit vectors whose distances tell identities apart.

    Descriptors are projected on their ``components`` principal directions, scaled to equal variance
    and brought to unit length; then the directions along which images of one identity vary are
    shrunk (within-class covariance normalisation: Hatch, Kajarekar and Stolcke, *Within-Class
    Covariance Normalization for SVM-based Speaker Recognition*, Interspeech 2006).

    Args:
        size: D, length of a descriptor.
        components: k, principal directions kept, 1 <= k <= size.
        shrinkage: added to each within-class variance, as a share of their mean, > 0.

    Attributes:
        fitted: () bool buffer; False until :meth:`fit`.

    Raises:
        ConfigError: a setting out of range.
    """

    mean: Tensor
    principal: Tensor
    centre: Tensor
    within: Tensor
    fitted: Tensor

    def __init__(self, size: int, components: int = 300, shrinkage: float = 0.3) -> None:
        super().__init__()
        if not 1 <= components <= size or not shrinkage > 0:
            raise ConfigError(
                f"a discriminant needs 1 <= components <= {size} and shrinkage > 0, not "
                f"{components} and {shrinkage}"
            )
        self.size, self.components, self.shrinkage = size, components, shrinkage
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("principal", torch.zeros(size, components))
        self.register_buffer("centre", torch.zeros(components))
        self.register_buffer("within", torch.eye(components))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def fit(self, descriptors: Tensor, labels: Tensor) -> None:
        """Compute the projections.

        Args:
            descriptors: (n, size) floating point, n >= 2; of so few that there are less than two
                for each component, some components stay zero.
            labels: (n,) int64, one number per identity, at least one identity with two.

        Raises:
            ConfigError: no identity with two descriptors.
        """
        k = min(self.components, max(1, len(descriptors) // 2))
        mean, strength, directions = _principal(descriptors, k + OVERSAMPLING)
        deviation = strength[:k].clamp(min=strength[0] * 1e-6) / len(descriptors) ** 0.5
        self.mean.copy_(mean)
        self.principal.zero_()[:, :k] = directions[:, :k] / deviation
        x = torch.cat([self._components(block) for block in _blocks(descriptors)])[:, :k]
        self.centre.zero_()[:k] = x.mean(dim=0)
        self.within.zero_()[:k, :k] = _inverse_root(_within_class(x, labels), self.shrinkage)
        self.fitted.fill_(True)

    def unfit(self) -> None:
        """Forget the projections; every embedding is zero again."""
        for part in (self.mean, self.principal, self.centre, self.fitted):
            part.zero_()
        self.within.copy_(torch.eye(self.components))

    def forward(self, descriptors: Tensor) -> Tensor:
        """(B, size) -> (B, components) of unit length; all zero before :meth:`fit`."""
        with torch.autocast(descriptors.device.type, enabled=False):
            x = (self._components(descriptors.float()) - self.centre) @ self.within
            return F.normalize(x, dim=1)

    def _components(self, descriptors: Tensor) -> Tensor:
        return F.normalize((descriptors - self.mean) @ self.principal, dim=1)


def _blocks(descriptors: Tensor) -> Iterator[Tensor]:
    """Some rows at a time, float32: all of them may take gigabytes."""
    return (block.float() for block in torch.split(descriptors, BLOCK))


def _principal(descriptors: Tensor, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, singular values and principal directions of (n, size) descriptors, in blocks.

    By random projections and subspace iteration (Halko, Martinsson and Tropp, *Finding Structure
    with Randomness*, SIAM Review 2011, algorithms 4.4 and 5.1).

    Returns:
        (size,), (k,) descending and (size, k), with k at most ``wanted``.
    """
    n, size = descriptors.shape
    mean = torch.stack([block.sum(dim=0) for block in _blocks(descriptors)]).sum(dim=0) / n
    # Always the same random directions.
    start = torch.randn(size, min(wanted, n, size), generator=torch.Generator().manual_seed(0))

    def onwards(directions: Tensor) -> Tensor:
        return torch.cat([(block - mean) @ directions for block in _blocks(descriptors)])

    def back(rows: Tensor) -> Tensor:
        parts = zip(_blocks(descriptors), torch.split(rows, BLOCK), strict=True)
        return torch.stack([(block - mean).T @ some for block, some in parts]).sum(dim=0)

    rows = onwards(start.to(mean))
    for _ in range(ROUNDS):
        rows = onwards(torch.linalg.qr(back(torch.linalg.qr(rows)[0]))[0])
    directions, strength, _ = torch.linalg.svd(back(torch.linalg.qr(rows)[0]), full_matrices=False)
    return mean, strength, directions


def _within_class(x: Tensor, labels: Tensor) -> Tensor:
    """(k, k) covariance of descriptors around their identity's mean, in float64.

    Each identity counts as at most IMAGES images.
    """
    x = x.double()
    _, identity, number = torch.unique(labels.to(x.device), return_inverse=True, return_counts=True)
    mean = (
        torch.zeros(len(number), x.shape[1], dtype=x.dtype, device=x.device).index_add_(
            0, identity, x
        )
        / number[:, None]
    )
    several = number[identity] > 1
    if not bool(several.any()):
        raise ConfigError(
            "no identity has two images: a discriminant learns from how images of one identity "
            "differ; add images"
        )
    freedom = (number[identity][several] - 1).double()
    weight = freedom.clamp(max=IMAGES - 1) / freedom
    apart = (x - mean[identity])[several]
    # A scatter of n images has n - 1 degrees of freedom: so weighted, each identity's unbiased
    # covariance counts min(n, 8) - 1.
    degrees = ((number[number > 1] - 1).double().clamp(max=IMAGES - 1)).sum()
    covariance: Tensor = (apart * weight[:, None]).T @ apart / degrees
    return covariance


def _inverse_root(covariance: Tensor, shrinkage: float) -> Tensor:
    """``(C + shrinkage * mean variance * I) ** -1/2``, float32.

    It is symmetric, so it is unique whatever signs the solver chose.
    """
    variance, directions = torch.linalg.eigh(covariance.cpu())
    variance = variance.clamp(min=0)
    root = torch.rsqrt(variance + shrinkage * variance.mean() + 1e-12)
    whitening: Tensor = (directions * root) @ directions.T
    return whitening.float().to(covariance.device)
