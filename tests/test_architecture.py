"""Who may import whom: reads the imports of every file and holds them against the order of the rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "siamese"
RANKS = [
    {"errors", "storage", "registry", "distances", "weight_files"},
    {"identities", "faces", "backbones", "losses", "pairs"},
    {"data", "verification"},
    {"metrics", "module", "report", "comparing"},
    {"callbacks", "bundle", "pretrained", "verifier", "artifacts", "resuming"},
    {"training"},
    {"cli", "__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
# Within these ranks the rooms do not know each other.
STRANGERS = (1, 2)
# Which of our rooms may import which packages that are slow to load or dangerous to spread.
OWNERS = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "dlib": {"faces"},
    "albumentations": {"data"},
    "pytorch_lightning": {"data", "module", "callbacks", "resuming", "training", "cli"},
    "matplotlib": {"report"},
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
            if parts[0] == "siamese" and len(parts) > 1 and parts[1] in RANK and parts[1] != here:
                there = parts[1]
                if RANK[there] > RANK[here] or (
                    RANK[there] == RANK[here] and RANK[here] in STRANGERS
                ):
                    wrong.append(f"{here} imports {there}")
            if here not in OWNERS.get(parts[0], {here}):
                wrong.append(f"{here} imports {parts[0]}")
    return wrong


FILES = {path: imports(path) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"}


def test_every_room_has_a_rank():
    assert {room(path) for path in FILES} == set(RANK)


def test_no_room_imports_a_higher_one():
    assert violations(FILES) == []


def test_backbones_and_losses_are_injected_into_the_module_never_imported():
    names = FILES[ROOT / "module.py"]
    assert not [n for n in names if n.startswith(("siamese.backbones", "siamese.losses"))]


def test_only_one_file_imports_dlib():
    assert [
        p.name for p, names in FILES.items() if any(n.split(".")[0] == "dlib" for n in names)
    ] == ["detect.py"]


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("faces/crops.py", "siamese.data.splits", "faces imports data"),
        ("data/splits.py", "siamese.verification", "data imports verification"),
        ("distances.py", "siamese.module", "distances imports module"),
        ("training.py", "hydra.utils", "training imports hydra"),
        ("verifier.py", "pytorch_lightning", "verifier imports pytorch_lightning"),
    ],
)
def test_a_forbidden_import_is_caught(file, name, expected):
    assert violations({ROOT / file: {name}}) == [expected]


def test_every_file_opens_with_a_sentence():
    for path in FILES:
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc, path
        assert doc.splitlines()[0].endswith("."), path
