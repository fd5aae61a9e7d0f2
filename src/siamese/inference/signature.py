"""Signatures: whose bundle it is (Ed25519, RFC 8032); extra ``sign``.

A private key lies in a PEM file (PKCS 8, as ``openssl genpkey -algorithm ed25519`` writes it). A
public key is 64 hexadecimal digits; a file of public keys has one in a line, and comments from
``#`` on. What is signed is ``SHA256SUMS``, the digest of the whole bundle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Union

import msgspec

from siamese.errors import BundleError, ConfigError, MissingDependencyError, first_line
from siamese.inference.card_file import sums_with_present_card
from siamese.inference.sums import SUMS
from siamese.reading import read_bytes, read_json, read_text
from siamese.storage import write_json

SIGNATURE = "signature.json"
VARIABLE = "SIAMESE_TRUSTED_KEYS"
# What a key signs stands for itself: no signature of something else can be taken for one.
_PURPOSE = b"siamese bundle, version 1\n"
_PUBLIC = re.compile("[0-9a-f]{64}")
_LARGEST, _LARGEST_KEYS = 4096, 1 << 20

Keys = Union[str, Path, Iterable[Union[str, Path]]]


class _Signature(msgspec.Struct, forbid_unknown_fields=True):
    """The content of ``signature.json``."""

    algorithm: str
    public_key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    signature: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]


def new_key(path: str | Path) -> str:
    """Make a pair of keys: the private one in ``path``, for its owner alone (mode 0600).

    Returns:
        the public key.

    Raises:
        ConfigError: something lies there already, or it cannot be written.
        MissingDependencyError: the extra ``sign`` is not installed.
    """
    ed25519, serialization = _library()
    path = Path(path).expanduser()
    key = ed25519.Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        # Never over another file: a lost key cannot be made again.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"{path}: exists already, and is left alone; give another name"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path}: no key can be written ({reason}); choose another place"
        ) from error
    return _public(key.public_key())


def sign(bundle: str | Path, key: str | Path) -> str:
    """Sign a bundle: write ``signature.json`` beside its files.

    The bundle is loaded first, so that nothing damaged is signed. Its card (``README.md``) is
    signed as it is now: people fill in its licence by hand.

    Args:
        bundle: its folder, or that of a run.
        key: file of the private key.

    Returns:
        the public key.

    Raises:
        BundleError: no bundle, a damaged one, one of an earlier version, or it cannot be written.
        ConfigError: no private key.
        MissingDependencyError: the extra ``sign`` is not installed.
    """
    from siamese.inference.bundle import Bundle, bundle_in

    private = _private(Path(key).expanduser())
    folder = Path(bundle).expanduser()
    folder = bundle_in(folder) or folder
    # Not read again: the files may have been replaced since they were checked.
    _, sums = Bundle._load_with_sums(folder, None)
    if sums is None:
        raise BundleError(
            f"{folder}: of an earlier version, which has no {SUMS} to be signed; write it again: "
            f"siamese.Bundle.load(folder).save(folder)"
        )
    sums = sums_with_present_card(folder, sums)
    content = {
        "algorithm": "ed25519",
        "public_key": _public(private.public_key()),
        "signature": private.sign(_PURPOSE + sums).hex(),
    }
    try:
        write_json(folder / SIGNATURE, content)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be signed ({first_line(error)})") from error
    return str(content["public_key"])


def wanted_keys(trusted: Keys | None) -> frozenset[str] | None:
    """The keys of which one must have signed a bundle; None where no signature is asked for.

    Args:
        trusted: keys, or files of them; None for none but those of the environment.

    Raises:
        ConfigError: no key, or a file that cannot be read or has none.
    """
    found = []
    if trusted is not None:
        given = (trusted,) if isinstance(trusted, (str, Path)) else tuple(trusted)
        if not given:  # were it no keys at all, a list that was lost would trust everybody
            raise ConfigError("trusted is empty: give a public key, or leave it out")
        found.append(frozenset(key for each in given for key in _keys(each)))
    if (file := os.environ.get(VARIABLE)) is not None:
        if not file:
            raise ConfigError(
                f"{VARIABLE} is empty: name a file of public keys, or unset it to trust every "
                f"bundle"
            )
        found.append(frozenset(_keys(Path(file))))
    if not found:
        return None
    both = found[0] if len(found) == 1 else found[0] & found[1]
    if not both:
        raise ConfigError(
            f"none of the trusted keys is among those of {VARIABLE}; give one that is"
        )
    return both


def check_signature(folder: Path, sums: bytes | None, trusted: frozenset[str]) -> None:
    """Check that one of the keys signed a bundle.

    Args:
        folder: of the bundle.
        sums: its digest, against which its files were checked; None where it has none.
        trusted: public keys.

    Raises:
        BundleError: it is not signed, by another key, or was altered afterwards.
        MissingDependencyError: the extra ``sign`` is not installed.
    """
    remedy = "ask whom you have it from, or take it as it is: without --trusted and " + VARIABLE
    try:
        stored = msgspec.convert(read_json(folder / SIGNATURE, _LARGEST), _Signature)
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder}: not signed, and only signed bundles are trusted; {remedy}"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{folder}: no valid signature ({first_line(error)}); {remedy}"
        ) from error
    if stored.algorithm != "ed25519" or sums is None:
        raise BundleError(f"{folder}: no valid signature; {remedy}")
    if stored.public_key not in trusted:
        raise BundleError(
            f"{folder}: signed by {stored.public_key}, which is none of the {len(trusted)} trusted "
            f"keys; {remedy}"
        )
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(stored.public_key))
        key.verify(bytes.fromhex(stored.signature), _PURPOSE + sums)
    except (InvalidSignature, ValueError) as error:
        raise BundleError(f"{folder}: altered after it was signed; {remedy}") from error


def _keys(source: str | Path) -> list[str]:
    """A public key as it is; the keys in a file."""
    if isinstance(source, str) and _PUBLIC.fullmatch(source.lower()):
        return [source.lower()]
    try:
        lines = read_text(Path(source).expanduser(), _LARGEST_KEYS).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(
            f"{str(source)!r:.200}: no file of public keys ({reason}); siamese sign --new-key "
            f"prints the public key, 64 hexadecimal digits: give it, or a file with one in a line"
        ) from error
    found = [key for line in lines if (key := line.split("#")[0].strip().lower())]
    if wrong := [key for key in found if not _PUBLIC.fullmatch(key)]:
        hint = " (a private key: never give it away)" if "PRIVATE" in lines[0] else ""
        raise ConfigError(
            f"{source}: {wrong[0]!r:.40} is no public key{hint}; write 64 hexadecimal digits in "
            f"each line"
        )
    if not found:
        raise ConfigError(
            f"{source}: it has no public key; write 64 hexadecimal digits in each line"
        )
    return found


def _private(path: Path) -> Any:
    ed25519, serialization = _library()
    try:
        key = serialization.load_pem_private_key(read_bytes(path, _LARGEST), None)
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(
            f"{str(path)!r:.200}: no private key ({reason:.100}); make one: siamese sign --new-key "
            f"KEY"
        ) from error
    except Exception as error:  # cryptography's own, of algorithms that it does not know
        raise ConfigError(
            f"{path}: no private key ({first_line(error):.100}); make one: siamese sign --new-key "
            f"KEY"
        ) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(
            f"{path}: a key of another kind; siamese sign --new-key KEY makes one of ed25519"
        )
    return key


def _public(key: Any) -> str:
    _, serialization = _library()
    raw: bytes = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw.hex()


def _library() -> tuple[Any, Any]:
    """``ed25519`` and ``serialization`` of cryptography."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError(
            "signatures need the package cryptography; run: pip install 'siamese-lightning[sign]'"
        ) from error
    return ed25519, serialization
