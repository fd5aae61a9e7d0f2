"""`siamese export`, and `siamese verify` with what it wrote."""

import json

import pytest
from tests.inference.onnx_files import pictures, small_bundle

from siamese.cli import export
from siamese.cli.main import main

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_bundle().save(tmp_path_factory.mktemp("export") / "bundle")


def test_a_bundle_is_exported_and_used(folder, tmp_path, capsys):
    out = str(tmp_path / "model.onnx")
    assert main(["export", str(folder), "--out", out]) == 0
    assert "embeddings of 8 numbers\nchecked on 8 crops" in capsys.readouterr().out
    assert main(["export", str(folder), "--out", out]) == 2
    assert "--overwrite" in capsys.readouterr().err
    words = [str(path) for path in pictures(tmp_path, 2)]
    codes, said = [], []
    for bundle in (str(folder), out):
        codes.append(main(["verify", *words, "--bundle", bundle, "--json"]))
        said.append(json.loads(capsys.readouterr().out))
    assert codes[0] == codes[1] in (0, 1)
    assert said[0]["distance"] == pytest.approx(said[1]["distance"], abs=1e-6)
    assert said[0]["threshold"] == said[1]["threshold"]


def test_int8_takes_a_folder_of_pictures(folder, tmp_path, capsys):
    people = tmp_path / "people"
    pictures(people / "a", 4)
    words = ["export", str(folder), "--out", str(tmp_path / "small.onnx"), "--precision", "int8"]
    assert main(words) == 2
    assert "--images" in capsys.readouterr().err
    assert main([*words, "--images", str(tmp_path / "nowhere")]) == 2
    assert "no folder with images" in capsys.readouterr().err
    assert main([*words, "--images", str(people), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["precision"], found["checked"]) == ("int8", 12)


def test_dlibs_file_is_for_dlibs_network(folder, tmp_path, capsys):
    words = ["export", str(folder), "--to", "dlib", "--out", str(tmp_path / "model.dat")]
    assert main(words) == 2
    assert "--to onnx" in capsys.readouterr().err
    assert main([*words, "--precision", "int8"]) == 2
    assert "leave them out" in capsys.readouterr().err


def test_int8_leaves_out_what_cannot_be_read(folder, tmp_path, capsys):
    people = tmp_path / "people"
    pictures(people, 4)
    (people / "._0.png").write_bytes(b"what macOS leaves behind")
    words = ["export", str(folder), "--out", str(tmp_path / "small.onnx"), "--precision", "int8"]
    with pytest.warns(UserWarning, match="left out, 1, such as"):
        assert main([*words, "--images", str(people)]) == 0
    assert "checked on 12 crops" in capsys.readouterr().out


def test_images_are_chosen_from_the_whole_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_MOST_IMAGES", 10)
    for number in range(19):
        (tmp_path / f"{number:02}.png").touch()
    found = [path.name for path in export._images(str(tmp_path))]
    assert (len(found), found[0], found[-1]) == (10, "00.png", "18.png")


def test_a_device_is_one_of_onnxruntime(folder, tmp_path, capsys):
    out, (a, b) = str(tmp_path / "model.onnx"), pictures(tmp_path, 2)
    assert main(["export", str(folder), "--out", out]) == 0
    assert main(["verify", str(a), str(b), "--bundle", out, "--device", "cuda:99"]) == 2
    assert "onnxruntime" in capsys.readouterr().err.splitlines()[-1]
