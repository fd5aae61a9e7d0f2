"""Loggers get the end of a run: fakes take down what they are given, real packages are read back.

Each real package is tried where it is installed, on made-up images.
"""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger
from tests.helpers import assert_says, write_identities

import siamese
from siamese.errors import ConfigError, MissingDependencyError
from siamese.training import loggers as made_here
from siamese.training.final_log import FinalLog, found_by, hand_on, log_end
from siamese.training.loggers import end_runs, make_loggers

FACES = "samples_test"  # a picture that shows images


class Noted:
    """Takes down every call, also of what it gives out."""

    def __init__(self):
        self.calls = []
        self.summary = {}
        self.id = "r1"

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def named(self, name):
        return [args for called, args, _ in self.calls if called == name]


class FakeWandb(WandbLogger):
    def __init__(self):
        self.noted = Noted()
        for name in ("log_hyperparams", "log_image", "log_table"):
            setattr(self, name, getattr(self.noted, name))

    @property
    def experiment(self):
        return self.noted


class FakeMlflow(MLFlowLogger):
    run_id = "r1"

    def __init__(self):
        self.noted = Noted()
        self.log_hyperparams = self.noted.log_hyperparams
        self.log_metrics = self.noted.log_metrics

    @property
    def experiment(self):
        return self.noted


class Other(Logger):
    """Of a kind that we do not know, with pictures."""

    name, version = "other", "0"

    def __init__(self):
        self.noted = Noted()

    def log_metrics(self, metrics, step=None):
        self.noted.log_metrics(metrics, step)

    def log_image(self, key, images):
        self.noted.log_image(key, images)

    def log_hyperparams(self, params, *args, **kwargs):
        pass


@pytest.fixture
def found(tmp_path):
    pictures = {}
    for name in ("curves", FACES):
        pictures[name] = tmp_path / f"{name}.png"
        Image.fromarray(np.full((5, 7, 3), 90, np.uint8)).save(pictures[name])
    page = tmp_path / "report.html"
    page.write_text("<p>")
    values = {"final/threshold": 0.5, "final/test/eer": 0.1}
    return FinalLog(values, ["", "eer"], [["test", "0.1"]], pictures, [page], {"a": {"b": 1}})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one epoch, without pictures."""
    folder = tmp_path_factory.mktemp("logged")
    return small_run(folder, "tensorboard")


def small_run(folder, logger):
    root = write_identities(folder / "people", [3] * 15)
    torch.manual_seed(0)
    module = siamese.SiameseModule(
        siamese.SmallResNet(widths=(4,), depths=(1,), learned_size=4, gradient_cells=0),
        siamese.ContrastiveLoss(),
    )
    data = siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(24),
        sampler=siamese.IdentitySampler(identities=4, images=2, steps=1),
        workers=0,
        progress=False,
    )
    given = {"max_epochs": 1, "verbose": False, "plots": False, "baselines": ["untrained"]}
    trainer = {"logger": logger, "accelerator": "cpu"}
    return siamese.train(module, data, folder / "run", trainer=trainer, **given)


def drawn(run):
    """Pictures where a run would have drawn them."""
    (run.folder / "plots").mkdir(exist_ok=True)
    for name in ("distances", FACES, "training_pairs", "false_matches_test"):
        Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(run.folder / "plots" / f"{name}.png")
    return run


# --- what is handed on ---


def test_figures_stand_beside_their_baselines_and_are_those_of_the_run(run):
    values = found_by(run, faces=True).values
    assert values["final/threshold"] == run.operating_point.threshold
    for split, figures in run.evaluations.items():
        assert values[f"final/{split}/eer"] == figures.eer
    (baseline,) = run.evaluation.baselines
    assert values["final/test/untrained/auc"] == baseline.evaluations["test"].auc


def test_no_picture_of_anybody_goes_out_where_faces_are_left_out(run):
    assert set(found_by(drawn(run), faces=False).pictures) == {"distances"}
    assert FACES in found_by(run, faces=True).pictures


def test_a_logger_that_fails_costs_no_run(run, capsys):
    class Broken(Other):
        def log_metrics(self, metrics, step=None):
            raise OSError("no route to host")

    other = Other()
    log_end([CSVLogger("x"), Broken(), other], drawn(run), faces=False, step=3)
    assert "Broken did not take over all of the run: no route to host" in capsys.readouterr().out
    assert [args[0] for args in other.noted.named("log_image")] == ["plots/distances"]


def test_history_is_written_whatever_is_on(run):
    assert (run.folder / "history.csv").is_file()
    assert (run.folder / "logs" / "csv" / "metrics.csv").is_file()


# --- each kind, by fakes ---


def test_wandb_gets_pictures_a_table_a_summary_and_the_report(found):
    logger = FakeWandb()
    hand_on(logger, found, 3)
    noted = logger.noted
    assert {args[0] for args in noted.named("log_image")} == {"plots/curves", f"plots/{FACES}"}
    assert noted.summary == found.values
    assert noted.named("log_hyperparams") == [({"a": {"b": 1}},)]
    assert noted.named("log_artifact") == [(str(found.files[0]),)]


def test_mlflow_gets_metrics_parameters_and_artifacts_of_its_run(found):
    logger = FakeMlflow()
    hand_on(logger, found, 3)
    noted = logger.noted
    pictures = [args for args in noted.named("log_artifact") if args[2:] == ("plots",)]
    assert {Path(args[1]).stem for args in pictures} == set(found.pictures)
    assert ("r1", str(found.files[0])) in noted.named("log_artifact")
    assert noted.named("log_metrics") == [(found.values, 3)]
    assert noted.named("log_text") == [("r1", found.markdown, "figures.md")]


# --- each kind, read back ---


def test_tensorboard_shows_curves_thresholds_pictures_and_figures(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_end(make_loggers("tensorboard", run.folder), drawn(run), faces=False, step=1)
    events = EventAccumulator(str(run.folder / "logs" / "tensorboard"), size_guidance={"images": 9})
    events.Reload()
    scalars = events.Tags()["scalars"]
    assert {"train/loss", "calibration/threshold", "calibration/eer"} <= set(scalars)
    (point, *_) = events.Scalars("final/threshold")
    assert point.value == pytest.approx(run.operating_point.threshold)
    assert events.Tags()["images"] == ["plots/distances"]
    assert events.Images("plots/distances")[0].width == 7
    assert any("figures" in tag for tag in events.Tags()["tensors"])


def test_mlflow_keeps_a_run_in_a_local_database(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    monkeypatch.chdir(tmp_path)
    run = small_run(tmp_path, "mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "siamese"]
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.run_name == "run"
    assert kept.info.status == "FINISHED"
    assert kept.data.metrics["final/threshold"] == run.operating_point.threshold
    assert kept.data.metrics["calibration/threshold"] == pytest.approx(
        run.operating_point.threshold, rel=1e-3
    )
    found = {each.path for each in client.list_artifacts(kept.info.run_id)}
    assert {"figures.md", "evaluation.json", "history.csv"} <= found


def test_wandb_works_without_its_server_and_each_run_is_one_of_its_own(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = small_run(tmp_path, ["wandb"])
    assert wandb.run is None  # the next run in this process does not go on with it
    (folder,) = (run.folder / "logs" / "wandb").glob("offline-run-*")
    content = (next(folder.glob("*.wandb"))).read_bytes()
    for name in (b"final/threshold", b"final/test/untrained/auc", b"evaluation.json"):
        assert name in content


# --- names ---


def test_a_name_stands_for_a_logger_that_lies_in_the_run(tmp_path):
    (found,) = make_loggers(True, tmp_path)
    assert isinstance(found, TensorBoardLogger)
    assert Path(found.log_dir) == tmp_path / "logs" / "tensorboard"
    assert make_loggers(["csv", "none"], tmp_path) == make_loggers(None, tmp_path) == []
    (own,) = make_loggers(partial(TensorBoardLogger, save_dir=tmp_path / "mine"), tmp_path)
    assert Path(own.save_dir) == tmp_path / "mine"


def test_what_is_no_logger_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        make_loggers("wandp", tmp_path)
    with pytest.raises(ConfigError, match="is no logger: give a name"):
        make_loggers(3, tmp_path)
    with pytest.raises(ConfigError, match="refuses its settings"):
        make_loggers(partial(CSVLogger, nmae="x"), tmp_path)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_installed_is_named_with_its_extra(name, tmp_path, monkeypatch):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError(f"No module named {name!r}")

    kind = made_here.LOGGERS[name]
    monkeypatch.setattr(kind, "__init__", missing)
    with pytest.raises(MissingDependencyError) as caught:
        make_loggers(name, tmp_path)
    assert_says(caught.value, f"pip install 'siamese-lightning[{name}]'")


def test_a_server_that_wants_a_login_is_said_before_the_training(tmp_path):
    class Locked(FakeWandb):
        @property
        def experiment(self):
            raise RuntimeError("api_key not configured")

    with pytest.raises(ConfigError, match=r"api_key not configured; .*WANDB_MODE=offline"):
        made_here.open_loggers(SimpleNamespace(loggers=[Locked()]))


def test_only_runs_that_were_begun_here_are_ended():
    ours, theirs = FakeWandb(), FakeWandb()
    ours._siamese = True
    made_here.open_loggers(SimpleNamespace(loggers=[ours, theirs]))
    end_runs()
    assert [len(each.noted.named("finish")) for each in (ours, theirs)] == [1, 0]
    assert "wandb" not in sys.modules or sys.modules["wandb"].run is None
