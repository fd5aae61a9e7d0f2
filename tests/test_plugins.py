"""Plug-ins: what an installed package announces is found by name, and nothing else is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import assert_says, write_identities

import siamese
from siamese.cli.main import main
from siamese.errors import ConfigError, MissingDependencyError, UnknownNameError
from siamese.plugins import import_plugin, place_of

NET = """
import siamese
import torch


class TinyNet(siamese.Backbone):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.width = self.embedding_size = width
        self.last = torch.nn.Linear(3, width)

    def forward(self, images):
        return self.last(images.float().mean(dim=(2, 3)) / 255)
"""


def install(site: Path, name: str, points: dict[str, str], **files: str) -> Path:
    """What pip leaves of a package: its files, and the record that importlib.metadata reads."""
    site.mkdir(exist_ok=True)
    for file, text in files.items():
        (site / f"{file}.py").write_text(text)
    record = site / f"{name}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (record / "entry_points.txt").write_text("[siamese.plugins]\n" + "\n".join(lines) + "\n")
    return site


@pytest.fixture
def site(tmp_path, monkeypatch):
    points = {
        "backbone.tiny_of_plugin": "tiny_plugin:TinyNet",
        "backbone.broken_of_plugin": "broken_plugin:Net",
        "backbone.function_of_plugin": "tiny_plugin:torch.numel",
        "backbone.small_res_net": "broken_plugin:Net",
        "policy.strict_of_plugin": "policy_plugin:Strict",
    }
    policy = "import siamese\n\nclass Strict(siamese.Fmr):\n    pass\n"
    files = {"tiny_plugin": NET, "broken_plugin": "import no_such_module", "policy_plugin": policy}
    folder = install(tmp_path / "site", "siamese-plugin-of-tests", points, **files)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for registry, name in (
        (siamese.BACKBONES, "tiny_of_plugin"),
        (siamese.POLICIES, "strict_of_plugin"),
    ):
        registry._classes.pop(name, None)
    for module in files:
        sys.modules.pop(module, None)


def test_only_the_plugin_that_is_named_is_imported(site):
    assert "tiny_of_plugin" in siamese.BACKBONES
    assert {"tiny_of_plugin", "broken_of_plugin"} <= set(siamese.BACKBONES)
    assert "tiny_plugin" not in sys.modules
    built = siamese.BACKBONES.build({"name": "tiny_of_plugin", "width": 5})
    assert built.width == 5
    assert siamese.BACKBONES.settings(built) == {"name": "tiny_of_plugin", "width": 5}
    assert not {"broken_plugin", "policy_plugin"} & set(sys.modules)
    assert siamese.POLICIES.build({"name": "strict_of_plugin", "rate": 0.1}).rate == 0.1


def test_no_plugin_takes_a_name_of_ours(site):
    assert siamese.BACKBONES["small_res_net"] is siamese.SmallResNet
    assert "broken_plugin" not in sys.modules


def test_a_plugin_that_cannot_be_used_says_why(site):
    with pytest.raises(MissingDependencyError) as caught:
        siamese.BACKBONES["broken_of_plugin"]
    assert_says(caught.value, "broken_plugin:Net", "siamese-plugin-of-tests", "no_such_module")
    with pytest.raises(ConfigError) as caught:
        siamese.BACKBONES["function_of_plugin"]
    assert_says(caught.value, "not a class", "package.module:Class")
    with pytest.raises(UnknownNameError, match="did you mean 'tiny_of_plugin'"):
        siamese.BACKBONES["tiny_of_plugins"]


def siamese_command(words, folder, *paths):
    """The command in a process of its own, which knows nothing of what tests have imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-m", "siamese", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_network_outside_the_package_is_trained_and_verifies(tmp_path, monkeypatch):
    """Trained from the command line; its bundle opened with its plug-in, and with its file."""
    identities = write_identities(tmp_path / "identities", [4] * 8)
    registered = NET.replace(
        "class TinyNet", '@siamese.BACKBONES.register("tiny_net")\nclass TinyNet'
    )
    site = install(
        tmp_path / "site", "tiny-net", {"backbone.tiny_net": "own_net:TinyNet"}, own_net=registered
    )
    group = tmp_path / "conf" / "module" / "backbone"
    group.mkdir(parents=True)
    (group / "tiny_net.yaml").write_text("_target_: own_net.TinyNet\nwidth: 4\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    words = ["module/backbone=tiny_net", "module.backbone.width=6", "max_epochs=1", "plots=false"]
    data = ["data=folder", f"data.root={identities}", "data/cropper=none", "data.cropper.size=16"]
    words += [*data, "data.workers=0", "hydra.run.dir=run"]
    assert main(["train", "--config-dir", "conf", *words]) == 0
    described = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert described["backbone"] == {"name": "tiny_net", "width": 6}
    assert described["origins"] == {"backbone": "own_net.TinyNet of the package tiny-net"}

    a, b = sorted(identities.rglob("*.png"))[:2]
    verify = ["verify", a, b, "--bundle", "run"]
    found = siamese_command(verify, tmp_path, site)
    assert found.returncode in (0, 1), found.stderr
    by_file = siamese_command([*verify, "--plugin", site / "own_net.py"], tmp_path)
    assert (by_file.returncode, by_file.stdout) == (found.returncode, found.stdout)
    changed = tmp_path / "changed.py"
    changed.write_text(registered.replace("Linear(3, width)", "Linear(3, 2 * width)"))
    other = siamese_command([*verify, "--plugin", changed], tmp_path)
    assert_says(
        other.stderr.strip(), "weights do not fit", "last.weight", "[6, 3]", "own_net.TinyNet of",
        "unchanged",
    )  # fmt: skip
    missing = siamese_command(verify, tmp_path)
    assert missing.returncode == 2
    assert_says(
        missing.stderr.strip(), "tiny_net", "own_net.TinyNet of the package tiny-net", "--plugin"
    )
    assert "Traceback" not in missing.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["no such file", "give a Python file"]),
        ("import no_such_module", ["no_such_module"]),
        ("1 / 0", ["importing it fails", "ZeroDivisionError"]),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(tmp_path, text, words):
    path = tmp_path / "bad_plugin_file.py"
    if text:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        import_plugin(str(path))
    assert_says(caught.value, path, *words)


def test_a_class_is_looked_for_where_a_person_would(tmp_path):
    path = tmp_path / "found_by_file.py"
    path.write_text("class Net: ...\n")
    import_plugin(str(path))
    (module,) = (m for n, m in sys.modules.items() if n.endswith("_found_by_file"))
    assert place_of(module.Net) == "Net in found_by_file.py"
    assert place_of(Forgetful) == f"{__name__}.Forgetful"


def test_a_file_is_imported_once_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "queue.py"  # a name of Python's own
    path.write_text("import sys\nsys.plugin_runs = getattr(sys, 'plugin_runs', 0) + 1\n")
    monkeypatch.setattr(sys, "plugin_runs", 0, raising=False)
    import_plugin(str(path))
    import_plugin(str(path))
    import queue

    assert sys.plugin_runs == 1
    assert queue.Queue
    path = tmp_path / "fails.py"
    path.write_text("import sys\nsys.exit(1)\n")
    for _ in range(2):  # not as if it had worked
        with pytest.raises(ConfigError, match=r"importing it fails.*SystemExit"):
            import_plugin(str(path))
    path.write_text("import no_such_module_of_tests\n")
    with pytest.raises(
        ConfigError, match="needs 'no_such_module_of_tests', which is not installed"
    ):
        import_plugin(str(path))
    with pytest.raises(ConfigError, match=r"nowhere\.nets: no such module; give a Python file"):
        import_plugin("nowhere.nets")


class Forgetful(siamese.Backbone):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embedding_size = width


class Odd(siamese.Backbone):
    def __init__(self, width: object = None) -> None:
        super().__init__()
        self.width, self.embedding_size = width or object(), 4


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Forgetful, ["Forgetful", "'width'", "write self.width = width"]),
        (Odd, ["Odd.width", "object", "numbers, strings"]),
    ],
)
def test_a_component_that_could_not_be_built_again_says_so(cls, words):
    siamese.BACKBONES.register(f"{cls.__name__.lower()}_of_tests")(cls)
    try:
        with pytest.raises(ConfigError) as caught:
            siamese.BACKBONES.settings(cls())
        assert_says(caught.value, *words)
    finally:
        siamese.BACKBONES._classes.pop(f"{cls.__name__.lower()}_of_tests")


def test_an_error_in_a_network_of_ones_own_is_not_called_ours(tmp_path, monkeypatch, capsys):
    identities = write_identities(tmp_path / "identities", [4] * 8)
    text = NET.replace("return self.last", "return self.first").replace(
        "class TinyNet", '@siamese.BACKBONES.register("faulty_net")\nclass FaultyNet'
    )
    (tmp_path / "faulty_net.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    group = tmp_path / "conf" / "module" / "backbone"
    group.mkdir(parents=True)
    (group / "faulty_net.yaml").write_text("_target_: faulty_net.FaultyNet\n")
    words = ["module/backbone=faulty_net", "data=folder", f"data.root={identities}"]
    words += ["data/cropper=none", "data.cropper.size=16", "data.workers=0", "plots=false"]
    assert main(["train", "--config-dir", "conf", *words]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert_says(line, "AttributeError", "faulty_net.py, line", "no part of siamese")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class MyNet:\n    def\n", ["own_bad.py, line 2", "correct that file"]),
        ("class MyNot: ...\n", ["own_bad has no MyNet (did you mean 'MyNot'?)"]),
        ("import no_such_module_of_tests\n", ["needs 'no_such_module_of_tests'"]),
        (None, ["no module 'own_bad'", "plugins=[own_bad.py]", "PYTHONPATH=."]),
    ],
)
def test_a_target_that_cannot_be_found_says_where_to_look(
    tmp_path, monkeypatch, capsys, text, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_bad", raising=False)
    if text:
        (tmp_path / "own_bad.py").write_text(text)
    group = tmp_path / "conf" / "module" / "backbone"
    group.mkdir(parents=True)
    (group / "own_bad.yaml").write_text("_target_: own_bad.MyNet\n")
    own = ["--config-dir", "conf", "module/backbone=own_bad"]
    assert main(["train", *own]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert_says(line, *words)
    assert "bug in siamese" not in line
    assert main(["train", "--config-dir", "cnf", "module/backbone=own_bad"]) == 2
    assert "--config-dir cnf: no such folder" in capsys.readouterr().err


def test_a_cropper_of_a_file_crops_in_other_processes(tmp_path):
    path = tmp_path / "corner_cropper.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import siamese\n\n"
        "@siamese.CROPPERS.register('corner_of_tests')\n"
        "@dataclass(frozen=True)\n"
        "class Corner(siamese.Cropper):\n"
        "    def __call__(self, image):\n"
        "        return siamese.Crop(image[: self.size, : self.size].copy(), None)\n"
    )
    import_plugin(str(path))
    try:
        cropper = siamese.CROPPERS.build({"name": "corner_of_tests", "size": 16})
        images = sorted(write_identities(tmp_path / "identities", [20] * 2).rglob("*.png"))
        found = siamese.crop_files(
            images, cropper, cache=tmp_path / "cache", workers=2, progress=False
        )
        assert found.computed == 40
        assert all(file.is_file() for file in found.files)
    finally:
        siamese.CROPPERS._classes.pop("corner_of_tests")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("MyNet", ["a target is MODULE.CLASS", "mine.MyNet"]),
        (
            "siamese.IdentityTable.from_foldr",
            ["siamese.IdentityTable has no from_foldr", "from_folder"],
        ),
        ("siamese.SmallResNett", ["siamese has no SmallResNett", "'SmallResNet'"]),
    ],
)
def test_a_target_is_followed_as_far_as_it_goes(tmp_path, monkeypatch, capsys, target, words):
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"module.backbone._target_={target}"]) == 2
    assert_says(capsys.readouterr().err.strip().splitlines()[-1], *words)
