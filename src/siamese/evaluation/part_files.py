"""The parts of a file of embeddings: each a file of its own until the whole is written."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from siamese.errors import DataError, first_line
from siamese.storage import write_whole

# Why an image that can be read has no embedding; all other reasons are those of bad images.
NO_FACE, SEVERAL_FACES = "no face", "several faces"

# The name of a part, and what it is called until it is complete.
_OWN = re.compile(r"(\d{9}-[0-9a-f]{24}\.npz|\.\d{9}-[0-9a-f]{24}\.npz\..*\.tmp)")


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


def remove_parts(folder: Path) -> None:
    """Remove the files that were made here, those of earlier settings, too; nothing else."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if _OWN.fullmatch(file.name):
                file.unlink(missing_ok=True)
        folder.rmdir()
