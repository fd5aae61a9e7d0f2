"""Every error that a user can meet; each message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

LINES = "\n\t"  # what a message of several lines is laid out with


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its kind where it says nothing.

    It may repeat what stands in a file: it is cut after 500 characters, and steers no terminal.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    kept = line if len(line) <= 500 else f"{line[:500]}..."
    return printable(kept)


def printable(text: str, keep: str = "") -> str:
    r"""A text that steers no terminal: what shows nothing is escaped, as ``\x1b``.

    Args:
        text: may hold names out of a file or of files.
        keep: characters that stay, such as the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in keep or unicodedata.category(c) == "Zs"  # all kinds of spaces
        else c.encode("unicode_escape").decode()
        for c in text
    )


class SiameseError(Exception):
    """Base class of all errors raised on purpose.

    The command line prints its message and exits with 2.
    """


class DataError(SiameseError):
    """A data set is missing, empty, or not laid out as expected."""


class _OfImage(SiameseError):
    """What is wrong with an image, in parts; the message is all of them."""

    def __init__(self, path: object, reason: str, remedy: str) -> None:
        self.path, self.reason, self.remedy = str(path), reason, remedy
        super().__init__(f"{path}: {self.without_path}" if self.path else self.without_path)

    @property
    def without_path(self) -> str:
        """The message for who knows which image is meant: the reason and the remedy."""
        return f"{self.reason}; {self.remedy}"

    def __reduce__(self) -> tuple[type[_OfImage], tuple[str, ...]]:
        # Errors are passed between processes while cropping; the default would rebuild them from
        # the finished message and fail.
        return (type(self), (self.path, self.reason, self.remedy))


class ImageError(_OfImage):
    """One image cannot be read.

    Attributes:
        path: of the image, or what it is called.
        reason: the cause alone, without the path or the remedy.
        remedy: what to do.
    """

    def __init__(
        self, path: object, reason: str, remedy: str = "replace or remove the file"
    ) -> None:
        super().__init__(path, reason, remedy)


# What images are refused for, as it is counted.
NO_FACE, SEVERAL_FACES, POOR_FACE = "no face", "several faces", "low quality"
OF_SEVERAL = "several images"  # of which each has a reason of its own


class FaceError(_OfImage):
    """An image is refused: no face was found on it, or several, or one of low quality.

    Attributes:
        path: of the image, or what it is called; of several the first, or "".
        reason: the cause alone, without the path or the remedy.
        remedy: what to do.
        kind: ``"no face"``, ``"several faces"`` or ``"low quality"``: the reason as it is counted;
            ``"several images"`` where each has a reason of its own.
    """

    def __init__(
        self,
        path: object,
        reason: str,
        remedy: str = "give an image with a face turned to the camera",
        kind: str = NO_FACE,
    ) -> None:
        super().__init__(path, reason, remedy)
        self.kind = kind

    def __reduce__(self) -> tuple[type[FaceError], tuple[str, ...]]:
        return (type(self), (self.path, self.reason, self.remedy, self.kind))


class CacheError(SiameseError):
    """The crop cache cannot be written or holds a damaged file."""


class LoaderError(SiameseError):
    """A process that loads batches was killed, or the system gives no more of what it needs."""


class ProcessError(SiameseError):
    """Another process that works on the same thing has ended, or several cannot work on it."""


class SplitError(SiameseError):
    """A split cannot be made, or a saved one no longer holds."""


class CalibrationError(SiameseError):
    """A threshold cannot be chosen from, or applied to, these distances."""


class BundleError(SiameseError):
    """A bundle is missing, incomplete, damaged, or written by a newer version."""


class GalleryError(SiameseError):
    """A gallery is missing, damaged, of another network, or being written by another process."""


class CheckpointError(SiameseError):
    """A checkpoint cannot be written, or one that is read is damaged or none."""


class WeightsError(SiameseError):
    """A file of weights is missing, damaged, or of another network."""


class ConfigError(SiameseError):
    """A name or setting is not known, or its value is out of range."""


class NothingLeftError(ConfigError):
    """The run to go on with is finished."""


class UnknownNameError(ConfigError):
    """No class is registered under a name."""


class MissingDependencyError(SiameseError):
    """An optional package is needed and not installed."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the option nearest to ``word``.

    Where none is near, return the list of options.

    >>> did_you_mean("dlib_hgo", ["dlib_hog", "fixed_box", "none"])
    " (did you mean 'dlib_hog'?)"
    >>> did_you_mean("zzz", ["none", "dlib_hog"])
    ' (choose one of: dlib_hog, none)'
    """
    options = sorted(set(options))
    lower = {option.lower(): option for option in reversed(options)}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {lower[near[0]]!r}?)"
    # They may be out of a file: one line, and no longer than can be read.
    listed = ", ".join(option if option.isprintable() else repr(option) for option in options)
    return f" (choose one of: {listed:.1000})" if options else ""
