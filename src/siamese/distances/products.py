"""Matrix products that are the same, bit for bit, whatever rows are computed together."""

from __future__ import annotations

import torch
from torch import Tensor

# A double holds 53 bits. The numbers are rounded to multiples of 2^-HIGH and 2^-MATRIX, so that
# every partial sum of a product of a row with a column, both of length 1 at most, is a multiple of
# 2^-51 below 2, and no sum rounds. What the first rounding leaves of a row is rounded to multiples
# of 2^-LOW and multiplied by itself: multiples of 2^-72 below 2^-28 sqrt(D), for D up to 2^16.
HIGH, LOW, MATRIX = 27, 48, 24


def to_grid(numbers: Tensor, bits: int = MATRIX) -> Tensor:
    """The nearest multiples of ``2^-bits``; of numbers up to 1, 24 bits fit into a float32."""
    return torch.round(numbers * 2.0**bits) / 2.0**bits


def exact_product(rows: Tensor, matrix: Tensor) -> Tensor:
    """``rows @ matrix`` without rounding errors that depend on the order of summation.

    A product of matrices adds in an order that depends on the number of rows, on threads and on
    the machine. Here the sums are exact, so none of it matters (the error-free splitting of Ozaki,
    Ogita, Oishi and Rump, *Error-free transformations of matrix multiplication*, Numerical
    Algorithms 59, 2012). In float32, where a device has no float64, this is a plain product.

    Args:
        rows: (N, D) float64 of length 1 at most, D up to 65,536; rounded to multiples of 2^-48.
        matrix: (D, K) multiples of 2^-24, see :func:`to_grid`, with columns of length 1 at most.

    Returns:
        (N, K) in the dtype of ``rows``.
    """
    matrix = matrix.to(rows)
    if rows.dtype != torch.float64:
        return rows @ matrix
    high = to_grid(rows, HIGH)
    return high @ matrix + to_grid(rows - high, LOW) @ matrix
