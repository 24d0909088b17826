"""Tables as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name

# A spreadsheet takes text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header line and one line a row; what a row lacks, and None, gives an empty cell.

    Text that a spreadsheet would take for a formula gets an apostrophe in front. Truth is written as 1 and 0.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([as_cell(column) for column in columns])
    for row in rows:
        writer.writerow([as_cell(row.get(column)) for column in columns])
    return text.getvalue()


def read_lines(path: Path) -> list[list[str]]:
    """The lines of a table in UTF-8, each as its cells.

    Raises:
        InputError: it cannot be read, or is no table in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no table in UTF-8"
        raise InputError(
            f"The table {shown_name(path)} cannot be read: {reason}.", hint="Save it as CSV in UTF-8."
        ) from error


def read_table(path: Path, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a table with a header line, by column; empty lines left out, the mark before formulas taken off.

    Raises:
        InputError: it cannot be read, lacks a column, or has a line of another length than its header.
    """
    lines = read_lines(path)
    header = [cell.strip() for cell in lines[0]] if lines else []
    if missing := [column for column in required if column not in header]:
        raise InputError(
            f"The table {shown_name(path)} lacks the column {missing[0]}; it has {', '.join(header) or 'none'}.",
            hint=f"It needs a header line with {', '.join(required)}.",
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        if len(line) != len(header):
            raise InputError(
                f"Line {number} of {shown_name(path)} has {len(line)} cells, but its header {len(header)}.",
                hint="Save it as CSV again, with commas between cells.",
            )
        rows.append({column: _plain(cell) for column, cell in zip(header, line, strict=True)})
    return rows


def _plain(cell: str) -> str:
    return cell[1:].strip() if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell.strip()


def as_cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: text that it would take for a formula gets an apostrophe in front."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) and value != "-Infinity" else value
    return "" if value is None else value
