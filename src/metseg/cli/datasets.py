"""``metseg datasets``: import public data sets, list what can be imported, check and split."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, progress_bar, reported
from metseg.core.errors import ConfigError

if TYPE_CHECKING:
    from metseg.datasets.ready_case import Finding
    from metseg.datasets.source import Adapter
    from metseg.pipeline.dataset_import import Imported

datasets_app = typer.Typer(
    name="datasets", help="Import public data sets as nnU-Net raw; check and split them.", no_args_is_help=True
)
FolderArgument = Annotated[Path, typer.Argument(metavar="DST", help="Data set in nnU-Net raw layout.")]
PatientOption = Annotated[
    str | None,
    typer.Option("--patient-regex", metavar="R", help="Finds the patient in a case's name; the manifest if left out."),
]


@datasets_app.command("import", no_args_is_help=True)
def import_command(
    layout: Annotated[str, typer.Argument(metavar="LAYOUT", help="One of metseg datasets list.")],
    src: Annotated[Path, typer.Argument(metavar="SRC", help="The data set as it was published; only read.")],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write; a run that stopped goes on.")],
    *,
    sequences: Annotated[
        str | None,
        typer.Option(
            "--sequences", metavar="LIST", help="Channels in order, as t1c,t2f; cases that lack one stay out."
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option("--labels", metavar="LIST", help="What masks hold: 1=NETC,2=SNFH,3=ET,4=RC, or 255=lesion.")
    ] = "",
    repair: Annotated[
        list[str] | None,
        typer.Option("--repair", metavar="VALUE=LABEL", help="What becomes of a value that should not be there."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the layout; see list LAYOUT.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="FOLDER", help="Imported before: look for the same cases there."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge all, but write nothing.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0: one for each core. They change nothing but the time.")
    ] = 1,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write a public data set as nnU-Net raw, with a manifest, all findings, and folds by patient.

    Files that are broken or do not fit are listed and left out; the exit code is 0 if every case could be read.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.cli.checked import checked
        from metseg.pipeline.dataset_import import ImportOptions, import_dataset

        values: dict[str, Any] = {
            "layout": layout, "sequences": _listed(sequences), "labels": labels, "repairs": repair or [],
            "settings": _settings(setting or ()), "against": against or [],
        }  # fmt: skip
        options = checked(ImportOptions, values, command="datasets import")
        with progress_bar(shown=not quiet) as progress:
            done = import_dataset(
                src, dst, options, workers=workers or os.cpu_count() or 1, dry=dry_run, progress=progress
            )
        _show(done, dst, as_json=as_json, quiet=quiet)
    raise typer.Exit(done.exit_code)


@datasets_app.command("list")
def list_command(
    layout: Annotated[str | None, typer.Argument(metavar="LAYOUT", help="Tell all about one.")] = None,
    *,
    as_json: shared.JsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Layouts that can be imported: what each expects, its licence, where to get it."""
    with reported(as_json=as_json, debug=debug):
        from metseg.datasets.catalogue import DATASETS, load_adapter

        adapters = [load_adapter(name) for name in ([layout] if layout else DATASETS.names())]
        if as_json:
            print_json({"layouts": [_described(adapter) for adapter in adapters]})
        elif layout:
            typer.echo("\n".join(_lines(adapters[0])))
        else:
            for adapter in adapters:
                typer.echo(f"{adapter.name}: {adapter.expects}. Licence: {adapter.licence}. Access: {adapter.access}.")


@datasets_app.command("check", no_args_is_help=True)
def check_command(
    folder: FolderArgument,
    *,
    patient_regex: PatientOption = None,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """List every problem of a data set in nnU-Net raw layout. The exit code is 0 if there is none."""
    with reported(as_json=as_json, debug=debug):
        from metseg.pipeline.dataset_check import check_dataset

        with progress_bar(shown=not quiet) as progress:
            found = check_dataset(folder, patient_regex, progress=progress)
        if as_json:
            print_json({
                "cases": found.cases, "problems": [asdict(f) for f in found.problems],
                "notes": [asdict(f) for f in found.notes], "exit_code": found.exit_code,
            })  # fmt: skip
        else:
            _say([*found.problems, *([] if quiet else found.notes)])
            if not quiet:
                typer.echo(f"{found.cases} cases, {len(found.problems)} problems.")
    raise typer.Exit(found.exit_code)


@datasets_app.command("split", no_args_is_help=True)
def split_command(
    folder: FolderArgument,
    *,
    folds: Annotated[int, typer.Option("--folds", min=2, help="How many.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other folds.")] = 0,
    patient_regex: PatientOption = None,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write splits_final.json anew: cases of one patient, or with the same voxels, stay on one side."""
    with reported(as_json=as_json, debug=debug):
        from metseg.pipeline.dataset_split import split_dataset

        split = split_dataset(folder, folds=folds, seed=seed, patient_regex=patient_regex)
        sizes = [len(fold["val"]) for fold in split.folds]
        if as_json:
            print_json({"folds": split.folds, "groups": dict(split.groups)})
        elif not quiet:
            groups = len(set(split.groups.values()))
            typer.echo(f"{groups} patients in {len(sizes)} folds; validation cases: {', '.join(map(str, sizes))}.")


def _settings(texts: Sequence[str]) -> dict[str, str]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in settings:
            raise ConfigError(f"--set {text} is no NAME=VALUE, or names one twice.", hint="Write --set name=value.")
        settings[name.strip()] = value
    return settings


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _show(done: "Imported", dst: Path, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({
            "counts": done.counts, "cases": {end.case: end.state for end in done.ends},
            "findings": [asdict(finding) for finding in done.all_findings()], "dry_run": done.dry, "folder": str(dst),
            "exit_code": done.exit_code,
        })  # fmt: skip
        return
    _say([f for f in done.all_findings() if not quiet or f.kind == "failed"])
    if not quiet:
        counts = done.counts
        verb = "would be imported" if done.dry else "imported"
        typer.echo(
            f"{counts['imported']} cases {verb}, {counts['kept']} there already, {counts['left-out']} left out, "
            f"{counts['failed']} failed. Data set: {dst}"
        )


def _say(findings: "Sequence[Finding]") -> None:
    """One line a finding; failures as errors."""
    for finding in findings:
        whose = f"{finding.case}: " if finding.case else ""
        hint = f" {finding.hint}" if finding.hint else ""
        typer.echo(f"{finding.kind}: {whose}{finding.message}{hint}", err=finding.kind == "failed")


def _described(adapter: "Adapter") -> dict[str, Any]:
    fields = adapter.options.model_fields
    return {
        "name": adapter.name, "title": adapter.title, "expects": adapter.expects, "licence": adapter.licence,
        "access": adapter.access, "sequences": list(adapter.sequences), "optional": list(adapter.optional),
        "labels": {str(number): name for number, name in adapter.scheme.items()},
        "options": {name: {"default": str(f.default), "what": f.description or ""} for name, f in fields.items()},
        "uncertain": list(adapter.uncertain), "overlaps": dict(adapter.overlaps), "counts": dict(adapter.counts),
    }  # fmt: skip


def _lines(adapter: "Adapter") -> list[str]:
    it = _described(adapter)
    more = f" (and, if asked for, {', '.join(it['optional'])})" if it["optional"] else ""
    lines = [
        f"{it['name']}: {it['title']}",
        f"expects: {it['expects']}",
        f"licence: {it['licence']}",
        f"access: {it['access']}",
        f"sequences: {', '.join(it['sequences'])}{more}",
        *(f"label {number}: {name}" for number, name in it["labels"].items()),
        *(f"option {name} (default {o['default'] or 'empty'}): {o['what']}" for name, o in it["options"].items()),
        *(f"uncertain: {sentence}" for sentence in it["uncertain"]),
        *(f"overlap with {other}: {what}" for other, what in it["overlaps"].items()),
    ]
    names = {"patients": "patients", "labelled": "cases with a mask", "unlabelled": "cases without a mask"}
    counts = ", ".join(f"{number} {names[what]}" for what, number in it["counts"].items())
    return [*lines, f"whole set: {counts}"] if counts else lines
