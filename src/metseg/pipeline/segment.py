"""The main job: one study and an engine in, segmentation, lesions and provenance out. Touches no file."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg import __version__
from metseg.config.options import SegmentOptions
from metseg.core.errors import InferenceError, MetsegError
from metseg.core.extras import installed_version
from metseg.core.lesion import KnownLesion, LesionTable
from metseg.core.progress import Progress, no_progress, part_of
from metseg.core.result import CaseResult, Provenance
from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap, Volume
from metseg.engines.base import Engine, ModelCard, OperatingPoint, PreparingEngine, Ready
from metseg.engines.manifest import MeasuredPoint
from metseg.io.image_file import WARNING
from metseg.lesions.components import drop_small, label_instances
from metseg.lesions.confidence import calibrate
from metseg.lesions.known import match_known, measure_known, near_known
from metseg.lesions.measure import drop_unconfident, measure_lesions
from metseg.lesions.midline import with_sides
from metseg.lesions.tracking import track_lesions
from metseg.pipeline.brain import brain_of, midline_of
from metseg.pipeline.guard import check_brain, check_burden, check_modality
from metseg.pipeline.location import place_lesions
from metseg.pipeline.prior import NEAR_MM, eased_confidences, with_faint_lesions
from metseg.pipeline.quality import placing_flag, quality_flags
from metseg.preprocess.sample import labels_on_grid, probability_on_grid

_LIBRARIES: Final = ("numpy", "scipy", "openvino", "torch", "nibabel", "pydicom", "connected-components-3d")
LESION: Final = "lesion"


@dataclass(frozen=True, eq=False)
class Checked:
    """A study that a model may take.

    Args:
        study: without those of its reader's notes that doubt the result itself: these are warnings.
        engine: with the model.
        options: as for ``segment``.
        warnings: so far, a sentence each.
        timings_s: seconds of each stage so far.
    """

    study: Study
    engine: Engine
    options: SegmentOptions
    warnings: tuple[str, ...]
    timings_s: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked study that the engine has prepared, if it is one that does.

    Args:
        checked: the study.
        ready: what is left to do for the engine.
    """

    checked: Checked
    ready: Ready


@dataclass(frozen=True, eq=False)
class Predicted:
    """What the engine made of a checked study.

    Args:
        checked: the study.
        probability: on the model's grid.
    """

    checked: Checked
    probability: ProbabilityMap


def segment(study: Study, engine: Engine, options: SegmentOptions, *, progress: Progress = no_progress) -> CaseResult:
    """Segment one study: check it, prepare it, predict, conclude.

    Notes of the reader that doubt the result itself come out as warnings, and no longer as notes.

    Args:
        study: native images; its grid is the result's.
        engine: a loaded model.
        options: operating point, smallest volume, whether the probability is wanted, whether to force the modality.
        progress: 0 … 1 over all stages.

    Raises:
        InputError: the study is not what the model needs.
        ConfigError: the model has no such operating point.
        InferenceError: the engine failed or gave something that is no probability.
    """
    checked = check(study, engine, options, progress=progress)
    prepared = prepare(checked, progress=part_of(progress, 0.05, 1))
    predicted = predict(prepared, progress=part_of(progress, 0.1, 0.85))
    return conclude(predicted, progress=part_of(progress, 0.85, 1))


def check(study: Study, engine: Engine, options: SegmentOptions, *, progress: Progress = no_progress) -> Checked:
    """The first stage of ``segment``: may this model take this study?

    Raises:
        InputError: the study is not what the model needs.
        ConfigError: the model has no such operating point.
    """
    start = perf_counter()
    progress(0, 1, "checking the image")
    operating_point(options, engine.card)
    study, doubts = doubts_apart(study)
    warnings = (*doubts, *check_modality(study, engine.card, force=options.force_modality))
    return Checked(study, engine, options, warnings, {"check": _since(start)})


def prepare(checked: Checked, *, progress: Progress = no_progress) -> Prepared:
    """The second stage of ``segment``: what the engine does before its network; its time counts as prediction.

    Raises:
        InputError: the engine finds that the study is not what it needs.
        InferenceError: the engine failed.
    """
    study, engine = checked.study, checked.engine
    if not isinstance(engine, PreparingEngine):
        return Prepared(checked, lambda progress: engine.predict(study, progress=progress))
    start = perf_counter()
    progress(0, 1, "preprocessing")
    with _told_of(checked):
        ready = engine.prepare(study)
    return Prepared(replace(checked, timings_s={**checked.timings_s, "predict": _since(start)}), ready)


def predict(prepared: Prepared, *, progress: Progress = no_progress) -> Predicted:
    """The third stage of ``segment``: the engine's network.

    Raises:
        InputError: the engine finds that the study is not what it needs.
        InferenceError: the engine failed or gave something that is no probability.
    """
    start = perf_counter()
    checked = prepared.checked
    with _told_of(checked):
        probability = prepared.ready(progress)
    _check_probability(probability, checked)
    warnings = (*checked.warnings, *probability.warnings, *check_brain(probability))
    seconds = round(checked.timings_s.get("predict", 0.0) + perf_counter() - start, 3)
    timings = {**checked.timings_s, "predict": seconds}
    return Predicted(replace(checked, warnings=warnings, timings_s=timings), probability)


def conclude(predicted: Predicted, *, progress: Progress = no_progress) -> CaseResult:
    """The last stage of ``segment``: lesions from probabilities. The result's study knows what the engine found of it.

    Raises:
        InferenceError: the engine left the decision to an operating point that makes none.
    """
    checked, probability = predicted.checked, predicted.probability
    study, engine, options = _with_skull(checked.study, probability), checked.engine, checked.options
    point, rule = operating_point(options, engine.card)
    start = perf_counter()
    progress(0, 1, "labelling")
    near = None if study.prior is None else near_known(study.prior, NEAR_MM)
    labels = _label(probability, study, rule, engine, near)
    instances = _instances(labels, engine.card, options.min_volume_mm3)
    labelled = perf_counter()
    progress(0.5, 1, "measuring")
    instances, lesions = confident_lesions(instances, probability, engine.card, rule, near)
    brain = brain_of(probability)
    placing = None
    if len(lesions):
        midline = midline_of(study, brain)
        lesions, placing = place_lesions(with_sides(lesions, midline), study, brain, midline)
    known: tuple[KnownLesion, ...] = ()
    if study.prior is not None:
        known = study.known or measure_known(study.prior, study.prior)
        lesions, known = match_known(instances, lesions, study.prior, known)
    lesions = track_lesions(lesions, instances, study.source.sha256)
    dropped = np.isin(labels.array, engine.card.lesion) & (instances.array == 0)
    segmentation = LabelMap(np.where(dropped, np.uint8(0), labels.array), study.grid, labels.labels)
    wanted = {"probability", "uncertainty"} & set(options.formats)
    full = probability_on_grid(probability, study.grid, LESION) if wanted else None
    progress(1, 1, "measuring")
    timings = {**checked.timings_s, "label": round(labelled - start, 3), "measure": _since(labelled)}
    warnings = (*checked.warnings, *check_burden(lesions.total_volume_mm3))
    provenance = Provenance(
        engine=engine.name,
        model=describe_model(engine.card, rule),
        versions=library_versions(),
        options=resolved(options, engine, point, rule),
        timings_s=timings,
        warnings=warnings,
    )
    quality = quality_flags(study, engine.card, brain, warnings)
    if placing is not None:
        quality = (*quality, placing_flag(placing))
    return CaseResult(study, segmentation, instances, lesions, provenance, full, known, brain, quality, placing)


def confident_lesions(
    instances: LabelMap,
    probability: ProbabilityMap,
    card: ModelCard,
    rule: OperatingPoint,
    near: NDArray[np.bool_] | None = None,
) -> tuple[LabelMap, LesionTable]:
    """Measure ``instances``, calibrate their confidences as the model says, drop those below the smallest allowed.

    Less is asked of those that reach into ``near`` (i, j, k): what lies near known lesions.
    """
    instances, lesions = measure_lesions(instances, Volume(probability.of(LESION), probability.grid))
    if (chance := card.calibration) is not None:
        lesions = calibrate(lesions, chance.slope, chance.offset)
    others = None if near is None else eased_confidences(instances, near, rule)
    return drop_unconfident(instances, lesions, rule.min_confidence, others)


def doubts_apart(study: Study) -> tuple[Study, list[str]]:
    """The study without those of its reader's notes that are warnings, and these."""
    notes = study.source.notes
    warnings = [note.removeprefix(WARNING) for note in notes if note.startswith(WARNING)]
    rest = tuple(note for note in notes if not note.startswith(WARNING))
    return replace(study, source=replace(study.source, notes=rest)), warnings


def operating_point(options: SegmentOptions, card: ModelCard) -> tuple[str | float, OperatingPoint]:
    """The operating point asked for (a name or a number) and what it means for this model.

    Raises:
        ConfigError: the model has none of that name.
    """
    chosen = card.default_operating_point if options.operating_point is None else options.operating_point
    return chosen, card.operating_point(chosen)


def describe_model(card: ModelCard, rule: OperatingPoint) -> dict[str, Any]:
    """Name, version, hash and limits of a model, and what was measured at its operating point, as plain data."""
    plain = {"name": card.name, "version": card.version, "sha256": card.sha256, "limits": list(card.limits)}
    if not isinstance(rule, MeasuredPoint) or not rule.measured_on:
        return plain
    measured = rule.model_dump(mode="json", exclude={"threshold", "min_confidence"})
    return {**plain, "measured": measured}


def resolved(options: SegmentOptions, engine: Engine, point: str | float, rule: OperatingPoint) -> dict[str, Any]:
    """The options as plain data: no path of the user's, but the model's name; the operating point by its value."""
    plain = {**options.model_dump(mode="json"), "deidentify_key": options.deidentify_key is not None}
    values = {"threshold": rule.threshold, "min_confidence": rule.min_confidence}
    return {**plain, "model": engine.card.name, "mode": engine.mode, "operating_point": point, **values}


def library_versions() -> dict[str, str]:
    """Versions of metseg, Python and the libraries that can change a result."""
    found = {name: installed_version(name) for name in _LIBRARIES}
    return {
        "metseg": __version__,
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version is not None},
    }


def _since(start: float) -> float:
    return round(perf_counter() - start, 3)


@contextmanager
def _told_of(checked: Checked) -> Iterator[None]:
    """What an engine stumbles over is told of as its failure."""
    try:
        yield
    except (MetsegError, MemoryError):
        raise
    except Exception as error:
        raise InferenceError(
            f"The engine {checked.engine.name} failed on study {checked.study.case} with {type(error).__name__}.",
            hint="Run again with --debug to see where.",
        ) from error


def _check_probability(probability: ProbabilityMap, checked: Checked) -> None:
    """Refuse what is no probability, or not of lesions."""
    study, engine = checked.study, checked.engine
    low, high = float(probability.array.min()), float(probability.array.max())
    # A NaN passes through min and max, and no comparison with it is true.
    if not (low >= 0 and high <= 1):
        finding = f"values from {low:g} to {high:g}" if np.isfinite((low, high)).all() else "values that are not finite"
        raise InferenceError(
            f"The engine {engine.name} gave {finding} as probabilities of study {study.case}.",
            hint="The model or the engine is broken: try another engine, or fetch the model again.",
        )
    if LESION not in probability.classes:
        raise InferenceError(f"The engine {engine.name} gave no class called {LESION}, but {probability.classes}.")


def _with_skull(study: Study, probability: ProbabilityMap) -> Study:
    """The study, with what the engine found of its skull where nobody knew."""
    return study if study.skull_stripped is not None else replace(study, skull_stripped=probability.skull_stripped)


def _label(
    probability: ProbabilityMap, study: Study, rule: OperatingPoint, engine: Engine, near: NDArray[np.bool_] | None
) -> LabelMap:
    """Segmentation on the study's grid, with what is faint but ``near`` known lesions."""
    labels = _decided(probability, study, rule, engine)
    return labels if near is None else with_faint_lesions(labels, probability, near, rule, engine.card)


def _decided(probability: ProbabilityMap, study: Study, rule: OperatingPoint, engine: Engine) -> LabelMap:
    """Segmentation on the study's grid: by a threshold of the lesion's probability, or as the model decides."""
    if rule.threshold is not None:
        found = labels_on_grid(probability, study.grid, rule.threshold, LESION)
        value = engine.card.lesion[0]
        return LabelMap(found.array * np.uint8(value), study.grid, {value: LESION})
    if probability.decision is None:
        raise InferenceError(f"The engine {engine.name} decided nothing, but its operating point has no threshold.")
    return probability.decision


def _instances(labels: LabelMap, card: ModelCard, min_volume_mm3: float) -> LabelMap:
    """One number a lesion, but for the smallest."""
    instances = label_instances(np.isin(labels.array, card.lesion))
    if min_volume_mm3 > 0:
        instances = drop_small(instances, labels.grid, min_volume_mm3)
    return LabelMap(instances, labels.grid)
