"""StoredPoint: the types and ranges of an operating point in a file, before one is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from siamese.bounds import shown

Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10**18)]
# A name or a sentence that is printed as it is: one line, and nothing that steers a terminal.
_PRINTED = r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PRINTED)]
Line = Annotated[str, Meta(max_length=1000, pattern=_PRINTED)]
Figures = Annotated[dict[Name, Share], Meta(max_length=100)]
Intervals = Annotated[dict[Name, tuple[Real, Real]], Meta(max_length=100)]
Settings = Annotated[dict[Name, Any], Meta(max_length=100)]

# Of settings whose names only their class knows.
_LARGEST, _LONGEST, _DEEPEST = 10**12, 4096, 16


class StoredPoint(Struct, forbid_unknown_fields=True):
    """The attributes of :class:`siamese.OperatingPoint`; what is None or empty there may lack."""

    threshold: Real
    policy: Name
    distance: Name
    split: Name
    pair_rule: Settings
    genuine: Count | None = None
    impostor: Count | None = None
    prevalence: Share | None = None
    f1: Share | None = None
    tp: Count | None = None
    fp: Count | None = None
    fn: Count | None = None
    tn: Count | None = None
    identities: Count | None = None
    images: Count | None = None
    epoch: Count | None = None
    step: Count | None = None
    settings: Settings = {}
    target_prevalence: Annotated[float, Meta(gt=0, lt=1)] | None = None
    figures: Figures = {}
    ci95: Intervals = {}
    gap: tuple[Real, Real] | None = None
    promise: Settings = {}


class StoredPromise(Struct, forbid_unknown_fields=True):
    """What :class:`siamese.OperatingPoint` says of a promise."""

    figure: Name
    direction: Name
    limit: Real
    confidence: Share | None = None
    bound: Real | None = None


def check_settings(values: Any, place: str, depth: int = 0, largest: int = _LARGEST) -> None:
    """Check settings whose names only their class knows: sizes of what it will be given.

    Args:
        values: plain JSON.
        place: what to call them in an error.
        depth: how deep they lie.
        largest: what no number may exceed, by default 10^12.

    Raises:
        ValueError: a number beyond ``largest``, a string of more than 4,096 characters, a list of
            more than 4,096 values, nesting deeper than 16, or something that is no plain JSON.
    """
    if depth > _DEEPEST:
        raise ValueError(f"{place} is nested deeper than {_DEEPEST} levels")
    if isinstance(values, (dict, list, tuple)):
        if len(values) > _LONGEST:
            raise ValueError(f"{place} has more than {_LONGEST:,} values")
        named = values.items() if isinstance(values, dict) else enumerate(values)
        for name, value in named:
            if isinstance(name, str) and len(name) > _LONGEST:
                raise ValueError(f"{place} has a name of more than {_LONGEST:,} characters")
            check_settings(value, f"{place}.{name!s:.40}", depth + 1, largest)
    elif isinstance(values, str):
        if len(values) > _LONGEST:
            raise ValueError(f"{place} has more than {_LONGEST:,} characters")
    elif isinstance(values, (int, float)):
        if not abs(values) <= largest:  # NaN, too
            raise ValueError(f"{place} is no number up to {largest:,}: {shown(values)}")
    elif values is not None:
        raise ValueError(f"{place} is a {type(values).__name__}, which no file holds")
