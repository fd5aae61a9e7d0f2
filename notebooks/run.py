"""Run the notebooks from top to bottom and save them with what they show: ``make notebooks``.

What would differ between machines is not kept: times, absolute paths, what goes to stderr, and
moving lines. Pictures are made smaller.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).parent
COLOURS = 128
WIDEST = 1000  # pixels of a picture
# Escape sequences of terminals; what says how long something took.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TIMES = re.compile(r"^training took .*\n?|(?<=now), [\d.]+ s(?=\))", re.MULTILINE)


def execute(path: Path, folder: Path, timeout: int = 1800) -> nbformat.NotebookNode:
    """Execute a notebook in ``folder``, where its runs go.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    execute_cells(notebook, folder, timeout)
    return notebook


def execute_cells(notebook: nbformat.NotebookNode, folder: Path, timeout: int) -> None:
    """Execute a notebook in place; modules beside the notebooks can be imported."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FOLDER), before]))
    try:
        nbclient.NotebookClient(
            notebook,
            timeout=timeout,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def tidied(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook with outputs that look the same on every machine."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            kept = (_output(output, folder) for output in _joined(cell.outputs))
            cell.outputs = [output for output in kept if output]
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            # A test compares it with the cells: what is shown is what they gave.
            "siamese": {"executed": digest(notebook)},
        }
    )
    return notebook


def digest(notebook: nbformat.NotebookNode) -> str:
    """Of all code in a notebook: the SHA-256 sum of its cells, in order."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def _joined(outputs: list[Any]) -> list[Any]:
    """What was printed in one piece, which a busy machine sends in several."""
    found: list[Any] = []
    for output in outputs:
        last = found[-1] if found else None
        both = last is not None and last.output_type == output.output_type == "stream"
        if both and last.name == output.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def _output(output: Any, folder: Path) -> Any:
    """One output; None for what is not kept."""
    if output.output_type == "stream":
        text = _text(output.text, folder)
        if output.name != "stdout" or not text.strip():
            return None
        output.text = text
        return output
    data = output.get("data")
    if data is None:
        return output
    for kind in ("text/plain", "text/html"):
        if kind in data:
            data[kind] = _text(data[kind], folder)
    if "image/png" in data:
        shown = output.metadata.pop("image/png", {})
        kind, picture = smaller(data.pop("image/png"), shown.get("width", WIDEST))
        data[kind] = picture
    # A moving line that has ended leaves an empty output.
    return output if any(str(value).strip() for value in data.values()) else None


def _text(text: str, folder: Path) -> str:
    """Text without escape sequences, times, and folders of this machine."""
    text = _TIMES.sub("", _ESCAPES.sub("", text))
    text = re.sub(r"[^\s'\"(]*/site-packages/", "", text)
    for root in (folder.resolve(), folder, FOLDER.parent, Path.home()):
        text = text.replace(f"{root}/", "").replace(str(root), ".")
    return "\n".join(line.split("\r")[-1] for line in text.split("\n"))


def smaller(png: str, widest: int = WIDEST) -> tuple[str, str]:
    """A picture as PNG with few colours, or as JPEG where that is much smaller: photographs.

    Args:
        png: the picture, in base64.
        widest: pixels of its width at most.

    Returns:
        its MIME type, and the picture in base64.
    """
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    if image.width > widest:
        size = (widest, image.height * widest // image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    drawn, photographed = io.BytesIO(), io.BytesIO()
    # The default method mixes the colours of thin lines.
    few = image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(drawn, "PNG", optimize=True)
    image.save(photographed, "JPEG", quality=75, optimize=True)
    kinds = {"image/png": drawn.getvalue(), "image/jpeg": photographed.getvalue()}
    kind = "image/jpeg" if 4 * photographed.tell() < 3 * drawn.tell() else "image/png"
    return kind, base64.b64encode(kinds[kind]).decode()


def main() -> None:
    """Execute and save the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="such as 01_train; by default all")
    names = parser.parse_args().names
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            notebook = tidied(execute(path, Path(folder)), Path(folder))
        nbformat.write(notebook, path)
        size = path.stat().st_size // 1000
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {size} KB", flush=True)


if __name__ == "__main__":
    main()
