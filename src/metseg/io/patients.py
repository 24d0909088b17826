"""Whose case is it: by a column of a table, or by a part of the case's name."""

import re
from collections.abc import Sequence

from metseg.core.errors import ConfigError, InputError
from metseg.io.pair_table import PairRow


def patients_of(cases: Sequence[str], rows: Sequence[PairRow] = (), regex: str | None = None) -> dict[str, str]:
    """The patient of each case; without a table's column and a pattern every case is a patient of its own.

    Args:
        cases: names.
        rows: of a table; counts if any of them names a patient.
        regex: searched in the case's name: its first group, or all that matches.

    Raises:
        InputError: a case that the table or the pattern tells nothing about.
        ConfigError: patients told in both ways, or a pattern that is none.
    """
    named = {row.case: row.patient for row in rows if row.patient}
    if named and regex is not None:
        raise ConfigError("Patients are told by the table and by a pattern.", hint="Leave one of them out.")
    if regex is not None:
        return {case: _found(regex, case) for case in cases}
    if not named:
        return {case: case for case in cases}
    unknown = [case for case in cases if case not in named]
    if unknown:
        raise InputError(
            f"The table names no patient for {len(unknown)} of {len(cases)} cases, first for {unknown[0]}.",
            hint="Fill the column patient for every case, or leave it out.",
        )
    return {case: named[case] for case in cases}


def _found(regex: str, case: str) -> str:
    try:
        match = re.search(regex, case)
    except re.error as error:
        raise ConfigError(f"{regex!r} is no regular expression: {error}.", hint="Try '^([^_]+)_'.") from error
    name = (match[1] if match.re.groups else match[0]) if match else ""
    if not name:
        raise InputError(
            f"The pattern {regex!r} finds no patient in the name {case}.", hint="Change --patient-regex to fit all."
        )
    return name
