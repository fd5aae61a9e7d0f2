"""Processes that work together: what they send, sum and share."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from tests.processes import run_in

from siamese.errors import SplitError
from siamese.processes import across_processes, all_processes, together


def _talk():
    here = all_processes()
    rows = np.arange(here.rank * 3, dtype=np.float32).reshape(-1, 3) + 10 * here.rank
    big = np.array([2**63 + 5 * here.rank], dtype=np.uint64)
    with across_processes() as inside:
        shared = (together().count, inside.rank)
    return {
        "rank": here.rank,
        "sum": here.add_up(np.array([[1, 2], [3, 4]]) * (here.rank + 1)),
        "unsigned": here.add_up(big),
        "rows": here.join(rows),
        "objects": here.gather({"rank": here.rank}),
        "first": here.from_first(f"said by {here.rank}"),
        "any": here.any(here.rank == 2),
        "none": here.any(False),
        "share": here.share(range(7)),
        "shared": shared,
        "outside": together().count,
    }


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_processes_tell_each_other(count):
    found = run_in(count, _talk)
    assert [f["rank"] for f in found] == list(range(count))
    times = sum(range(1, count + 1))
    # The first process has no row, the second one, the third two.
    rows = np.array([[10, 11, 12], [20, 21, 22], [23, 24, 25]])[: (0, 1, 3)[count - 1]]
    for f in found:
        assert (f["sum"] == np.array([[1, 2], [3, 4]]) * times).all()
        assert int(f["unsigned"][0]) == sum(2**63 + 5 * r for r in range(count)) % 2**64
        assert f["rows"].dtype == np.float32
        assert f["rows"].shape == rows.shape
        assert (f["rows"] == rows).all()
        assert f["objects"] == [{"rank": r} for r in range(count)]
        assert f["first"] == "said by 0"
        assert f["any"] == (count == 3)
        assert not f["none"]
        assert f["shared"] == (count, f["rank"])
        assert f["outside"] == 1
    assert sorted(i for f in found for i in f["share"]) == list(range(7))


class Odd(Exception):
    """Cannot be made again of what it says."""

    def __init__(self, what, where):
        super().__init__(f"{what} in {where}")
        self.held = Path(where).open()  # noqa: SIM115 - cannot be sent either


def _caught(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


def _errors():
    here = all_processes()

    def plain():
        raise SplitError("no split")

    def odd():
        raise Odd("odd", "/dev/null")

    inside = []
    with across_processes():
        inside.append(here.by_first(lambda: together().count))
        here.by_some(lambda: inside.append(together().count), here.rank == 1)
        inside.append(together().count)
    return [
        inside,
        here.by_first(lambda: here.rank + 10),
        _caught(lambda: here.by_first(plain)),
        _caught(lambda: here.by_first(odd)),
        _caught(lambda: here.by_some(odd, here.rank == 1)),
        _caught(lambda: here.by_some(plain, here.rank > 5)),
        here.gather("still in step"),
    ]


def test_an_error_of_one_process_reaches_all_and_they_stay_in_step():
    first, second = run_in(2, _errors)
    plain, text = ("SplitError", "no split"), "Odd: odd in /dev/null"
    own, told = ("Odd", "odd in /dev/null"), ("ProcessError", text)
    still = ["still in step"] * 2
    # What only some do divides nothing: the others do not call it.
    assert first[:1] + second[:1] == [[1, 2], [1, 1, 2]]
    assert first[1:] == [10, plain, own, told, ("nothing", ""), still]
    assert second[1:] == [10, plain, told, own, ("nothing", ""), still]


def _fail():
    assert all_processes().rank != 1, "of the second"


def test_a_failure_in_one_process_fails_the_test():
    with pytest.raises(AssertionError, match="of the second"):
        run_in(2, _fail)


def _leads(names):
    here = all_processes()
    as_started = here.leads_machine()
    del os.environ["LOCAL_RANK"]
    socket.gethostname = lambda: names[here.rank]
    return as_started, here.leads_machine()


def test_one_process_leads_each_machine():
    found = run_in(3, _leads, ["a", "b", "a"])
    assert found == [(True, True), (False, True), (False, False)]
