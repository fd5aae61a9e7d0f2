"""Checkpoints and descriptions of runs that nobody would write: nothing runs, nothing grows."""

import json
import os
import pickle
import zipfile

import pytest
import torch
from tests.helpers import assert_says
from tests.inference.test_bundle import bundle

from siamese.errors import BundleError
from siamese.evaluation.sources import describe_run, is_at_work, open_source, pair_rule_at
from siamese.pairs.all_pairs import AllPairs
from siamese.storage import write_json
from siamese.verification.policies.max_f1 import MaxF1


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    parts = bundle().components
    described = describe_run(parts, AllPairs(), MaxF1(), {"dataset": "none"})
    write_json(folder / "run.json", described)
    write(folder, state_dict=parts.tensors())
    open_source(folder)
    return folder


def write(folder, **content):
    path = folder / "checkpoints" / "last.ckpt"
    torch.save({"epoch": 0, "global_step": 3, "state_dict": {}} | content, path)
    return path


def refused(folder, *words):
    with pytest.raises(BundleError) as error:
        open_source(folder)
    assert_says(error.value, folder, *words)


class Payload:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_no_payload_runs(run, tmp_path):
    canary = tmp_path / "canary"
    write(run, state_dict=Payload(canary))
    refused(run, "not a checkpoint")
    (run / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(Payload(canary)))
    refused(run, "not a whole archive")
    assert not canary.exists()
    pickle.loads((run / "checkpoints" / "last.ckpt").read_bytes())
    assert canary.exists()  # it would have


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 10**400},
        {"epoch": -1},
        {"epoch": "0"},
        {"global_step": None},
        {"state_dict": None},
        {"state_dict": {"backbone.x": 1}},
        {"state_dict": {1: torch.zeros(1)}},
        {"state_dict": {"backbone.x": torch.zeros(1).expand(10**13)}},
        {"state_dict": {"backbone.x": torch.zeros(2, 2).to_sparse()}},
        {"state_dict": {}},
    ],
)
def test_what_is_no_checkpoint_of_it(run, content):
    write(run, **content)
    refused(run)


def test_archives_that_grow_or_are_cut_off(run):
    path = run / "checkpoints" / "last.ckpt"
    kept = path.read_bytes()
    path.write_bytes(kept[:-100])
    refused(run, "not a whole archive")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    refused(run, "unpacks to more")
    path.unlink()
    os.mkfifo(path)
    refused(run, "not a regular file")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["backbone"].update(depths=[10**30]),
        lambda d: d["backbone"].update(widths=[65_536]),
        lambda d: d.update(version="1"),
        lambda d: d.update(version="HUGE"),
        lambda d: d.update(policy=[]),
        lambda d: d.update(policy={"name": "max_f1", "prevalence": 7}),
        lambda d: d.update(pair_rule={"name": "all_pairs", "x": 1}),
        lambda d: d.update(provenance=[]),
        lambda d: d.update(augmentation={"flip": "x"}),
        lambda d: d.update(missing="a\nb" * 1000),
        lambda d: d.update(origins={"backbone": ["x"]}),
        lambda d: d.pop("backbone"),
    ],
)
def test_what_does_not_describe_a_run(run, change):
    content = json.loads((run / "run.json").read_text())
    change(content)
    text = json.dumps(content).replace('"HUGE"', "1" + "0" * 400)
    (run / "run.json").write_text(text)
    refused(run)


@pytest.mark.parametrize(
    "text", ["[]", "[" * 100_000, '{"a": 1, "a": 2}', "NaN", "", '{"process": 1}']
)
def test_what_is_no_description_at_all(run, text):
    (run / "run.json").write_text(text)
    refused(run, "run.json")
    assert not is_at_work(run)
    with pytest.raises(BundleError) as error:
        pair_rule_at(run)
    assert_says(error.value, "run.json")


@pytest.mark.parametrize("pid", [-1, 0, 2**31, 10**17, "1", 1.5, None, True])
def test_a_process_that_is_none(run, pid):
    content = json.loads((run / "run.json").read_text())
    content["process"]["pid"] = pid
    (run / "run.json").write_text(json.dumps(content))
    assert not is_at_work(run)
