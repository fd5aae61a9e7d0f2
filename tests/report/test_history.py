"""A history survives what a power failure, or somebody else, left in its file."""

import os
import warnings

import pytest

from siamese.notices import forget_what_was_said
from siamese.report.history import read_history, write_history

WHOLE = "epoch,step,loss,eer\n0,9,1.5,\n0,9,,0.25\n1,19,1.25,\n,20,7,\n1,19,nan,0.5\n"


@pytest.fixture(autouse=True)
def anew():
    forget_what_was_said()


def test_what_is_whole_is_read_without_a_word(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(WHOLE.replace("nan", "1"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_history(path)
        assert found == {"loss": ([0, 1], [1.5, 1.0]), "eer": ([0, 1], [0.25, 0.5])}
        assert read_history(write_history(tmp_path / "history.csv", found)) == found
        path.write_text("")
        assert read_history(path) == {}


def test_of_a_file_that_is_cut_off_anywhere_the_rows_before_are_kept(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = "epoch,loss,eer\n0,1.5,0.25\n1,1.25,0.125\n"
    for length in range(len(rows)):
        path.write_text(rows[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_history(path)
        if length > rows.index("\n1"):
            assert found == {"loss": ([0], [1.5]), "eer": ([0], [0.25])}
        else:
            assert found == {}


@pytest.mark.parametrize(
    "damage",
    [b"x,1,1", b"1,x,1", b"1,1,1,1", b"1", b"\xff\xfe\x80", b"\0" * 200, b"1," + b"9" * 200_000],
)
def test_rows_before_a_damage_are_kept(tmp_path, damage):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,loss,eer\n0,1.5,0.25\n" + damage + b"\n")
    with pytest.warns(UserWarning, match="metrics.csv: damaged near line [23]; ") as said:
        assert read_history(path) == {"loss": ([0], [1.5]), "eer": ([0], [0.25])}
    assert len(said) == 1


def test_what_is_no_such_file_gives_an_empty_history(tmp_path):
    path = tmp_path / "metrics.csv"
    os.mkfifo(path)  # would never end
    with pytest.warns(UserWarning, match="not a regular file"):
        assert read_history(path) == {}
    with pytest.warns(UserWarning, match="no metrics are read"):
        assert read_history(tmp_path) == {}
    noise = tmp_path / "noise.csv"
    noise.write_bytes(bytes(range(256)) * 9)
    with pytest.warns(UserWarning, match="damaged"):
        assert read_history(noise) == {}
