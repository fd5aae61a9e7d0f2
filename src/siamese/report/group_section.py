"""The section on groups of one run's report."""

from __future__ import annotations

from siamese.report.page_parts import PageSection, PageTable
from siamese.report.record import RunRecord
from siamese.report.stored_report import StoredColumn
from siamese.report.words import TITLES, interval, percent

_GROUPS = 40  # rows of a table of groups


def groups_section(record: RunRecord) -> PageSection:
    """Error rates within each group, and where they are shown to differ."""
    groups = record.figures[record.judged].groups
    if not groups:
        said = [
            "The data name no groups, so it is not known whether all are served alike. A CSV file "
            "with a column group, or group_..., gives figures by group."
        ]
        return PageSection("groups", "Groups", said)
    tables = [_group_table(column, found) for column, found in groups.items()]
    points = []
    for column, found in groups.items():
        for rate, unequal in found.disparities.items():
            words = TITLES.get(rate, rate)
            if unequal.differs:
                high, low = unequal.differs
                points.append(
                    f"{column}: the {words} of {high} is higher than that of {low}; their "
                    f"intervals do not overlap."
                )
            else:
                points.append(f"{column}: no difference of the {words} is shown between groups.")
    return PageSection("groups", "Groups", tables=tables, points=points)


def _group_table(column: str, found: StoredColumn) -> PageTable:
    header = ["group", "identities", "genuine pairs", "impostor pairs", "FMR", "FNMR"]
    within = [cell for cell in found.cells if cell.groups[0] == cell.groups[1]]
    between = [cell for cell in found.cells if cell.groups[0] != cell.groups[1]]
    rows = [
        [
            " and ".join(dict.fromkeys(cell.groups)) or "(none)",
            *(f"{n:,}" for n in (cell.identities, cell.genuine, cell.impostor)),
            *(
                "no such pairs"
                if rate is None
                else f"{percent(rate)} ({interval(cell.ci95.get(name), 'percent')})"
                for name, rate in (("fmr", cell.fmr), ("fnmr", cell.fnmr))
            ),
        ]
        for cell in [*within, *between][:_GROUPS]
    ]
    left = len(within) + len(between) - len(rows)
    note = "Accepting every pair has a FMR of 100 %, refusing every pair a FNMR of 100 %."
    note += f" {found.unknown:,} images have no group." if found.unknown else ""
    note += f" {left:,} more rows are in evaluation.json." if left else ""
    return PageTable(f"By {column}", header, rows, note)
