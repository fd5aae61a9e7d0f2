"""The parts of a file of embeddings: each a file of its own until the whole is written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from siamese.errors import NO_FACE, SEVERAL_FACES, ConfigError, DataError, first_line
from siamese.evaluation.embedding_files import labels_file
from siamese.storage import write_whole

# The name of a part, and what it is called until it is complete.
_OWN = re.compile(r"(\d{9}-[0-9a-f]{24}\.npz|\.(\d{9}-[0-9a-f]{24}\.npz|joining)\..*\.tmp)")
_LOCK, _JOINING = "lock", "joining"


class Part(NamedTuple):
    """Neighbouring images of the table, and the file of their embeddings."""

    file: Path
    rows: range


class StoredPart(NamedTuple):
    """What the file of a part holds.

    Attributes:
        embeddings: (n, D) float32.
        rows: (n,) int64 the rows of the table that they are of.
        left_out: row of the table -> why there is no embedding.
    """

    embeddings: np.ndarray
    rows: np.ndarray
    left_out: Mapping[int, str]

    @property
    def has_bad_images(self) -> bool:
        """Whether images are left out that cannot be read."""
        # All other reasons than these are of images that cannot be read.
        return not {NO_FACE, SEVERAL_FACES}.issuperset(self.left_out.values())


def write_part(part: Part, stored: StoredPart) -> None:
    """Write the file of a part, whole or not at all."""
    content = io.BytesIO()
    reasons = np.frombuffer(json.dumps(stored.left_out).encode(), dtype=np.uint8)
    np.savez(content, embeddings=stored.embeddings, rows=stored.rows, left_out=reasons)
    write_whole(part.file, content.getvalue())


def read_part(part: Part) -> StoredPart | None:
    """What the file of a part holds; None where there is none, or it is not what was written.

    Its checksums are those of a zip file. Nothing is removed: a part that is made anew takes the
    place of a damaged one.

    Raises:
        DataError: the file cannot be read just now.
    """
    try:
        content = part.file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"{part.file}: a part of an earlier run cannot be read ({first_line(error)}); run "
            f"again, or remove its folder to begin anew"
        ) from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            embeddings, rows = stored["embeddings"], stored["rows"]
            given = json.loads(stored["left_out"].tobytes())
        reasons = {int(row): str(reason) for row, reason in given.items()}
        images = sorted([*rows.tolist(), *reasons])
    except Exception:  # a power failure can leave anything
        return None
    whole = images == list(part.rows) and embeddings.ndim == 2 and len(embeddings) == len(rows)
    return StoredPart(embeddings, rows, reasons) if whole else None


class PartsFolder:
    """The folder of all parts, beside the file that is made of them; one program works in it.

    Args:
        out: the file.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f"{out.name}.parts")
        names = "|".join(re.escape(name) for name in (out.name, labels_file(out).name))
        self._unfinished = re.compile(rf"\.({names})\.\d+\.[0-9a-f]{{8}}\.tmp")
        self._lock = FileLock(self.path / _LOCK, timeout=0)

    def take(self) -> None:
        """Make the folder, and keep other programs from it until :meth:`release`, or this one ends.

        What one that was killed had written of the whole is removed.

        Raises:
            ConfigError: another one works in it.
            OSError: as from making it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError(
                f"{self.path}: another siamese embed is making the same file: wait until it has "
                f"ended, or give another name (--out)"
            ) from None
        except NotImplementedError:  # a file system that knows no locks
            return
        for file in self.path.parent.iterdir():
            if self._unfinished.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def release(self) -> None:
        """Let others in; without effect in a process that has not taken it."""
        self._lock.release()

    def is_joining(self, parts: Sequence[Part] | None = None) -> bool:
        """Whether an earlier run was stopped while it joined parts, these very ones if given.

        What then lies where the file is to be is its own, or it was allowed to replace it.
        """
        try:
            found = (self.path / _JOINING).read_text()
        except (OSError, UnicodeDecodeError):
            return False
        return parts is None or found == _key(parts)

    @contextlib.contextmanager
    def joining(self, parts: Sequence[Part]) -> Iterator[None]:
        """Inside, the parts are joined; where that succeeds they are removed."""
        mark = self.path / _JOINING
        write_whole(mark, _key(parts).encode())
        try:
            yield
        except BaseException:
            mark.unlink(missing_ok=True)
            raise
        self._remove()

    def _remove(self) -> None:
        """Remove what was made here, parts of earlier settings, too; nothing else."""
        with contextlib.suppress(OSError):
            for file in self.path.iterdir():
                if _OWN.fullmatch(file.name):
                    file.unlink(missing_ok=True)
            for name in (_JOINING, _LOCK):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()


def _key(parts: Sequence[Part]) -> str:
    return hashlib.sha256("\n".join(part.file.name for part in parts).encode()).hexdigest()
