"""A comparison of runs as Markdown, CSV and LaTeX."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from metseg.report.comparison_runs import diameter_table, facts_table, volume_table
from metseg.report.evaluation_summary import markdown_table
from metseg.report.score_text import estimate, number

_SCORES: Final = ("metric", "run", "mean (interval)", "SD", "median (interval)", "cases")
_DIFFERENCES: Final = (
    "metric", "second − first", "mean difference (interval)", "median", "higher / equal / lower", "p", "p (Holm)",
)  # fmt: skip
_CSV: Final = (
    "metric", "first", "second", "mean", "mean_low", "mean_high", "median", "median_low", "median_high", "higher",
    "equal", "lower", "patients", "p_value", "p_holm", "reason", "left_out",
)  # fmt: skip


def comparison_markdown(document: Mapping[str, Any]) -> str:
    """A table a section: facts of the runs, scores, lesions by size, each pair's differences."""
    lines = ["# Comparison", "", _headline(document), ""]
    lines += [f"- **{warning}**" for warning in document["warnings"]] + ([""] if document["warnings"] else [])
    for title, columns, rows in _sections(document):
        lines += [f"## {title}", "", *markdown_table(columns, rows), ""]
    return "\n".join(lines)


def comparison_csv(document: Mapping[str, Any]) -> str:
    """One line a metric and pair of runs, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for each in document["comparison"]["differences"]:
        row = {**each}
        for name in ("mean", "median"):
            row |= {name: each[name]["value"], f"{name}_low": each[name]["low"], f"{name}_high": each[name]["high"]}
        names = {name: _safe(each[name]) for name in ("metric", "first", "second")}
        writer.writerow(["" if value is None else value for value in ({**row, **names}[name] for name in _CSV)])
    return text.getvalue()


def comparison_latex(document: Mapping[str, Any]) -> str:
    """The same tables for LaTeX, with booktabs' rules."""
    lines = [f"% {_headline(document)}"]
    for title, columns, rows in _sections(document):
        lines += _tabular(columns, rows, f"{title}.")
    return "\n".join(lines) + "\n"


def _sections(document: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, columns and rows of each table that there is something for."""
    found = document["comparison"]
    tables = {
        "Runs": facts_table(document),
        "Scores": (_SCORES, list(_score_rows(found))),
        "Sensitivity by diameter": diameter_table(document),
        "Lesions by volume": volume_table(document),
        "Paired differences": (_DIFFERENCES, list(_difference_rows(found))),
    }
    yield from ((title, columns, rows) for title, (columns, rows) in tables.items() if rows)


def _headline(document: Mapping[str, Any]) -> str:
    found, drawn = document["comparison"], document["options"]["bootstrap"]
    together = {"all": "over all tests", "metric": "metric by metric"}[document["options"]["holm_over"]]
    return (
        f"{len(found['runs'])} runs, {found['cases']} cases of {found['patients']} patients. Intervals: "
        f"{100 * drawn['level']:g} %, {drawn['resamples']} resamples of patients, seed {drawn['seed']}. Wilcoxon's "
        f"signed-rank test on the patients' mean differences, two-sided; Holm's correction {together}."
    )


def _score_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in found["scores"]:
        numbers = estimate(each["mean"]), number(each["mean"]["sd"]), estimate(each["median"])
        left_out = f" ({each['left_out']} left out)" if each["left_out"] else ""
        yield each["metric"], each["run"], *numbers, f"{each['mean']['n']}{left_out}"


def _difference_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in found["differences"]:
        signs = f"{each['higher']} / {each['equal']} / {each['lower']}"
        chances = _p(each["p_value"]), _p(each["p_holm"])
        pair = f"{each['second']} − {each['first']}"
        yield each["metric"], pair, estimate(each["mean"]), estimate(each["median"]), signs, *chances


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _tabular(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> list[str]:
    return [
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{'l' * len(columns)}}}",
        r"\toprule",
        _latex_line(columns),
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    """Signs that mean something to LaTeX, and signs that its fonts may lack, in its own words."""
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    words |= {"−": "$-$", "±": r"$\pm$", "–": "--", "∞": r"$\infty$"}
    words |= {sign: rf"\{sign}" for sign in "&%$#_{}"}
    return re.sub("[" + re.escape("".join(words)) + "]", lambda found: words[found[0]], " ".join(text.split()))


def _safe(text: str) -> str:
    """A spreadsheet takes text that begins so for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
