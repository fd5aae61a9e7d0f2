"""Arrays and tensors from anywhere, as numpy and torch read them; what has no numbers is refused.

Nothing is changed silently: not what stands behind a mask, not a whole number that float64 would
round, not a part of a complex number. torch is not imported: where it is not there, nothing is a
tensor.
"""

from __future__ import annotations

import math
import numbers
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from siamese.bounds import shown
from siamese.errors import CalibrationError, ConfigError, first_line

if TYPE_CHECKING:
    from torch import Tensor

# float64 holds every whole number up to here.
WHOLE = 2**53
_NO_NUMBERS = (str, bytes, complex, type(None))  # though float() reads some of them


def is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor of torch; without torch there are none."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(value, kind)


def plain_tensor(values: Tensor, what: str) -> Tensor:
    """A tensor whose numbers lie in memory: no sparse, nested, quantized or meta tensor.

    Args:
        values: any tensor.
        what: it is, for the message ("the embeddings").

    Raises:
        CalibrationError: it is none.
    """
    import torch

    remedy = ""
    if values.is_nested:
        remedy = "a nested tensor; give one row for each image, all of one length"
    elif values.layout != torch.strided:
        remedy = f"a sparse tensor ({values.layout}); give it with .to_dense()"
    elif values.is_quantized:
        remedy = f"a quantized tensor ({values.dtype}); give it with .dequantize()"
    elif values.is_meta:
        remedy = "a tensor on the meta device, which has no numbers; give one that was computed"
    if remedy:
        raise CalibrationError(f"{what} are {remedy}")
    return values.resolve_conj().resolve_neg()


def as_array(values: Any, what: str) -> np.ndarray:
    """Numbers, names or booleans as an array of the machine's byte order; no tensor is kept.

    Args:
        values: an array, a tensor with or without gradient, on any device, or nested sequences.
        what: they are, for the message ("the distances").

    Raises:
        CalibrationError: nothing that can be read, or values behind a mask.
    """
    if is_tensor(values):
        import torch

        values = plain_tensor(values, what).detach().cpu()
        # What numpy has no kind for.
        narrow = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
        array: np.ndarray = (values.float() if values.dtype in narrow else values).numpy()
        return array
    try:
        if isinstance(values, (list, tuple)):
            values = [v.detach().cpu() if is_tensor(v) else v for v in values]
        check_mask(values, what)
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CalibrationError(
            f"{what} cannot be read as an array ({first_line(error)}); give an array or a list"
        ) from error
    native = found.dtype.newbyteorder("=")
    return found if native == found.dtype else found.astype(native)


def check_mask(values: Any, what: str) -> None:
    """Raise :class:`CalibrationError` where values of a masked array are hidden."""
    hidden = np.count_nonzero(np.ma.getmaskarray(values)) if np.ma.isMaskedArray(values) else 0
    if not hidden and isinstance(values, (list, tuple)):
        hidden = sum(value is np.ma.masked for value in values)
    if hidden:
        raise CalibrationError(f"{what} are masked in {hidden} places; leave these images out")


def as_float64(array: np.ndarray, what: str) -> np.ndarray:
    """Numbers as float64, where it holds them.

    Fractions and decimals are rounded to the nearest number, numbers of more digits than float64
    has as well.

    Args:
        array: numbers of any kind, also objects.
        what: they are, for the message ("the embeddings").

    Raises:
        CalibrationError: no numbers, numbers beyond the range of float64, or whole numbers beyond
            2^53, of which neighbours would become equal.
    """
    kind = array.dtype.kind
    if kind in "iu" and array.size and (array.max() > WHOLE or array.min() < -WHOLE):
        raise CalibrationError(
            f"{what} hold whole numbers beyond 2^53, which would be rounded; subtract their mean, "
            f"or give floating point numbers"
        )
    if kind not in "biufO":
        raise CalibrationError(f"{what} are {array.dtype}; give real numbers")
    if kind == "O" and any(isinstance(v, _NO_NUMBERS) for v in array.flat):
        raise CalibrationError(f"{what} hold values that are no real numbers; give numbers")
    try:
        with np.errstate(over="ignore", under="ignore"):
            found = array.astype(np.float64)
        if kind == "O":
            lost = any(_is_lost(*both) for both in zip(array.flat, found.flat, strict=True))
        else:
            changed = (np.isinf(found) & np.isfinite(array)) | ((found == 0) & (array != 0))
            lost = bool(np.any(changed))
    except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
        raise CalibrationError(
            f"{what} hold values that are no numbers of float64 ({first_line(error)}); give numbers"
        ) from error
    if lost:
        raise CalibrationError(
            f"{what} hold numbers beyond the range of float64; multiply all by one number"
        )
    return found


def _is_lost(number: Any, rounded: float) -> bool:
    """Whether float64 holds a number by its size alone, or a whole number not at all."""
    if isinstance(number, numbers.Integral):
        return math.isinf(rounded) or int(rounded) != number
    return bool((rounded == 0 and number != 0) or (math.isinf(rounded) and abs(number) != rounded))


def as_threshold(value: Any, finite: bool = False) -> float:
    """A threshold as a number of Python that accepts the same distances.

    What float64 does not hold (fractions, large whole numbers) is rounded down.

    Args:
        value: a real number of Python or numpy, or an array or tensor of one.
        finite: whether it may not be infinite.

    Raises:
        CalibrationError: something else, NaN, or a number that is infinite where it may not be.
    """
    one = value
    if isinstance(value, np.ndarray) or is_tensor(value):
        array = as_array(value, "the thresholds")
        one = array.item() if array.size == 1 else value
    if not isinstance(one, numbers.Real) or isinstance(one, (bool, np.bool_)):
        raise CalibrationError(
            f"the threshold must be a number, not {in_words(value)}; calibrate first, or give one"
        )
    try:
        rounded = float(one)
    except OverflowError:
        rounded = math.inf if one > 0 else -math.inf  # type: ignore[operator]
    if math.isnan(rounded) or (finite and math.isinf(rounded)):
        raise CalibrationError(
            f"the threshold must be a {'finite ' if finite else ''}number, not {in_words(value)}; "
            f"calibrate first, or give one"
        )
    return math.nextafter(rounded, -math.inf) if rounded > one else rounded


def in_words(value: Any) -> str:
    """A value in a message: the start of it, in one line."""
    return " ".join(shown(value).split())


def as_row_numbers(values: Any, rows: int, what: str) -> np.ndarray:
    """(n,) int64 row numbers of a matrix.

    Args:
        values: (n,) whole numbers.
        rows: how many the matrix has.
        what: they are, for the message ("left").

    Raises:
        CalibrationError: no whole numbers, or rows that there are not.
    """
    found = as_array(values, what)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):
        raise CalibrationError(
            f"{what} has shape {found.shape} of {found.dtype}; give (n,) whole numbers, of rows"
        )
    if len(found) and not (found.min() >= 0 and found.max() < rows):
        raise CalibrationError(
            f"{what} names row {found.min() if found.min() < 0 else found.max()}, but there are "
            f"{rows} embeddings; give row numbers from 0 on"
        )
    return found.astype(np.int64)


def given_threshold(value: Any) -> float:
    """A threshold that a user gave, as :func:`as_threshold` reads it.

    Raises:
        ConfigError: no finite number.
    """
    try:
        return as_threshold(value, finite=True)
    except CalibrationError as error:
        raise ConfigError(str(error)) from error
