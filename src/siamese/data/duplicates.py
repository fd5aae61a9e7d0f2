"""Which images are the same, exactly or nearly; and what to do with those in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from siamese.data.manifest import SplitManifest
from siamese.errors import ConfigError, SplitError, did_you_mean

DUPLICATE_POLICIES = ("error", "allow", "leave_out")
SAME_AS = "the same image as"  # begins the reason for which a duplicate is left out
_BLOCK = 2048


def equal_groups(keys: Sequence[str]) -> list[list[int]]:
    """Groups of two rows or more with the same key; rows with an empty key are in none."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key:
            rows.setdefault(key, []).append(row)
    return [group for group in rows.values() if len(group) > 1]


def near_pairs(bits: np.ndarray, most: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of rows whose hashes differ in at most so many bits.

    Args:
        bits: (n, b) bool.
        most: bits, >= 0.

    Yields:
        the lower row, the upper row, and in how many bits they differ.
    """
    # Of signs, a product counts equal bits less different ones: one matrix product for a block.
    signs = np.where(bits, 1, -1).astype(np.float32)
    size = bits.shape[1] if bits.ndim == 2 else 0
    for top in range(0, len(bits), _BLOCK):
        block = signs[top : top + _BLOCK]
        differ = (size - block @ signs[top:].T) / 2
        one, other = np.nonzero(np.triu(differ <= most, 1))
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            yield top + a, top + b, round(float(differ[a, b]))


def settle_duplicates(manifest: SplitManifest, policy: str) -> str | None:
    """Refuse, allow or leave out files of the same content in two splits.

    Where others chose the split (:attr:`SplitManifest.is_given`), its duplicates stay.

    Args:
        manifest: with ``"leave_out"`` the twins in later splits are put into its quarantine: what
            was trained on is not tested on.
        policy: ``"error"``, ``"allow"`` or ``"leave_out"``.

    Returns:
        what is to be known of them; None where there are none.

    Raises:
        ConfigError: another policy.
        SplitError: there are some, and the policy is ``"error"``.
    """
    check_policy(policy)
    twins = manifest.shared_images()
    if not twins:
        return None
    (one, other), n = twins[0], len(twins)
    what = f"{n} {'image is' if n == 1 else 'images are'} in two splits as different files"
    example = f"first {one} = {other}"
    if manifest.is_given:
        return f"{what}, {example}; they stay, since the split is one that others chose"
    if policy == "error":
        raise SplitError(
            f"{manifest.dataset}: {what}, {example}: what is trained on would be tested on; remove "
            f"one of each, or leave it out: data.duplicates=leave_out (data.duplicates=allow keeps "
            f"both)"
        )
    if policy == "allow":
        return f"{what}, {example}; they stay (data.duplicates=allow)"
    for kept, file in twins:
        manifest.quarantine.setdefault(file, f"{SAME_AS} {kept}")
    return f"{what}, {example}; of each the one in the earlier split is used"


def check_policy(policy: str) -> None:
    """Refuse an unknown policy.

    Raises:
        ConfigError: it is unknown.
    """
    if policy not in DUPLICATE_POLICIES:
        raise ConfigError(
            f"data.duplicates={policy!r} is not known{did_you_mean(policy, DUPLICATE_POLICIES)}"
        )
