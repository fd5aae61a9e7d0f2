"""What the command says of warnings, and of errors that are none of ours."""

from __future__ import annotations

import errno
import sysconfig
import traceback
from pathlib import Path

from siamese.errors import LINES, printable

_OWN = __name__.partition(".")[0]
_HOMELESS = "home directory"  # what pathlib says of a user's folder that it cannot tell
_REMEDIES = {
    errno.EMFILE: "allow more (ulimit -n 4096), or use fewer processes (data.workers=0)",
    errno.ENFILE: "end other programs, or let the system have more (fs.file-max)",
    errno.ENOSPC: "the disk is full: free some space, or write to another one",
    errno.EDQUOT: "your share of the disk is used up: free some space, or write to another one",
}


def explain(error: Exception) -> tuple[str, bool]:
    """What to say of an error that is none of ours, and whether that says all there is to know."""
    if isinstance(error, OSError):
        what = f"{error.filename or 'system'}: {error.strerror or error}"
        remedy = _REMEDIES.get(error.errno or 0, "check the path, permissions and space")
        return f"{what}; {remedy}", True
    if isinstance(error, ModuleNotFoundError) and (name := _package(error)) not in (None, _OWN):
        return (
            f"this needs the package {name}, which is not installed: pip install "
            f"siamese-lightning installs all that siamese needs"
        ), True
    if isinstance(error, RuntimeError) and _HOMELESS in str(error):
        return (
            "a path begins with ~, and the folder of the user who is meant is not known; write the "
            "whole path, or ./~ where a file is called so"
        ), True
    # Never exit code 1 by accident: for `verify` that means "different people".
    what = f"unexpected {type(error).__name__} (above)"
    if (place := _own_code(error)) is not None:
        return f"{what} in {place}, which is no part of siamese", False
    return f"{what}: this is a bug in siamese, please report it", False


def _package(error: ModuleNotFoundError) -> str | None:
    """What is not installed, where it is this package itself that asks for it."""
    if _own_code(error) is not None or not error.name:
        return None
    return error.name.partition(".")[0]


def as_note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning as a user reads it: without the place in the code."""
    return f"note: {printable(str(message), LINES)}\n"


def _own_code(error: BaseException) -> str | None:
    """File and line of the user's own code that an error came through; None where there is none.

    Own code is what lies neither in this package nor among installed packages.
    """
    package = Path(__file__).resolve().parents[1]
    places = sysconfig.get_paths()
    installed = [Path(places[name]).resolve() for name in ("stdlib", "purelib", "platlib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(package):
            return None
        if path.is_file() and not any(path.is_relative_to(place) for place in installed):
            return f"{frame.filename}, line {frame.lineno}"
    return None
