"""Which series of a study is segmented: the first rule that finds one decides."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metseg.core.errors import InputError
from metseg.io.series_facts import SeriesFacts, read_series
from metseg.node.options import Patterns, Rule


@dataclass(frozen=True)
class Choice:
    """What is given to the reader of DICOM.

    Args:
        files: those of the series that a rule found, or all; among several series the reader chooses.
        rule: the name of the rule; empty where none decided.
    """

    files: tuple[Path, ...]
    rule: str = ""


def choose_files(paths: Sequence[Path], rules: Sequence[Rule], unmatched: Literal["choose", "set-aside"]) -> Choice:
    """The files that should be segmented.

    Raises:
        InputError: no rule finds a series, and ``unmatched`` says that the study is then set aside.
    """
    if not rules:
        return Choice(tuple(paths))
    series = read_series(paths)
    for rule in rules:
        found = [each for each in series if matches(rule, each)]
        if found:
            return Choice(tuple(path for each in found for path in each.files), rule.name)
    if unmatched == "choose":
        return Choice(tuple(paths))
    raise InputError(
        f"No rule finds one of the {len(series)} series to segment ({', '.join(each.name for each in series)}).",
        hint="Send the series that is meant, or change the rules.",
    )


def matches(rule: Rule, series: SeriesFacts) -> bool:
    """Is all met that the rule asks for?"""
    return (
        rule.modality in {None, series.modality}
        and rule.contrast in {None, series.contrast}
        and rule.min_slices <= series.slices <= (rule.max_slices or series.slices)
        and (not rule.description or _any(rule.description, series.description))
        and not _any(rule.not_description, series.description)
        and (not rule.sequence or _any(rule.sequence, series.sequence))
        and not _any(rule.not_sequence, series.sequence)
    )


def _any(patterns: Patterns, text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
