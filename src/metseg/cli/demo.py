"""``metseg demo``: make a study whose lesions are known, segment it, and say how well that went."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported, say_error
from metseg.cli.segment import prepare, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metseg.pipeline.outcome import CaseOutcome


def demo_command(
    *,
    out: shared.OutOption,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, another head.")] = 0,
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
    probability: shared.ProbabilityOption = False,
    uncertainty: shared.UncertaintyOption = False,
    force_modality: shared.ForceModalityOption = False,
    config: shared.ConfigOption = None,
    as_json: shared.JsonOption = False,
    force: shared.ForceOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Make a head with known metastases, segment it, and compare.

    Takes the options of ``metseg segment``. The image and its truth go to FOLDER/demo-input, the result beside it.
    """
    with reported(as_json=as_json, debug=debug):
        flags = shared.given(
            model=model,
            engine=engine,
            threads=threads,
            device=device,
            operating_point=operating_point,
            min_volume_mm3=min_volume_mm3,
            formats=None if formats is None else f"nifti,{formats}",
            force_modality=force_modality,
            modes={"fast": fast, "standard": standard, "thorough": thorough},
        )
        from metseg.io.discover import named_sources

        prepared = prepare(config, flags, maps={"probability": probability, "uncertainty": uncertainty})
        image, truth = _write_study(out / "demo-input", seed)
        case = named_sources({prepared.models.for_modality("MR").card.sequences[0]: image}, case=f"demo-{seed}")
        (outcome,) = run(prepared, [case], out, force=force, show_progress=not quiet)
        code = _show(outcome, truth, as_json=as_json, quiet=quiet, debug=debug)
    raise typer.Exit(code)


def _write_study(folder: Path, seed: int) -> tuple[Path, Path]:
    """Paths of the image and its truth."""
    from metseg.io.nifti import write_nifti
    from metseg.io.output_folder import make_output_folder
    from metseg.synthesis.demo import make_demo_study

    make_output_folder(folder)
    image, truth = make_demo_study(seed)
    paths = folder / f"demo-{seed}.nii.gz", folder / f"demo-{seed}-truth.nii.gz"
    write_nifti(paths[0], image)
    write_nifti(paths[1], truth)
    return paths


def _show(outcome: "CaseOutcome", truth: Path, *, as_json: bool, quiet: bool, debug: bool) -> int:
    if outcome.folder is None:
        say_error(f"{outcome.case}: {outcome.message}", outcome.hint, details=outcome.details if debug else "")
        if as_json:
            print_json({"case": outcome.as_plain(), "exit_code": outcome.exit_code})
        return outcome.exit_code
    from metseg.evaluate.overlap import detection, dice

    prediction, reference = _array(outcome.folder / "lesions.nii.gz"), _array(truth)
    agreement, found = dice(prediction > 0, reference > 0), detection(prediction, reference)
    if as_json:
        scores = {"dice": round(agreement, 4), **asdict(found)}
        print_json({"case": outcome.as_plain(), "score": scores, "truth": str(truth), "exit_code": 0})
    elif not quiet:
        typer.echo(
            f"Dice {agreement:.3f}; {found.found} of {found.present} lesions found; "
            f"{found.false} false component{'' if found.false == 1 else 's'}; "
            f"{outcome.seconds:.1f} s{' (done before)' if outcome.state == 'skipped' else ''}."
        )
        typer.echo(f"Report: {outcome.report or outcome.folder}")
    return 0


def _array(path: Path) -> "NDArray[Any]":
    """Voxels of one of our own label maps (the strict reader refuses empty ones)."""
    import numpy as np
    from nibabel.nifti1 import Nifti1Image

    return np.asarray(Nifti1Image.from_filename(path).dataobj)
