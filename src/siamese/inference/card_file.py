"""The card in a bundle's folder, README.md: held against the digest; people may edit it by hand.

No code reads what it says. Without a signature an edited card is loaded, with a note. Of a signed
bundle it is part of what was signed: ``siamese sign`` takes the card as it is then, and whoever
asks for keys is refused a bundle whose card is another one.
"""

from __future__ import annotations

from pathlib import Path

from siamese.errors import BundleError, first_line
from siamese.inference.sums import CARD, SUMS, is_own_card, with_card
from siamese.notices import warn_once
from siamese.reading import read_bytes
from siamese.storage import write_whole

_LARGEST = 1 << 20


def check_card(folder: Path, sums: bytes, signed: bool) -> None:
    """Hold a bundle's card against its digest.

    Args:
        folder: of the bundle.
        sums: the content of ``SHA256SUMS``.
        signed: whether the bundle must be as it was signed.

    Raises:
        BundleError: the card is not the one that was signed, or is no card at all.
    """
    card = _read(folder, signed)
    if is_own_card(card, sums):
        return
    if signed:
        raise BundleError(
            f"{folder}: its card ({CARD}) is not the one that was signed; ask whom you have it "
            f"from, or remove your changes"
        )
    what = "was removed" if card is None else "was edited, or added, after the bundle was made"
    warn_once(
        f"{folder}: its card ({CARD}) {what}; what it says is not vouched for (the bundle itself "
        f"is whole)",
        stacklevel=4,
    )


def sums_with_present_card(folder: Path, sums: bytes) -> bytes:
    """Bring the digest of a bundle up to date with its card as it is now; it is written.

    Args:
        folder: of the bundle.
        sums: the content of ``SHA256SUMS``, against which the other files were checked.

    Raises:
        BundleError: a card that cannot be read, or the digest cannot be written.
    """
    found = with_card(sums, _read(folder, True))
    if found != sums:
        try:
            write_whole(folder / SUMS, found)
        except OSError as error:
            raise BundleError(f"{folder}: cannot be signed ({first_line(error)})") from error
    return found


def _read(folder: Path, strict: bool) -> bytes | None:
    """The content of the card; None where there is none.

    One that cannot be read is an empty one where it is not asked for strictly.
    """
    try:
        return read_bytes(folder / CARD, _LARGEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if strict:
            raise BundleError(
                f"{folder}: its card ({CARD}) cannot be read ({first_line(error)}); remove it"
            ) from error
        return b""
