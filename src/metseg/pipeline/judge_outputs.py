"""The files of an evaluation: all written aside, then renamed into place, evaluation.json last."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import MetsegError
from metseg.io.atomic import sync_folder, write_bytes, write_text
from metseg.io.case_names import shown_name
from metseg.io.evaluation_file import EVALUATION, evaluation_text
from metseg.io.evaluation_tables import cases_csv, lesions_csv
from metseg.report.evaluation_page import render_evaluation
from metseg.report.evaluation_summary import summary_markdown
from metseg.report.score_figures import FIGURES, draw_figures

TABLES: Final = ("cases.csv", "lesions.csv", "summary.md")
PAGE: Final = "report.html"
FIGURE_FOLDER: Final = "figures"
NAMES: Final = (
    EVALUATION, *TABLES, PAGE,
    *(f"{FIGURE_FOLDER}/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")),
)  # fmt: skip


def write_evaluation(document: Mapping[str, Any], out: Path) -> list[str]:
    """Write JSON, tables, summary, figures and report; of an older evaluation nothing is left.

    Returns:
        Names of the files, in the folder.

    Raises:
        MetsegError: a file cannot be written.
    """
    aside = out / f".evaluation.partial-{os.getpid()}"
    try:
        (aside / FIGURE_FOLDER).mkdir(parents=True)
        _write(document, aside)
        written = [name for name in reversed(NAMES) if (aside / name).exists()]
        _move(aside, out, written)
    except OSError as error:
        raise MetsegError(
            f"The results could not be written to {shown_name(out)}: {error.strerror or type(error).__name__}.",
            hint="Check that the output folder may be written to and has room.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written


def _write(document: Mapping[str, Any], folder: Path) -> None:
    write_text(folder / EVALUATION, evaluation_text(document))
    write_text(folder / TABLES[0], cases_csv(document))
    lesions = lesions_csv(document)
    if lesions:
        write_text(folder / TABLES[1], lesions)
    write_text(folder / TABLES[2], summary_markdown(document))
    figures = draw_figures(document)
    for name, figure in figures.items():
        write_bytes(folder / FIGURE_FOLDER / f"{name}.png", figure.png)
        write_bytes(folder / FIGURE_FOLDER / f"{name}.svg", figure.svg)
    write_text(folder / PAGE, render_evaluation(document, figures))


def _move(aside: Path, out: Path, written: list[str]) -> None:
    # While the files change, no evaluation.json vouches for them.
    (out / EVALUATION).unlink(missing_ok=True)
    for name in set(NAMES) - set(written):
        (out / name).unlink(missing_ok=True)
    (out / FIGURE_FOLDER).mkdir(exist_ok=True)
    for name in written:
        (aside / name).replace(out / name)
    sync_folder(out / FIGURE_FOLDER)
    if not any((out / FIGURE_FOLDER).iterdir()):
        (out / FIGURE_FOLDER).rmdir()
    sync_folder(out)
