"""DlibResNet: dlib's face recognition network as a PyTorch module, with its weights read from dlib's own file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from siamese.backbones.base import BACKBONES, Backbone
from siamese.backbones.dlib_file import BLOCKS, EMBEDDING, STEM, DlibFile, fresh_layers
from siamese.backbones.views import check_views, jitter_maps, warped
from siamese.errors import ConfigError
from siamese.pretrained_files import RESNET, pretrained_file

SMALLEST = 103  # pixels; of less, nothing is left for the last block


@BACKBONES.register("dlib_res_net")
class DlibResNet(Backbone):
    """The network behind ``dlib.face_recognition_model_v1``: 29 convolutions, 5.6 million weights, embeddings of 128 numbers.

    Made for aligned chips of 150 x 150 pixels (``DlibHogCropper(aligner="five_point", size=150, margin=0.25)``). As its author trained it,
    embeddings have no unit length, and two pictures show the same person where their euclidean distance is at most 0.6. It is a ResNet of
    34 layers (He, Zhang, Ren and Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016) with fewer layers and half the filters,
    trained by Davis King on some 3 million pictures of 7,485 people, none of them in LFW.

    Args:
        weights: where the first weights come from: ``"dlib"`` (the file in the package ``face-recognition-models``, extra ``pretrained``), the
            path of a file like it, or None for random ones. The attribute is None afterwards: a bundle brings its weights along.
        affine_rate: learning rate of the 29 affine layers (frozen batch normalisation) as a share of their convolution's; 0 freezes
            them, as dlib does.
        mirror: average the embedding over the picture and its mirror image at use.
        jitter: average over so many slightly moved, turned and enlarged copies at use, half of them mirrored, instead: costs as many
            times the work. See :func:`siamese.backbones.views.jitter_maps`. The copies are always the same ones.
        unit_length: scale embeddings to length 1 (at the end, after averaging).
        folded: whether the affine layers are part of the convolutions; see :meth:`for_inference`.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
        MissingDependencyError: ``"dlib"`` without that package.
        ConfigError: on a call, pictures of less than 103 pixels.
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
        self.weights, self.affine_rate, self.folded = None, affine_rate, folded
        self.mirror, self.jitter, self.unit_length = mirror, jitter, unit_length
        self.embedding_size = EMBEDDING
        self.register_buffer("averages", torch.tensor(DlibFile().averages))
        self.stem = _Convolution(3, STEM, 7, 2, 0, folded)
        blocks, channels = [], STEM
        for width, halves in BLOCKS:
            blocks.append(_Block(channels, width, halves, folded))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, EMBEDDING, bias=False)
        if affine_rate == 0:
            for unit in self._units():
                unit.affine.requires_grad_(False)
        if weights is not None:
            path = pretrained_file(RESNET) if weights == "dlib" else Path(weights)
            self._load(DlibFile.read(path))

    @property
    def same_at_use(self) -> bool:
        """Not if embeddings are averaged over views at use."""
        return not (self.mirror or self.jitter)

    def forward(self, images: Tensor) -> Tensor:
        if min(images.shape[-2:]) < SMALLEST:
            height, width = images.shape[-2:]
            raise ConfigError(
                f"dlib_res_net takes pictures of {SMALLEST} pixels and more (150 is what it was trained on), these have {height}x{width}; "
                f"set data.cropper.size=150"
            )
        x = images.to(self.head.weight.dtype)
        if images.dtype != torch.uint8:
            x = x * 255
        # Views are warped as pixels, so that beyond the picture there is black, as in dlib.
        embeddings = self._mean_of_views(x)
        return F.normalize(embeddings, dim=1) if self.unit_length else embeddings

    def _mean_of_views(self, pixels: Tensor) -> Tensor:
        if self.training or self.same_at_use:
            return self._embed(pixels)
        if not self.jitter:
            return (self._embed(pixels) + self._embed(pixels.flip(3))) / 2
        changes, _ = jitter_maps(self.jitter, pixels.shape[-1])
        total = self._embed(warped(pixels, changes[0]))
        for change in changes[1:]:
            total = total + self._embed(warped(pixels, change))
        return total / len(changes)

    def _embed(self, pixels: Tensor) -> Tensor:
        # Channels last: the same numbers in the order that convolutions on CPUs and tensor cores read fastest.
        x = ((pixels - self.averages[:, None, None]) / 256).contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        for block in self.blocks:
            x = block(x)
        embeddings: Tensor = self.head(x.mean(dim=(2, 3)))
        return embeddings

    def for_inference(self) -> DlibResNet:
        """A copy that computes the same embeddings, up to rounding, in two thirds of the time: affine layers multiplied into the convolutions."""
        if self.folded:
            return self
        other = DlibResNet(None, self.affine_rate, self.mirror, self.jitter, self.unit_length, folded=True)
        other.head, other.averages = copy.deepcopy(self.head), self.averages.clone()
        for unit, source in zip(other._units(), self._units(), strict=True):
            scale, shift = source.affine.weight.detach().double(), source.affine.bias.detach().double()
            weight, bias = source.conv.weight.detach().double(), source.conv.bias.detach().double()
            unit.conv.weight = nn.Parameter((weight * scale[:, None, None, None]).to(source.conv.weight))
            unit.conv.bias = nn.Parameter((bias * scale + shift).to(source.conv.bias))
        return other.train(self.training).to(memory_format=torch.channels_last)

    def learning_rates(self, decay: float = 1.0) -> Iterator[tuple[nn.Parameter, float]]:
        """See :meth:`Backbone.learning_rates`: the head learns at the full rate, each block before it at ``decay`` times the next one's."""
        depth = len(self.blocks) + 1
        for level, part in enumerate((self.stem, *self.blocks, self.head)):
            factor = decay ** (depth - level)
            affine = {id(p) for unit in part.modules() if isinstance(unit, _Affine) for p in unit.parameters()}
            for parameter in part.parameters():
                yield parameter, factor * (self.affine_rate if id(parameter) in affine else 1.0)

    def save_dlib(self, path: str | Path) -> Path:
        """Write the weights as a file for ``dlib.face_recognition_model_v1``; views and unit length are not part of it.

        Raises:
            WeightsError: it cannot be written.
        """
        layers = fresh_layers()
        convolutions, affines = (iter([layer for layer in layers if layer.kind == kind]) for kind in ("con", "affine"))
        for unit, con, affine in zip(self._units(), convolutions, affines, strict=True):
            con.weight, con.bias = _array(unit.conv.weight), _array(unit.conv.bias)
            one = torch.ones(len(unit.conv.bias))
            affine.weight = _array(one if self.folded else unit.affine.weight)
            affine.bias = _array(one * 0 if self.folded else unit.affine.bias)
        layers[-1].weight = _array(self.head.weight.t())
        red, green, blue = self.averages.tolist()
        return DlibFile(layers, averages=(red, green, blue)).write(path)

    @torch.no_grad()
    def _load(self, file: DlibFile) -> None:
        convolutions, affines = ([layer for layer in file.layers if layer.kind == kind] for kind in ("con", "affine"))
        for unit, con, affine in zip(self._units(), convolutions, affines, strict=True):
            scale, shift = torch.from_numpy(affine.weight), torch.from_numpy(affine.bias)
            weight, bias = torch.from_numpy(con.weight), torch.from_numpy(con.bias)
            if self.folded:
                unit.conv.weight.copy_(weight.double() * scale.double()[:, None, None, None])
                unit.conv.bias.copy_(bias.double() * scale.double() + shift.double())
                continue
            for parameter, value in zip(unit.parameters(), (weight, bias, scale, shift), strict=True):
                parameter.copy_(value)
        self.head.weight.copy_(torch.from_numpy(file.layers[-1].weight).t())
        self.averages.copy_(torch.tensor(file.averages))

    def _units(self) -> Iterator[_Convolution]:
        return (module for module in self.modules() if isinstance(module, _Convolution))


class _Affine(nn.Module):
    """dlib's affine layer: one factor and one shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


class _Convolution(nn.Module):
    """A convolution and the affine layer behind it."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, padding: int, folded: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding)
        self.affine: nn.Module = nn.Identity() if folded else _Affine(width)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.affine(self.conv(x))
        return out


class _Block(nn.Module):
    """Two convolutions beside a shortcut; where it halves the picture, the shortcut is an average pool."""

    def __init__(self, channels: int, width: int, halves: bool, folded: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = _Convolution(channels, width, 3, 2 if halves else 1, 0 if halves else 1, folded)
        self.second = _Convolution(width, width, 3, 1, 1, folded)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x), inplace=True))
        if not self.halves:
            return F.relu(out + x, inplace=True)
        short = F.avg_pool2d(x, 2, 2)
        # dlib adds maps of different shapes as if each went on with zeros: to the right, at the bottom, in further channels.
        down, right = short.shape[2] - out.shape[2], short.shape[3] - out.shape[3]
        more = out.shape[1] - short.shape[1]
        return F.relu(F.pad(out, (0, right, 0, down)) + F.pad(short, (0, 0, 0, 0, 0, more)), inplace=True)


def _array(values: Tensor) -> object:
    return values.detach().float().cpu().contiguous().numpy()
