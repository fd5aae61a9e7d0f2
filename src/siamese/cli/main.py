"""Entry point of `siamese`: picks the sub-command, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from siamese.cli import (
    app,
    audit,
    cache,
    calibrate,
    cluster,
    compare,
    demo,
    download,
    embed,
    enrol,
    evaluate,
    export,
    report,
    search,
    several,
    sign,
    train,
    verify,
)
from siamese.cli.unexpected import as_note, explain
from siamese.errors import LINES, SiameseError, did_you_mean, printable
from siamese.launched import by_torchrun

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
    "calibrate": calibrate,
    "verify": verify,
    "enrol": enrol,
    "search": search,
    "cluster": cluster,
    "app": app,
    "audit": audit,
    "sign": sign,
    "cache": cache,
    "demo": demo,
    "download": download,
    "embed": embed,
    "export": export,
}
# What earlier versions called options.
_RENAMED = {"--protocol": "--benchmark", "--copies": "--tta"}
_SETTING = re.compile(r"([a-z_]+)=(.*)")


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest right option when one is misspelt."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {printable(message)}; see {self.prog} --help\n")

    def check_words(self, argv: Sequence[str]) -> None:
        """Refuse unknown options and settings before argparse says what is missing because of them.

        ``name=value`` is the grammar of `siamese train` alone; here it is an option's, misspelt.
        """
        known = [option for action in self._actions for option in action.option_strings]
        before = ""
        for word in argv:
            if word == "--":
                return
            option = word.split("=")[0]
            if len(word) > 1 and word.startswith("-"):
                if option in _RENAMED and _RENAMED[option] in known:
                    self.error(f"{option} is now called {_RENAMED[option]}")
                if option not in known and not _is_number(word):
                    self.error(f"unknown option {option}{did_you_mean(option, known)}")
            elif before not in known and (setting := _SETTING.fullmatch(word)):
                self._check_setting(setting, known)
            before = word

    def _check_setting(self, setting: re.Match[str], known: Iterable[str]) -> None:
        """Refuse ``name=value``, unless it is the name of a file."""
        if os.path.lexists(setting[0]):
            return
        name, value = setting.groups()
        option = "--" + name.replace("_", "-")
        if option in known:
            self.error(f"write {option} {value}: name=value is for siamese train alone")
        self.error(f"unknown option {option}{did_you_mean(option, known)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        the exit code: 0 done (for verify: same person), 1 different person, 2 error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv[0] if argv else ""
    try:
        parser, own = _parsers(name)
    except ImportError as error:  # options are listed by what needs a package that is missing
        return _fail(name, explain(error)[0], "--json" in argv)
    if name == "--version":
        import siamese

        print(siamese.__version__)
        return 0
    if not argv:
        parser.print_help()
        return 2
    if not name.startswith("-") and name not in COMMANDS:
        parser.error(f"unknown command {name!r}{did_you_mean(name, COMMANDS)}")
    warnings.formatwarning = as_note
    try:
        with several.one_speaker(name):
            code = _run(name, argv, parser, own)
            sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
        return code
    except SiameseError as error:
        return _fail(name, str(error), as_json="--json" in argv)
    except KeyboardInterrupt as stop:
        # That of a training says which signal it was and how to go on.
        print(f"siamese {name}: {printable(str(stop), LINES) or 'interrupted'}", file=sys.stderr)
        return 128 + int(getattr(stop, "signal", signal.SIGINT))
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except Exception as error:
        message, expected = explain(error)
        if not expected:
            traceback.print_exc()
        return _fail(name, message, "--json" in argv)


def command() -> int:
    """:func:`main` as a process of its own, which for a verdict lives about a second.

    Most of it is the import of torch. Much of that second would go into looking for garbage among
    objects that all stay, and into freeing them one by one at the end.
    """
    if by_torchrun():
        code = main()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads of torch.distributed may outlive the interpreter, and abort
    if sys.argv[1:2] != ["verify"]:
        return main()
    gc.disable()
    try:
        return main()
    finally:
        gc.freeze()


def _parsers(name: str) -> tuple[Parser, Parser | None]:
    """The parser of all, and that of the command; only the latter gets its arguments."""
    parser = Parser(prog="siamese", description="Decide whether two images show the same person.")
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    own = None
    for each, module in COMMANDS.items():
        settings = {"help": module.HELP, "description": module.DESCRIPTION}
        if epilog := getattr(module, "EPILOG", None):
            settings["epilog"] = epilog
        made = commands.add_parser(each, **settings)
        if each == name:
            module.add_arguments(made)
            own = made
    return parser, own


def _run(name: str, argv: list[str], parser: Parser, own: Parser | None) -> int:
    """Parse the words and run the command."""
    if own is None:
        parser.check_words(argv[:1])
        parser.parse_args(argv)
        return 0
    if name == "train":  # all but --help is Hydra's to read
        if any(word in ("-h", "--help") for word in argv):
            train.print_help(own)
            return 0
        return train.run_words(argv[1:])
    own.check_words(argv[1:])
    run = COMMANDS[name].run
    args, more = parser.parse_known_args(argv)
    if more:
        own.error(f"{len(more)} words more than it takes, first {more[0]!r}")
    return int(run(args))


def _fail(command: str, message: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": message}))
    print(f"siamese {command}: error: {printable(message, LINES)}", file=sys.stderr)
    return 2


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(command())
