"""What is checked of a split manifest whenever one is made or loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from siamese.data.entries import Entries, can_be_named, files_in_two, files_of
from siamese.datasets.identities import normalise_identity
from siamese.errors import SplitError

if TYPE_CHECKING:
    from siamese.data.manifest import SplitManifest

_ENTRY = {"file", "identity", "sha256"}


def check_form(manifest: SplitManifest) -> None:
    """Refuse values of wrong types, and files that may not stand in a manifest."""
    for name, kind in (
        ("dataset", str),
        ("root", str),
        ("protocol", str),
        ("seed", int),
        ("splits", dict),
        ("quarantine", dict),
        ("pairs", dict),
        ("settings", dict),
    ):
        value = getattr(manifest, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SplitError(
                f"the manifest's {name} is not a {kind.__name__}: it was altered; make a new split"
            )
    for split, entries in manifest.splits.items():
        if not split.isprintable():
            raise SplitError(
                f"the manifest's split {split!r:.80} has a name that cannot be printed: it was "
                f"altered; make a new split"
            )
        if isinstance(entries, Entries):
            entries.check(split)
            continue
        if not isinstance(entries, list) or not all(
            isinstance(e, dict) and set(e) >= _ENTRY for e in entries
        ):
            raise SplitError(
                f"the manifest's split {split!r} is no list of file, identity and sha256: it "
                f"was altered; make a new split"
            )
        for e in entries:
            if not (
                isinstance(e["file"], str)
                and isinstance(e["identity"], str)
                and isinstance(e["sha256"], (str, type(None)))
                and can_be_named(e["file"])
                and _are_groups(e.get("groups", {}))
            ):
                raise SplitError(
                    f"the manifest's split {split!r} has an entry of a wrong type: it was "
                    f"altered; make a new split"
                )
    if not all(isinstance(word, str) for words in manifest.quarantine.items() for word in words):
        raise SplitError(
            "the manifest's quarantine is not file -> reason: it was altered; make a new split"
        )


def check_pairs(manifest: SplitManifest) -> None:
    """Refuse chosen pairs that are no row numbers of their split."""
    for split, pairs in manifest.pairs.items():
        rows = [pairs.get(side) for side in ("left", "right")] if isinstance(pairs, dict) else []
        n = len(manifest.splits.get(split, []))
        if not (
            len(rows) == 2
            and all(
                isinstance(r, list) and all(type(i) is int and 0 <= i < n for i in r) for r in rows
            )
            and len(rows[0] or []) == len(rows[1] or [])
        ):
            raise SplitError(
                f"the manifest's pairs of {split!r} are not row numbers of that split: it was "
                f"altered; make a new split"
            )


def check_disjoint(manifest: SplitManifest) -> None:
    """Refuse a file in two splits, and an identity in two that may not share it."""
    may_share = manifest.protocol_class.may_share
    for key in ("identity", "file"):
        seen: dict[str, set[str]] = {}
        for split, met in _met(manifest, key).items():
            for value in met:
                for other in sorted(seen.setdefault(value, set())):
                    if key == "file" or frozenset((other, split)) not in may_share:
                        raise SplitError(
                            f"{key} {value!r:.200} is in both {other:.80} and {split:.80}: "
                            f"the manifest was altered; make a new split"
                        )
                seen[value].add(split)


def _met(manifest: SplitManifest, key: str) -> dict[str, set[str]]:
    """Of each split the distinct identities or files; of many files those in another split."""
    columns = {s: e for s, e in manifest.splits.items() if isinstance(e, Entries)}
    if key == "file" and columns and len(columns) == len(manifest.splits):
        return files_in_two(columns)
    met = {}
    for split, entries in manifest.splits.items():
        if key == "file":
            met[split] = set(files_of(entries))
        elif isinstance(entries, Entries):
            met[split] = set(map(normalise_identity, entries.identities.values))
        else:
            met[split] = {normalise_identity(e[key]) for e in entries}
    return met


def _are_groups(value: Any) -> bool:
    """Whether a value of a manifest is a dictionary from column to group."""
    return isinstance(value, dict) and all(
        isinstance(word, str) for words in value.items() for word in words
    )
