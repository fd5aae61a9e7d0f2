"""`import siamese` is light, and every public name is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import siamese


def test_importing_loads_nothing_heavy():
    heavy = {"torch", "numpy", "pytorch_lightning", "hydra", "PIL"}
    script = f"import siamese, sys; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("name", siamese.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(siamese, name)
    assert name in dir(siamese)
    if callable(value):
        assert value.__doc__


def test_the_names_stand_in_one_place_and_start_with_those_that_most_need():
    stub = Path(siamese.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    names = re.findall(r"^from \.\S+ import (\w+) as \1$", stub, flags=re.MULTILINE)
    assert len(names) == len(set(names))
    assert {*names, "__version__"} == set(siamese.__all__)
    assert names[:4] == ["train", "TrainingRun", "evaluate_run", "RunEvaluation"]


@pytest.mark.parametrize(("old", "new"), siamese._RENAMED.items())
def test_a_name_that_was_changed_says_the_new_one(old, new):
    assert new in siamese.__all__
    assert old not in siamese.__all__
    with pytest.raises(ImportError, match=f"siamese.{old} is now siamese.{new}"):
        getattr(siamese, old)
    with pytest.raises(ImportError, match=f"siamese.{old} is now siamese.{new}"):
        exec(f"from siamese import {old}")


@pytest.mark.parametrize("name", ["inference.verifier", "evaluation.run", "evaluation.benchmark"])
def test_using_a_bundle_needs_no_training_library(name):
    heavy = {"pytorch_lightning", "hydra", "omegaconf", "albumentations", "matplotlib.figure"}
    script = f"import siamese.{name}, sys; print(sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_misspelt_name_names_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'Verifier'"):
        siamese.Verifer  # noqa: B018
