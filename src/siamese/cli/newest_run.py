"""`siamese train resume=auto`: which run that is, and where a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from siamese.errors import ConfigError

AUTO = "auto"
RUNS = Path("runs")
_DIR = "hydra.run.dir="


def with_run(argv: Sequence[str]) -> list[str]:
    """With ``resume=auto`` replaced by a run, and an unfinished run's own folder to go on in.

    ``resume=auto`` is the run in the folder that the command names (``hydra.run.dir``), or else the
    newest unfinished one below ``runs/``; where there is none, a run begins. So one command, given
    again and again, comes to the end of one run.

    Raises:
        ConfigError: ``resume=auto`` of a sweep.
    """
    named = [word for word in argv if word.startswith("resume=")]
    if not named:
        return list(argv)
    value, given = unquoted(named[-1].partition("=")[2]), [w for w in argv if w.startswith(_DIR)]
    several = any(word in ("-m", "--multirun") for word in argv)
    if value != AUTO:
        here = not given and not several and _unfinished(Path(value).expanduser())
        return [*argv, f'{_DIR}"{value}"'] if here else list(argv)
    if several:
        raise ConfigError(
            "resume=auto goes on with one run, not with a sweep: leave out one of the two"
        )
    rest = [word for word in argv if not word.startswith("resume=")]
    if given:
        folder = Path(unquoted(given[-1].removeprefix(_DIR))).expanduser()
        found = folder if (folder / "checkpoints" / "last.ckpt").is_file() else None
    else:
        found = newest(RUNS)
        rest += [f'{_DIR}"{found}"'] if found else []
    if found is None:
        where = given[-1].removeprefix(_DIR) if given else f"{RUNS}/"
        print(f"resume=auto: no unfinished run in {where}; begins a new one")
        return rest
    if _unfinished(found):
        print(f"resume=auto: goes on with {found}")
    return [*rest, f'resume="{found}"']


def unquoted(value: str) -> str:
    """A value of Hydra's without the marks of quotation around it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def newest(runs: Path) -> Path | None:
    """The unfinished run whose last checkpoint is the newest; of single runs, not of sweeps."""
    found = [
        path.parents[1]
        for depth in ("*", "*/*")
        for path in runs.glob(f"{depth}/checkpoints/last.ckpt")
        if _unfinished(path.parents[1]) and not path.parents[1].is_symlink()
    ]
    return max(found, key=_written, default=None)


def _written(run: Path) -> float:
    return (run / "checkpoints" / "last.ckpt").stat().st_mtime


def _unfinished(run: Path) -> bool:
    from siamese.training.folder import unfinished

    return run.is_dir() and unfinished(run)
