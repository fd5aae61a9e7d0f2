"""Every configuration composes and builds what it names.

And it says nothing that the class would do by itself.
"""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from benchmarks.baselines import RUNS
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

import siamese
from siamese.cli.overrides import groups
from siamese.cli.setting_checks import check_settings
from siamese.cli.train import config_folder

CONF = config_folder()
CHOICES = [(group, choice) for group, choices in groups(CONF).items() for choice in choices]
# Runs that a test takes from end to end; an experiment that is not among them fails below.
COVERED = {
    "quick",
    "balanced_pairs",
    "face_comparer",
    "face_comparer_plus",
    "face_similarity",
    "face_similarity_plus",
    "finetune",
    "lfw",
}


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_is_built(group, choice, tmp_path):
    needed = {
        "lfw": ["data.root=x"],
        "folder": ["data.root=x"],
        "csv": ["data.csv=x"],
        "parquet": ["data.parquet=x"],
    }.get(choice if group == "data" else "", [])
    needed = (
        ["data.root=x"]
        if group == "experiment" and (choice.startswith("face_") or choice in ("finetune", "lfw"))
        else needed
    )
    if choice == "learned":  # makes sense with a loss that learns it, and no other
        needed = ["module/loss=pair_cross_entropy_loss"]
    if choice == "pair_cross_entropy_loss":
        needed = ["distance=learned"]
    config = composed(f"{group}={choice}", *needed)
    check_settings(OmegaConf.to_container(config, resolve=True))
    assert all(isinstance(each, partial) for each in instantiate(config.logger).values())
    for part in ("data", "module", "pairs"):
        built = instantiate(config[part], _convert_="all")
        assert type(built).__name__ == config[part]._target_.rsplit(".", 1)[-1]


@pytest.mark.parametrize("data", ["orl", "lfw", "folder", "csv", "parquet"])
@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c[0].startswith("data/")])
def test_a_choice_means_the_same_whatever_the_data(data, group, choice):
    needed = {"orl": [], "csv": ["data.csv=x"], "parquet": ["data.parquet=x"]}.get(
        data, ["data.root=x"]
    )
    part = group.split("/")[1]
    found = instantiate(
        composed(f"data={data}", f"{group}={choice}", *needed).data[part], _convert_="all"
    )
    alone = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8"))
    assert found == instantiate(alone)


@pytest.mark.parametrize("name", RUNS)
def test_a_threshold_is_chosen_for_the_figure_that_is_reported(name):
    _, _, figure = RUNS[name]
    policy = composed(f"experiment={name}", "data.root=x").policy._target_
    assert policy == {"accuracy": "siamese.MaxAccuracy", "f1": "siamese.MaxF1"}[figure]


def test_no_augmentation_is_none():
    config = composed("data/augmentation=none")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(instantiate(config.data.augmentation)(image, (1, 2)), image)


def test_every_experiment_is_run_by_a_test():
    assert set(groups(CONF)["experiment"]) == COVERED


def test_explicit_pairs_train_end_to_end(tmp_path, monkeypatch):
    from siamese.cli.main import main

    monkeypatch.chdir(tmp_path)
    small = [
        "data.cropper.size=32",
        "data.workers=0",
        "module.backbone.widths=[8]",
        "module.backbone.depths=[1]",
        "data.sampler.steps=3",
    ]
    assert main(["train", "experiment=balanced_pairs", "max_epochs=1", "plots=false", *small]) == 0
    assert (tmp_path / "runs" / "latest" / "bundle").is_dir()


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.relative_to(CONF).as_posix()
)
def test_no_configuration_repeats_a_default(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if "_target_" not in content or content.get("_partial_"):
        return
    called = get_object(content["_target_"])
    parameters = inspect.signature(called).parameters
    for name, value in content.items():
        if name in parameters and not isinstance(value, str):
            default = parameters[name].default
            assert value != (list(default) if isinstance(default, tuple) else default), (
                f"{path}: {name} is the default"
            )


def test_the_distance_is_composed_once():
    config = composed("distance=cosine")
    module = instantiate(config.module, _convert_="all")
    assert isinstance(module.distance, siamese.CosineDistance)
    assert isinstance(module.loss.distance, siamese.CosineDistance)


def test_the_wheel_carries_the_configurations():
    import tomllib

    wheel = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"][
        "hatch"
    ]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"conf": "siamese/conf"}
