"""Check embeddings and identities from any library, and convert them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from siamese.errors import CalibrationError


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
    if rows.is_complex():
        raise CalibrationError("the embeddings are complex numbers; give real ones")
    if not rows.is_floating_point():
        rows = rows.double()
    who = (
        identities.detach().cpu().numpy() if isinstance(identities, Tensor) else _names(identities)
    )
    if who.shape != (len(rows),):
        raise CalibrationError(
            f"{len(rows)} embeddings, but identities of shape {who.shape}; give one identity for "
            f"each embedding"
        )
    bad = (~rows.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if bad:
        which = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise CalibrationError(
            f"{len(bad)} of {len(rows)} embeddings are NaN or infinite (row {which}, counted from "
            f"0); leave these images out, or look for diverged training"
        )
    if who.dtype.kind == "f" and not np.isfinite(who).all():
        raise CalibrationError(
            "some identities are NaN or infinite; give every image the number or name of its "
            "identity"
        )
    try:
        labels = np.unique(who, return_inverse=True)[1].reshape(-1)
    except TypeError as error:
        raise CalibrationError(
            "identities of several types cannot be told apart; give all as strings or all as "
            "numbers"
        ) from error
    return rows, labels


def as_tensor(embeddings: Any) -> Tensor:
    """Embeddings as a tensor: one as it is, anything else copied.

    Raises:
        CalibrationError: nothing that numpy or torch can read as numbers.
    """
    if isinstance(embeddings, Tensor):
        return embeddings
    try:
        if (
            isinstance(embeddings, (list, tuple))
            and embeddings
            and all(isinstance(row, Tensor) for row in embeddings)
        ):
            return torch.stack(list(embeddings))
        return torch.from_numpy(np.array(embeddings))
    except (TypeError, ValueError, RuntimeError) as error:
        raise CalibrationError(
            f"embeddings cannot be read as an array ({error}); give (N, D) numbers"
        ) from error


def _names(identities: Any) -> np.ndarray:
    """Identities as an array; what numpy would silently convert to names is refused."""
    who = np.asarray(identities)
    if (
        who.dtype.kind == "f"
        and isinstance(identities, (list, tuple))
        and any(isinstance(n, int) for n in identities)
    ):
        # As floats, large whole numbers would be rounded, and two identities would become one.
        who = np.array(identities, dtype=object)
    each = (
        identities
        if isinstance(identities, (list, tuple))
        else who.tolist()
        if who.dtype == object
        else []
    )
    if any(name is None or (isinstance(name, float) and math.isnan(name)) for name in each):
        raise CalibrationError(
            "some identities are missing (None or NaN); give every image the number or name of "
            "its identity"
        )
    if len({isinstance(name, str) for name in each}) > 1:
        raise CalibrationError(
            "identities of several types cannot be told apart; give all as strings or all as "
            "numbers"
        )
    return who
