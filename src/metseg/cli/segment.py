"""``metseg segment``: find and outline metastases in studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, print_summary, progress_bar, reported, say_error
from metseg.core.errors import ConfigError

if TYPE_CHECKING:
    from metseg.config.options import SegmentOptions
    from metseg.io.discover import CaseInput
    from metseg.pipeline.models import Models
    from metseg.pipeline.outcome import CaseOutcome

_SEQUENCE_PANEL = "One study of several sequences"


def _sequence(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=what, rich_help_panel=_SEQUENCE_PANEL)


def segment_command(
    *,
    out: shared.OutOption,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT...", help="Images, folders or zips: NIfTI, MHA, NRRD, DICOM.", show_default=False
        ),
    ] = None,
    t1c: Annotated[Path | None, _sequence("--t1c", "T1 after contrast.")] = None,
    t1n: Annotated[Path | None, _sequence("--t1n", "T1 without contrast.")] = None,
    t2f: Annotated[Path | None, _sequence("--t2f", "T2 FLAIR.")] = None,
    t2w: Annotated[Path | None, _sequence("--t2w", "T2.")] = None,
    ct: Annotated[Path | None, _sequence("--ct", "CT.")] = None,
    model: shared.ModelOption = None,
    engine: shared.EngineOption = None,
    threads: shared.ThreadsOption = None,
    device: shared.DeviceOption = None,
    fast: shared.FastOption = False,
    standard: shared.StandardOption = False,
    thorough: shared.ThoroughOption = False,
    operating_point: shared.PointOption = None,
    min_volume_mm3: shared.MinVolumeOption = None,
    formats: shared.FormatsOption = None,
    layout: shared.LayoutOption = None,
    seg_type: shared.SegTypeOption = None,
    margin_mm: shared.MarginOption = None,
    margin_in_brain: shared.InBrainOption = False,
    probability: shared.ProbabilityOption = False,
    uncertainty: shared.UncertaintyOption = False,
    force_modality: shared.ForceModalityOption = False,
    identify: shared.IdentifyOption = False,
    deidentify: shared.DeidentifyOption = False,
    deidentify_key: shared.DeidentifyKeyOption = None,
    prior: shared.PriorOption = None,
    config: shared.ConfigOption = None,
    as_json: shared.JsonOption = False,
    force: shared.ForceOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Find, outline and measure brain metastases in every study of INPUT.

    A finished case of the same input, model and options is skipped. The exit code is 0 if all went well, else the
    highest code among the errors. Research software: not for diagnosis or treatment decisions.
    """
    with reported(as_json=as_json, debug=debug):
        flags = shared.given(
            model=model, engine=engine, threads=threads, device=device, operating_point=operating_point,
            min_volume_mm3=min_volume_mm3, formats=formats, dicom=(seg_type, margin_mm, margin_in_brain),
            layout=layout, naming=(identify, deidentify, deidentify_key), force_modality=force_modality,
            modes={"fast": fast, "standard": standard, "thorough": thorough},
        )  # fmt: skip
        cases, outcomes = _cases(inputs, {"t1c": t1c, "t1n": t1n, "t2f": t2f, "t2w": t2w, "ct": ct}, out, prior)
        prepared = prepare(config, flags, maps={"probability": probability, "uncertainty": uncertainty})
        outcomes += run(prepared, cases, out, force=force, show_progress=not quiet)
        code = show(outcomes, prepared, out, as_json=as_json, quiet=quiet, debug=debug)
    raise typer.Exit(code)


@dataclass(frozen=True)
class Prepared:
    """The resolved options and the models that they ask for."""

    models: "Models"
    options: "SegmentOptions"


def prepare(config: Path | None, flags: Mapping[str, Any], *, maps: Mapping[str, bool]) -> Prepared:
    """Resolve the options, with the maps that are written beside the formats, and find the models.

    Raises:
        ConfigError: options that are wrong, all named at once.
        ModelError: the model is missing or broken.
    """
    from metseg.config.resolve import read_options_file, resolve_options
    from metseg.pipeline.models import Models

    options = resolve_options(file=read_options_file(config) if config else {}, flags=flags)
    wanted = [name for name, asked in maps.items() if asked]
    options = options.model_copy(update={"formats": tuple(dict.fromkeys((*options.formats, *wanted)))})
    return Prepared(Models(options), options)


def run(
    prepared: Prepared, cases: "list[CaseInput]", out: Path, *, force: bool, show_progress: bool
) -> "list[CaseOutcome]":
    """Run all cases under a progress bar."""
    from metseg.pipeline.batch import run_batch

    with progress_bar(shown=show_progress) as progress:
        return run_batch(cases, out, prepared.models.of, prepared.options, force=force, progress=progress)


def show(
    outcomes: "list[CaseOutcome]", prepared: Prepared, out: Path, *, as_json: bool, quiet: bool, debug: bool
) -> int:
    """Say what became of the cases; returns the exit code."""
    from metseg import __version__
    from metseg.pipeline.batch import batch_exit_code

    code = batch_exit_code(outcomes)
    for outcome in outcomes:
        if outcome.state == "failed":
            say_error(f"{outcome.case}: {outcome.message}", outcome.hint, details=outcome.details if debug else "")
    if as_json:
        models = [{"name": card.name, "version": card.version, "sha256": card.sha256} for card in prepared.models.used]
        print_json(
            {
                "metseg": __version__,
                "engine": prepared.options.engine,
                "models": models,
                "out": str(out),
                "cases": [outcome.as_plain() for outcome in outcomes],
                "exit_code": code,
            }
        )
    elif not quiet:
        print_summary(outcomes)
    return code


def _cases(
    inputs: list[Path] | None, named: dict[str, Path | None], out: Path, prior: Path | None
) -> "tuple[list[CaseInput], list[CaseOutcome]]":
    cases, failures = _found(inputs or [], {name: path for name, path in named.items() if path}, out)
    if prior is not None:
        from metseg.io.prior import with_priors

        cases = with_priors(cases, prior, out)
    return cases, failures


def _found(inputs: list[Path], named: dict[str, Path], out: Path) -> "tuple[list[CaseInput], list[CaseOutcome]]":
    if inputs and named:
        raise ConfigError(
            f"Give studies as INPUT, or one study by {', '.join(f'--{name}' for name in named)}, but not both.",
            hint="Run the command twice.",
        )
    if named:
        from metseg.io.discover import named_sources

        return [named_sources(named)], []
    if not inputs:
        raise ConfigError("There is no input.", hint="Name a file, a folder or a zip; see metseg segment --help.")
    from metseg.pipeline.intake import find_cases

    return find_cases(inputs, out)
