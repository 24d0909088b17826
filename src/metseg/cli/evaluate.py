"""``metseg evaluate``: judge predictions against references."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported, say_error
from metseg.core.errors import ConfigError

if TYPE_CHECKING:
    from metseg.config.evaluation import JudgeOptions
    from metseg.pipeline.evaluation import Evaluation

_PAIRING: Final = "Which files belong together"
_LESIONS: Final = "Profiles seed and field"


def _pairing(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=what, rich_help_panel=_PAIRING)


def _lesion(flag: str, metavar: str, what: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=what, rich_help_panel=_LESIONS)


def evaluate_command(
    *,
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="A label map, or a folder of them.")],
    reference: Annotated[Path, typer.Argument(metavar="REF", help="The truth: likewise.")],
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write JSON, tables, figures and report here.")
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="NAME...",
            help="seed, brats2023, brats2024, brats2025, surface, panoptic, field, or all (default).",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="KIND", help="brats (default), binary (0 and 1), any (above 0), instances."),
    ] = None,
    region: Annotated[
        str | None, _lesion("--region", "NAME", "Of BraTS labels, what is lesion: TC (default), WT, ET or RC.")
    ] = None,
    pred_suffix: Annotated[str | None, _pairing("--pred-suffix", "TEXT", "Names of predictions end so: _pred.")] = None,
    ref_suffix: Annotated[str | None, _pairing("--ref-suffix", "TEXT", "Names of references end so: _ref.")] = None,
    prob_suffix: Annotated[
        str | None, _pairing("--prob-suffix", "TEXT", "Probability maps lie beside predictions, and end so: _prob.")
    ] = None,
    table: Annotated[
        Path | None, _pairing("--map", "CSV", "Columns prediction, reference; or case, patient; or all of them.")
    ] = None,
    patient_regex: Annotated[
        str | None, _pairing("--patient-regex", "RE", "Finds the patient in a case's name: its first group.")
    ] = None,
    missing: Annotated[
        str | None, typer.Option("--missing", metavar="fail|refuse", help="A missing prediction fails, or stops all.")
    ] = None,
    resample_reference: Annotated[
        bool, typer.Option("--resample-reference", help="Bring a reference on another grid to the prediction's.")
    ] = False,
    brats2025_variant: Annotated[
        str | None,
        typer.Option("--brats2025-variant", metavar="NAME", help="0.0.8 (default), 0.0.10, repository; defaults."),
    ] = None,
    min_volume_mm3: Annotated[
        float | None, _lesion("--min-volume-mm3", "V", "Profile seed: smaller components go (100).")
    ] = None,
    min_volume_on: Annotated[
        str | None, _lesion("--min-volume-on", "SIDE", "Profile seed: from the reference, the prediction, or both.")
    ] = None,
    matching: Annotated[
        str | None, _lesion("--matching", "RULE", "any_overlap (default), dice, iou or centroid; dice=0.1 sets t.")
    ] = None,
    assignment: Annotated[
        str | None, _lesion("--assignment", "HOW", "many_to_many (default), many_to_one or one_to_one.")
    ] = None,
    both_empty: Annotated[
        str | None, _lesion("--both-empty", "POLICY", "Cases without lesions: perfect (default) or leave_out.")
    ] = None,
    resamples: Annotated[
        int | None, _lesion("--resamples", "N", "Of the bootstrap (2000); 0 for no intervals.")
    ] = None,
    seed: Annotated[int | None, _lesion("--seed", "N", "Of the bootstrap (0).")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=0, metavar="N", help="Cases at a time; 0 for one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print evaluation.json instead of the summary.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older evaluation in FOLDER.")] = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Judge label maps against the truth, case by case and together.

    Give two files, or two folders whose files are matched by name. Formulas and sources: docs/reference/evaluate.md
    and evaluate-field.md. The exit code is 0 if every case could be judged.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.io.pairs import PairOptions

        options = _options(
            profiles=_profiles(profile, more),
            labels=labels,
            region=region,
            missing=missing,
            resample_reference=resample_reference,
            brats2025=brats2025_variant,
            seed={"min_volume_mm3": min_volume_mm3, "min_volume_on": min_volume_on, "both_empty": both_empty},
            field={"matching": _matching(matching, assignment), "both_empty": both_empty},
            bootstrap={"resamples": resamples, "seed": seed},
        )
        pairing = PairOptions(
            pred_suffix=pred_suffix, ref_suffix=ref_suffix, prob_suffix=prob_suffix, patient_regex=patient_regex
        )
        if out is not None:
            from metseg.pipeline.judge_outputs import check_folder

            check_folder(out, force=force)
        from metseg.pipeline.evaluation import evaluate

        with progress_bar(shown=not quiet) as progress:
            found = evaluate(prediction, reference, options, pairing, table=table, jobs=jobs, progress=progress)
        _show(found, out, as_json=as_json, quiet=quiet, debug=debug)
    raise typer.Exit(found.exit_code)


def _profiles(named: list[str] | None, more: list[str] | None) -> list[str]:
    """``--profile seed field`` leaves ``field`` among the arguments."""
    if more and not named:
        raise ConfigError(f"There is one argument too many: {more[0]}.", hint="Give PRED and REF.")
    return [*(named or ()), *(more or ())]


def _matching(rule: str | None, assignment: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"assignment": assignment}
    if rule is not None:
        found["rule"], _, threshold = rule.partition("=")
        found["threshold"] = threshold or None
    return _given(found)


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value not in (None, {})}


def _options(
    *,
    profiles: list[str],
    brats2025: str | None,
    seed: dict[str, Any],
    field: dict[str, Any],
    bootstrap: dict[str, Any],
    **flags: Any,
) -> "JudgeOptions":
    """The options of the flags.

    Raises:
        ConfigError: a value that is wrong, named with its flag.
    """
    from pydantic import ValidationError

    from metseg.config.evaluation import JudgeOptions, brats2025_variant, wanted_profiles

    drawn = _given({"bootstrap": _given(bootstrap)})
    given = {
        "profiles": wanted_profiles(profiles),
        "brats2025": brats2025_variant(brats2025 or ""),
        "seed": {**_given(seed), **drawn},
        "field": {**_given(field), **drawn},
        **_given(flags),
    }
    try:
        return JudgeOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"The option {where} is wrong: {what}.", hint="See metseg evaluate --help.") from error


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
