"""Constructors that show all their arguments, and name the right one where one is misspelt."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from siamese.errors import ConfigError, did_you_mean

P = ParamSpec("P")
# What users of other libraries look for -> where it is here.
HINTS = {
    "batchsize": "a batch is so many identities and images of each: "
    "sampler=siamese.IdentitySampler(identities=8, images=4)",
    "imagesize": "the cropper makes the size: cropper=siamese.DlibHogCropper(size=112)",
    "size": "the cropper makes the size: cropper=siamese.DlibHogCropper(size=112)",
    "numworkers": "it is called workers",
    "transform": "it is called augmentation",
    "transforms": "it is called augmentation",
}
Init = Callable[Concatenate[Any, P], None]


def named_arguments(init: Init[P]) -> Init[P]:
    """A constructor that refuses an unknown keyword with the nearest right one.

    Raises:
        ConfigError: on a call, an unknown keyword.
    """
    return _checked(init, inspect.signature(init))


def arguments_of(base: type, *left_out: str) -> Callable[[Init[P]], Init[P]]:
    """As :func:`named_arguments`, for a constructor that passes ``**settings`` on to ``base``.

    Its signature shows the arguments of ``base`` by keyword, but for those left out.
    """
    shared = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in inspect.signature(base).parameters.values()
        if p.name not in left_out
    ]

    def decorate(init: Init[P]) -> Init[P]:
        own = inspect.signature(init)
        first = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        return _checked(init, own.replace(parameters=[*first, *shared]))

    return decorate


def _checked(init: Init[P], signature: inspect.Signature) -> Init[P]:
    names = list(signature.parameters)[1:]

    @functools.wraps(init)
    def checked(self: Any, /, *args: P.args, **settings: P.kwargs) -> None:
        for name in settings:
            if name not in names:
                hint = HINTS.get(name.replace("_", ""), "")
                remedy = f": {hint}" if hint else did_you_mean(name, names)
                raise ConfigError(f"{type(self).__name__} has no argument {name!r}{remedy}")
        init(self, *args, **settings)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked
