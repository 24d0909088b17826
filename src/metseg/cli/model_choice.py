"""``metseg models ensemble|best``: several models as one, and which of several to take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported
from metseg.cli.models import described, models_app

if TYPE_CHECKING:
    from metseg.training.nnunet.best import Best

__all__ = ["models_app"]


@models_app.command("ensemble", no_args_is_help=True)
def ensemble_command(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL…", help="Folders of imported or trained models.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The bundle; its name is the model's.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Make one model of several nnU-Net models: the mean of their probabilities decides, as in nnU-Net's ensembles."""
    with reported(as_json=as_json, debug=debug):
        from metseg.engines.catalogue import find_bundle
        from metseg.io.nnunet_ensemble import write_ensemble

        bundle = write_ensemble([find_bundle(model) for model in models], out)
        if as_json:
            print_json(described(bundle))
        elif not quiet:
            typer.echo(f"Use it: metseg segment … --model {bundle.folder}")


@models_app.command("best", no_args_is_help=True)
def best_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of finished runs of metseg train.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of what is written.")],
    ensembles: Annotated[bool, typer.Option(help="Judge pairs of runs, too.")] = True,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 2,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Find the best of several runs, or of pairs of them, by nnU-Net's cross-validation. It needs the extra train."""
    with reported(as_json=as_json, debug=debug):
        from metseg.training.nnunet.best import best_of

        with progress_bar(shown=not quiet) as progress:
            best = best_of(runs, out, ensembles=ensembles, workers=workers, progress=progress)
        if as_json:
            print_json(_plain(best))
        elif not quiet:
            typer.echo("\n".join(_lines(best)))


def _plain(best: "Best") -> dict[str, Any]:
    return {
        "dice": dict(best.dice), "best": best.name, "model": str(best.bundle.folder), "sha256": best.bundle.sha256,
        "not_judged": list(best.unjudged), "exit_code": 0,
    }  # fmt: skip


def _lines(best: "Best") -> list[str]:
    ranked = sorted(best.dice.items(), key=lambda item: -1.0 if item[1] is None else item[1], reverse=True)
    lines = [f"{'no Dice' if dice is None else f'{dice:.4f}'}  {name}" for name, dice in ranked]
    lines += [f"Not judged: {why}" for why in best.unjudged]
    return [*lines, f"Use the best: metseg segment … --model {best.bundle.folder}"]
