"""write_report: one run, or several side by side, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.errors import ConfigError, printable
from siamese.report import data_sections, page_sections
from siamese.report.group_section import groups_section
from siamese.report.inline_svg import Chart
from siamese.report.page_parts import PageSection
from siamese.report.record import RunRecord, read_record
from siamese.report.side_by_side import comparison_sections
from siamese.report.sweep_page import describe_sweep
from siamese.report.sweep_runs import is_sweep
from siamese.report.verdict import judge_run
from siamese.storage import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"
_MARK = b"<!-- a report of siamese -->"
_TEMPLATES = Path(__file__).parent / "page"
_MOST = 20  # runs on one page


def write_report(runs: Any, path: str | Path | None = None, *, faces: bool = True) -> Path:
    """Write the report on one run, or on several side by side, as one HTML file.

    The file needs no network and no other file. It is made of what lies in the runs' folders; no
    image of the data is opened. The same folders give the same bytes.

    Args:
        runs: a run (what ``siamese.train`` returned, or its folder), the folder of an evaluation
            (``evaluation.write(folder)``), or a list of them; or the folder of a sweep.
        path: of the file; by default ``report.html`` in the folder of the only run.
        faces: whether images are shown; without them nobody is to be seen on the page, though
            names of people and files are.

    Returns:
        where it was written.

    Raises:
        ConfigError: a folder without figures, several runs without a path, or a path at which
            something else lies.
    """
    folders = [_folder(run) for run in (runs if isinstance(runs, (list, tuple)) else [runs])]
    if not folders:
        raise ConfigError("a report needs a run: give its folder, or several")
    if len(folders) > _MOST:
        raise ConfigError(f"{len(folders)} runs are too many for one page: give up to {_MOST}")
    if path is None and len(folders) > 1:
        raise ConfigError("say where the report on several runs goes: path=FILE (--out FILE)")
    if len(folders) == 1 and is_sweep(folders[0]):
        return write_sweep_report(folders[0], path)
    target = folders[0] / PAGE if path is None else Path(path).expanduser()
    _check_target(target)
    content = report_page([read_record(folder) for folder in folders], faces=faces)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content.encode())
    return target


def write_sweep_report(
    folder: str | Path, path: str | Path | None = None, *, mark: str | None = None
) -> Path:
    """Write the report on a sweep, which shows no image.

    Args:
        folder: of the sweep.
        path: of the file; by default ``report.html`` in that folder.
        mark: see :func:`siamese.report.sweep_runs.read_sweep`.

    Returns:
        where it was written.

    Raises:
        ConfigError: no run lies there, or something else lies at the path.
    """
    folder = Path(folder).expanduser()
    target = folder / PAGE if path is None else Path(path).expanduser()
    _check_target(target)
    content = _rendered(describe_sweep(folder, mark))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content.encode())
    return target


def report_page(records: Sequence[RunRecord], *, faces: bool = True) -> str:
    """The page on one run, or on several, as HTML.

    Args:
        records: of the runs, one at least.
        faces: whether images are shown.
    """
    if len(records) == 1:
        record = records[0]
        verdict = judge_run(record)
        name = record.stored.name if record.stored else record.provenance.get("dataset", "")
        context: dict[str, Any] = {
            "kind": "Report on a run",
            "title": f"{name}: {record.name}" if name not in ("", record.name) else record.name,
            "verdict": verdict,
            "sections": _sections(record, faces),
            "missing": record.missing,
            "notes": record.stored.notes if record.stored else (),
        }
    else:
        named = _with_distinct_names(records)
        context = {
            "kind": "Comparison",
            "title": f"{len(named)} runs side by side",
            "verdict": None,
            "notes": (),
            "sections": comparison_sections(named),
            "missing": [f"{r.name}: {text}" for r in named for text in r.missing],
        }
    return _rendered(context)


def _rendered(context: dict[str, Any]) -> str:
    """The page as HTML."""
    script, style = _text("hover.js"), _text("style.css")
    # Nothing but this one script runs, whatever names of people and files hold.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    context |= {"script": script, "style": style, "digest": digest, "mark": _MARK.decode()}
    return _environment().get_template("report.html").render(context)


def _sections(record: RunRecord, faces: bool) -> list[PageSection]:
    """The sections of one run, in the order of the page."""
    return [
        page_sections.baselines_section(record),
        page_sections.threshold_section(record),
        page_sections.learning_section(record),
        page_sections.distances_section(record),
        page_sections.errors_section(record),
        page_sections.reliability_section(record),
        groups_section(record),
        data_sections.mistakes_section(record, faces),
        data_sections.batch_section(record, faces),
        data_sections.data_section(record),
        data_sections.settings_section(record),
    ]


def _folder(run: Any) -> Path:
    """The folder of a run."""
    folder = run if isinstance(run, (str, os.PathLike)) else getattr(run, "folder", None)
    if not isinstance(folder, (str, os.PathLike)):
        raise ConfigError(
            f"a {type(run).__name__} is no run: give its folder, or what siamese.train returned"
        )
    return Path(folder).expanduser()


def _check_target(target: Path) -> None:
    """Refuse to write over what is no report.

    Raises:
        ConfigError: see above.
    """
    if target.is_dir():
        raise ConfigError(f"{target} is a folder: give the path of a file (path=, --out)")
    if not target.exists():
        return
    if not target.is_file():  # opening a pipe would wait for ever
        raise ConfigError(f"{target} is no regular file: give another path (path=, --out)")
    with target.open("rb") as stream:
        begins = stream.read(200)
    if _MARK not in begins:
        raise ConfigError(f"{target} is there, and is no report of siamese: give another path")


def _with_distinct_names(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Runs whose folders have one name are numbered."""
    from dataclasses import replace

    names = [record.name for record in records]
    return [
        replace(record, name=f"{record.name} ({place + 1})")
        if names.count(record.name) > 1
        else record
        for place, record in enumerate(records)
    ]


def _as_json(charts: Sequence[Chart]) -> str:
    """What the pointer finds, as JSON that cannot end the element it stands in."""
    found = {
        chart.name: {"width": chart.width, "height": chart.height, "series": chart.hover}
        for chart in charts
    }
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """A text as the page shows it: names of strangers turn no line around, and hide nothing."""
    if type(value) is not str:
        return value
    # A line does not end between a number and its unit.
    return printable(value, "\n\t").replace(" %", "\u00a0%")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        finalize=_shown,
        autoescape=True,  # names of people and files are text of strangers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["as_json"] = _as_json
    return made
