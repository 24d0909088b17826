"""A CSV table: one line a case, one column a sequence."""

from pathlib import Path
from typing import Final

from pydantic import Field

from metseg.core.errors import InputError
from metseg.core.study import SEQUENCES
from metseg.datasets.source import (
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
    kept_name,
)
from metseg.io.tables import read_table


class TableOptions(LayoutOptions):
    """Where the table is."""

    table: str = Field(default="cases.csv", description="the table, from the folder of the data set on")


def _find(src: Path, options: TableOptions) -> FoundSet:
    rows = read_table(src / options.table, required=("patient",))
    columns: list[str] = [sequence for sequence in SEQUENCES if rows and sequence in rows[0]]
    if not columns:
        raise InputError(
            f"The table {options.table} names no image.",
            hint=f"It needs columns patient, mask and at least one of {', '.join(SEQUENCES)}; time_point if there are "
            "several visits.",
        )
    cases = tuple(_case(src, row, columns, number) for number, row in enumerate(rows, 2))
    return FoundSet(cases, sequences=tuple(columns))


def _case(src: Path, row: dict[str, str], columns: list[str], line: int) -> SourceCase:
    patient, time_point, mask = row["patient"], row.get("time_point", ""), row.get("mask", "")
    named = {sequence: row[sequence] for sequence in columns if row[sequence]}
    outside = [path for path in (*named.values(), mask) if not (src / path).resolve().is_relative_to(src.resolve())]
    problem = f"The table leads out of the folder, to {Path(outside[0]).name}." if outside else ""
    return SourceCase(
        name=kept_name(row["case"]) if row.get("case") else case_name(patient, time_point),
        patient=patient or f"line {line}",
        time_point=time_point,
        images={} if outside else {sequence: SourceFile(src / path) for sequence, path in named.items()},
        masks=(SourceMask(SourceFile(src / mask), {1: 1}),) if mask and not outside else (),
        unlabelled=not mask,
        problem=problem or ("" if patient else f"Line {line} of the table names no patient."),
    )


TABLE: Final = Adapter(
    name="csv",
    title="CSV table",
    expects="cases.csv with columns patient, mask, t1c …, perhaps case and time_point; files from SRC on",
    licence="yours",
    access="your own data",
    find=_find,
    options=TableOptions,
    uncertain=("Masks are expected to hold 0 and 1; --labels says otherwise. A line without a mask is unlabelled.",),
)
