"""dlib's HOG detector, read from a file of the cache: making it takes 0.4 s, reading it 1 ms.

dlib unpacks it from text in its own code each time it is made, which is half of what a verdict
takes where torch is not needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from siamese.faces.cache_folder import default_cache
from siamese.reading import read_bytes

# Of the file that dlib 20 saves of its detector: nothing else is read. Of another dlib's nothing is
# kept.
SHA256 = "f3f7aa833fb4a14a46fc48689f45b98d85ef72d6dfaf8bdc012b7d3c522a5426"
_SIZE = 155_005
NAME = "hog.svm"


def kept_detector(dlib: Any) -> Any:
    """``dlib.get_frontal_face_detector()``, kept in the folder ``detectors`` of the cache.

    It finds the same faces with the same scores. A file that is damaged or altered is made again,
    and one that cannot be written costs time only.

    Args:
        dlib: the module.
    """
    try:
        path = default_cache() / "detectors" / NAME
    except ImportError:  # platformdirs, in an environment with little in it
        return dlib.get_frontal_face_detector()
    with contextlib.suppress(OSError, ValueError, RuntimeError, TypeError):
        if _is_dlibs(path):
            return dlib.fhog_object_detector(str(path))
    made = dlib.get_frontal_face_detector()
    # TypeError: dlib takes no path that is not UTF-8.
    with contextlib.suppress(OSError, RuntimeError, TypeError):
        _keep(made, path)
    return made


def _is_dlibs(path: Path) -> bool:
    return hashlib.sha256(read_bytes(path, _SIZE)).hexdigest() == SHA256


def _keep(detector: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{NAME}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        detector.save(str(temporary))
        with contextlib.suppress(ValueError):
            if _is_dlibs(temporary):
                os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
