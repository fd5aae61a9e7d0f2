"""The benchmarks' scripts never report a run that was trained with other settings."""

import pytest
import yaml
from benchmarks.recorded import refuse_other_settings
from tests.helpers import assert_says

RECORDED = ["experiment=lfw", "+data.split.tested=[0,1]", "name='a b'", "plots=false"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(RECORDED))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        RECORDED,
        [word.lstrip("+") for word in RECORDED],
        [*RECORDED, "data.root=elsewhere", "baselines=[]", "hydra.run.dir=x", "overwrite=true"],
        ["name='c'", *RECORDED],  # the last one counts
    ],
)
def test_a_run_of_the_same_settings_is_taken(folder, words):
    refuse_other_settings(folder, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*RECORDED, "max_epochs=2"], ("max_epochs: not set there", "2 now")),
        (RECORDED[1:], ("experiment: lfw there", "not set now")),
        ([*RECORDED, "data.split.tested=[2,3]"], ("[0,1] there", "[2,3] now")),
        ([*RECORDED, "experiment=quick"], ("lfw there", "quick now")),
        ([*RECORDED, "~module.schedule"], ("~module.schedule",)),
    ],
)
def test_a_run_of_other_settings_is_refused(folder, words, said):
    with pytest.raises(SystemExit) as caught:
        refuse_other_settings(folder, words)
    assert_says(caught.value, str(folder), "--out", *said)


def test_a_folder_without_a_record_is_not_refused(tmp_path):
    refuse_other_settings(tmp_path / "nothing", ["experiment=lfw"])
