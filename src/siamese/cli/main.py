"""Entry point of the command `siamese`: picks the sub-command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from siamese.verification.thresholds import calibrate
from siamese.cli import demo
from siamese.datasets.download import download
from siamese.verification.figures import evaluate
from siamese.training.run import train
from siamese.cli import verify
from siamese.errors import SiameseError
from siamese.errors import did_you_mean

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "calibrate": calibrate,
    "verify": verify,
    "demo": demo,
    "download": download,
}
_SETTING = re.compile(r"[a-z_]+=")
# Commands that take name=value, as `siamese train` does, for --name value.
SETTINGS = ("evaluate", "calibrate", "verify")


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest right option when one is misspelt."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def spelt_out(self, argv: Sequence[str]) -> list[str]:
        """``name=value`` as ``--name=value`` where there is such an option, and no file of that whole name; not what an option takes."""
        known = {option for action in self._actions for option in action.option_strings if action.nargs != 0}
        words: list[str] = []
        for word in argv:
            if "--" in words or (words and words[-1] in known):
                words.append(word)
                continue
            name = "--" + word.partition("=")[0].replace("_", "-")
            if "=" in word and name not in known and _SETTING.match(word) and not os.path.lexists(word):
                self.error(f"unknown setting {name[2:]}{did_you_mean(name[2:], [option[2:] for option in known])}")
            words.append(
                f"{name}={word.partition('=')[2]}" if "=" in word and name in known and not os.path.lexists(word) else word
            )
        return words

    def check_options(self, argv: Sequence[str]) -> None:
        """Refuse unknown options before argparse complains of what is missing because of them."""
        known = [option for action in self._actions for option in action.option_strings]
        for word in argv:
            if word == "--":
                return
            option = word.split("=")[0]
            if len(word) > 1 and word.startswith("-") and option not in known and not _is_number(word):
                self.error(f"unknown option {option}{did_you_mean(option, known)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done (for verify: same person), 1 different person, 2 error."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="siamese", description="Decide whether two pictures show the same person.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    parsers = {name: module.add_parser(commands) for name, module in COMMANDS.items()}
    if argv and argv[0] == "--version":
        import siamese

        print(siamese.__version__)
        return 0
    if not argv:
        parser.print_help()
        return 2
    name = argv[0]
    if not name.startswith("-") and name not in COMMANDS:
        parser.error(f"unknown command {name!r}{did_you_mean(name, COMMANDS)}")
    warnings.formatwarning = _as_note
    try:
        if name == "train":  # all but --help is Hydra's to read
            return train.run(argv[1:], parsers["train"])
        if name in SETTINGS:
            argv[1:] = parsers[name].spelt_out(argv[1:])
        if name in parsers:
            parsers[name].check_options(argv[1:])
        else:
            parser.check_options(argv[:1])
        args = parser.parse_args(argv)
        code = int(COMMANDS[name].run(args))
        sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
        return code
    except SiameseError as error:
        return _fail(name, str(error), as_json="--json" in argv)
    except KeyboardInterrupt:
        print(f"siamese {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        return _fail(
            name,
            f"{error.filename or 'system'}: {error.strerror or error}; check the path, permissions and space",
            "--json" in argv,
        )
    except Exception as error:
        # Never exit code 1 by accident: for `verify` that means "different people".
        traceback.print_exc()
        return _fail(
            name, f"unexpected {type(error).__name__} (above): this is a bug in siamese, please report it", "--json" in argv
        )


def command() -> int:
    """:func:`main` as a process of its own, which for a verdict lives about a second, most of it the import of torch.

    Much of that second would go into looking for garbage among objects that all stay, and into freeing them one by one at the end.
    """
    if sys.argv[1:2] != ["verify"]:
        return main()
    gc.disable()
    try:
        return main()
    finally:
        gc.freeze()


def _as_note(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as a user reads it: without the place in the code."""
    return f"note: {message}\n"


def _fail(command: str, message: str, as_json: bool) -> int:
    if as_json:
        import json

        print(json.dumps({"error": message}))
    print(f"siamese {command}: error: {message}", file=sys.stderr)
    return 2


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(command())
