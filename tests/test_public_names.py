"""`import siamese` is light, and every public name is there."""

import dataclasses
import inspect
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


def test_it_is_imported_without_docstrings():
    command = [sys.executable, "-OO", "-c", "import siamese; siamese.FolderDataModule"]
    subprocess.run(command, check=True)


def stub_names():
    stub = Path(siamese.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return re.findall(r"^from \.\S+ import (\w+) as \1$", stub, flags=re.MULTILINE)


def test_the_names_stand_in_one_place_and_start_with_those_that_most_need():
    names = stub_names()
    assert len(names) == len(set(names))
    assert {*names, "__version__"} == set(siamese.__all__)
    explained = re.findall(r"^    (\w+)  +\S", siamese.__doc__, flags=re.MULTILINE)
    assert explained == names[:15]


def types_named(name, value):
    """Names of classes in what a public name returns, and in the fields of a dataclass."""
    members = [(name, value)] if not inspect.isclass(value) else []
    if inspect.isclass(value):
        members = [(f"{name}.{a}", m) for a, m in vars(value).items() if not a.startswith("_")]
    for where, member in members:
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if inspect.isfunction(function):
            yield where, str(function.__annotations__.get("return", ""))
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield f"{name}.{field.name}", str(field.type)


# Aliases of other types, and classes of other packages.
FOREIGN = {
    "Any", "DataLoader", "Figure", "Fraction", "Interval", "Iterator", "Mapping", "Module", "None",
    "Optimizer", "Parameter", "Path", "Prevalence", "Self", "Sequence", "Tensor",
}  # fmt: skip


def test_every_type_that_is_returned_has_a_public_name():
    unknown = {
        (word, where)
        for name in siamese.__all__
        if name != "__version__"
        for where, text in types_named(name, getattr(siamese, name))
        for word in re.findall(r"\b[A-Z]\w+", text)
        if word not in FOREIGN and word not in siamese.__all__
    }
    assert unknown == set()


def test_every_registry_and_base_class_has_a_public_name():
    registries = ("BACKBONES", "CROPPERS", "DISTANCES", "LOSSES", "PAIR_RULES", "POLICIES",
                  "SPLIT_PROTOCOLS")  # fmt: skip
    bases = ("Backbone", "Cropper", "Distance", "EmbeddingLoss", "PairRule", "Policy",
             "SplitProtocol", "Sampler", "PairMetric")  # fmt: skip
    assert {*registries, *bases} <= set(siamese.__all__)


# One name for one thing, wherever it is an argument.
OTHER_NAMES = {
    "rule": "pairs", "pair_rule": "pairs", "metric": "distance", "people": "identities",
    "protocol": "split", "dev": "device", "augment": "augmentation",
}  # fmt: skip
ORDER = ("policy", "threshold", "pairs", "distance")


def parameters_of(value):
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return []


@pytest.mark.parametrize(
    "name", ["train", "evaluate_run", "recalibrate", "calibrate", "ThresholdCalibrator",
             "PairVerification", "VerificationThreshold", "VerificationCurve", "EqualErrorRate",
             "RecallAtFmr", "Verifier"]
)  # fmt: skip
def test_arguments_have_one_name_and_one_order(name):
    given = parameters_of(getattr(siamese, name))
    assert not set(given) & set(OTHER_NAMES)
    places = [given.index(argument) for argument in ORDER if argument in given]
    if name != "calibrate":  # its distance is needed more often than its pairs
        assert places == sorted(places), given


def test_verifiers_are_made_alike():
    made = (siamese.Verifier, siamese.Verifier.load, siamese.Verifier.pretrained)
    settings = [
        [(p.name, p.default) for p in inspect.signature(f).parameters.values()
         if p.kind is p.KEYWORD_ONLY]
        for f in made
    ]  # fmt: skip
    assert settings[0] == settings[1] == settings[2]
    assert [name for name, _ in settings[0]] == [
        "policy", "threshold", "no_face", "tta", "low_quality", "limits", "device"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["FolderDataModule", "CsvDataModule", "LfwDataModule", "OrlDataModule", "ParquetDataModule"],
)
def test_data_modules_show_their_arguments(name):
    shown = inspect.signature(getattr(siamese, name)).parameters
    shared = inspect.signature(siamese.ImageDataModule).parameters
    assert set(shared) - {"table"} <= set(shown)
    assert not [p for p in shown.values() if p.kind is p.VAR_KEYWORD]
    for argument in set(shared) & set(shown) - {"table"}:
        assert shown[argument].default == shared[argument].default
    with pytest.raises(siamese.ConfigError, match=f"{name} has no argument 'sampeler'.*'sampler'"):
        getattr(siamese, name)(**{"sampeler": None})


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
