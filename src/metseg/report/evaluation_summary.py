"""The summary of an evaluation as Markdown."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from metseg.report.evaluation_sections import headline, sections


def summary_markdown(document: Mapping[str, Any]) -> str:
    """A page of Markdown: counts, warnings, then a table a section. The same document gives the same text."""
    lines = ["# Evaluation", "", headline(document), ""]
    lines += [f"- **{warning}**" for warning in document["warnings"]]
    lines += [""] if document["warnings"] else []
    lines += [f"Labels: {document['label_meaning']}. metseg {document['versions']['metseg']}.", ""]
    for section in sections(document):
        lines += [f"## {section.title}", ""]
        lines += [section.note, ""] if section.note else []
        lines += [*markdown_table(section.columns, section.rows), ""]
    return "\n".join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [_line(columns), _line(["---"] * len(columns)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """A name can hold anything: nothing in it may end the cell, begin markup or hide text."""
    shown = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in text)
    return re.sub(r"([\\|<`\[])", r"\\\1", shown)
