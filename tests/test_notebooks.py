"""The notebooks run from top to bottom, hold no logic, and show what their cells gave."""

import ast
import base64
import importlib.util
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers import random_image

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "notebooks" / "run.py")
run_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_notebooks)

# Changes that make it short; then patterns of what it prints.
TO_SHORTEN = {
    "01_train": {"EPOCHS = 8": "EPOCHS = 1", "steps=50": "steps=2"},
    "02_threshold": {"EPOCHS = 60": "EPOCHS = 1"},
    "03_verify_search_export": {"EPOCHS = 6": "EPOCHS = 1", "steps=50": "steps=2"},
    "04_predecessors": {
        "PEOPLE = 40": "PEOPLE = 20",
        "COMPARER_EPOCHS, SIMILARITY_EPOCHS = 20, 1": "COMPARER_EPOCHS, SIMILARITY_EPOCHS = 1, 1",
        "train=300, validation=30, test=60, calibration=60": (
            "train=30, validation=10, test=20, calibration=20"
        ),
        "pairs=24, steps=12": "pairs=4, steps=1",
        'baselines=["untrained"]': "baselines=[]",
    },
    "05_your_own": {"EPOCHS = 6": "EPOCHS = 1", "steps=30": "steps=2"},
}
PRINTED = {
    "01_train": [r"note: .*before training \d", r"runs/01_train/report\.html", r"1, Box\("],
    "02_threshold": [
        r"module\.threshold: \d",
        r"with a confidence of 0\.95",
        r"bad lens: +\[ *-?\d",
    ],
    "03_verify_search_export": [r"Gallery\(6 people", r"OnnxExport\(", r"onnxruntime: \d"],
    "04_predecessors": [r"LearnedDistance", r"image_disjoint", r"held_out_identities"],
    "05_your_own": [r"before training \d"],
}
# The lesson of these is a class of one's own.
OWN_CLASSES = {
    "02_threshold": {"Plain"},
    "05_your_own": {"StrokeNet", "AlignAndSpread", "EverySign"},
}
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If,
    ast.IfExp, ast.Try, ast.With, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def texts(notebook):
    outputs = shown(notebook)
    return "\n".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs)


def one_line(notebook):
    """All that is printed; where its lines end is not asked."""
    return " ".join(texts(notebook).split())


def pictures(notebook):
    kinds = ("image/png", "image/jpeg")
    return [o.data[kind] for o in shown(notebook) for kind in kinds if kind in o.get("data", {})]


def test_there_are_five():
    assert [p.stem for p in NOTEBOOKS] == list(PRINTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_import_call_and_show_and_do_nothing_else(path):
    classes = set()
    for cell in code(read(path)):
        plain = "\n".join(line for line in cell.source.split("\n") if not line.startswith("%"))
        for statement in ast.parse(plain).body:
            if isinstance(statement, ast.ClassDef):
                classes.add(statement.name)
                continue
            found = [type(node).__name__ for node in ast.walk(statement) if isinstance(node, LOGIC)]
            assert not found, f"{found} in: {cell.source}"
    assert classes == OWN_CLASSES.get(path.stem, set())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_is_saved_is_what_these_cells_gave(path):
    """Whoever changes a cell runs ``make notebooks``."""
    notebook = read(path)
    assert notebook.metadata["siamese"]["executed"] == run_notebooks.digest(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert all(o.output_type != "error" and o.get("name") != "stderr" for o in shown(notebook))
    for said in PRINTED[path.stem]:
        assert re.search(said, one_line(notebook)), said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_small_and_tells_nothing_of_the_machine(path):
    assert path.stat().st_size < 400_000
    notebook = read(path)
    assert notebook.cells[0].source.startswith("# ")
    assert len(pictures(notebook)) >= 2
    for picture in pictures(notebook):
        assert Image.open(io.BytesIO(base64.b64decode(picture))).width <= 1000
    html = "\n".join(o.get("data", {}).get("text/html", "") for o in shown(notebook))
    written = texts(notebook) + html
    assert not re.search(r"\x1b|\r|(?:/home|/root|/tmp|/work|/Users)/|site-packages", written)
    assert not re.search(r"took \d|\d s per epoch", written)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_faces_stand_beside_their_source_and_links_lead_somewhere(path):
    notebook = read(path)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if "load_orl" in str(code(notebook)) or "OrlDataModule" in str(code(notebook)):
        assert "AT&T Laboratories Cambridge" in prose
    for target in re.findall(r"\]\((?!http)([^)#]+)", prose):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path, tmp_path):
    notebook = read(path)
    for long, short in TO_SHORTEN[path.stem].items():
        assert any(long in cell.source for cell in notebook.cells), long
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    run_notebooks.execute_cells(notebook, tmp_path, timeout=300)
    assert len(pictures(notebook)) >= 2
    for said in PRINTED[path.stem]:
        assert re.search(said, one_line(notebook)), said


def test_outputs_are_made_alike_on_every_machine(tmp_path):
    image = io.BytesIO()
    Image.fromarray(random_image(1, 300, 1200)).save(image, "PNG")
    png = base64.b64encode(image.getvalue()).decode()
    new = nbformat.v4.new_output
    outputs = [
        new("stream", name="stderr", text="a warning"),
        new("stream", name="stdout", text="1%\r\x1b[1mrun: "),
        new("stream", name="stdout", text=f"{tmp_path}/runs/a\ntraining took 3 s\n"),
        new("display_data", data={"text/plain": ""}),
        new("display_data", data={"text/plain": "(cropped 9 images now, 2.5 s)"}),
        new("display_data", data={"image/png": png}, metadata={"image/png": {"width": 600}}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])
    run_notebooks.tidied(notebook, tmp_path)
    text, cropped, picture = shown(notebook)
    assert text.text == "run: runs/a\n"
    assert cropped.data["text/plain"] == "(cropped 9 images now)"
    small = Image.open(io.BytesIO(base64.b64decode(picture.data["image/jpeg"])))
    assert small.size == (600, 150)
    assert not picture.metadata
    notebook.cells[0].source = "2"
    assert notebook.metadata["siamese"]["executed"] != run_notebooks.digest(notebook)


def test_thin_lines_keep_their_colours():
    """Blue and green of the palette, two pixels wide on white, beside grey of every kind."""
    image = Image.new("RGB", (256, 40), "white")
    for x in range(256):
        image.paste((x, x, x), (x, 0, x + 1, 8))
    colours = ((0, 114, 178), (0, 158, 115))
    for place, colour in enumerate(colours):
        image.paste(colour, (0, 12 + 10 * place, 256, 14 + 10 * place))
    content = io.BytesIO()
    image.save(content, "PNG")
    kind, picture = run_notebooks.smaller(base64.b64encode(content.getvalue()).decode())
    kept = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    assert kind == "image/png"
    for place, colour in enumerate(colours):
        found = kept.getpixel((100, 12 + 10 * place))
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 20
