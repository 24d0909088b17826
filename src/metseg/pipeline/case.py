"""One case from files to a finished result folder, in three stages: read, predict, write."""

import json
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

from metseg.config.options import SegmentOptions
from metseg.core.progress import Progress, no_progress, part_of
from metseg.engines.base import Engine
from metseg.io.atomic import write_text
from metseg.io.discover import CaseInput
from metseg.io.output_folder import make_output_folder
from metseg.io.read import first_image, read_identity, read_study
from metseg.pipeline.dicom_objects import drawn_once, warned
from metseg.pipeline.dicom_outputs import write_dicom
from metseg.pipeline.folder import check_name, check_target, result_folder, settle_result
from metseg.pipeline.layout import check_layout, lay_out, results_folder
from metseg.pipeline.manifest import (
    MANIFEST,
    Fingerprint,
    check_same_input,
    compose_manifest,
    fingerprint,
    is_finished,
    read_manifest,
)
from metseg.pipeline.models import EngineOf
from metseg.pipeline.outcome import CaseOutcome, State
from metseg.pipeline.outputs import check_formats, file_names, write_outputs
from metseg.pipeline.segment import Predicted, Prepared, check, conclude, operating_point, predict, prepare


@dataclass(frozen=True, eq=False)
class Task:
    """A case to do.

    Args:
        case_input: the files; never changed.
        out: the output folder; made if need be.
        engine_of: gives the loaded model for the case, which may look at its first image.
        options: all of them.
        force: do it again, and replace outputs that were changed since.
        progress: 0 … 1 over the whole case.
        seconds: spent on it so far.
    """

    case_input: CaseInput
    out: Path
    engine_of: EngineOf
    options: SegmentOptions
    force: bool = False
    progress: Progress = no_progress
    seconds: float = 0.0

    @property
    def task(self) -> "Task":
        """Itself: every stage of a case knows its task."""
        return self

    @property
    def target(self) -> Path:
        """The folder of its result."""
        return results_folder(self.out, self.options.layout) / self.case_input.case


@dataclass(frozen=True, eq=False)
class ReadCase:
    """A case whose images are read, checked and prepared.

    Args:
        task: what was asked for.
        mark: of the result to be.
        prepared: the study.
        read_s: seconds that reading took, the rest left out.
        seconds: spent on the case so far.
    """

    task: Task
    mark: Fingerprint
    prepared: Prepared
    read_s: float
    seconds: float


@dataclass(frozen=True, eq=False)
class PredictedCase:
    """A case that the engine is done with; what was prepared for the network is let go.

    Args:
        task: what was asked for.
        mark: of the result to be.
        predicted: what the engine gave.
        read_s: seconds that reading took, the rest left out.
        seconds: spent on the case so far.
    """

    task: Task
    mark: Fingerprint
    predicted: Predicted
    read_s: float
    seconds: float


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
    read = read_case(Task(case_input, out, lambda *_: engine, options, force, progress))
    return read if isinstance(read, CaseOutcome) else write_case(predict_case(read))


def read_case(task: Task) -> ReadCase | CaseOutcome:
    """The first stage: read, check and prepare the images, or find that the result is there. Makes no file.

    Raises:
        MetsegError: the input, the options or the model will not do, the output folder cannot be written, or the
            result would take the place of something that metseg may not replace.
    """
    start = perf_counter()
    case_input, target, progress = task.case_input, task.target, task.progress
    check_name(case_input.case)
    check_formats(task.options)
    case_input.check()
    settle_result(target)
    progress(0.0, 1.0, "choosing the model")
    first = cache(partial(first_image, case_input))  # read once, though both the choice and the study may want it
    engine = task.engine_of(case_input, first)
    progress(0.01, 1.0, "looking for a finished result")
    point = operating_point(task.options, engine.card)[0]
    options = task.options.model_copy(update={"operating_point": point, "mode": engine.mode})
    mark = fingerprint(case_input, engine, options)
    manifest = read_manifest(target)
    if manifest is not None and not task.force:
        check_same_input(manifest, mark, target)
        if is_finished(target, manifest, mark):
            lay_out(case_input, target, task.out, options.layout, manifest, again=True)
            progress(1.0, 1.0, "finished before")
            return _outcome("skipped", target, manifest, perf_counter() - start)
    check_target(target, set(file_names(options.formats)), force=task.force)
    check_layout(case_input, task.out, options.layout, manifest, force=task.force)
    make_output_folder(task.out)  # what cannot be written had better be known before the network runs
    progress(0.02, 1.0, "reading")
    study = read_study(case_input, engine.card.sequences, engine.card.modality, first=first)
    read_s = perf_counter() - start
    checked = check(study, engine, options, progress=part_of(progress, 0.06, 1))
    prepared = prepare(checked, progress=part_of(progress, 0.08, 1))
    return ReadCase(task, mark, prepared, read_s, perf_counter() - start)


def predict_case(read: ReadCase) -> PredictedCase:
    """The second stage: the network. Touches no file.

    Raises:
        MetsegError: the engine failed, or the study is not what it needs.
    """
    start = perf_counter()
    predicted = predict(read.prepared, progress=part_of(read.task.progress, 0.15, 0.65))
    return PredictedCase(read.task, read.mark, predicted, read.read_s, read.seconds + perf_counter() - start)


def write_case(case: PredictedCase) -> CaseOutcome:
    """The last stage: label, measure, draw and write. The result appears whole or not at all.

    Raises:
        MetsegError: the result cannot be written.
    """
    start = perf_counter()
    task = case.task
    # Again: a case before it may have taken the name since.
    before = read_manifest(task.target)
    check_layout(task.case_input, task.out, task.options.layout, before, force=task.force)
    with result_folder(task.target) as folder:
        manifest = _fill(folder, case)
    lay_out(task.case_input, task.target, task.out, task.options.layout, manifest)
    task.progress(1.0, 1.0, "done")
    return _outcome("done", task.target, manifest, case.seconds + perf_counter() - start)


def _fill(folder: Path, case: PredictedCase) -> dict[str, Any]:
    """Fill ``folder`` with a whole result; returns its manifest, which is written last."""
    progress = case.task.progress
    result = conclude(case.predicted, progress=part_of(progress, 0.65, 0.75))
    start = perf_counter()
    progress(0.75, 1.0, "writing the result")
    formats = case.task.options.formats
    identity = read_identity(case.task.case_input) if case.task.options.identify else None
    pictures = drawn_once(result)
    options = case.task.options
    dicom = write_dicom(result, case.task.case_input, folder, options, pictures=pictures, identity=identity)
    result = warned(result, dicom.warnings)  # so that the report has them
    warnings = write_outputs(result, folder, formats, pictures=pictures, identity=identity)
    written = dict.fromkeys([*file_names(formats), *dicom.names])
    names = [folder / name for name in written if (folder / name).exists()]
    manifest = compose_manifest(result, case.task.case_input, mark=case.mark, outputs=names, warnings=warnings)
    stages = {"read": case.read_s, **result.provenance.timings_s, "write": perf_counter() - start}
    manifest["timings_s"] = {stage: round(seconds, 3) for stage, seconds in stages.items()}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return manifest


def _outcome(state: State, folder: Path, manifest: dict[str, Any], seconds: float) -> CaseOutcome:
    written = {item["name"] for item in manifest["outputs"]}
    first = next((name for name in ("report.html", "report.pdf", "preview.png") if name in written), None)
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
