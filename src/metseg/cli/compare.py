"""``metseg compare``: several evaluations of the same cases."""

from pathlib import Path
from typing import Annotated

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported


def compare_command(
    *,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="evaluation.json files, or folders with them; NAME=RUN names one."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write tables and the plot here.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="As in cases.csv, e.g. field.f1; may be given several times."),
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option("--facts", metavar="JSON", help='What else the table says of runs: {"RUN": {"NAME": 1.5}}.'),
    ] = None,
    missing: Annotated[
        str, typer.Option("--missing", metavar="leave_out|refuse", help="Cases that some run has no value for.")
    ] = "leave_out",
    holm_over: Annotated[
        str, typer.Option("--holm-over", metavar="all|metric", help="The tests that are corrected together.")
    ] = "all",
    resamples: Annotated[int, typer.Option("--resamples", min=0, metavar="N", help="Of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the bootstrap.")] = 0,
    as_json: shared.JsonOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older comparison in FOLDER.")] = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Compare runs case by case: differences with intervals by patient, Wilcoxon's test, Holm's correction."""
    with reported(as_json=as_json, debug=debug):
        from metseg.cli.checked import checked
        from metseg.evaluate.compare import CompareOptions
        from metseg.io.evaluation_file import read_facts
        from metseg.io.output_folder import prepare_output_folder
        from metseg.pipeline.comparison import NAMES, compare, write_comparison
        from metseg.report.comparison_tables import comparison_markdown

        values = {
            "metrics": tuple(metric) if metric else None,
            "missing": missing,
            "holm_over": holm_over,
            "bootstrap": {"resamples": resamples, "seed": seed},
        }
        options = checked(CompareOptions, values, command="compare")
        if out is not None:
            prepare_output_folder(out, NAMES, force=force)
        document = compare(runs, options, None if facts is None else read_facts(facts))
        if out is not None:
            write_comparison(document, out)
        if as_json:
            print_json(document)
        elif not quiet:
            typer.echo(comparison_markdown(document).rstrip())
