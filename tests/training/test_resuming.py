"""Resuming: as if the run had never stopped, and never with other identities."""

import functools
import json
import os
import platform
import shutil

import pytest
import pytorch_lightning as pl
import torch
from tests.helpers import assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.errors import ConfigError
from siamese.report.history import read_history
from siamese.storage import write_json
from siamese.training.folder import unfinished


def trained(
    root,
    folder,
    epochs,
    *,
    resume=None,
    seed=0,
    split_seed=0,
    keep="last",
    size=8,
    lr=2e-3,
    callbacks=(),
    allow_changes=False,
    **trainer,
):
    siamese.seed_everything(seed, workers=True, verbose=False)
    data = siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(32),
        sampler=siamese.IdentitySampler(4, 2, steps=3),
        workers=0,
        seed=split_seed,
        batch_seed=seed,
        progress=False,
    )
    net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=size, dropout=0.4)
    # A schedule of the run's own length would know that it is to stop earlier.
    optimizer = functools.partial(torch.optim.AdamW, lr=lr)
    module = siamese.SiameseModule(
        net, siamese.ContrastiveLoss(), optimizer=optimizer, schedule=None
    )
    run = siamese.train(
        module,
        data,
        folder,
        max_epochs=epochs,
        keep=keep,
        resume=resume,
        allow_changes=allow_changes,
        callbacks=callbacks,
        trainer=trainer,
        plots=False,
        verbose=False,
    )
    return module.state_dict(), run


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("identities"), [4] * 12)


@pytest.fixture(scope="module")
def half(identities, tmp_path_factory):
    return trained(identities, tmp_path_factory.mktemp("half"), 2)[1]


def test_as_if_it_had_never_stopped(identities, half, tmp_path):
    whole, whole_run = trained(identities, tmp_path / "whole", 4)
    resumed, resumed_run = trained(identities, tmp_path / "resumed", 4, resume=half.folder, seed=0)
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert resumed_run.operating_point == whole_run.operating_point
    assert resumed_run.evaluations == whole_run.evaluations
    one, other = (read_history(run.folder / "history.csv") for run in (whole_run, resumed_run))
    assert one["train/loss"] == other["train/loss"]
    assert one["calibration/f1"][0] == [0, 1, 2, 3]
    assert one == other


def test_it_does_learn_in_the_epochs_added(identities, half, tmp_path):
    before = torch.load(half.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    after, _ = trained(identities, tmp_path, 3, resume=half.folder / "checkpoints" / "last.ckpt")
    assert any(not torch.equal(before[k], after[k]) for k in before if k.endswith("weight"))


def test_another_split_is_refused(identities, half, tmp_path):
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path / "run", 4, resume=half.folder, split_seed=1)
    assert_says(caught.value, "another split", "data.seed")
    assert not (tmp_path / "run").exists()


def test_nothing_left_to_do_is_said(identities, half, tmp_path):
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path / "run", 2, resume=half.folder)
    assert_says(caught.value, "max_epochs=2 already", "is finished", "max_epochs above 2")


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_what_is_no_run_is_refused(identities, tmp_path, content):
    path = tmp_path / "something"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path / "run", 2, resume=path)
    assert_says(caught.value, "resume=", str(path), "give the")


def test_the_command_takes_the_earlier_runs_settings(identities, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = [
        "data.cropper.size=32",
        "data.workers=0",
        "module.backbone.widths=[8]",
        "module.backbone.depths=[1]",
    ]
    settings = [
        "data=folder",
        f"data.root={identities}",
        "data/cropper=none",
        "data.sampler.steps=2",
        "data.seed=3",
        *small,
    ]
    assert main(["train", *settings, "max_epochs=1", "plots=false", "hydra.run.dir=first"]) == 0
    assert (
        main(["train", "resume=first", "max_epochs=2", "plots=false", "hydra.run.dir=second"]) == 0
    )
    first, second = (
        json.loads((tmp_path / run / "split.json").read_text()) for run in ("first", "second")
    )
    assert second["seed"] == 3
    assert first["splits"] == second["splits"]
    assert read_history(tmp_path / "second" / "history.csv")["train/loss"][0] == [0, 1]
    last = tmp_path / "second" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    capsys.readouterr()
    assert main(["train", "resume=first", "hydra.run.dir=third"]) == 2
    assert "give max_epochs above 1" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_the_best_of_all_epochs_is_kept_whichever_run_they_belong_to(identities, tmp_path):
    for split_seed in range(3):  # the best epoch lies before the stop in some, after it in others
        folder = tmp_path / str(split_seed)
        whole, whole_run = trained(
            identities, folder / "whole", 6, keep="best", split_seed=split_seed
        )
        first = trained(identities, folder / "first", 3, keep="best", split_seed=split_seed)[1]
        resumed, run = trained(
            identities, folder / "rest", 6, keep="best", split_seed=split_seed, resume=first.folder
        )
        assert all(torch.equal(whole[k], resumed[k]) for k in whole)
        assert run.operating_point.epoch == whole_run.operating_point.epoch
        kept = torch.load(run.folder / "checkpoints" / "best.ckpt", weights_only=True)
        assert kept["epoch"] == whole_run.operating_point.epoch


class Stop(pl.Callback):
    """Ctrl-C after some epochs."""

    def __init__(self, after):
        self.after = after

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.after:
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_is_resumed_with_its_history(identities, tmp_path):
    for target in ("stopped", "elsewhere"):  # in its own folder, or in another
        with pytest.raises(KeyboardInterrupt):
            trained(identities, tmp_path / target / "stopped", 4, callbacks=[Stop(2)])
        run = trained(
            identities, tmp_path / target / target, 4, resume=tmp_path / target / "stopped"
        )[1]
        assert read_history(run.folder / "history.csv")["train/loss"][0] == [0, 1, 2, 3]


def test_another_network_is_refused_by_name(identities, half, tmp_path):
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path / "run", 4, resume=half.folder, size=12)
    assert_says(caught.value, "another network or loss", "backbone.head", "module.backbone")
    assert not (tmp_path / "run").exists()


def test_a_new_learning_rate_holds(identities, half, tmp_path):
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path, 3, resume=half.folder, lr=0.0)
    assert_says(caught.value, "optimizer.arguments.lr: 0.002 -> 0.0", "allow_changes=True")
    run = trained(identities, tmp_path, 3, resume=half.folder, lr=0.0, allow_changes=True)[1]
    before = torch.load(half.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    after = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(before["backbone.head.weight"], after["backbone.head.weight"])


@pytest.mark.parametrize(
    "word",
    [
        "pairs._target_=os.mkdir",
        "pairs={_target_:os.mkdir,path:PWNED}",
        "data.cropper={'_targ''et_':os.mkdir}",
        "--config-dir=elsewhere",
        "-cd=elsewhere",
        "hydra.searchpath=[file://elsewhere]",
        "hydra/launcher=evil",
        "+evil=/../../evil",
        "+module/backbone=../../../../evil",
        "experiment=../../evil",
        "data.root=${oc.env:HOME}",
        "trainer.default_root_dir=${oc.create:x}",
        "~module",
        "module.backbone@pairs=small_res_net",
        7,
    ],
)
def test_a_runs_folder_can_execute_nothing(word, tmp_path, monkeypatch, capsys):
    import yaml

    monkeypatch.chdir(tmp_path)
    record = tmp_path / "run" / ".hydra" / "overrides.yaml"
    record.parent.mkdir(parents=True)
    record.write_text(
        yaml.safe_dump(
            [word if not isinstance(word, str) else word.replace("PWNED", str(tmp_path / "PWNED"))]
        )
    )
    seen = []
    monkeypatch.setattr("hydra.main", lambda *a, **k: seen.append(a))
    assert main(["train", "resume=run", "max_epochs=9"]) == 2
    assert "is not a setting that a resumed run may bring" in capsys.readouterr().err
    assert not seen
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    ("length", "epochs", "steps", "validated"),
    [
        ({"epochs": 4}, 4, 12, [2, 3]),  # the last epoch is validated, too
        ({"epochs": 9, "max_steps": 11}, 4, 11, [2]),  # where nobody knows that it is the last
    ],
)
def test_bundle_and_last_checkpoint_have_the_weights_that_they_name(
    length, epochs, steps, validated, identities, tmp_path
):
    weights, run = trained(identities, tmp_path, **length, check_val_every_n_epoch=3)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"] + 1, last["global_step"]) == (epochs, steps)
    assert (run.operating_point.epoch + 1, run.operating_point.step) == (epochs, steps)
    written = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert written["provenance"]["epochs"] == epochs
    learned = [name for name in weights if "running" not in name and name.endswith("weight")]
    assert learned
    assert all(torch.equal(weights[name], last["state_dict"][name]) for name in learned)
    assert read_history(tmp_path / "history.csv")["calibration/eer"][0] == validated


def test_without_a_validated_epoch_nothing_is_called_the_best(identities, tmp_path):
    stopped = {"max_steps": 5, "check_val_every_n_epoch": 3}
    run = trained(identities, tmp_path / "early", 9, keep="best", **stopped)[1]
    assert run.evaluation.bundle.provenance["kept"] == "last"
    assert any("no epoch was validated" in note for note in run.evaluation.notes)
    assert not (run.folder / "checkpoints" / "best.ckpt").exists()
    chosen = trained(identities, tmp_path / "whole", 1, keep="best")[1]
    assert chosen.evaluation.bundle.provenance["kept"] == "best"
    assert not any("validated" in note for note in chosen.evaluation.notes)


def test_a_checkpoint_of_an_earlier_version_says_what_it_cannot_know(identities, half, tmp_path):
    old = tmp_path / "old" / "checkpoints" / "last.ckpt"
    old.parent.mkdir(parents=True)
    content = torch.load(half.folder / "checkpoints" / "last.ckpt", weights_only=True)
    del content["callbacks"]["ExactResume"]
    torch.save(content, old)
    run = trained(identities, tmp_path / "on", 3, resume=old)[1]
    assert any("of an earlier version" in note for note in run.evaluation.notes)
    assert run.evaluation.bundle.provenance["epochs"] == 3


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("kind", ["pickled", "damaged", "none"])
def test_a_bad_checkpoint_is_refused_before_the_training(name, kind, identities, half, tmp_path):
    class Canary:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    folder = shutil.copytree(half.folder, tmp_path / "run")
    checkpoint = folder / "checkpoints" / name
    checkpoint.write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes())
    if kind == "pickled":
        content = torch.load(checkpoint, weights_only=True)
        torch.save(content | {"callbacks": Canary()}, checkpoint)
    elif kind == "damaged":
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 4
        checkpoint.write_bytes(content)
    else:
        checkpoint.write_bytes(b"none")
    with pytest.raises(ConfigError) as caught:
        trained(identities, tmp_path / "on", 4, resume=folder, keep="best")
    assert_says(caught.value, name)
    assert not (tmp_path / "on").exists()
    assert not (tmp_path / "executed").exists()


def test_a_run_that_is_being_trained_is_not_gone_on_with(identities, half, tmp_path):
    folder = shutil.copytree(half.folder, tmp_path / "run")
    described = json.loads((folder / "run.json").read_text())
    parent = os.getppid()
    for process, refused in (
        ({"pid": parent, "host": platform.node()}, True),
        (
            {"pid": parent, "host": platform.node(), "started": 1},
            False,
        ),  # its number was given anew
        ({"pid": parent, "host": "another machine"}, False),  # as on a cluster
    ):
        write_json(folder / "run.json", described | {"process": process})
        (folder / "timing.json").unlink(missing_ok=True)
        if refused:
            with pytest.raises(ConfigError, match="another process is training there"):
                trained(identities, folder, 3, resume=folder)
        else:
            trained(identities, folder, 3, resume=folder)
            shutil.copy(half.folder / "checkpoints" / "last.ckpt", folder / "checkpoints")


def test_a_finished_run_that_is_trained_on_is_unfinished_until_its_end(identities, half, tmp_path):
    folder = shutil.copytree(half.folder, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trained(identities, folder, 4, resume=folder, callbacks=[Stop(3)])
    assert unfinished(folder)
    with pytest.raises(KeyboardInterrupt):
        trained(identities, folder, 3, resume="auto", callbacks=[Late()])
    trained(identities, folder, 3, resume="auto")  # what follows the last epoch
    assert not unfinished(folder)


class Late(pl.Callback):
    """Ctrl-C after the last epoch."""

    def on_fit_end(self, trainer, pl_module):
        raise KeyboardInterrupt
