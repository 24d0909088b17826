"""A CSV table of cases: which files belong together, and whose they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name, stem
from metseg.io.tables import read_lines

COLUMNS: Final = ("case", "patient", "prediction", "reference", "probability")


@dataclass(frozen=True)
class PairRow:
    """One line of the table; empty text where a cell is empty or its column missing.

    Args:
        case: its name; without that column the reference's file name.
        patient: whose case it is.
        prediction: file, from the folder of the predictions on.
        reference: file, from the folder of the references on.
        probability: file, from the folder of the predictions on.
    """

    case: str
    patient: str = ""
    prediction: str = ""
    reference: str = ""
    probability: str = ""


def read_pair_table(path: Path) -> tuple[PairRow, ...]:
    """Read a table with a header line.

    Columns: ``prediction`` and ``reference`` (and perhaps ``case``, ``patient``, ``probability``), or ``case`` and
    ``patient`` alone. Other columns are left alone; an empty ``prediction`` is a missing one.

    Raises:
        InputError: a table that cannot be read, lacks columns or cells, or names a case twice.
    """
    name = shown_name(path)
    lines = read_lines(path)
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if not ({"prediction", "reference"} <= set(header) or {"case", "patient"} <= set(header)):
        raise InputError(
            f"The table {name} has the columns {', '.join(header) or 'none'}.",
            hint="It needs a header line with prediction and reference, or with case and patient.",
        )
    rows = [_row(header, line, f"line {number} of {name}") for number, line in enumerate(lines[1:], 2) if any(line)]
    _check_once([row.case for row in rows], name)
    return tuple(rows)


def _row(header: Sequence[str], line: Sequence[str], where: str) -> PairRow:
    cells = {column: cell.strip() for column, cell in zip(header, line) if column in COLUMNS}
    if "reference" in header and not cells.get("reference"):
        raise InputError(f"The cell reference is empty in {where}.", hint="Name the file, or remove the line.")
    case = cells.get("case") or stem(Path(cells.get("reference", "")).name)
    if not case:
        raise InputError(f"The cell case is empty in {where}.", hint="Name the case, or remove the line.")
    return PairRow(**{**cells, "case": shown_name(Path(case))})


def _check_once(cases: Sequence[str], name: str) -> None:
    if not cases:
        raise InputError(f"The table {name} has no line below its header.", hint="Give a line a case.")
    twice = next((case for case in cases if cases.count(case) > 1), None)
    if twice is not None:
        raise InputError(f"The table {name} names case {twice} twice.", hint="Give every case a name of its own.")
