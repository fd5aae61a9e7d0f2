"""The check that networks for images of one size share."""

from __future__ import annotations

from torch import Tensor

from siamese.errors import ConfigError


def expect_size(images: Tensor, size: int, network: str) -> None:
    """Refuse images (B, 3, H, W) that are not ``size`` x ``size``.

    Raises:
        ConfigError: H or W is another number; names ``network`` and the setting to change.
    """
    height, width = images.shape[-2:]
    if (height, width) != (size, size):
        raise ConfigError(
            f"{network} takes images of {size}x{size} pixels, these have {height}x{width}; set "
            f"data.cropper.size={size}"
        )
