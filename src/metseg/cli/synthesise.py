"""``metseg synthesise``: make studies whose metastases are known."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported, say_error


def synthesise_command(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the data set; a run that stopped goes on.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Studies.")] = 10,
    modality: Annotated[
        str, typer.Option("--modality", metavar="t1c|ct|mr4", help="T1 after contrast, CT after contrast, or four MR.")
    ] = "t1c",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other studies.")] = 0,
    hosts: Annotated[
        Path | None,
        typer.Option(
            "--hosts",
            metavar="FOLDER",
            help="Heads to draw into: hosts_labels/*.nii.gz, hosts_t1c/open_ms/*. Without it heads are made up.",
        ),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Of the hosts, only those that no model that ships was trained on.")
    ] = False,
    seen: Annotated[
        bool, typer.Option("--seen", help="Of the hosts, only the others: to train on, and test on --unseen ones.")
    ] = False,
    layout: Annotated[str, typer.Option("--layout", metavar="nnunet|bids", help="How files are named.")] = "nnunet",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0: one for each core. They change nothing but the time.")
    ] = 0,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Make N studies with brain metastases and their exact truth.

    Images, labels (1 non-enhancing core, 2 oedema, 3 enhancing tumour, 4 resection cavity), a number for each
    metastasis, and tables of true volumes and diameters. The same seed gives the same studies.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.cli.checked import checked
        from metseg.datasets.synthetic import SynthesisOptions, synthesise

        values: dict[str, Any] = {
            "modality": modality, "count": count, "seed": seed, "hosts": hosts, "unseen": unseen, "seen": seen,
            "layout": layout,
        }  # fmt: skip
        options = checked(SynthesisOptions, values, command="synthesise")
        with progress_bar(shown=not quiet) as progress:
            done = synthesise(out, options, workers=workers or os.cpu_count() or 1, progress=progress)
        for failure in done.failures:
            say_error(f"{failure.case}: {failure.message}", failure.hint)
        code = 1 if done.failures else 0
        if as_json:
            print_json({
                "made": list(done.made), "kept": list(done.kept), "failed": [f.case for f in done.failures],
                "folder": str(out), "exit_code": code,
            })  # fmt: skip
        elif not quiet:
            there = f", {len(done.kept)} there already" if done.kept else ""
            typer.echo(f"{len(done.made)} studies made{there}, {len(done.failures)} failed. Data set: {out}")
    raise typer.Exit(code)
