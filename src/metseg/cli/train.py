"""``metseg train``: nnU-Net v2, from a recipe to a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported

if TYPE_CHECKING:
    from metseg.training.nnunet.run import Trained


def train_command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file: data, out, network, epochs …")],
    *,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Train nnU-Net, U-Net++ or Attention U-Net on a data set in nnU-Net raw layout, and make a model of it.

    The same command goes on with a run that was stopped. It needs the extra train.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.training.nnunet.recipe import NnunetRecipe
        from metseg.training.nnunet.run import train_model
        from metseg.training.recipe_file import read_recipe_file

        known = read_recipe_file(recipe, NnunetRecipe)
        with progress_bar(shown=not quiet) as progress:
            trained = train_model(known, progress)
        if as_json:
            print_json(_plain(trained))
        elif not quiet:
            typer.echo("\n".join(_lines(trained)))


def _plain(trained: "Trained") -> dict[str, Any]:
    bundle = trained.bundle
    return {
        "name": bundle.name, "sha256": bundle.sha256, "model": str(bundle.folder), "steps": dict(trained.steps),
        "networks": dict(trained.networks), "processed": dict(trained.processed), "exit_code": 0,
    }  # fmt: skip


def _lines(trained: "Trained") -> list[str]:
    lines = []
    for name, it in trained.networks.items():
        dice = "no Dice" if it["foreground_dice"] is None else f"mean Dice {it['foreground_dice']:.4f}"
        lines.append(
            f"{name}: {it['epochs']} epochs, {it['minutes']:g} min; validation {dice}, {it['studies']} studies"
        )
    if processed := trained.processed:
        lines.append(f"{processed['images']} processed images take {processed['bytes'] / 1e6:.1f} MB in nnUNet_raw.")
    return [*lines, f"Use it: metseg segment … --model {trained.bundle.folder}"]
