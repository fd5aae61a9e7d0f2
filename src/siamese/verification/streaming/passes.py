"""Passes over tiles of pairs, divided over the processes that work together.

Each process takes every n-th tile. What they count are whole numbers, so their sums are those of
one process, bit for bit. Which passes there are follows from summed numbers alone: all processes
make the same ones. :func:`siamese.processes.together` is asked where a pass begins, in the thread
that asked for it: worker threads do not know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from siamese.errors import CalibrationError
from siamese.processes import Processes, together
from siamese.verification.streaming.tile import Tile
from siamese.verification.streaming.tiles import Place, Tiles

_BLOCK = 1 << 21  # numbers that are added up at once: bounds the memory
_ROUND = 8  # tiles of each process whose pairs are shown at once: bounds the memory


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
    step = _ROUND * processes.count
    for start in range(0, len(places), step):
        some = places[start : start + step]
        kept: dict[tuple[int, int], np.ndarray] = {}

        def keep(tile: Tile, kept: dict[tuple[int, int], np.ndarray] = kept) -> None:
            found = np.stack(pairs_of(tile), axis=1)
            with guard:
                kept[tile.first, tile.second] = found

        each(tiles, keep, some)
        for turn in range(0, len(some), processes.count):
            now = processes.share(some[turn : turn + processes.count])
            mine = [kept[rows.start, columns.start] for rows, columns in now]
            none = np.zeros((0, 2), dtype=np.int64)
            for part in processes.gather(mine[0] if mine else none):
                visit(part[:, 0], part[:, 1])
