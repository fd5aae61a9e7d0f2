"""A small run whose people have names of strangers, twice, for all tests of the report."""

import shutil

import pytest
from tests.report.reported import small_run, write_table


@pytest.fixture(scope="package")
def runs(tmp_path_factory):
    """Two runs on the same people, and another one on others."""
    root = tmp_path_factory.mktemp("reported")
    table = write_table(root / "people")
    made = [small_run(table, root / f"run{n}", seed=n, plots=False) for n in range(2)]
    return made


@pytest.fixture
def copy(runs, tmp_path):
    """A copy of the first run's folder, to be changed."""
    return shutil.copytree(runs[0].folder, tmp_path / "run")
