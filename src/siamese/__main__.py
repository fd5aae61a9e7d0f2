"""`python -m siamese`: the command `siamese`."""

import sys

from siamese.cli.main import command

sys.exit(command())
