"""Cost: the threshold of the lowest expected cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from siamese.distances.arrays import in_words
from siamese.errors import ConfigError
from siamese.verification.policies.base import (
    OBSERVED,
    POLICIES,
    Policy,
    Prevalence,
    is_number,
)

CHEAPEST, DEAREST = 1e-12, 1e12


@POLICIES.register("cost")
@dataclass(frozen=True)
class Cost(Policy):
    """The lowest expected cost of a verdict at the stated prevalence.

    It is the detection cost of NIST's evaluations. Where false matches are expensive, refusing
    every pair can be best; the threshold then lies just below the smallest distance.

    Args:
        false_match: cost of accepting a pair of different identities, 1e-12 to 1e12.
        false_non_match: cost of refusing a pair of the same identity, 1e-12 to 1e12.
        prevalence: see :class:`Policy`.
        confidence: with this confidence, 0.5 to 0.99, the cost on other identities is at most a
            bound, and the threshold is the one with the lowest bound; None for the lowest cost on
            the calibration pairs. See :mod:`siamese.verification.assurance`.
        weights: see :class:`Policy`.
    """

    false_match: float = 1.0
    false_non_match: float = 1.0
    prevalence: Prevalence = OBSERVED
    confidence: float | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)
    may_refuse_all: ClassVar[bool] = True
    promises: ClassVar[tuple[str, str] | None] = ("cost", "at most")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("false_match", "false_non_match"):
            value = getattr(self, name)
            if not is_number(value) or not CHEAPEST <= value <= DEAREST:
                raise ConfigError(
                    f"the cost {name} must be a number above 0, from {CHEAPEST:g} to {DEAREST:g}, "
                    f"not {in_words(value)}; only the ratio of both costs matters for the "
                    f"threshold, so multiply both by one number"
                )

    @property
    def aim(self) -> str:
        times = self.false_match / self.false_non_match
        much = "as much" if times == 1 else f"{times:.3g} times as much"
        return f"for the lowest cost of errors (a false match costs {much} as a false non-match)"

    @property
    def limit(self) -> None:
        return None

    def promised(self, recall: Any, fmr: Any, prevalence: float) -> Any:
        missed = self.false_non_match * prevalence * (1 - recall)
        return missed + self.false_match * (1 - prevalence) * fmr

    def objective(self, tp: Any, fp: Any, genuine: Any, impostor: Any, prevalence: Any) -> Any:
        match, non_match = self.false_match, self.false_non_match
        if isinstance(tp, Fraction):
            match, non_match = Fraction(repr(float(match))), Fraction(repr(float(non_match)))  # type: ignore[assignment]
        return (
            non_match * prevalence * tp / genuine - match * (1 - prevalence) * fp / impostor
        ) / (match + non_match)
