"""Who may import whom: reads the imports of every file and holds them against the rooms' order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "siamese"
RANKS = [
    {
        "errors",
        "storage",
        "checkpoint_files",
        "reading",
        "bounds",
        "registry",
        "plugins",
        "progress",
        "notices",
        "processes",
        "launched",
        "weight_files",
    },
    {"distances", "pairs"},
    {"datasets", "faces", "backbones", "losses"},
    {"data", "verification"},
    {"inference", "report"},
    {"evaluation", "training"},
    {"app"},
    {"cli", "__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
# Within a rank the rooms do not know each other, but for these: from -> to.
ACQUAINTED = {
    ("training", "evaluation"),
    ("__main__", "cli"),
    ("bounds", "errors"),
    ("registry", "errors"),
    ("registry", "plugins"),
    ("plugins", "errors"),
    ("weight_files", "errors"),
    ("checkpoint_files", "errors"),
    ("notices", "launched"),
    ("processes", "launched"),
    ("processes", "errors"),
    ("checkpoint_files", "reading"),
}
# Which of our rooms may import which packages that are slow to load or dangerous to spread.
OWNERS = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "dlib": {"faces"},
    "albumentations": {"data"},
    "pytorch_lightning": {"data", "training", "cli"},
    "torchmetrics": {"training"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "cryptography": {"inference"},
    "pyarrow": {"datasets", "evaluation"},
    "starlette": {"app"},
    "uvicorn": {"app"},
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def violations(files: dict[Path, set[str]]) -> list[str]:
    wrong = []
    for path, names in files.items():
        here = room(path)
        for name in names:
            parts = name.split(".")
            there = parts[1] if len(parts) > 1 else "siamese"
            if parts[0] == "siamese" and there not in RANK and here != "cli":
                # All public names are loaded lazily from there: any room would reach any other.
                wrong.append(f"{here} imports {name}")
            elif parts[0] == "siamese" and there in RANK and there != here:
                strangers = RANK[there] == RANK[here] and (here, there) not in ACQUAINTED
                if RANK[there] > RANK[here] or strangers:
                    wrong.append(f"{here} imports {there}")
            if here not in OWNERS.get(parts[0], {here}):
                wrong.append(f"{here} imports {parts[0]}")
            if "_internal" in parts:
                wrong.append(f"{here} imports {name}")
    return wrong


FILES = {path: imports(path) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"}


def test_every_room_has_a_rank():
    assert {room(path) for path in FILES} == set(RANK)


def test_no_room_imports_a_higher_one():
    assert violations(FILES) == []


def test_backbones_and_losses_are_injected_into_the_module_never_imported():
    names = FILES[ROOT / "training" / "module.py"]
    rooms = ("siamese.backbones", "siamese.losses")
    bases = ("siamese.backbones.base", "siamese.losses.base")
    assert not [n for n in names if n.startswith(rooms) and not n.startswith(bases)]


def test_only_one_file_imports_dlib():
    files = [p.name for p, names in FILES.items() if any(n.split(".")[0] == "dlib" for n in names)]
    assert files == ["detect.py"]


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("faces/crops.py", "siamese.data.splits", "faces imports data"),
        ("data/splits.py", "siamese.verification", "data imports verification"),
        ("distances/base.py", "siamese.training.module", "distances imports training"),
        ("evaluation/run.py", "siamese.training.run", "evaluation imports training"),
        ("training/run.py", "hydra.utils", "training imports hydra"),
        ("inference/verifier.py", "pytorch_lightning", "inference imports pytorch_lightning"),
        ("cli/train.py", "hydra._internal.utils", "cli imports hydra._internal.utils"),
        ("distances/base.py", "siamese", "distances imports siamese"),
        ("distances/base.py", "siamese.SiameseModule", "distances imports siamese.SiameseModule"),
        ("storage.py", "siamese.registry", "storage imports registry"),
    ],
)
def test_a_forbidden_import_is_caught(file, name, expected):
    assert violations({ROOT / file: {name}}) == [expected]


def test_every_file_opens_with_a_sentence():
    for path in FILES:
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc, path
        assert doc.splitlines()[0].endswith("."), path


def test_no_function_shadows_its_module():
    for path in FILES:
        names = {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        assert path.stem not in names - {"main"}, path  # an entry point is called so everywhere
