"""`siamese sign BUNDLE --key KEY`: say whose bundle it is; `siamese sign --new-key KEY` before."""

from __future__ import annotations

import argparse

from siamese.errors import ConfigError

HELP = "sign a bundle, so that others can trust that it is yours"
DESCRIPTION = (
    "Sign a bundle with a private key (Ed25519): signature.json is written beside its files. "
    "Whoever has the public key can then ask for the signature: siamese verify --trusted FILE, or, "
    "for every command, the environment variable SIAMESE_TRUSTED_KEYS, which names a file of "
    "public keys, one in a line. Extra: sign."
)
EPILOG = "Calibrating or saving a bundle again makes another one, which is not signed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="a bundle, or the folder of a run"
    )
    parser.add_argument("--key", metavar="KEY", help="file of the private key to sign with")
    parser.add_argument(
        "--new-key",
        metavar="KEY",
        help="write a new private key there, which nobody else may read, and print its public key",
    )


def run(args: argparse.Namespace) -> int:
    """Sign, or make a key; prints the public key."""
    from siamese.inference.signature import new_key, sign

    if args.new_key is not None:
        if args.bundle is not None or args.key is not None:
            raise ConfigError("--new-key stands alone: make a key first, then sign with --key")
        print(new_key(args.new_key))
        return 0
    if args.bundle is None or args.key is None:
        raise ConfigError(
            "give a bundle and --key KEY, the file of a private key (siamese sign --new-key KEY "
            "makes one)"
        )
    print(f"signed by {sign(args.bundle, args.key)}")
    return 0
