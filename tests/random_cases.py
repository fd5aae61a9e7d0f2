"""How many random cases a test draws: some in `make test`, five times as many in `make test-slow`.

Where a test numbers its cases, the first of them are the same in both; hypothesis draws others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

Test = TypeVar("Test", bound=Callable[..., Any])
THOROUGH = os.environ.get("SIAMESE_THOROUGH") == "1"
_SHARE = 5


def count_of(many: int) -> int:
    """How many of ``many`` cases are drawn here."""
    return many if THOROUGH else -(-many // _SHARE)


def random_cases(
    many: int, suppress_health_check: Collection[HealthCheck] = ()
) -> Callable[[Test], Test]:
    """A test of hypothesis over ``many`` cases, or over a fifth of them."""

    def drawn(test: Test) -> Test:
        limited = settings(max_examples=count_of(many), suppress_health_check=suppress_health_check)
        return pytest.mark.random_cases(limited(test))

    return drawn


def most_of(many: int, share: float, chance: float = 1e-3) -> int:
    """A bound on how many of ``many`` trials happen, each by itself with a chance ``share``.

    There are more with a chance of at most ``chance``.
    """
    from scipy.stats import binom

    return int(binom.ppf(1 - chance, many, share))
