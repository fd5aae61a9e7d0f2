"""Sweeps choose by the calibration people alone, in the right direction, and say what they found.

Training is a stand-in that makes the best EER, the best F1 and the best area fall on different
runs, so that a sweep that looks at anything else finds another best.
"""

import csv
import json
import os
import pickle
import shutil
from types import SimpleNamespace

import pytest
import yaml
from hydra.conf import HydraConf
from omegaconf import OmegaConf
from tests.cli.stand_in import Guarded, figures

from siamese.cli.job import objective
from siamese.cli.main import main
from siamese.cli.run_folder import RunFolder
from siamese.cli.sweep_folders import occupied
from siamese.errors import ConfigError
from siamese.report.sweep_runs import read_sweep

DATA = ["data=folder", "data.root=people"]
SWEEP = ["train", "--multirun", *DATA, "hydra.sweep.dir=sweep", "plots=false"]
# Hydra turns errors in its callbacks into warnings.
pytestmark = pytest.mark.filterwarnings("error:Callback")
MARGINS = "module.loss.margin=0.5,0.75,1.5,2.0"


@pytest.fixture
def training(training):
    training.figures = {
        0.5: figures(0.20, 0.50, 0.70),  # what minimising F1 or the area would find
        0.75: figures(0.05, 0.70, 0.80),  # the best
        1.5: figures(0.30, 0.95, 0.90),  # what maximising F1 or the EER would find
        2.0: figures(0.20, 0.60, 0.99),  # what maximising the area would find
    }
    return training


def table(folder):
    with (folder / "sweep.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_optuna_finds_the_run_with_the_smallest_calibration_eer(training, tmp_path, capsys):
    words = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=1"]
    assert main([*SWEEP, *words, MARGINS]) == 0
    assert {call["margin"] for call in training.calls} == set(training.figures)
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert found["best_params"] == {"module.loss.margin": 0.75}
    assert found["best_value"] == 0.05
    number = next(i for i, call in enumerate(training.calls) if call["margin"] == 0.75)
    said = capsys.readouterr().out
    assert f"best by the calibration people's EER: sweep/{number} (module.loss.margin=0.75)" in said


def test_a_search_to_start_from_draws_what_it_says_and_returns_the_calibration_eer(
    training, tmp_path
):
    """The stand-in fails where the figures of test people are as much as looked at."""
    words = ["hydra/sweeper=search", "hydra.sweeper.n_trials=3"]
    words += ["module.loss.margin=interval(0.1,0.4)", "module.optimizer.weight_decay=0.01"]
    assert main([*SWEEP, *words]) == 0
    margins = {call["margin"] for call in training.calls}
    assert len(margins) == 3
    assert all(0.1 <= margin <= 0.4 for margin in margins)  # the command's own range
    rates = [float(row["module.optimizer.lr"]) for row in table(tmp_path / "sweep")]
    assert all(0.0003 <= rate <= 0.01 for rate in rates)
    assert {r["module.optimizer.weight_decay"] for r in table(tmp_path / "sweep")} == {"0.01"}
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert found["best_value"] == 0.1  # of the calibration people, as the stand-in says


def test_optuna_is_not_told_to_maximise_an_error(training, capsys):
    words = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize"]
    assert main([*SWEEP, *words, MARGINS]) == 2
    assert "leave out hydra.sweeper.direction" in capsys.readouterr().err
    assert not training.calls


def test_a_sweep_ends_with_a_table_that_names_the_best(training, tmp_path, capsys):
    assert main([*SWEEP[:-1], MARGINS, "name=margins"]) == 0
    said = capsys.readouterr().out
    assert "sweep margins, sweep: 4 runs" in said
    rows = [line.split("│")[1:-1] for line in said.splitlines() if "module.loss.margin=" in line]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    assert rows == [  # equal EER: by the area
        ["1", "module.loss.margin=0.75", "0.050 (0.025-0.100)", "0.700", "0.800"],
        ["3", "module.loss.margin=2.0", "0.200 (0.100-0.400)", "0.600", "0.990"],
        ["0", "module.loss.margin=0.5", "0.200 (0.100-0.400)", "0.500", "0.700"],
        ["2", "module.loss.margin=1.5", "0.300 (0.150-0.600)", "0.950", "0.900"],
    ]
    assert "best by the calibration people's EER: sweep/1 (module.loss.margin=0.75)" in said
    assert "report: sweep/report.html    table: sweep/sweep.csv" in said
    assert "next: siamese evaluate sweep/1\n" in said
    assert "test" not in said.partition("sweep margins")[2]
    assert "easier people" not in said
    written = table(tmp_path / "sweep")
    assert [row["run"] for row in written] == ["1", "3", "0", "2"]
    assert (written[0]["eer"], written[0]["eer_high"], written[0]["f1_low"]) == ("0.05", "0.1", "")
    assert written[0]["module.loss.margin"] == "0.75"
    assert written[0]["data"] == "folder"
    assert not (tmp_path / "runs").exists()  # runs/latest stays what it was


def test_what_failed_is_named_and_the_others_go_on(training, tmp_path, capsys):
    training.failures = {0.75: ConfigError("no [such] thing; give another")}
    assert main([*SWEEP, MARGINS]) == 2
    streams = capsys.readouterr()
    assert streams.err.splitlines()[-1] == "siamese train: error: no [such] thing; give another"
    assert "Traceback" not in streams.err
    assert "failed: no [such] thing; give another" in streams.out
    assert "EER: sweep/3 (module.loss.margin=2.0)" in streams.out
    assert [call["margin"] for call in training.calls] == [0.5, 0.75, 1.5, 2.0]
    assert {row["run"]: row["failure"] for row in table(tmp_path / "sweep")} == {
        "0": "",
        "3": "",
        "2": "",
        "1": "failed: no [such] thing; give another",
    }
    # The same sweep again, mended: the reason is gone.
    training.failures = {}
    again = [*SWEEP, "module.loss.margin=0.5,0.75", "overwrite=true"]
    shutil.rmtree(tmp_path / "sweep" / "2")
    shutil.rmtree(tmp_path / "sweep" / "3")
    assert main(again) == 0
    assert "failed" not in capsys.readouterr().out
    # And a run that fails where another one lay has not that one's figures.
    training.failures = {0.75: ConfigError("no such thing")}
    assert main(again) == 2
    assert "EER: sweep/0 (module.loss.margin=0.5)" in capsys.readouterr().out


def test_a_sweep_of_which_runs_may_fail(training, capsys):
    training.failures = {0.75: ConfigError("no such thing")}
    words = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=1"]
    assert main([*SWEEP, *words, "hydra.sweeper.max_failure_rate=1", MARGINS]) == 0
    said = capsys.readouterr().out
    assert "failed: no such thing" in said
    assert "EER: sweep/" in said


def test_a_sweep_that_is_stopped_says_what_it_found(training, tmp_path, capsys):
    training.failures = {1.5: KeyboardInterrupt()}
    assert main([*SWEEP, MARGINS]) == 130
    assert "EER: sweep/1 (module.loss.margin=0.75)" in capsys.readouterr().out
    assert [row["run"] for row in table(tmp_path / "sweep")] == ["1", "0"]


def test_a_run_that_was_killed_is_not_finished(training, tmp_path, capsys):
    assert main([*SWEEP, MARGINS]) == 0
    (tmp_path / "sweep" / "1" / "evaluation.json").unlink()  # it is written last
    assert [(run.name, run.failure) for run in read_sweep(tmp_path / "sweep")] == [
        *((name, "") for name in "302"),
        ("1", "not finished"),
    ]


def test_a_sweep_in_which_nothing_runs_is_one_error_and_leaves_nothing(training, tmp_path, capsys):
    words = ["train", "--multirun", *DATA, "data.seed=0,1", "data.workers=many"]
    assert main(words) == 2
    streams = capsys.readouterr()
    assert "data.workers must be a whole number or null, not 'many'" in streams.err
    assert "┃" not in streams.out
    assert list(tmp_path.iterdir()) == []


def test_runs_of_different_people_are_told_apart(training, capsys):
    training.people = {0.75: "cd"}
    assert main([*SWEEP, MARGINS]) == 0
    assert "a smaller EER may mean easier people" in capsys.readouterr().out


def test_ten_comes_after_nine_and_a_folder_may_have_any_name(tmp_path):
    names = ["0", "1", "2", "9", "10", "11", "lr=1/seed=2"]
    for name in reversed(names):
        record = tmp_path / name / ".hydra" / "overrides.yaml"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps([f"+seed={name}"]))
    found = read_sweep(tmp_path)
    assert [run.name for run in found] == names
    assert [run.settings for run in found] == [{"seed": name} for name in names]


def test_a_single_run_shows_no_table(training, tmp_path, capsys):
    training.figures = {}
    assert main(["train", *DATA]) == 0
    assert "┃" not in capsys.readouterr().out
    assert (tmp_path / "runs" / "latest" / "evaluation.json").is_file()


def test_the_objective_is_read_from_those_who_chose_the_threshold(training, tmp_path):
    seen = {"train": SimpleNamespace(eer=0.3), "test": SimpleNamespace(eer=0.1)}
    result = SimpleNamespace(
        evaluations=Guarded(seen), operating_point=SimpleNamespace(split="train")
    )
    assert objective(result) == 0.3
    result.operating_point.split = "test"
    with pytest.raises(AssertionError, match="test people"):
        objective(result)


# --- folders ---


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_runs_of_another_sweep_stay_whatever_their_folders_are_called(
    training, tmp_path, capsys
):
    words = [*SWEEP, "hydra.sweep.subdir=s${seed}"]
    assert main([*words, "seed=0,1"]) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert main([*words, "seed=1,2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "sweep holds another sweep: give another folder" in line
    assert contents(tmp_path) == before
    assert len(training.calls) == 2


@pytest.mark.parametrize(
    ("subdir", "words", "taken"),
    [
        ("${hydra.job.num}", ["seed=5,6"], ["0", "12"]),
        ("${hydra:job.num}", [], ["0", "12"]),
        ("s${seed}", ["seed=0,1"], ["s0"]),
        ("s${seed}", ["+seed=range(0,8)"], ["s0", "s7"]),
        ("s${seed}", ["seed=1,2"], []),
        ("s${seed}", ["seed=7"], ["s7"]),
        ("s${seed}", ["seed=interval(0,1)"], ["s0", "s7"]),
        ("s${seed}", [], ["s0", "s7"]),
        ("${a}/${b.c}", ["a='x','y'", "b.c=0.50,2"], ["x/0.5"]),
        ("${a}/${b.c}", ["a=x", "b.c=0.1"], []),
        ("m-${hydra.job.override_dirname}", ["a=x"], ["m-data/split=a,seed=0"]),
        ("${a.${b}}", [], ["0", "12", "m-data/split=a,seed=0", "s0", "s7", "x/0.5"]),
        ("s.", [], []),
    ],
)
def test_folders_that_a_sweep_may_give_its_runs(subdir, words, taken, tmp_path):
    for name in ("0", "12", "s0", "s7", "x/0.5", "m-data/split=a,seed=0"):
        (tmp_path / name / "bundle").mkdir(parents=True)
    (tmp_path / "3" / "mine").mkdir(parents=True)  # no run
    (tmp_path / "5").symlink_to(tmp_path / "0")  # such as runs/latest
    found = occupied(tmp_path, subdir, words)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in found) == taken


def test_a_run_that_is_refused_has_not_failed(training, tmp_path, monkeypatch):
    monkeypatch.setattr("siamese.cli.sweep_folders.occupied", lambda *_: [])
    assert main([*SWEEP, "seed=0"]) == 0
    training.failures = {1.5: ConfigError("holds another run")}
    assert main([*SWEEP, "seed=0", "module.loss.margin=1.5"]) == 2
    assert not (tmp_path / "sweep" / "0" / "failed.txt").exists()


def test_single_runs_below_the_folder_of_a_sweep_are_none_of_its_runs(training, tmp_path, capsys):
    assert main(["train", *DATA, "module.loss.margin=0.75"]) == 0
    capsys.readouterr()
    assert main(["train", "--multirun", *DATA, "hydra.sweep.dir=runs", "seed=0,1"]) == 0
    assert "runs: 2 runs" in capsys.readouterr().out
    assert [row["run"] for row in table(tmp_path / "runs")] == ["0", "1"]


def test_a_run_in_another_process_knows_its_sweep(tmp_path):
    """Launchers send a copy of the callback along."""
    sweep = OmegaConf.create({"hydra": HydraConf})
    sweep.hydra.sweep.dir = str(tmp_path)
    callback = RunFolder()
    callback.on_multirun_start(sweep)
    begun, RunFolder.sweep = RunFolder.sweep, None
    sent = pickle.loads(pickle.dumps(callback))
    for name, each in (("ours", sent), ("another's", RunFolder())):
        record = tmp_path / name / ".hydra" / "overrides.yaml"
        record.parent.mkdir(parents=True)
        record.write_text("[]")
        run = {"hydra": {"runtime": {"output_dir": str(tmp_path / name)}}}
        each.on_job_start(OmegaConf.create(run))
    assert [run.name for run in read_sweep(tmp_path, begun.mark)] == ["ours"]


@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_what_lay_in_the_folder_of_a_run_that_did_not_begin_stays(mode, training, tmp_path):
    own = ["mine.log", "train.log"] if mode == "run" else ["mine.log", "multirun.yaml"]
    for name in own:
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    words = ["train", *DATA, f"hydra.{mode}.dir=mine", "data.workers=many"]
    if mode == "sweep":
        words += ["--multirun", "seed=0,1"]
    assert main(words) == 2
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == own
    assert "mine" in (tmp_path / "mine" / "mine.log").read_text()


def test_the_runs_of_a_sweep_show_no_figures_of_test_people(training, capsys):
    """What is printed of a run is its EER on the people that the sweep chooses by."""
    training.figures = {1.0: figures(0.3, 0.7, 0.8), 1.5: figures(0.2, 0.8, 0.9)}
    assert main([*SWEEP, "module.loss.margin=1.0,1.5"]) == 0
    assert [call["verbose"] for call in training.calls] == [False, False]
    said = capsys.readouterr().out
    assert "EER 0.300 on the calibration people: " in said
    assert main(["train", *DATA]) == 0
    assert training.calls[-1]["verbose"] is True


def test_a_sweeper_that_is_not_installed_is_named_with_its_extra(training, capsys, monkeypatch):
    monkeypatch.setattr("siamese.cli.train.find_spec", lambda name: None)
    assert main([*SWEEP, "hydra/sweeper=optun", "seed=1"]) == 2  # as Hydra answers without it
    assert "pip install 'siamese-lightning[sweep]'" in capsys.readouterr().err


def test_values_to_be_chosen_need_a_sweeper_that_chooses(training, capsys):
    assert main([*SWEEP, "module.loss.margin=interval(0.5,2)"]) == 2
    assert "add hydra/sweeper=optuna" in capsys.readouterr().err


def test_a_run_whose_files_are_damaged_counts_as_not_finished(tmp_path):
    files = {
        "bundle/bundle.json": '{"operating_point": {"split": "calibration"}}',
        "evaluation.json": '{"calibration": {"eer": 0.1}}',
        "split.json": '{"splits": {"calibration": [{"file": "a.png"}]}}',
        ".hydra/overrides.yaml": "[]",
    }
    for name, content in files.items():
        path = tmp_path / "0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert [run.people for run in read_sweep(tmp_path)] == [{"a.png"}]
    for name in list(files)[:3]:
        path = tmp_path / "0" / name
        for damage in ("[1]", '{"splits": 3, "operating_point": 3}', '{"a": NaN', "[" * 100_000):
            path.write_text(damage)
            assert [run.failure for run in read_sweep(tmp_path)] == ["not finished"]
        path.unlink()
        os.mkfifo(path)  # would never end
        assert [run.failure for run in read_sweep(tmp_path)] == ["not finished"]
        path.unlink()
        path.write_text(files[name])
