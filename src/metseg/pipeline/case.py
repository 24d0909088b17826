"""One case from files to a finished result folder."""

import json
from pathlib import Path
from time import perf_counter
from typing import Any

from metseg.config.options import SegmentOptions
from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.base import Engine
from metseg.io.atomic import write_text
from metseg.io.discover import CaseInput
from metseg.io.read import read_study
from metseg.pipeline.folder import check_name, check_target, result_folder, settle_result
from metseg.pipeline.manifest import (
    MANIFEST,
    Fingerprint,
    check_same_input,
    compose_manifest,
    fingerprint,
    is_finished,
    read_manifest,
)
from metseg.pipeline.outcome import CaseOutcome, State
from metseg.pipeline.outputs import file_names, write_outputs
from metseg.pipeline.segment import operating_point, segment


def run_case(
    case_input: CaseInput,
    out: Path,
    engine: Engine,
    options: SegmentOptions,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> CaseOutcome:
    """Read, segment and write one case to ``out/<case>``, or find that this was done before.

    A result of the same input, model and options is left alone. Otherwise the new one appears whole: an error, an
    interrupt or a power cut leaves what was there before.

    Args:
        case_input: the files; never changed.
        out: the output folder; made if need be.
        engine: a loaded model.
        options: all of them.
        force: do it again, and replace outputs that were changed since.
        progress: 0 … 1 over the whole case.

    Raises:
        MetsegError: the input, the options or the model will not do, the output folder cannot be written, or it
            holds the result of another input of this name (unless ``force``).
    """
    start = perf_counter()
    check_name(case_input.case)
    case_input.check()
    target = out / case_input.case
    settle_result(target)
    progress(0.0, 1.0, "looking for a finished result")
    options = options.model_copy(update={"operating_point": operating_point(options, engine.card)[0]})
    mark = fingerprint(case_input, engine, options)
    manifest = read_manifest(target)
    if manifest is not None and not force:
        check_same_input(manifest, mark, target)
        if is_finished(target, manifest, mark):
            progress(1.0, 1.0, "finished before")
            return _outcome("skipped", target, manifest, perf_counter() - start)
    check_target(target, set(file_names(options.formats)), force=force)
    with result_folder(target) as folder:
        manifest = _make(case_input, folder, engine, options, mark=mark, progress=progress)
    progress(1.0, 1.0, "done")
    return _outcome("done", target, manifest, perf_counter() - start)


def _make(
    case_input: CaseInput,
    folder: Path,
    engine: Engine,
    options: SegmentOptions,
    *,
    mark: Fingerprint,
    progress: Progress,
) -> dict[str, Any]:
    """Fill ``folder`` with a whole result; returns its manifest, which is written last."""
    start = perf_counter()
    progress(0.02, 1.0, "reading")
    study = read_study(case_input, engine.card.sequences, engine.card.modality)
    reading = perf_counter()
    result = segment(study, engine, options, progress=part_of(progress, 0.1, 0.75))
    writing = perf_counter()
    progress(0.75, 1.0, "writing the result")
    warnings = write_outputs(result, folder, options.formats)
    names = [folder / name for name in file_names(options.formats) if (folder / name).exists()]
    manifest = compose_manifest(result, case_input, mark=mark, outputs=names, warnings=warnings)
    stages = {"read": reading - start, **result.provenance.timings_s, "write": perf_counter() - writing}
    manifest["timings_s"] = {stage: round(seconds, 3) for stage, seconds in stages.items()}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return manifest


def _outcome(state: State, folder: Path, manifest: dict[str, Any], seconds: float) -> CaseOutcome:
    written = {item["name"] for item in manifest["outputs"]}
    first = next((name for name in ("report.html", "preview.png") if name in written), None)
    return CaseOutcome(
        case=folder.name,
        state=state,
        seconds=seconds,
        folder=folder,
        model=f"{manifest['model']['name']} {manifest['model']['version']}",
        report=None if first is None else folder / first,
        lesions=int(manifest["lesions"]["count"]),
        volume_mm3=float(manifest["lesions"]["volume_mm3"]),
        warnings=tuple(manifest["warnings"]),
    )
