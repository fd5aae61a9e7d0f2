"""SmallResNet: a residual network small enough to train from scratch on two cores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone, standardise, to_unit_range
from siamese.backbones.layers.gradients import GradientHistogram
from siamese.backbones.layers.whitening import Whitening
from siamese.bounds import WIDEST, check_real, check_switch, check_whole, check_wholes
from siamese.errors import ConfigError

# A network of more stages would leave nothing of an image.
_STAGES, _BLOCKS = 16, 128


@BACKBONES.register("small_res_net")
class SmallResNet(Backbone):
    """Basic residual blocks with average-pooled shortcuts.

    Sources: He et al., CVPR 2016; for the shortcuts He et al., *Bag of Tricks*, CVPR 2019. The
    stem, a strided convolution, is followed by one stage per width, each of which halves the
    resolution. The last maps are averaged, so the input may have any size, and mapped to the
    embedding.

    Args:
        widths: channels of each stage.
        depths: residual blocks of each stage, as many numbers as ``widths``.
        learned_size: length of the learned part of an embedding.
        stem_stride: stride of the first convolution.
        dropout: probability of dropping a pooled feature while training, 0..1.
        unit_length: scale embeddings to length 1, so that distances lie in 0..2.
        whiten: train on the embeddings as they are, but whiten them and scale them to length 1 in
            evaluation mode, see :class:`siamese.backbones.layers.whitening.Whitening`. Losses in
            training and in evaluation are then not comparable.
        gradient_cells: in evaluation mode, append a :class:`GradientHistogram` of so many cells
            along each side, whitened too, and scale the whole to length 1; 0 for none. It contains
            information that a few dozen training identities do not teach.
        standardise_input: bring each image to mean 0 and deviation 1; otherwise only shift 0..1 by
            a fixed mean and scale.
        mirror: with ``whiten``, average embeddings in evaluation mode over the image and its mirror
            image, for twice the work; False where left and right matter, as in letters.

    Raises:
        ValueError: no stage, ``depths`` of another length than ``widths``, or ``gradient_cells``
            without ``whiten``.
        ConfigError: a value of another type, or out of range: at most 16 stages, 128 blocks, 65,536
            channels, a stride of 64, 64 cells.

    Examples:
        >>> import siamese
        >>> import torch
        >>> network = siamese.SmallResNet(widths=(8, 16), depths=(1, 1), learned_size=32).eval()
        >>> network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape[1] == network.embedding_size
        True
    """

    # Of bundles and checkpoints that were written before it.
    added: ClassVar[dict[str, Any]] = {"mirror": False}

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (1, 1, 1, 1),
        learned_size: int = 256,
        stem_stride: int = 2,
        dropout: float = 0.0,
        unit_length: bool = False,
        whiten: bool = True,
        gradient_cells: int = 8,
        standardise_input: bool = False,
        mirror: bool = True,
    ) -> None:
        super().__init__()
        if any(isinstance(n, (int, float, str)) for n in (widths, depths)):
            raise ConfigError(
                f"widths and depths are lists, a number for each stage: widths=[32, 64], "
                f"depths=[1, 1], not {widths!r} and {depths!r}"
            )
        if len(widths) != len(depths) or not widths:
            raise ValueError(
                f"widths and depths must be equally long and not empty, not {list(widths)} and "
                f"{list(depths)}"
            )
        check_wholes("widths", widths, 1, WIDEST, _STAGES)
        check_wholes("depths", depths, 1, _BLOCKS, _STAGES)
        check_whole("the sum of depths", sum(depths), 1, _BLOCKS)
        check_whole("learned_size", learned_size, 1, WIDEST)
        check_whole("stem_stride", stem_stride, 1, 64)
        check_whole("gradient_cells", gradient_cells, 0, 64)
        check_real("dropout", dropout, 0, 1)
        for name, switch in (
            ("unit_length", unit_length),
            ("whiten", whiten),
            ("standardise_input", standardise_input),
            ("mirror", mirror),
        ):
            check_switch(name, switch)
        self.widths, self.depths = list(widths), list(depths)
        if gradient_cells and not whiten:
            raise ValueError(
                "gradient_cells needs whiten: learned and counted features are of different scale"
            )
        self.learned_size, self.stem_stride, self.dropout = learned_size, stem_stride, dropout
        self.gradient_cells, self.unit_length, self.whiten = gradient_cells, unit_length, whiten
        self.standardise_input, self.mirror = standardise_input, mirror
        kernel = 2 * stem_stride + 1 if stem_stride > 1 else 3
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, kernel, stem_stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        for width, depth in zip(widths, depths, strict=True):
            for block in range(depth):
                blocks.append(_Block(channels, width, stride=1 if block else 2))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(channels, learned_size)
        self.whitening = Whitening(learned_size) if whiten else nn.Identity()
        self.embedding_size = learned_size
        if gradient_cells:
            self.gradients = GradientHistogram(gradient_cells)
            # What is counted does not change in training, and counting costs as much as a stage.
            self.gradient_whitening = Whitening(self.gradients.size, every=16)
            self.embedding_size += self.gradients.size
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def trained_size(self) -> int:
        """Length of the learned part."""
        return self.learned_size

    @property
    def same_at_use(self) -> bool:
        """Not if embeddings are whitened at use."""
        return not self.whiten

    def forward(self, images: Tensor) -> Tensor:
        pixels = to_unit_range(images)
        learned = self._learned(pixels)
        if self.training:
            return self._tracked(learned, pixels)
        return self._at_use(learned, pixels)

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`siamese.Backbone.embed_both`; what both need is computed once."""
        pixels = to_unit_range(images)
        learned = self._learned(pixels)
        return self._at_use(learned, pixels), learned

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor], labels: Tensor) -> None:
        """Whiten the histograms by those of the images as they are; see :meth:`Backbone.fit`.

        Training has tracked those of augmented images, which vary in other ways.
        """
        if self.gradient_cells:
            where = self.gradient_whitening.mean.device
            self.gradient_whitening.fit(
                self.gradients(side)
                for images in batches
                for side in _sides(to_unit_range(images.to(where)), self.mirror)
            )

    def unfit(self) -> None:
        """See :meth:`Backbone.unfit`."""
        if self.gradient_cells:
            self.gradient_whitening.reset()

    def _learned(self, pixels: Tensor) -> Tensor:
        """(B, learned_size): what the loss sees while training."""
        x = standardise(pixels) if self.standardise_input else (pixels - 0.45) / 0.25
        # Channels last: the same numbers in the order that convolutions on CPUs and tensor cores
        # read fastest.
        x = self.blocks(self.stem(x.contiguous(memory_format=torch.channels_last)))
        embeddings: Tensor = self.head(self.drop(x.mean(dim=(2, 3))))
        return F.normalize(embeddings, dim=1) if self.unit_length else embeddings

    def _tracked(self, learned: Tensor, pixels: Tensor) -> Tensor:
        """``learned``, unchanged; both whitenings count the batch."""
        if self.gradient_cells:  # there is nothing in the histogram to learn
            self.gradient_whitening.track(len(pixels), lambda: self.gradients(pixels))
        tracked: Tensor = self.whitening(learned)
        return tracked

    def _at_use(self, learned: Tensor, pixels: Tensor) -> Tensor:
        """Whitened, with the histogram appended, averaged over the mirror image."""
        parts = self._parts(learned, pixels)
        if self.mirror and self.whiten:
            other = pixels.flip(-1)
            mirrored = self._parts(self._learned(other), other)
            parts = [F.normalize(a + b, dim=1) for a, b in zip(parts, mirrored, strict=True)]
        return torch.cat(parts, dim=1) * math.sqrt(1 / len(parts))

    def _parts(self, learned: Tensor, pixels: Tensor) -> list[Tensor]:
        """Each of unit length, if they are whitened."""
        parts = [self.whitening(learned)]
        if self.gradient_cells:
            parts.append(self.gradient_whitening(self.gradients(pixels)))
        return parts


def _sides(pixels: Tensor, mirror: bool) -> list[Tensor]:
    """The images, and their mirror images where these count."""
    return [pixels, pixels.flip(-1)] if mirror else [pixels]


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels == width
            else nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x), inplace=True)
