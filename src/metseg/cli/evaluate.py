"""``metseg evaluate``: judge predictions against references."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from metseg.cli import evaluate_options as own
from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported, say_error

if TYPE_CHECKING:
    from metseg.pipeline.evaluation import Evaluation


def evaluate_command(
    *,
    prediction: own.PredArgument,
    reference: own.RefArgument,
    more: own.MoreArgument = None,
    out: own.OutOption = None,
    profile: own.ProfileOption = None,
    labels: own.LabelsOption = None,
    missing: own.MissingOption = None,
    resample_reference: own.ResampleOption = False,
    brats2025_variant: own.VariantOption = None,
    pred_suffix: own.PredSuffixOption = None,
    ref_suffix: own.RefSuffixOption = None,
    prob_suffix: own.ProbSuffixOption = None,
    table: own.MapOption = None,
    patient_regex: own.PatientOption = None,
    region: own.RegionOption = None,
    min_volume_mm3: own.MinVolumeOption = None,
    min_volume_on: own.MinVolumeOnOption = None,
    matching: own.MatchingOption = None,
    assignment: own.AssignmentOption = None,
    both_empty: own.BothEmptyOption = None,
    resamples: own.ResamplesOption = None,
    seed: own.SeedOption = None,
    jobs: own.JobsOption = 0,
    as_json: own.DocumentOption = False,
    force: own.ReplaceOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Judge label maps against the truth, case by case and together.

    Give two files, or two folders whose files are matched by name. The exit code is 0 if every case could be judged.
    """
    with reported(as_json=as_json, debug=debug):
        options = own.judge_options(
            profile,
            more,
            brats2025=brats2025_variant,
            seed={"min_volume_mm3": min_volume_mm3, "min_volume_on": min_volume_on, "both_empty": both_empty},
            field={"matching": matching, "assignment": assignment, "both_empty": both_empty},
            bootstrap={"resamples": resamples, "seed": seed},
            labels=labels,
            region=region,
            missing=missing,
            resample_reference=resample_reference,
        )
        from metseg.cli.checked import checked
        from metseg.io.pairs import PairOptions

        names = (("pred_suffix", pred_suffix), ("ref_suffix", ref_suffix), ("prob_suffix", prob_suffix))
        pairing = checked(PairOptions, {**dict(names), "patient_regex": patient_regex}, command="evaluate")
        _prepare(out, force=force)
        from metseg.pipeline.evaluation import evaluate

        with progress_bar(shown=not quiet) as progress:
            found = evaluate(prediction, reference, options, pairing, table=table, jobs=jobs, progress=progress)
        _show(found, out, as_json=as_json, quiet=quiet, debug=debug)
    raise typer.Exit(found.exit_code)


def _prepare(out: Path | None, *, force: bool) -> None:
    if out is not None:
        from metseg.io.output_folder import prepare_output_folder
        from metseg.pipeline.judge_outputs import NAMES

        prepare_output_folder(out, NAMES, force=force)


def _show(found: "Evaluation", out: Path | None, *, as_json: bool, quiet: bool, debug: bool) -> None:
    for failure in found.failures:
        say_error(f"{failure.case}: {failure.message}", failure.hint, details=failure.details if debug else "")
    for warning in found.document["warnings"]:
        typer.echo(f"Warning: {warning}", err=True)
    if out is not None:
        from metseg.pipeline.judge_outputs import PAGE, write_evaluation

        write_evaluation(found.document, out)
    if as_json:
        print_json(found.document)
    elif not quiet:
        from metseg.report.evaluation_summary import summary_markdown

        typer.echo(summary_markdown(found.document).rstrip())
        if out is not None:
            typer.echo(f"\nReport: {out / PAGE}")
