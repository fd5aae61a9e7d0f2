"""`siamese audit DATA`: what it prints and writes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil

import pytest
from tests.helpers import assert_says, write_identities
from tests.inference.test_bundle import bundle

from siamese.cli.main import main
from siamese.inference import pretrained


@pytest.fixture
def people(tmp_path):
    root = write_identities(tmp_path / "people", [3] * 4)
    shutil.copy(root / "person_00" / "0.png", root / "person_01" / "copy.png")
    (root / "person_02" / "bad.png").write_bytes(b"")
    return root


def test_text_and_json_say_the_same(people, tmp_path, capsys):
    words = ["audit", str(people), "--bundle", "none"]
    assert main([*words, "--out", str(tmp_path / "new" / "a.json")]) == 0
    said = capsys.readouterr()
    assert "14 files: 13 used, 1 left out (1 empty)" in said.out
    assert "files left out: 1\n  person_02/bad.png: empty file (0 bytes)\n" in said.out
    assert "the same image under two names or in two splits: 1\n" in said.out
    assert "  person_00/0.png = person_01/copy.png\n" in said.out
    assert "note: labels are not doubted" in said.err
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "new" / "a.json").read_text())
    assert printed["left_out"] == {"person_02/bad.png": "empty file (0 bytes)"}
    assert printed["same_files"][0]["files"] == ["person_00/0.png", "person_01/copy.png"]


def test_no_name_steers_the_terminal(people, tmp_path, capsys):
    evil = "\x1b]0;owned\x07\nnote: all is well\u202e"
    for number in (0, 1):
        (people / f"{evil}{number}").mkdir()
        shutil.copy(people / "person_00" / "0.png", people / f"{evil}{number}" / "0.png")
    (people / os.fsdecode(b"\xff\xe3\x80\x80")).mkdir()
    shutil.copy(people / "person_00" / "0.png", people / os.fsdecode(b"\xff\xe3\x80\x80"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"missing": evil}))
    shown = r"\x1b]0;owned\x07"
    assert main(["audit", str(people), "--bundle", "none"]) == 0
    audited = capsys.readouterr()
    assert f"{shown}\\nnote: all is well\\u202e0/0.png" in audited.out
    assert r"\udcff" in audited.out
    image = str(people / "person_00" / "0.png")
    for words in (
        ["verify", image, image, "--bundle", str(run)],
        ["audit", str(people / f"{evil}0"), "--bundle", "none"],
        ["audit", str(people / f"{evil}9")],
        [f"verify{evil}"],
    ):
        with contextlib.suppress(SystemExit):  # of a word that is no command
            main(words)
        said = capsys.readouterr()
        assert shown in said.err
        assert "\nnote: all is well" not in said.err or words[0] == "audit"
        audited += said
    assert not set("".join(audited)) & set("\x1b\x07\u202e\udcff")


def test_a_bundle_and_how_much_is_shown(people, tmp_path, capsys):
    bundle().save(tmp_path / "bundle")
    for number in range(3):
        shutil.copy(people / "person_03" / f"{number}.png", people / "person_00" / f"b{number}.png")
    assert main(["audit", str(people), "--bundle", str(tmp_path / "bundle"), "--show", "2"]) == 0
    out = capsys.readouterr().out
    assert "two splits: 4\n" in out
    assert "  and 2 more (--show N, --json, --out FILE)" in out


def test_every_file_that_is_left_out_is_named_with_its_reason(people, tmp_path, capsys):
    for number in range(5):
        (people / "person_03" / f"notes{number}.txt").write_text("x")
    (people / "person_03" / "zero.png").write_bytes(b"no image at all")
    words = ["audit", str(people), "--bundle", "none"]
    assert main([*words, "--show", "2"]) == 0
    out = capsys.readouterr().out
    shown = out[out.index("files left out: 7\n") :].splitlines()
    assert [line.partition(": ")[0] for line in shown[1:3]] == [
        "  person_02/bad.png",  # images stand first
        "  person_03/zero.png",
    ]
    assert shown[3] == "  and 5 more (--show N, --json, --out FILE)"
    assert main([*words, "--json"]) == 0
    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert len(left_out) == 7
    assert "not an image" in left_out["person_03/zero.png"]
    assert left_out["person_03/notes4.txt"] == "no image by its suffix"


def test_without_the_pretrained_network_labels_are_not_doubted(people, monkeypatch, capsys):
    from siamese.errors import MissingDependencyError

    def missing():
        raise MissingDependencyError("it is not installed")

    monkeypatch.setattr(pretrained, "pretrained_bundle", missing)
    assert main(["audit", str(people)]) == 0
    assert "labels are not doubted: it is not installed" in capsys.readouterr().err
    assert main(["audit", str(people), "--bundle", "pretrained"]) == 2


def test_mistakes_are_named(people, tmp_path, capsys):
    for words, said in [
        ([str(people), "--near", "300"], "0 to 256"),
        ([str(people), "--root", str(tmp_path)], "--root"),
        ([str(tmp_path / "nowhere")], "no such folder"),
        ([str(people), "--bundle", str(tmp_path / "nothing")], "nothing"),
    ]:
        assert main(["audit", *words]) == 2
        assert_says(capsys.readouterr().err.strip(), said)
