"""Passes over tiles of pairs, divided over the processes that work together.

Each process takes every n-th tile. What they count are whole numbers, so their sums are those of
one process, bit for bit. Which passes there are follows from summed numbers alone: all processes
make the same ones. :func:`siamese.processes.together` is asked where a pass begins, in the thread
that asked for it: worker threads do not know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from siamese.errors import CalibrationError
from siamese.processes import Processes, together
from siamese.verification.streaming.tile import Tile
from siamese.verification.streaming.tiles import Place, Tiles

_BLOCK = 1 << 21  # numbers that are added up at once: bounds the memory
# Pairs of the tiles that a process looks through before what it has found is shown, one tile at
# least; and pairs that are shown at once: both bound the memory.
_ROUND, _SHOWN = 1 << 22, 1 << 20


def each(tiles: Tiles, work: Callable[[Tile], None], places: list[Place]) -> Processes:
    """Call ``work`` with every tile of this process's share; :meth:`Tiles.each` says how.

    Returns:
        the processes that share the tiles: what was counted must be added up over them.

    Raises:
        CalibrationError: in all processes, where one of them raises it.
    """
    processes, problem = together(), None
    try:
        tiles.each(work, processes.share(places))
    except CalibrationError as error:
        if processes.count == 1:
            raise
        problem = str(error)
    for found in processes.gather(problem):
        if found is not None:
            raise CalibrationError(found)
    return processes


def add_up(processes: Processes, *counts: np.ndarray) -> None:
    """Replace integers by their sums over all processes, in place and in blocks.

    Args:
        processes: those that counted.
        counts: contiguous arrays.
    """
    if processes.count == 1:
        return
    for array in counts:
        flat = array.reshape(-1)
        for start in range(0, len(flat), _BLOCK):
            flat[start : start + _BLOCK] = processes.add_up(flat[start : start + _BLOCK])


def show(
    tiles: Tiles,
    pairs_of: Callable[[Tile], tuple[np.ndarray, np.ndarray]],
    visit: Callable[[np.ndarray, np.ndarray], None],
    places: list[Place],
) -> None:
    """Find some pairs in every tile, divided, and show all of them in every process.

    With several processes the tiles are shown in order, so that each process is told the same.

    Args:
        tiles: all of them.
        pairs_of: (n,) and (n,) rows of the pairs of a tile that are to be shown.
        visit: gets them; it is never called twice at once.
        places: which tiles.

    Raises:
        CalibrationError: see :func:`each`.
    """
    guard, processes = threading.Lock(), together()
    if processes.count == 1:

        def look(tile: Tile) -> None:
            found = pairs_of(tile)
            with guard:
                visit(*found)

        tiles.each(look, places)
        return
    for some in _rounds(places, processes.count):
        kept: dict[tuple[int, int], np.ndarray] = {}

        def keep(tile: Tile, kept: dict[tuple[int, int], np.ndarray] = kept) -> None:
            found = np.stack(pairs_of(tile), axis=1)
            with guard:
                kept[tile.first, tile.second] = found

        each(tiles, keep, some)
        for turn in range(0, len(some), processes.count):
            now = processes.share(some[turn : turn + processes.count])
            mine = [kept.pop((rows.start, columns.start)) for rows, columns in now]
            _show_in_order(processes, mine[0] if mine else np.zeros((0, 2), np.int64), visit)


def _rounds(places: list[Place], count: int) -> Iterator[list[Place]]:
    """Tiles that are looked through before what ``count`` processes have found is shown."""
    largest = max(((i.stop - i.start) * (j.stop - j.start) for i, j in places), default=1)
    step = count * max(1, _ROUND // largest)
    for start in range(0, len(places), step):
        yield places[start : start + step]


def _show_in_order(
    processes: Processes, mine: np.ndarray, visit: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    """Show the pairs of all processes, (n, 2) of each, in the order of their ranks."""
    sizes = processes.gather(len(mine))
    ends = np.cumsum([0, *sizes])
    first, last = int(ends[processes.rank]), int(ends[processes.rank + 1])
    step = max(1, _SHOWN // processes.count)  # each makes room for as many of every other one
    for start in range(0, int(ends[-1]), step):
        # What lies within the next pairs of all.
        low, high = max(start, first), min(start + step, last)
        part = processes.join(mine[max(0, low - first) : max(0, high - first)])
        visit(part[:, 0], part[:, 1])
