"""`resume=RUN` takes over a run's settings, whatever group they choose from, and nothing else."""

import json
import os
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from tests.helpers import assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.cli.overrides import groups
from siamese.cli.recorded_settings import roots, today, with_recorded_settings
from siamese.cli.train import config_folder
from siamese.errors import ConfigError
from siamese.report.flat_list import FlatList

SMALL = [
    "data.workers=0",
    "data.cropper.size=32",
    "data.sampler.steps=2",
    "module.backbone.widths=[8]",
    "module.backbone.depths=[1]",
]
# Runs that together choose from every group.
RUNS = {
    "most": [
        *("data=csv", "data.csv=people.csv", "data/augmentation=faces_in_the_wild"),
        *("data/cropper=none", "data/sampler=balanced_pair_sampler", "data.sampler.pairs=8"),
        *("data/split=held_out_identities", "data.split.calibration=0.3", "distance=cosine"),
        *("module=siamese_module", "module/backbone=small_res_net", "module/loss=triplet_loss"),
        *("module/optimizer=adam", "module/schedule=constant", "pairs=ordered_pairs"),
        "pairs.limit=50",
    ],
    "rest": [
        *("data=folder", "data.root=people", "data/cropper=none", "experiment=balanced_pairs"),
        *("policy=fmr", "policy.rate=0.3", "pairs=all_pairs", "logger=[csv,tensorboard]"),
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    people = write_identities(folder / "people", [4] * 30)
    rows = [f"{p.relative_to(folder)},{p.parent.name}" for p in sorted(people.glob("*/*.png"))]
    (folder / "people.csv").write_text("\n".join(["path,identity", *rows]))
    return folder


def test_every_group_is_among_them():
    chosen = {word.partition("=")[0] for words in RUNS.values() for word in words}
    assert set(groups(config_folder())) <= chosen


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_resumed_by_its_folder_alone(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    one, two = f"{name}-1", f"{name}-2"
    words = [*RUNS[name], *SMALL, "max_epochs=1", "plots=false", f"hydra.run.dir={one}"]
    assert main(["train", *words]) == 0
    assert main(["train", f"resume={one}", "max_epochs=2", f"hydra.run.dir={two}"]) == 0
    first, second = (
        yaml.safe_load((Path(run) / ".hydra" / "config.yaml").read_text()) for run in (one, two)
    )
    assert second.pop("max_epochs") == 2
    assert second.pop("resume") == one
    assert {k: v for k, v in first.items() if k not in ("max_epochs", "resume")} == second
    before, after = (siamese.Bundle.load(run) for run in (one, two))
    for fact in ("policy", "settings", "pair_rule", "distance", "split"):
        assert getattr(before.operating_point, fact) == getattr(after.operating_point, fact)
    assert (before.cropper, before.augmentation) == (after.cropper, after.augmentation)
    assert after.operating_point.epoch == 1


def test_what_may_be_recorded_is_what_the_configuration_holds():
    found = roots(config_folder())
    tops = {group.split("/")[0] for group in groups(config_folder())}
    settings = {"name", "seed", "max_epochs", "keep", "monitor", "resume", "trainer"}
    assert found == tops | settings | {"overwrite", "allow_changes", "plots", "baselines"} | {
        *("faces", "details")
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("policy=far", "policy=fmr"),
        ("data/split=held_out_people", "data/split=held_out_identities"),
        ("+data.sampler.people=24", "+data.sampler.identities=24"),
        ("data.sampler.people=24", "data.sampler.identities=24"),
        ("module.loss.people=24", "module.loss.identities=24"),
        ("+module.loss.first.people=24", "+module.loss.first.identities=24"),
        ("policy=farther", "policy=farther"),
        ("data.root=people=24", "data.root=people=24"),
    ],
)
def test_settings_of_earlier_versions(old, new, tmp_path, capsys):
    assert today(old) == new
    if old != new:
        assert main(["train", old]) == 2
        assert f"{old} is now called {new}" in capsys.readouterr().err


def test_only_what_cannot_execute_is_taken_over(tmp_path):
    record = tmp_path / ".hydra" / "overrides.yaml"
    record.parent.mkdir()
    argv = [f"resume={tmp_path}"]

    def taken(word):
        record.write_text(json.dumps([word]))
        return with_recorded_settings(argv, groups(config_folder()), config_folder())[0]

    for word in ("~module.schedule", "~module/schedule", "trainer.precision=16", "+data.root=x"):
        assert taken(word) == word
    strange = (
        "trainer={_target_: os.system}",
        "~hydra",
        "~hydra.run",
        "~module",
        "module",
        "module._target_=os.system",
        "data=null",
        "plugins=[mine.py]",
    )
    for word in (*strange, "data.root=${oc.env:HOME}", "policy=mine", "max_epochs"):
        with pytest.raises(ConfigError, match="may bring with it"):
            taken(word)


def test_a_record_that_would_take_all_memory_or_never_end_is_refused_at_once(tmp_path):
    record = tmp_path / ".hydra" / "overrides.yaml"
    record.parent.mkdir()
    bomb = ["- &a0 [x, x]", *(f"- &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]

    def refused(reason):
        with pytest.raises(ConfigError, match=reason) as caught:
            with_recorded_settings([f"resume={tmp_path}"], {}, config_folder())
        assert_says(caught.value, "overrides.yaml", "not a list of settings", "remove this file")

    for content, reason in [
        ("\n".join(bomb), "alias"),
        ("- &a seed=3\n- *a", "alias"),
        ("&a\n- *a", "alias"),
        ("[" * 500_000, "a list"),
        ("- {a: 1}", "a dictionary"),
        ("- seed=3\n" * 200_000, "1,048,576 bytes"),
        ("- !!python/object/apply:os.system [ls]", "list"),
        ("- !!python/name:os.system x", "could not determine"),
        ("- 'seed", "scanning"),
        ("- \x1b]0;owned", "unacceptable"),
        ("- 2024-99-99", "month"),
        ("seed: 3", "list"),
        ("", "list"),
    ]:
        record.write_text(content)
        refused(reason)
    record.write_bytes(b"- \xff\xfe\x80")
    refused("not a list")
    record.unlink()
    os.mkfifo(record)
    refused("regular file")


def test_all_that_hydra_records_is_read(tmp_path):
    """The oracle is what Hydra itself writes and reads with."""
    words = [
        "seed=3",
        "a='b c'",
        'x="y: z"',
        "~module.schedule",
        "+a=[1,2]",
        "m=#1",
        "u=\xe9\u4e2d",
    ]
    words += ["k='*a'", "k=&b", "long=" + "x y " * 200, "- a", "e=", "k=1\n2", "yes", "&a", "*b"]
    record = tmp_path / "overrides.yaml"
    OmegaConf.save(OmegaConf.create(words), record)
    assert yaml.load(record.read_text(encoding="utf-8"), FlatList) == words


def test_this_commands_settings_win(tmp_path):
    record = tmp_path / ".hydra" / "overrides.yaml"
    record.parent.mkdir()
    record.write_text(
        json.dumps(["policy=far", "+policy.rate=0.1", "seed=3", "resume=x", "overwrite=true"])
    )
    argv = [f"resume={tmp_path}", "seed=4"]
    found = with_recorded_settings(argv, groups(config_folder()), config_folder())
    assert found == ["policy=fmr", "+policy.rate=0.1", *argv]
    # After Hydra's own options, all in one place; what is given again need not be understood.
    argv = ["--config-dir", "conf", f"resume={tmp_path}", "module/loss=my_own"]
    record.write_text(json.dumps(["seed=3", "module/loss=my_own", "plugins=[old.py]"]))
    argv.append("plugins=[mine.py]")
    found = with_recorded_settings(argv, groups(config_folder()), config_folder())
    assert found == ["--config-dir", "conf", "seed=3", *argv[2:]]


def test_a_record_names_no_cluster(tmp_path):
    """What a Dask scheduler sends is unpickled: one that a stranger's run names would execute."""
    (tmp_path / ".hydra").mkdir()
    words = ["data.crop_backend=dask:tcp://there:8786", "max_epochs=3"]
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.dump(words))
    taken = with_recorded_settings([f"resume={tmp_path}"], groups(config_folder()), config_folder())
    assert taken == ["max_epochs=3", f"resume={tmp_path}"]
