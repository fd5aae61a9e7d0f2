"""ListJournal: what a list of photographs has cost already, kept until its result is written.

A line for each photograph: its size and time of change, and its embeddings or why it has none. An
embedding depends on network, cropper and settings alone, which the first line names, and not on
threshold or list: where only these are others, it is used. Nothing in it is executed.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from siamese.errors import ConfigError, first_line
from siamese.faces.align import Box
from siamese.faces.quality import Quality
from siamese.inference.photograph import KeptFace, Photograph
from siamese.reading import open_regular
from siamese.storage import flush_to_disk

VERSION = 2  # 1 had one face for each photograph
_LOCK, _LINES = "lock", "photographs.jsonl"
_LONGEST = 1 << 24  # bytes of a line: a face has 1,000 or so, and a crowd hundreds of them


class Stamp(NamedTuple):
    """What tells that a file is the one that was seen: bytes, and time of change in nanoseconds."""

    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """That of a file; None where there is none."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return cls(found.st_size, found.st_mtime_ns)


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    settings: dict[str, Any]


class _Face(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    box: tuple[float, float, float, float] | None
    quality: dict[str, Any] | None
    embedding: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    file: str
    size: int
    changed: int
    faces: int | None
    kept: list[_Face]
    error: str | None
    reason: str | None
    refused: str | None


class ListJournal:
    """The folder ``OUT.parts`` beside a file that is being made; one program works in it.

    Args:
        out: the file, such as one of verdicts.
        settings: all that embeddings and refusals depend on, plain JSON values.

    Attributes:
        kept: file -> (stamp, photograph), from a run that was stopped.
        note: why an earlier run's work was removed; None where it is used, or there was none.

    Raises:
        ConfigError: another program makes the same file, or the folder cannot be written.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self._out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self.kept: dict[str, tuple[Stamp, Photograph]] = {}
        self.note: str | None = None
        self._lock = FileLock(self.folder / _LOCK, timeout=0)
        # Through JSON, as it will be read again.
        self._settings = msgspec.json.decode(msgspec.json.encode(dict(settings)))
        self._stream: BinaryIO | None = None

    def __enter__(self) -> ListJournal:
        try:
            self._open()
        except BaseException:  # a file of another kind, too
            self.__exit__(None, None, None)
            raise
        return self

    def _open(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            with contextlib.suppress(NotImplementedError):  # a file system that knows no locks
                self._lock.acquire()
            end = self._read()
            descriptor = os.open(self.folder / _LINES, os.O_WRONLY | os.O_CREAT, 0o600)
            self._stream = os.fdopen(descriptor, "wb")
            self._stream.truncate(end)
            self._stream.seek(end)
            if end == 0:
                self._write(_Header(VERSION, self._settings))
        except Timeout:
            raise ConfigError(
                f"{self.folder}: another program makes the same file: wait until it has ended, or "
                f"give another name (--out)"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{self.folder}: cannot be written ({error.strerror or error}); free some space or "
                f"choose another place (--out)"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            # Every line was flushed; one that could not be was told already (a full disk).
            with contextlib.suppress(OSError):
                self._stream.close()
        self._lock.release()

    def keep(self, file: str, stamp: Stamp, found: Photograph) -> None:
        """Write what was found on a photograph; after a kill it is there.

        Raises:
            ConfigError: the disk is full.
        """
        try:
            self._write(
                _Line(
                    # JSON has no names that are not UTF-8: their bytes, a character for each.
                    file.encode("utf-8", "surrogateescape").decode("latin-1"),
                    *stamp,
                    found.faces,
                    [_face(one) for one in found.kept],
                    found.error,
                    found.reason,
                    found.refused,
                )
            )
        except OSError as error:
            raise ConfigError(
                f"{self.folder}: cannot be written ({first_line(error)}); free some space and run "
                f"it again: it goes on"
            ) from error

    def remove(self) -> None:
        """Remove it, since the file is written; what others put into its folder stays."""
        with contextlib.suppress(OSError):
            flush_to_disk(self._out)  # before what it was made of is gone
            flush_to_disk(self._out.parent)
        for name in (_LINES, _LOCK):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _write(self, line: msgspec.Struct) -> None:
        assert self._stream is not None
        self._stream.write(msgspec.json.encode(line) + b"\n")
        self._stream.flush()

    def _read(self) -> int:
        """Read what an earlier run wrote; how many bytes of it are whole, and of these settings."""
        try:
            stream = open_regular(self.folder / _LINES)
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise ConfigError(f"{self.folder}: {error}; remove it") from error
        with stream:
            header = _decoded(stream.readline(_LONGEST), _Header)
            if header is None or header != _Header(VERSION, self._settings):
                self.note = (
                    f"{self.folder.name} is of another network, or of other settings than these: "
                    f"its work was removed, and begins anew"
                )
                return 0
            end, size = stream.tell(), 0
            while (line := _decoded(stream.readline(_LONGEST), _Line)) is not None:
                file, found = _named(line), _photograph(line)
                if file is None or found is None:
                    break
                sizes = {len(one.embedding) for one in found.kept if one.embedding is not None}
                if len(sizes | ({size} - {0})) > 1:
                    break
                size = max(sizes, default=size)
                self.kept[file] = (Stamp(line.size, line.changed), found)
                end = stream.tell()
        return end


def _decoded(line: bytes, kind: type[Any]) -> Any:
    """A whole line; None for one that a kill cut short, or that is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _named(line: _Line) -> str | None:
    """The file of a line; None where it is none of ours."""
    try:
        return line.file.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeError:
        return None


def _face(found: KeptFace) -> _Face:
    """A face as it stands in a line."""
    box = found.box and tuple(map(float, found.box))
    quality = None if found.quality is None else found.quality.to_dict()
    assert found.embedding is not None
    embedding = base64.b64encode(found.embedding.tobytes()).decode()
    return _Face(found.number, box, quality, embedding)  # type: ignore[arg-type]


def _kept(face: _Face) -> KeptFace:
    """The face of a line; a ValueError where it is none of ours."""
    quality = None if face.quality is None else msgspec.convert(face.quality, Quality)
    content = base64.b64decode(face.embedding, validate=True)
    if not content:
        raise ValueError("no embedding")
    row = np.frombuffer(content, dtype=np.float32)
    return KeptFace(face.number, None if face.box is None else Box(*face.box), quality, row)


def _photograph(line: _Line) -> Photograph | None:
    """What a line says of a photograph; None where it is none of ours."""
    try:
        kept = tuple(_kept(face) for face in line.kept)
    except (msgspec.MsgspecError, ValueError):
        return None
    if bool(kept) == (line.error is not None):
        return None
    return Photograph(line.faces, kept, line.error, line.reason, line.refused)
