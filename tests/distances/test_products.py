"""Products of matrices that do not depend on the order of summation."""

from fractions import Fraction

import torch

from siamese.distances.products import exact_product, to_grid


def case(d=300, n=40, k=20):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(n, d, dtype=torch.float64, generator=generator)
    rows[0] = 0.0
    rows[1, 1:] = 0.0
    matrix = torch.randn(d, k, dtype=torch.float64, generator=generator)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return rows, to_grid(matrix / matrix.norm(dim=0).max())


def test_any_order_and_any_company_give_the_same_bits():
    rows, matrix = case()
    together = exact_product(rows, matrix)
    order = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(1))
    assert torch.equal(exact_product(rows[:, order], matrix[order]), together)
    for size in (1, 3, 17):
        assert torch.equal(
            torch.cat([exact_product(r, matrix) for r in rows.split(size)]), together
        )
    # Which a plain product does not.
    assert not torch.equal(rows[:, order] @ matrix[order], rows @ matrix)


def test_it_is_the_product_of_the_rows_rounded_to_48_bits_rounded_once():
    rows, matrix = case(50, 6, 4)
    found = exact_product(rows, matrix)
    for i in range(6):
        for j in range(4):
            terms = zip(to_grid(rows[i], 48).tolist(), matrix[:, j].tolist(), strict=True)
            exact = sum(Fraction(a) * Fraction(b) for a, b in terms)
            assert found[i, j].item() == float(exact)
    assert (found - rows @ matrix).abs().max() < 1e-14


def test_rows_of_float32_are_multiplied_plainly():
    rows, matrix = case()
    found = exact_product(rows.float(), matrix)
    assert found.dtype == torch.float32
    assert torch.allclose(found, (rows @ matrix).float(), atol=1e-6)
