"""What commands say of a bundle that looks for no face, and of one in which nothing is trained."""

import contextlib
import io
import json

import pytest
from tests.helpers import UNTRAINED, write_identities, write_image

from siamese.cli import options
from siamese.cli.main import main
from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.croppers.none import NoCropper

SAID = "this bundle looks for no face; the whole picture is compared, as in its training"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on whole pictures, in ``runs/latest``, and what it printed."""
    home = tmp_path_factory.mktemp("home")
    root = write_identities(home / "people", [3] * 12)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(home)
        assert main(["train", f"data.root={root}", *UNTRAINED]) == 0
    (home / "said.txt").write_text(said.getvalue())
    return home


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def test_training_ends_with_it(here):
    *_, last = (here / "said.txt").read_text().splitlines()
    assert last.startswith("next: siamese verify A.jpg B.jpg --bundle runs/")
    assert last.endswith("bundle    # compares the whole picture, looks for no face")


def test_where_nothing_is_trained_no_time_is_told(here):
    said = (here / "said.txt").read_text()
    assert "nothing is trained in this backbone: it was fitted in closed form" in said
    assert "training took" not in said


def test_verify_says_so_and_answers_as_ever(here, capsys):
    a, b = (str(write_image(here / f"{name}.png", seed)) for name, seed in (("a", 1), ("b", 2)))
    code = main(["verify", a, b, "--bundle", "runs/latest"])
    said = capsys.readouterr()
    assert said.out.count(f"note: {SAID}") == 1
    assert "data/cropper=dlib_hog" in said.out
    assert main(["verify", a, b, "--bundle", "runs/latest", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert [text for text in found["notes"] if text.startswith(SAID)]
    assert found["same"] == (code == 0)


def test_pictures_of_the_crops_size_are_crops(here, capsys):
    a, b = (str(write_image(here / f"{seed}.png", seed, 32, 32)) for seed in (1, 2))
    main(["verify", a, b, "--bundle", "runs/latest"])
    assert SAID not in capsys.readouterr().out
    main(["verify", a, b, "--bundle", "runs/latest", "--json"])
    assert SAID not in capsys.readouterr().out
    large = str(write_image(here / "large.png", 3))
    main(["verify", a, large, "--bundle", "runs/latest"])
    assert SAID in capsys.readouterr().out


def test_other_data_are_told_of_it_and_the_runs_own_are_not(here, capsys):
    other = str(write_identities(here / "others", [3] * 6))
    assert main(["calibrate", "--data", other, "--json"]) == 0
    said = capsys.readouterr()
    assert SAID in said.err
    json.loads(said.out)
    assert main(["evaluate", "--data", other]) == 0
    assert SAID in capsys.readouterr().err
    assert main(["evaluate"]) == 0
    assert SAID not in capsys.readouterr().err
    pairs = here / "pairs.csv"
    pairs.write_text(
        "left,right,same,fold\n"
        "person_00/0.png,person_00/1.png,1,0\n"
        "person_00/0.png,person_01/0.png,0,0\n"
    )
    assert main(["evaluate", "runs/latest", "--pairs-file", str(pairs), "--data", other]) == 0
    assert SAID in capsys.readouterr().err


def test_it_is_said_of_our_croppers_that_look_for_none(tmp_path):
    picture = write_image(tmp_path / "a.png", 1)
    assert SAID in options.on_no_search(NoCropper(64), [picture])
    box = options.on_no_search(FixedBoxCropper(40, left=0, top=0, right=9, bottom=9), [picture])
    assert "the same box of every picture is compared" in box
    assert options.on_no_search(DlibHogCropper(64), [picture]) is None
    assert options.on_no_search(NoCropper(64), [tmp_path / "missing.png"]) is None
