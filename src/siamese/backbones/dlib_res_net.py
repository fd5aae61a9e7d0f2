"""DlibResNet: dlib's face recognition network in PyTorch, with weights from dlib's own file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone
from siamese.backbones.dlib.weights import AVERAGES, BLOCKS, EMBEDDING, STEM, DlibFile, fresh_layers
from siamese.backbones.layers.views import check_views, jitter_maps, mean_over_views, warp
from siamese.bounds import check_switch
from siamese.errors import ConfigError, WeightsError
from siamese.weight_files import RESNET, pretrained_file

PIXEL_RANGE = 256  # what pixels are divided by, not 255
SMALLEST = 103  # pixels; with less, nothing is left for the last block


@BACKBONES.register("dlib_res_net")
class DlibResNet(Backbone):
    """The network behind ``dlib.face_recognition_model_v1``, with embeddings of 128 numbers.

    It has 29 convolutions and 5.6 million weights. It is made for aligned chips of 150 x 150 pixels
    (``DlibHogCropper(aligner="five_point", size=150, margin=0.25)``). As its author trained it,
    embeddings have no unit length, and two images show the same person where their euclidean
    distance is at most 0.6. It is a ResNet of 34 layers (He, Zhang, Ren and Sun, *Deep Residual
    Learning for Image Recognition*, CVPR 2016) with fewer layers and half the filters, trained by
    Davis King on some 3 million images of 7,485 people, none of them in LFW.

    Args:
        weights: where the first weights come from: ``"dlib"`` (the file in the package
            ``face-recognition-models``, extra ``pretrained``), the path of a file like it, or None
            for random ones. The attribute is None afterwards, because a bundle contains its
            weights.
        affine_rate: learning rate of the 29 affine layers (frozen batch normalisation) as a share
            of their convolution's; 0 freezes them. Adam's steps are about as large as the rate:
            steps of less than 5e-7 change nothing in float32, where factors are about 10.
        mirror: average the embedding over the image and its mirror image at use.
        jitter: average over so many slightly moved, turned and enlarged copies at use instead, half
            of them mirrored. This multiplies the work by the number of copies. See
            :func:`siamese.backbones.layers.views.jitter_maps`. The copies are always the same ones.
        unit_length: scale embeddings to length 1 (at the end, after averaging).
        folded: whether the affine layers are part of the convolutions; see :meth:`for_inference`.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
        MissingDependencyError: ``"dlib"`` without that package.
        ConfigError: on a call, images of less than 103 pixels.
        ValueError: a rate or number of copies out of range.
    """

    def __init__(
        self,
        weights: str | None = None,
        affine_rate: float = 0.0,
        mirror: bool = False,
        jitter: int = 0,
        unit_length: bool = False,
        folded: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= affine_rate <= 1:
            raise ValueError(f"affine_rate must be between 0 and 1, not {affine_rate}")
        check_views(jitter)
        for name, switch in (("mirror", mirror), ("unit_length", unit_length), ("folded", folded)):
            check_switch(name, switch)
        self.weights, self.affine_rate, self.folded = None, affine_rate, folded
        self.mirror, self.jitter, self.unit_length = mirror, jitter, unit_length
        self.embedding_size = EMBEDDING
        self.stem = _Convolution(3, STEM, 7, 2, 0, affine_rate, folded)
        blocks, channels = [], STEM
        for width, halves in BLOCKS:
            blocks.append(_Block(channels, width, halves, affine_rate, folded))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, EMBEDDING, bias=False)
        if weights is not None:
            self._load(DlibFile.read(_weights_file(weights)))
        else:
            for unit in self._units():
                unit.reset()

    @property
    def same_at_use(self) -> bool:
        """Not if embeddings are averaged over views at use."""
        return not (self.mirror or self.jitter)

    def forward(self, images: Tensor) -> Tensor:
        return self._scaled(self._mean_of_views(_pixels(images)))

    def embed_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`siamese.Backbone.embed_both`: the loss sees one view."""
        embeddings = self(images)
        alone = embeddings if self.same_at_use else self._scaled(self._embed(_pixels(images)))
        return embeddings, alone

    def _scaled(self, embeddings: Tensor) -> Tensor:
        return F.normalize(embeddings, dim=1) if self.unit_length else embeddings

    def _mean_of_views(self, pixels: Tensor) -> Tensor:
        if self.training or self.same_at_use:
            return self._embed(pixels)
        if not self.jitter:  # one call for both views: for few images calls are expensive
            return mean_over_views(self._embed, (pixels, pixels.flip(3)), at_once=True)
        changes, _ = jitter_maps(self.jitter, pixels.shape[-1])
        return mean_over_views(self._embed, (warp(pixels, change) for change in changes))

    def _embed(self, pixels: Tensor) -> Tensor:
        # Channels last: the same numbers in the order that convolutions on CPUs and tensor cores
        # read fastest.
        x = ((pixels - pixels.new_tensor(AVERAGES)[:, None, None]) / PIXEL_RANGE).to(
            self.head.weight.dtype
        )
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        for block in self.blocks:
            x = block(x)
        embeddings: Tensor = self.head(x.mean(dim=(2, 3)))
        return embeddings

    def for_inference(self) -> DlibResNet:
        """A copy that computes the same embeddings, up to rounding, in three quarters of the time.

        Measured by ``benchmarks/embedding.py``. Its affine layers are multiplied into the
        convolutions; it is not meant to be trained.
        """
        if self.folded:
            return self
        other = copy.deepcopy(self)
        other.folded = True
        for unit in other._units():
            unit.fold()
        return cast(DlibResNet, other.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """See :meth:`Backbone.learning_rates`.

        The head learns at the full rate, each block before it at ``decay`` times the next block's
        rate.
        """
        depth = len(self.blocks) + 1
        for level, part in enumerate((self.stem, *self.blocks, self.head)):
            for name, parameter in part.named_parameters():
                affine = name.rpartition(".")[2] in ("scale", "shift")
                yield parameter, decay ** (depth - level) * (self.affine_rate if affine else 1.0)

    def save_dlib(self, path: str | Path) -> Path:
        """Write the weights as a file for ``dlib.face_recognition_model_v1``.

        Views and unit length are not part of it.

        Raises:
            WeightsError: it cannot be written.
        """
        layers = fresh_layers()
        convolutions, affines = (
            iter([layer for layer in layers if layer.kind == kind]) for kind in ("con", "affine")
        )
        for unit, con, affine in zip(self._units(), convolutions, affines, strict=True):
            con.weight, con.bias = _array(unit.weight), _array(unit.bias)
            affine.weight = np.ones_like(con.bias) if unit.scale is None else _array(unit.scale)
            affine.bias = np.zeros_like(con.bias) if unit.shift is None else _array(unit.shift)
        layers[-1].weight = _array(self.head.weight.t())
        return DlibFile(layers).write(path)

    def _load(self, file: DlibFile) -> None:
        if np.any(np.array(file.averages, np.float32) != np.array(AVERAGES, np.float32)):
            raise WeightsError(
                f"the network subtracts the averages {file.averages} of red, green and blue, not "
                f"{AVERAGES}: train dlib's network with its own input layer, "
                f"input_rgb_image_sized<150>"
            )
        convolutions, affines = (
            [layer for layer in file.layers if layer.kind == kind] for kind in ("con", "affine")
        )
        for unit, con, affine in zip(self._units(), convolutions, affines, strict=True):
            unit.set(
                *(
                    torch.from_numpy(array)
                    for array in (con.weight, con.bias, affine.weight, affine.bias)
                )
            )
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(file.layers[-1].weight).t())

    def _units(self) -> Iterator[_Convolution]:
        return (module for module in self.modules() if isinstance(module, _Convolution))


def _weights_file(weights: str | Path) -> Path:
    if weights == "dlib":
        return pretrained_file(RESNET)
    if not isinstance(weights, (str, Path)) or not Path(weights).expanduser().is_file():
        raise WeightsError(
            f"weights={str(weights)!r}: no such file; give the path of a file like dlib's, or "
            f"'dlib' for the one in the pip package"
        )
    return Path(weights).expanduser()


def _pixels(images: Tensor) -> Tensor:
    """Images as floating point 0..255."""
    _check_images(images)
    # In float32 at least until the averages are subtracted: bfloat16 holds no 122.782, and no odd
    # number beyond 256. Views are warped as pixels, so that beyond the image there is black, as in
    # dlib.
    pixels = images if images.dtype == torch.float64 else images.float()
    return pixels if images.dtype == torch.uint8 else pixels * 255


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        found = (
            f"a tensor of shape {tuple(images.shape)}"
            if isinstance(images, Tensor)
            else type(images).__name__
        )
        raise ConfigError(
            f"dlib_res_net takes a tensor (B, 3, H, W), not {found}; convert one image (H, W, 3) "
            f"by torch.from_numpy(image).permute(2, 0, 1)[None]"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ConfigError(
            f"dlib_res_net takes images of uint8 0..255 or of floating point 0..1, not "
            f"{images.dtype}; convert them: images.to(torch.uint8)"
        )
    height, width = images.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ConfigError(
            f"dlib_res_net takes images of {SMALLEST} pixels and more (150 is what it was trained "
            f"on), these have {height}x{width}; let the cropper make them so: size=150 "
            f"(data.cropper.size=150)"
        )


class _Convolution(nn.Module):
    """A convolution and dlib's affine layer after it: one factor and one shift per channel.

    Folded, the affine layer is part of the convolution.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int,
        padding: int,
        affine_rate: float,
        folded: bool,
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        # Empty: their values are set later, and random ones would take as long as reading the file.
        self.weight = nn.Parameter(torch.empty(width, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(width))
        learned = affine_rate > 0
        self.scale = None if folded else nn.Parameter(torch.empty(width), learned)
        self.shift = None if folded else nn.Parameter(torch.empty(width), learned)

    def forward(self, x: Tensor) -> Tensor:
        out = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if self.scale is None or self.shift is None:
            return out
        return torch.addcmul(self.shift[:, None, None], out, self.scale[:, None, None])

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the affine layer into the convolution, in float64: its factors reach 17."""
        assert self.scale is not None
        assert self.shift is not None
        factor = self.scale.double()
        self.weight.copy_(self.weight.double() * factor[:, None, None, None])
        self.bias.copy_(self.bias.double() * factor + self.shift.double())
        self.scale = self.shift = None

    @torch.no_grad()
    def set(self, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Take these values over; a folded convolution multiplies them together."""
        folded = self.scale is None
        if folded:
            self.scale = nn.Parameter(torch.empty_like(scale))
            self.shift = nn.Parameter(torch.empty_like(shift))
        for own, value in (
            (self.weight, weight),
            (self.bias, bias),
            (self.scale, scale),
            (self.shift, shift),
        ):
            assert own is not None
            own.copy_(value)
        if folded:
            self.fold()

    def reset(self) -> None:
        """Set random weights and no shift.

        He, Zhang, Ren and Sun, *Delving Deep into Rectifiers*, ICCV 2015.
        """
        width = len(self.bias)
        fresh = nn.init.kaiming_normal_(
            torch.empty_like(self.weight), mode="fan_out", nonlinearity="relu"
        )
        self.set(fresh, torch.zeros(width), torch.ones(width), torch.zeros(width))


class _Block(nn.Module):
    """Two convolutions beside a shortcut; where the block halves the image, an average pool."""

    def __init__(
        self, channels: int, width: int, halves: bool, affine_rate: float, folded: bool
    ) -> None:
        super().__init__()
        self.halves = halves
        self.first = _Convolution(
            channels, width, 3, 2 if halves else 1, 0 if halves else 1, affine_rate, folded
        )
        self.second = _Convolution(width, width, 3, 1, 1, affine_rate, folded)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x), inplace=True))
        if not self.halves:
            return F.relu(out + x, inplace=True)
        short = F.avg_pool2d(x, 2, 2)
        # dlib adds maps of different shapes as if each continued with zeros: to the right, at the
        # bottom, in further channels.
        down, right = short.shape[2] - out.shape[2], short.shape[3] - out.shape[3]
        more = out.shape[1] - short.shape[1]
        return F.relu(
            F.pad(out, (0, right, 0, down)) + F.pad(short, (0, 0, 0, 0, 0, more)), inplace=True
        )


def _array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().float().cpu().contiguous().numpy()
    return array
