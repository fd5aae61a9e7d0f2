"""sort_folder: from a folder of photographs to a table of people, and on where it was stopped."""

from __future__ import annotations

from pathlib import Path

from siamese.errors import ConfigError, DataError
from siamese.evaluation.sorted_files import write_table
from siamese.evaluation.sorting import Sorting, check_settings, photographs_in, sorted_photographs
from siamese.inference.list_journal import ListJournal
from siamese.inference.verifier import Verifier


def sort_folder(
    folder: str | Path,
    verifier: Verifier,
    out: str | Path,
    *,
    threshold: float | None = None,
    linkage: str = "average",
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Sorting:
    """Sort the photographs of a folder by person, and write the table of their faces.

    The table appears whole at the end. Until then the work lies in ``OUT.parts``: where it is
    stopped, in whatever way, the same call goes on, and the table becomes the same, byte for byte.
    Work is used again for another threshold, or with more photographs.

    Args:
        folder: searched with all its folders.
        verifier: finds faces, embeds them, and measures distances.
        out: the table, CSV; ``docs/sorting.md`` describes its columns.
        threshold, linkage, jobs: see :func:`siamese.sort_photographs`.
        overwrite: whether ``out`` may be replaced.
        progress: show a progress bar.

    Raises:
        DataError: no such folder, no photographs in it, no face on any of them, or ``out`` cannot
            be written.
        ConfigError: ``out`` exists already, or is being made by another program; ``OUT.parts``
            cannot be written; settings that are not possible.
        CacheError: a process that looked for faces was killed; the same call goes on.
        CalibrationError: ``threshold`` is no number; see :func:`siamese.cluster_embeddings`.
    """
    out = Path(out).expanduser()
    check_table(out, overwrite)
    threshold = check_settings(threshold, linkage, jobs)
    files = photographs_in(folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror or error}); choose another place"
        ) from error
    # Of a list of pairs one face of each photograph is kept.
    with ListJournal(out, verifier.settings | {"every_face": True}) as journal:
        check_table(out, overwrite)  # another program may have written it since
        sorting = sorted_photographs(
            files, verifier, threshold, linkage, journal=journal, jobs=jobs, progress=progress
        )
        write_table(sorting, out, folder)
        journal.remove()
    return sorting


def check_table(out: Path, overwrite: bool) -> None:
    """Refuse a place for a table where another one would be lost.

    Raises:
        ConfigError: there is something, and it may not be replaced, or is a folder.
    """
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; give the name of a CSV file")
    if out.exists() and not overwrite:
        raise ConfigError(
            f"--out {out} is there already, perhaps with corrections; give another name, or "
            f"replace it (overwrite=True; on the command line --overwrite)"
        )
