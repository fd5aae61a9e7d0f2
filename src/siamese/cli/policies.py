"""A policy as it is written on the command line: its name and, after commas, its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese.verification.policies.base import Policy

HELP = (
    "max_f1, max_accuracy, eer, far, recall or cost, with settings after commas: fmr,rate=0.02   recall,rate=0.99   "
    "cost,false_match=10   max_f1,prevalence=0.01   (prevalence: observed, balanced or a number)"
)


def parse_policy(text: str) -> Policy:
    """``fmr,rate=1e-4`` as a policy.

    Raises:
        ConfigError: an unknown name or setting, or a word that is no setting; a name is none, it stands first.
    """
    from siamese.errors import ConfigError
    from siamese.verification.policies.base import as_policy

    name, *words = (word.strip() for word in text.split(","))
    settings: dict[str, Any] = {"name": name}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or key == "name":
            raise ConfigError(
                f"{word!r} in the policy {text!r} is not understood; write NAME,SETTING=VALUE such as fmr,rate=1e-4"
            )
        settings[key] = _value(value)
    return as_policy(settings)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
