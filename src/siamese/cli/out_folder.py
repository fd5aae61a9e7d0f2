"""The folder of `siamese evaluate --out`: whether it may be used; made before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese.cli import options
from siamese.errors import ConfigError


@contextmanager
def opened(out: str | None, run: str, overwrite: bool) -> Iterator[None]:
    """Make the folder, so that it is known at once whether that is possible.

    Where the work fails, no folder that was made here is left empty. What lies in it stays until
    there is something to put in its place.

    Args:
        out: the folder; None for none.
        run: what is evaluated.
        overwrite: whether an earlier evaluation may be replaced.

    Raises:
        ConfigError: it is what is read, a finished run, or an evaluation that may not be replaced.
        OSError: it cannot be made.
    """
    from siamese.evaluation.artifacts import check_room
    from siamese.processes import all_processes

    if not out or not all_processes().first:  # of several processes, the first one writes
        yield
        return
    folder = Path(out)
    _check(out, run)
    check_room(folder, overwrite, bundle=True)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in made:  # the innermost first
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def _check(out: str, run: str) -> None:
    """Keep runs and their bundles from being taken for an earlier evaluation."""
    from siamese.inference.bundle import DESCRIPTION, bundle_in

    options.check_out(out, run)
    folder = Path(out)
    source = Path(run).expanduser()
    read = {place.resolve() for place in (source, bundle_in(source)) if place is not None}
    if (folder / "bundle").resolve() in read:
        raise ConfigError(f"--out {out} holds the bundle that is read; give another folder")
    if (folder / "bundle").is_symlink():
        raise ConfigError(f"--out {out}: its bundle is a link; give another folder")
    if (folder / "bundle" / DESCRIPTION).is_file() and (folder / "split.json").is_file():
        raise ConfigError(f"--out {out} is the folder of a finished run; give another folder")
