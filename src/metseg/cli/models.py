"""``metseg models``: import and export nnU-Net's, list, show and verify bundles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported

if TYPE_CHECKING:
    from metseg.engines.bundle import Bundle

models_app = typer.Typer(
    name="models", help="Import and export models of nnU-Net; list, show and verify models.", no_args_is_help=True
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="A model that ships, or a bundle's folder.")]


@models_app.command("import", no_args_is_help=True)
def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|ZIP", help="nnUNet_results, a data set's folder in it, a trained folder, or a zip of such."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The bundle goes to FOLDER/<name>/.")],
    name: Annotated[str | None, typer.Option("--name", help="Of the bundle.")] = None,
    configuration: Annotated[
        str | None,
        typer.Option("--configuration", "-c", help="3d_fullres, 3d_cascade_fullres …; the best if left out."),
    ] = None,
    folds: Annotated[str | None, typer.Option("--folds", metavar="LIST", help="0,1,2 …; all if left out.")] = None,
    sequences: Annotated[
        str | None, typer.Option("--sequences", metavar="LIST", help="What each channel is: t1c,t1n,t2f,t2w or ct.")
    ] = None,
    lesion: Annotated[
        str | None, typer.Option("--lesion", metavar="LIST", help="Names of the labels that make a lesion.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Of the weights.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that came of other files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Convert a model that nnU-Net v2 trained, with all folds, and both stages of a cascade.

    The source is only read, and nothing in it is run. What was imported before is left as it is.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.io.nnunet_channels import doubts_of
        from metseg.io.nnunet_import import Wishes, import_model

        wishes = Wishes(name, configuration, _listed(folds), _listed(sequences), _listed(lesion), licence)
        bundle = import_model(source, out, wishes, replace=force)
        if as_json:
            print_json({**described(bundle), "warnings": list(doubts_of(bundle))})
        elif not quiet:
            for doubt in doubts_of(bundle):
                typer.echo(f"Warning: {doubt}", err=True)
            typer.echo("\n".join([*_lines(bundle), f"Use it: metseg segment … --model {bundle.folder}"]))


@models_app.command("export", no_args_is_help=True)
def export_command(
    model: NameArgument,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="nnUNet_results, or any folder: FOLDER/DATASET/TRAINER__PLANS__…/."
        ),
    ],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write an imported model back as nnU-Net's own folders, both stages of a cascade, for nnUNetv2_predict.

    Nothing that is there is replaced.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.engines.catalogue import find_bundle
        from metseg.io.nnunet_export import export_nnunet, left_out

        bundle = find_bundle(model)
        folders = export_nnunet(bundle, out)
        if warning := left_out(bundle):
            typer.echo(f"Warning: {warning}", err=True)
        if as_json:
            print_json({
                "name": bundle.name, "sha256": bundle.sha256, "folders": [str(folder) for folder in folders],
                "warnings": [warning] if warning else [],
            })  # fmt: skip
        elif not quiet:
            typer.echo("\n".join(f"Written: {folder}" for folder in folders))


@models_app.command("list")
def list_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Bundles in it, beside those that ship.")
    ] = None,
    *,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """List the models that ship, and those in a folder."""
    with reported(as_json=as_json, debug=debug):
        from metseg.engines.catalogue import list_bundles

        bundles = [*list_bundles(), *(list_bundles(folder) if folder else ())]
        if as_json:
            print_json({"models": [described(bundle) for bundle in bundles]})
        else:
            typer.echo("\n".join(_title(bundle) for bundle in bundles))


@models_app.command("show", no_args_is_help=True)
def show_command(model: NameArgument, *, as_json: shared.JsonOption = False, debug: shared.DebugOption = False) -> None:
    """Show what a model says of itself."""
    with reported(as_json=as_json, debug=debug):
        from metseg.engines.catalogue import find_bundle

        bundle = find_bundle(model)
        if as_json:
            print_json(bundle.manifest.model_dump(mode="json"))
        else:
            typer.echo("\n".join(_lines(bundle)))


@models_app.command("verify", no_args_is_help=True)
def verify_command(
    model: NameArgument, *, as_json: shared.JsonOption = False, debug: shared.DebugOption = False
) -> None:
    """Check every file of a model against its hash."""
    with reported(as_json=as_json, debug=debug):
        from metseg.engines.catalogue import find_bundle

        bundle = find_bundle(model)
        if as_json:
            print_json({"name": bundle.name, "sha256": bundle.sha256, "files": len(bundle.manifest.files)})
        else:
            count = len(bundle.manifest.files)
            typer.echo(f"{bundle.name}: all {count} files are as model.json says. SHA-256 {bundle.sha256}")


def summary(bundle: "Bundle") -> dict[str, Any]:
    """What tells a bundle from others, as plain data."""
    card = bundle.card
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "modality": card.modality,
        "sequences": list(card.sequences),
        "size_mb": round(sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file()) / 1e6, 2),
    }


def threshold_text(point: dict[str, Any]) -> str:
    """The threshold of an operating point, or what stands for it."""
    return "as the model decides" if point["threshold"] is None else f"{point['threshold']:g}"


def described(bundle: "Bundle") -> dict[str, Any]:
    """A bundle in short, as plain data."""
    card = bundle.card
    return {
        **summary(bundle),
        "folder": str(bundle.folder),
        "labels": {str(value): name for value, name in card.labels.items()},
        "lesion": list(card.lesion),
        "stages": [stage.name for model in bundle.manifest.nnunet_models for stage in model.stages],
    }


def _title(bundle: "Bundle") -> str:
    card = bundle.card
    return f"{card.name} {card.version} ({card.modality}: {', '.join(card.sequences)})"


def _lines(bundle: "Bundle") -> list[str]:
    it, card = bundle.manifest, bundle.card
    lines = [_title(bundle), f"folder: {bundle.folder}", f"intended use: {card.intended_use}"]
    for value, label in card.labels.items():
        lines.append(f"label {value}: {label}{'' if value in card.lesion else ', no lesion'}")
    for model in it.nnunet_models:
        stages = "; ".join(f"{stage.name}, {len(stage.weights)} folds" for stage in model.stages)
        lines.append(f"nnU-Net{' (of an ensemble)' if it.ensemble else ''}: {stages}")
    if it.nnunet:
        lines += [f"before it: {step.model_dump_json()}" for step in it.preprocessing]
    lines += [f"operating point {name}: {_point(point.model_dump())}" for name, point in it.operating_points.items()]
    lines += [f"limit: {limit}" for limit in card.limits]
    return [*lines, f"licence: {it.licence}"]


def _point(point: dict[str, Any]) -> str:
    if point["threshold"] is None:
        return threshold_text(point)
    least = f", smallest confidence {point['min_confidence']:g}" if point["min_confidence"] else ""
    return f"threshold {threshold_text(point)}{least}"


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
