"""Settings on the way from the command line to a run: names, types, objects, configurations."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger
from tests.helpers import assert_says

from siamese.cli.flags import check_flags
from siamese.cli.main import main
from siamese.cli.overrides import complete_overrides
from siamese.cli.run_names import name_folders
from siamese.cli.setting_checks import arguments_of, check_settings
from siamese.cli.train import config_folder
from siamese.errors import ConfigError

RUN = ["train", "data=folder", "data.root=people"]
HERE = __name__
# Hydra turns errors in its callbacks into warnings.
pytestmark = pytest.mark.filterwarnings("error:Callback")


# --- names ---


@pytest.mark.parametrize("name", ["low_dropout", "v1.2-b", "3", "'ähnlich'"])
def test_a_named_run_has_its_name_on_its_folder(name, training, tmp_path):
    assert main([*RUN, f"name={name}"]) == 0
    (folder,) = (tmp_path / "runs" / "folder").iterdir()
    assert folder.name.endswith("_" + name.strip("'"))
    assert training.calls[0]["folder"] == folder
    assert str(training.calls[0]["provenance"]["config"]["name"]) == name.strip("'")


def test_a_run_without_a_name_has_the_time_alone(training, tmp_path):
    assert main(RUN) == 0
    assert main(["train", "data=csv", "data.csv=x", "name=null"]) == 0
    for data in ("folder", "csv"):
        (folder,) = (tmp_path / "runs" / data).iterdir()
        assert len(folder.name) == len("2026-01-01_00-00-00")


def test_a_sweep_has_its_name_once(training, tmp_path):
    assert main([*RUN, "name=rates", "seed=0,1", "--multirun"]) == 0  # options stand anywhere
    (folder,) = (tmp_path / "runs" / "multirun").iterdir()
    assert folder.name.endswith("_rates")
    assert {path.name for path in folder.iterdir()} == {
        *("0", "1", "multirun.yaml", "sweep.csv", "report.html")
    }


def test_a_folder_that_was_given_stays_that_one(training, tmp_path):
    assert main([*RUN, "name=rates", "hydra.run.dir=mine"]) == 0
    assert (tmp_path / "mine" / "evaluation.json").is_file()


BAD_NAMES = ["", "a/b", "..", ".", "-a", "a.", "a b", "a\\b", "x" * 101, "${seed}", "é/", [1], {}]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_good_for_a_folder_is_refused(name):
    with pytest.raises(ConfigError, match=r"up to 100 letters and digits|give one$"):
        name_folders(name, [], config_folder())


def test_a_sweep_has_one_name(training, tmp_path, capsys):
    assert main([*RUN, "--multirun", "name=a,b"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "name must be one name" in line
    assert list(tmp_path.iterdir()) == []


# --- folders ---


def test_the_folder_of_another_run_is_left_as_it_is(training, tmp_path, capsys):
    words = [*RUN, "hydra.run.dir=mine"]
    assert main([*words, "seed=1"]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()}
    assert main([*words, "seed=2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine holds another run: give another folder (hydra.run.dir=...), go on with" in line
    assert {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()} == before
    assert main([*words, "seed=3", "overwrite=true", "plots=false"]) == 0
    assert main([*words, "resume=mine"]) == 0
    last = training.calls[-2:]
    assert [(c["overwrite"], c["plots"]) for c in last] == [(True, False), (False, False)]


def test_the_folder_of_another_sweep_is_left_as_it_is(training, tmp_path, capsys):
    words = [*RUN, "--multirun", "hydra.sweep.dir=mine"]
    assert main([*words, "seed=1,2"]) == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()}
    assert main([*words, "seed=3,4"]) == 2
    streams = capsys.readouterr()
    (line,) = streams.err.splitlines()
    assert "mine holds another sweep: give another folder (hydra.sweep.dir=...)" in line
    assert "┃" not in streams.out
    assert {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()} == before
    assert main([*words, "seed=3,4", "overwrite=true"]) == 0


@pytest.mark.parametrize("name", ["overwrite", "plots"])
def test_a_switch_is_true_or_false(name, training, capsys):
    assert main([*RUN, f"{name}=perhaps"]) == 2
    assert f"{name} must be true or false, not 'perhaps'" in capsys.readouterr().err


# --- loggers ---


def test_loggers_are_chosen_by_name_several_at_once(training, capsys):
    kind = "pytorch_lightning.loggers.CSVLogger"
    own = [f"+trainer.logger._target_={kind}", "+trainer.logger.save_dir=logs"]
    several = ["logger=[csv,mlflow,tensorboard]", "logger.mlflow.experiment_name=x"]
    for number, words in enumerate(
        ([], several, ["logger=none"], own, [*own, "logger=wandb"], ["trainer.logger=false"])
    ):
        assert main([*RUN, f"hydra.run.dir=r{number}", *words]) == 0
    found = [call["trainer"]["logger"] for call in training.calls]
    names = [[each.func.__name__ for each in one] for one in found[:3]]
    assert names == [["TensorBoardLogger"], ["MLFlowLogger", "TensorBoardLogger"], []]
    assert found[1][0].keywords == {"experiment_name": "x"}
    assert isinstance(found[3], CSVLogger)  # takes the place of the default
    assert isinstance(found[4][0], CSVLogger)
    assert found[4][1].func.__name__ == "WandbLogger"
    assert found[5] is False
    assert main([*RUN, "logger=[csv,wandp]"]) == 2
    assert "logger has no choice 'wandp' (did you mean 'wandb'?)" in capsys.readouterr().err


# --- options that are settings ---


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--max-epochs", "3"], "write max_epochs=3: siamese train takes name=value"),
        (["--max-epochs=3"], "write max_epochs=3: "),
        (["--max_epochs", "--multirun"], "write max_epochs=...: "),
        (["--lr", "0.1"], "write module.optimizer.lr=0.1: "),
        (["--module.optimizer.lr", "0.1"], "write module.optimizer.lr=0.1: "),
        (["--experiment", "quick"], "write experiment=quick: "),
        (["--backbone=hybrid_net"], "write module/backbone=hybrid_net: "),
        (["--overwrite", "seed=1"], "write overwrite=true: "),
        (["--epochs", "3"], "did you mean 'max_epochs'"),
        (["--precision", "16-mixed"], "write trainer.precision=16-mixed: "),
        (["--multi-run", "seed=1"], "did you mean '--multirun'"),
        (["--plugin", "mine.py", "seed=1"], "write plugins=[mine.py]: siamese train takes"),
        (["--plugins=mine.py"], "write plugins=[mine.py]: "),
        (["--cfg", "job", "--info"], "--cfg and --info exclude one another: give one of them"),
        (["-m", "seed=1,2", "-c=job"], "--multirun and --cfg exclude one another"),
        (["--resolve", "seed=1"], "--resolve is for what --cfg shows: add --cfg job"),
    ],
)
def test_an_option_that_is_a_setting_is_told_as_one(words, answer):
    with pytest.raises(ConfigError) as error:
        check_flags(words, config_folder())
    assert_says(error.value, answer)


# --- types ---


class Example:
    """Has an argument of every kind."""

    def __init__(
        self,
        whole: int,
        number: float = 1.5,
        flag: bool = False,
        perhaps: "int | None" = None,
        several: tuple[int, ...] = (1, 2),
        either: float | str = "auto",
        unknown: "NoSuchType | int" = 1,  # type: ignore[name-defined]  # noqa: F821
        anything=None,
    ):
        pass


class Child(Example):
    """Hands what it does not know to its parent."""

    def __init__(self, own: int = 1, **settings):
        super().__init__(**settings)


def checked(**values):
    check_settings({"part": {"_target_": f"{HERE}.Child", **values}})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("whole", "high", "part.whole must be a whole number, not 'high'"),
        ("whole", 1.5, "a whole number, not 1.5"),
        ("whole", True, "a whole number, not true"),
        ("whole", None, "a whole number, not null"),
        ("own", "3", "a whole number, not '3'; by default it is 1"),
        ("number", "1,5", "part.number must be a number, not '1,5'; by default it is 1.5"),
        ("number", [1.5], "a number, not [1.5]"),
        ("flag", "yes", "must be true or false"),
        ("flag", 7, "must be true or false, not 7"),
        ("flag", -1, "must be true or false, not -1"),
        ("perhaps", "many", "must be a whole number or null, not 'many'"),
        ("several", 3, "a list of whole numbers, not 3; by default it is [1, 2]"),
        ("several", [1, "2"], "a list of whole numbers, not [1, '2']"),
        ("wole", 1, "part.wole: Child has no argument 'wole' (did you mean 'whole'?)"),
    ],
)
def test_a_value_of_another_type_is_named(name, value, said):
    with pytest.raises(ConfigError) as error:
        checked(**{name: value})
    assert_says(error.value, said)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "whole": st.integers() | st.just(3.0),
            "number": st.floats(allow_nan=True) | st.integers(),
            "flag": st.booleans() | st.integers(0, 1),
            "perhaps": st.integers() | st.none(),
            "several": st.lists(st.integers()),
            "either": st.text() | st.floats(),
            "unknown": st.text(),
            "anything": st.text() | st.lists(st.none()),
        },
    )
)
def test_what_fits_is_let_through(values):
    checked(**values)


def test_what_cannot_be_imported_is_anybodys():
    assert arguments_of("nowhere.Nothing").open
    check_settings({"part": {"_target_": "nowhere.Nothing", "whatever": "x"}, "name": "x"})


def test_settings_in_lists_and_of_the_trainer_are_checked():
    with pytest.raises(ConfigError, match=r"a\.0\.b\.whole must"):
        check_settings({"a": [{"b": {"_target_": f"{HERE}.Example", "whole": "x"}}]})
    with pytest.raises(ConfigError, match=r"trainer\.max_steps must be a whole number"):
        check_settings({"trainer": {"max_steps": "x", "precision": "x", "logger": {"a": 1}}})


# --- objects for the trainer ---


def test_loggers_and_callbacks_are_made(training):
    logger = [
        "+trainer.logger._target_=pytorch_lightning.loggers.CSVLogger",
        "+trainer.logger.save_dir=logs",
    ]
    stopping = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: calibration/eer}"
    rates = "{_target_: pytorch_lightning.callbacks.LearningRateMonitor}"
    for word, kinds in (
        (f"+trainer.callbacks=[{stopping},{rates}]", [EarlyStopping, LearningRateMonitor]),
        (f"trainer.callbacks={stopping}", EarlyStopping),
        (f"trainer.callbacks={{first: {stopping}}}", [EarlyStopping]),
        ("trainer.precision=bf16-mixed", type(None)),
    ):
        assert main([*RUN, *logger, word, "overwrite=true"]) == 0
        call = training.calls.pop()
        given = call["trainer"].get("callbacks")
        assert ([type(e) for e in given] if isinstance(given, list) else type(given)) == kinds
        assert isinstance(call["trainer"]["logger"], CSVLogger)
        json.dumps(call["provenance"])  # plain values, for the bundle
    assert call["trainer"]["precision"] == "bf16-mixed"


def test_several_loggers_under_names(training):
    kind = "_target_: pytorch_lightning.loggers.CSVLogger"
    words = [f"+trainer.logger.{name}={{{kind}, save_dir: {name}}}" for name in ("one", "two")]
    assert main([*RUN, *words]) == 0
    assert [each.save_dir for each in training.calls[0]["trainer"]["logger"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["trainer.logger._target_=pytorch_lightning.loggers.CsvLogger"],
            "did you mean 'CSVLogger'",
        ),
        (["trainer.logger._target_=pytorch_lightning.loggers.CSVLogger"], "'save_dir'"),
        (["+trainer._target_=pytorch_lightning.Trainer"], "leave out trainer._target_"),
    ],
)
def test_objects_that_cannot_be_made_are_one_line(words, said, training, capsys):
    assert main([*RUN, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "bug" not in line


def test_a_class_that_is_named_says_what_can_be_set(training, capsys):
    network = "module.backbone.network"
    words = [*RUN, "module/backbone=described_net", f"{network}._target_=siamese.EnsembleNet"]
    assert main([*words, f"{network}.views=[1.0,0.8]"]) == 0
    assert main([*words, f"{network}.widths=[8]", "overwrite=true"]) == 2
    assert f"unknown setting '{network}.widths'" in capsys.readouterr().err
    # Also where the class is put there by force.
    words[-1] = f"++{words[-1]}"
    assert main([*words, f"{network}.views=[1.0,0.8]", "overwrite=true"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["experiment=lfw", "module.backbone.views=[0.9]"],
            "'module.backbone.views' (did you mean 'module.backbone.network.views'?)",
        ),
        (
            ["module/backbone=described_net", "module.backbone.widths=[8]"],
            "'module.backbone.widths' (did you mean 'module.backbone.network.widths'?)",
        ),
    ],
)
def test_a_setting_that_lies_deeper_is_named_before_other_choices(words, said, training, capsys):
    assert main([*RUN, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_what_an_experiment_sets_of_another_class_can_be_taken_out(training, capsys):
    words = [*RUN, "experiment=lfw", "data/split=identity_disjoint"]
    words += ["module/loss=contrastive_loss", "module/backbone=descriptor_net"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert_says(line, "DescriptorNet has no argument 'network'")
    assert line.endswith("the configuration sets it: take it out with '~module.backbone.network'")
    words.append("~module.backbone.network")
    assert main([*words, "+module.backbone.nonsense=1"]) == 2
    assert "take it out" not in capsys.readouterr().err  # who gives it knows where it stands
    assert main(words) == 0


def test_all_that_a_configuration_sets_amiss_is_taken_out_at_once():
    loss = {"_target_": "siamese.ContrastiveLoss", "one": 1, "two": 2, "three": {"four": 4}}
    with pytest.raises(ConfigError) as error:
        check_settings({"module": {"loss": loss}}, ["module.loss.two"])
    assert str(error.value).endswith("with '~module.loss.one' '~module.loss.three'")
    for word in ("module.loss.one", "module.loss", "module"):
        with pytest.raises(ConfigError) as error:
            check_settings({"module": {"loss": loss}}, [word])
        assert "take it out" not in str(error.value)
    with pytest.raises(ConfigError) as error:
        check_settings({"module": {"losses": [loss]}})
    assert "take it out" not in str(error.value)


def test_a_misspelt_class_is_named_whatever_is_set_of_it(training, capsys):
    words = [*RUN, "module.backbone._target_=siamese.SmalResNet", "module.backbone.anything=3"]
    assert main(words) == 2
    assert "did you mean 'SmallResNet'" in capsys.readouterr().err


def test_classes_can_be_swept(training):
    classes = "module.backbone._target_=siamese.SmallResNet,siamese.FaceComparerNet"
    assert main([*RUN, "--multirun", classes]) == 0
    made = [type(call["module"].backbone).__name__ for call in training.calls]
    assert made == ["SmallResNet", "FaceComparerNet"]


@pytest.mark.parametrize(
    "order", [("SmallResNet", "FaceComparerNet"), ("FaceComparerNet", "SmallResNet")]
)
def test_a_setting_that_one_class_of_a_sweep_lacks_is_refused_before_the_first_run(
    order, training, capsys
):
    classes = f"module.backbone._target_={','.join(f'siamese.{name}' for name in order)}"
    assert main([*RUN, "--multirun", classes, "module.backbone.widths=[8]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert_says(line, "module.backbone.widths", "FaceComparerNet, one of the classes of the sweep")
    assert training.calls == []
    assert main([*RUN, "--multirun", classes, "module.backbone.dropout=0.1"]) == 0  # both have it


# --- files ---


def test_the_files_that_a_split_needs_are_missed_at_once(training, tmp_path, monkeypatch, capsys):
    """Before the images are looked at, and before Lightning is imported."""
    (tmp_path / "people").mkdir()
    own = [*RUN, "data/split=benchmark_folds"]
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)  # cannot be imported
    assert main(own) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert_says(line, "pairsDevTrain.txt lies neither", "add data/split=identity_disjoint")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("siamese.training.run.train", training)
    assert main([*own, "data.manifest=split.json"]) == 0  # a split that was made before
    for name in ("pairsDevTrain", "pairsDevTest"):
        (tmp_path / f"{name}.txt").touch()
    assert main([*own, "overwrite=true"]) == 0


# --- configurations of the user's own ---


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A backbone of the user's own, with its configuration, and an experiment with a name."""
    (tmp_path / "my_nets.py").write_text(
        "import siamese\n\nclass MyNet(siamese.Backbone):\n"
        "    def __init__(self, size: int = 4) -> None:\n"
        "        super().__init__()\n        self.size = size\n"
    )
    experiment = "# @package _global_\nname: wide\nmodule:\n  loss:\n    margn: 3\n"
    for file, text in (
        ("module/backbone/my_net.yaml", "_target_: my_nets.MyNet\n"),
        ("experiment/mine.yaml", experiment),
    ):
        path = tmp_path / "own" / file
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return ["--config-dir", str(tmp_path / "own")]


def test_configurations_of_ones_own_are_checked_as_ours(own, training, tmp_path, capsys):
    words = [*RUN, "module/backbone=my_net"]
    assert main([*words, *own, "module.backbone.size=7"]) == 0  # no plus is needed
    config = yaml.safe_load(
        next((tmp_path / "runs" / "folder").glob("*/.hydra/config.yaml")).read_text()
    )
    assert config["module"]["backbone"] == {"_target_": "my_nets.MyNet", "size": 7}
    for word, said in (
        ("module.backbone.sise=7", "did you mean 'module.backbone.size'"),
        ("module.backbone.size=large", "module.backbone.size must be a whole number"),
        ("module.loss.margn=1", "did you mean 'module.loss.margin'"),
        ("module/loss=my_loss", "module/loss has no choice 'my_loss'"),
    ):
        assert main([*words, word, *own, "overwrite=true"]) == 2  # within one second
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def forget(name):
    """As in a process that has not imported it."""
    for each in [each for each in sys.modules if each.endswith(name)]:
        del sys.modules[each]


def test_a_file_of_ones_own_is_imported_before_its_class_is_named(
    own, training, monkeypatch, capsys
):
    monkeypatch.setattr("sys.path", sys.path[1:])  # it lies nowhere on the path
    forget("my_nets")
    words = [*RUN, *own, "module/backbone=my_net"]
    assert main([*words, "module.backbone.size=7"]) == 2
    capsys.readouterr()
    assert main([*words, "plugins=[my_nets.py]", "module.backbone.sise=7"]) == 2
    assert "did you mean 'module.backbone.size'" in capsys.readouterr().err
    assert main([*words, "plugins=[my_nets.py]", "module.backbone.size=7"]) == 0
    assert training.calls[0]["provenance"]["config"]["plugins"] == ["my_nets.py"]
    forget("my_nets")
    several = ["--multirun", "plugins=[my_nets.py],[]", "hydra.job.chdir=true"]
    assert main([*words, *several]) == 0  # in the process of a run, too
    assert len(training.calls) == 3
    Path("colorsys.py").touch()
    for wrong, said in (
        ("plugins=my_nets.py", "plugins must be a list of Python files or modules, not 'my_nets"),
        ("plugins=[none.py]", "none.py: no such file"),
        ("plugins=[colorsys.py]", "another module is called 'colorsys'"),
    ):
        assert main([*words, wrong]) == 2
        assert said in capsys.readouterr().err


def test_a_misspelt_setting_in_a_file_is_named(own, training, capsys):
    assert main([*RUN, *own, "experiment=mine"]) == 2
    said = "module.loss.margn: ContrastiveLoss has no argument 'margn' (did you mean 'margin'?)"
    assert said in capsys.readouterr().err


def test_a_name_that_an_experiment_gives(own, training, tmp_path):
    words = [*RUN, *own, "experiment=mine", "~module.loss.margn"]
    assert main(words) == 0
    (folder,) = (tmp_path / "runs" / "folder").iterdir()
    assert folder.name.endswith("_wide")


@pytest.mark.parametrize(
    ("given", "said"), [("people", "data=folder data.root=people"), ("orl", "data=orl")]
)
def test_an_option_of_other_commands_says_what_works_here(given, said):
    """What is advised is given, and found to be settings."""
    with pytest.raises(ConfigError, match=f"write {said}:"):
        check_flags(["--data", given], config_folder())
    complete_overrides(said.split(), config_folder())
