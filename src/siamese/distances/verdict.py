"""The verdict: :func:`is_match`, the one function that turns a distance into one; without torch."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np

from siamese.distances.arrays import as_threshold, check_mask, is_tensor, plain_tensor
from siamese.errors import CalibrationError

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", "Tensor", np.ndarray)


@overload
def is_match(distance: float, threshold: float) -> bool: ...
@overload
def is_match(distance: Values, threshold: float) -> Values: ...
def is_match(distance, threshold):  # type: ignore[no-untyped-def]
    """The verdict "same identity": ``distance <= threshold``.

    The only comparison of a distance with a threshold in this package: calibration, metrics,
    verification and reports all call it, so that applying a calibrated threshold again gives
    exactly the counts that were reported. Numbers are compared as they are: numpy and torch would
    first round the threshold to the array's precision, possibly up.

    Args:
        distance: a number, or an array or tensor of any shape.
        threshold: a number in the unit of the distance; it may be infinite.

    Returns:
        bool, or booleans in the shape of ``distance``; False for NaN.

    Raises:
        CalibrationError: a threshold that is no number, or NaN, or distances that are no real
            numbers.

    Examples:
        >>> import siamese
        >>> import numpy as np
        >>> siamese.is_match(0.4, 0.5)
        True
        >>> siamese.is_match(np.array([0.4, 0.5, 0.6]), 0.5)
        array([ True,  True, False])
    """
    threshold = as_threshold(threshold)
    if is_tensor(distance):
        import torch

        distance = plain_tensor(distance, "the distances")
        if distance.dtype == torch.float64:
            return distance <= threshold
        if distance.is_floating_point():
            return distance.float() <= float(floor(threshold))
        if not distance.is_complex():
            return distance.double() <= threshold
    elif isinstance(distance, (np.ndarray, np.floating)) and distance.dtype.kind in "fiu":
        check_mask(distance, "the distances")
        if distance.dtype.kind == "f" and distance.dtype.itemsize <= 4:
            return distance.astype(np.float32) <= floor(threshold)
        return distance <= threshold
    elif isinstance(distance, Real) and not isinstance(distance, bool):
        return bool(distance <= threshold)
    raise CalibrationError(
        f"{type(distance).__name__} is no distance; give a real number, or an array or tensor of "
        f"real numbers"
    )


def floor(threshold: float) -> np.float32:
    """The largest float32 number not above a threshold; it accepts the same float32 distances."""
    with np.errstate(over="ignore"):
        rounded = np.float32(threshold)
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded
