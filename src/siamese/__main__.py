"""`python -m siamese`: the command `siamese`."""

import sys

from siamese.cli.main import command

if __name__ == "__main__":
    sys.exit(command())
