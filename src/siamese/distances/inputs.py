"""Check embeddings and identities from any library, and convert them."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.distances.arrays import as_array, as_float64, check_mask, plain_tensor
from siamese.errors import CalibrationError, first_line

_NATIVE = (np.float64, np.float32, np.float16)
_BLOCK = 4096  # rows that are looked at at once: bounds the memory
_TORCH = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def rows_and_labels(embeddings: Any, identities: Any) -> tuple[Tensor, np.ndarray]:
    """Embeddings as a floating point tensor (N, D) on the CPU, and labels (N,) int64.

    There is one label per identity.

    Raises:
        CalibrationError: embeddings that are no such matrix of finite real numbers, or identities
            that are missing, do not fit, or cannot be compared.
    """
    rows = as_tensor(embeddings).detach().cpu()
    if rows.ndim != 2 or not rows.shape[1]:
        raise CalibrationError(
            f"embeddings have shape {tuple(rows.shape)}; give (N, D), one row for each image"
        )
    who = as_identities(identities)
    if who.shape != (len(rows),):
        raise CalibrationError(
            f"{len(rows)} embeddings, but identities of shape {who.shape}; give one identity for "
            f"each embedding"
        )
    bad = infinite_rows(rows)
    if bad:
        which = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise CalibrationError(
            f"{len(bad)} of {len(rows)} embeddings are NaN or infinite (row {which}, counted from "
            f"0); leave these images out, or look for diverged training"
        )
    return rows, numbered(who)


def infinite_rows(rows: Tensor) -> list[int]:
    """The rows of an (N, D) matrix that hold NaN or an infinite number; in blocks."""
    found: list[int] = []
    for start in range(0, len(rows), _BLOCK):
        bad = ~rows[start : start + _BLOCK].isfinite().all(dim=1)
        found += (bad.nonzero().flatten() + start).tolist()
    return found


def as_tensor(embeddings: Any) -> Tensor:
    """Embeddings as a floating point tensor: one as it is, anything else copied.

    Only a memory map (``np.memmap``) of floating point numbers is not: its file is read where it is
    looked at, and nothing writes to it.

    Whole numbers, booleans, fractions and numbers of more digits become float64.

    Raises:
        CalibrationError: nothing that numpy or torch can read as real numbers.
    """
    if isinstance(embeddings, Tensor):
        return _real(embeddings)
    try:
        if (
            isinstance(embeddings, (list, tuple))
            and embeddings
            and all(isinstance(row, Tensor) for row in embeddings)
        ):
            return _real(torch.stack([_real(row) for row in embeddings]))
        check_mask(embeddings, "the embeddings")
        if isinstance(embeddings, np.memmap) and (mapped := _mapped(embeddings)) is not None:
            return mapped
        array = np.array(embeddings)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _unreadable(error) from error
    if array.dtype in _NATIVE:
        return torch.from_numpy(array)
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8:  # of the other byte order
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    if array.dtype.kind not in "biufO":
        raise _unreadable("complex; give real ones" if array.dtype.kind == "c" else array.dtype)
    return torch.from_numpy(as_float64(array, "the embeddings"))


def _mapped(embeddings: np.memmap[Any, Any]) -> Tensor | None:
    """A memory map as a tensor that is not copied; None where torch has no such tensor."""
    array = np.asarray(embeddings)
    plain = array.dtype in _NATIVE and array.dtype.isnative and array.flags.aligned
    if not plain or not array.size or min(array.strides, default=0) < 0:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _real(values: Tensor) -> Tensor:
    """A tensor of real numbers in floating point."""
    values = plain_tensor(values, "the embeddings")
    if values.dtype in _TORCH:
        return values
    if values.is_complex():
        raise CalibrationError("the embeddings are complex numbers; give real ones")
    if values.is_floating_point():  # of 8 bits
        return values.float()
    made = as_float64(values.cpu().numpy(), "the embeddings")
    return torch.from_numpy(made).to(values.device)


def _unreadable(why: object) -> CalibrationError:
    said = first_line(why) if isinstance(why, BaseException) else why
    return CalibrationError(f"embeddings cannot be read as an array ({said}); give (N, D) numbers")


def as_identities(identities: Any) -> np.ndarray:
    """Identities as an array of numbers or names; what numpy would change silently is refused.

    Raises:
        CalibrationError: identities that are missing (None, NaN, infinite, masked), of several
            types, or neither numbers nor names.
    """
    if isinstance(identities, Tensor):
        who = as_array(identities, "the identities")
    else:
        who = _names(identities)
    if who.dtype.kind in "cV":
        raise CalibrationError(
            f"identities are {who.dtype}, which has no order; give numbers or names"
        )
    missing = False
    if who.dtype.kind == "f":
        missing = not np.isfinite(who).all()
    elif who.dtype.kind in "mM":
        missing = bool(np.isnat(who).any())
    if missing:
        raise CalibrationError(
            "some identities are NaN or infinite; give every image the number or name of its "
            "identity"
        )
    return who


def numbered(who: np.ndarray) -> np.ndarray:
    """(N,) int64, one number per identity, in the order of (N,) identities.

    Raises:
        CalibrationError: identities that cannot be sorted.
    """
    try:
        found, labels = np.unique(who, return_inverse=True)
        # Of objects that have no one order, sets for instance, equal ones may lie apart.
        if who.dtype == object and len(set(who.tolist())) != len(found):
            raise TypeError
    except (TypeError, ValueError, ArithmeticError) as error:
        raise _several_types() from error
    return labels.reshape(-1)


def _names(identities: Any) -> np.ndarray:
    """Identities as an array; what numpy would silently convert to names is refused."""
    who = as_array(identities, "the identities")
    listed = isinstance(identities, (list, tuple))
    if listed and _rounds_or_cuts(who, identities):
        whole = np.empty(len(identities), dtype=object)
        whole[:] = identities
        who = whole
    each: Iterable[Any] = ()
    if listed or who.dtype == object:
        each = identities if listed else who.ravel().tolist()
    if any(_is_missing(name) for name in each):
        raise CalibrationError(
            "some identities are missing (None or NaN); give every image the number or name of "
            "its identity"
        )
    if len({1 if isinstance(n, str) else 2 if isinstance(n, bytes) else 0 for n in each}) > 1:
        raise _several_types()
    return who


def _rounds_or_cuts(who: np.ndarray, identities: Iterable[Any]) -> bool:
    """Whether an array made of a list has other identities than the list."""
    if who.ndim != 1:
        return False
    if who.dtype.kind in "fc":
        # As floats, large whole numbers would be rounded, and two identities would become one.
        return any(isinstance(n, numbers.Integral) for n in identities)
    # numpy cuts zeros off the end of a name.
    zeros = {"U": "\0", "S": b"\0"}.get(who.dtype.kind)
    return zeros is not None and any(n[-1:] == zeros for n in identities if hasattr(n, "strip"))


def _is_missing(name: Any) -> bool:
    if name is None or name is np.ma.masked:
        return True
    if isinstance(name, numbers.Real) and not isinstance(name, numbers.Rational):
        return not math.isfinite(name)
    try:
        return bool(name != name)  # decimals and dates that are none
    except (TypeError, ValueError, ArithmeticError):
        return True


def _several_types() -> CalibrationError:
    return CalibrationError(
        "identities of several types cannot be told apart; give all as strings or all as numbers"
    )
