"""The laws that every engine obeys, as one function for the tests of whoever writes an engine."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.progress import no_progress
from metseg.core.study import SEQUENCES, Study
from metseg.core.volume import ProbabilityMap, Volume
from metseg.engines.base import Engine, PreparingEngine
from metseg.preprocess.foreground import foreground_mask


class BrokenLawError(AssertionError):
    """An engine broke one of the laws; the message says which, and how."""


def check_engine(engine: Engine, study: Study) -> ProbabilityMap:
    """Check an engine against every law of the seam.

    1. Its map covers the study: all foreground voxels lie in the map's grid (elsewhere probabilities count as 0).
    2. Probabilities are finite and in [0, 1], and every label of the card is a class.
    3. The same study gives the same map, bit by bit.
    4. The study's images are left as they were.
    5. The order of the images, and images that the card does not ask for, change nothing.
    6. A study that lacks a sequence is refused by an ``InputError``.
    7. Progress runs forwards, from within 0 to its total.
    8. An engine that prepares gives the same map in two steps as in one.

    Args:
        engine: ready to predict.
        study: has the sequences that the engine's card asks for; small, so that the checks are quick.

    Returns:
        The map it predicted, for further checks.

    Raises:
        BrokenLawError: a law is broken.
    """
    before = {name: np.array(volume.array) for name, volume in study.images.items()}
    reports: list[tuple[float, float]] = []
    found = engine.predict(study, progress=lambda done, total, _: reports.append((done, total)))
    _check_unchanged(study, before)
    _check_map(engine, found)
    _check_cover(engine, study, found)
    _check_progress(reports)
    _check_same(found, engine.predict(study), "the same study was predicted twice")
    _check_same(found, engine.predict(_shuffled(study)), "the order of the images was changed")
    if isinstance(engine, PreparingEngine):
        _check_same(found, engine.prepare(study)(no_progress), "the study was prepared first")
    _check_unchanged(study, before)
    _check_missing(engine, study)
    return found


def _check_map(engine: Engine, found: ProbabilityMap) -> None:
    if missing := sorted(set(engine.card.labels.values()) - set(found.classes)):
        raise BrokenLawError(f"The card's labels {missing} are no classes of the map, which has {found.classes}.")
    if not np.isfinite(found.array).all():
        raise BrokenLawError("Some probabilities are not finite.")
    low, high = float(found.array.min()), float(found.array.max())
    if low < 0 or high > 1:
        raise BrokenLawError(f"Probabilities reach from {low} to {high}, beyond [0, 1].")


def _check_cover(engine: Engine, study: Study, found: ProbabilityMap) -> None:
    limits = np.array(found.grid.shape) - 0.5 + 1e-3
    for name in engine.card.sequences:
        array = np.asarray(study.images[name].array, dtype=np.float32)
        indices = np.argwhere(foreground_mask(array))
        places = found.grid.to_index(study.grid.to_world(indices))
        lost = int(np.count_nonzero(((places < -0.5 - 1e-3) | (places > limits)).any(axis=1)))
        if lost:
            raise BrokenLawError(f"The map does not cover the study: {lost} foreground voxels of {name} lie outside.")


def _check_progress(reports: list[tuple[float, float]]) -> None:
    shares = [done / total for done, total in reports]
    if shares != sorted(shares) or any(not 0 <= share <= 1 for share in shares):
        raise BrokenLawError(f"Progress must rise from 0 to its total, but went {shares}.")


def _check_same(first: ProbabilityMap, second: ProbabilityMap, change: str) -> None:
    if first.classes != second.classes or first.grid.distance_mm(second.grid) > 0:
        raise BrokenLawError(f"The map has other classes or lies elsewhere when {change}.")
    differing = int(np.count_nonzero(first.array != second.array))
    if differing:
        raise BrokenLawError(f"{differing} probabilities differ when {change}.")
    if (first.decision is None) != (second.decision is None):
        raise BrokenLawError(f"The model's own labels are there or not when {change}.")
    if first.decision is not None and second.decision is not None:
        differing = int(np.count_nonzero(first.decision.array != second.decision.array))
        if differing:
            raise BrokenLawError(f"{differing} of the model's own labels differ when {change}.")


def _check_unchanged(study: Study, before: Mapping[str, NDArray[np.float32]]) -> None:
    for name, array in before.items():
        if not np.array_equal(study.images[name].array, array, equal_nan=True):
            raise BrokenLawError(f"The engine changed the study's image {name}.")


def _shuffled(study: Study) -> Study:
    """The study with its images in reverse order, after one that nobody asked for where there is room for one."""
    images = {name: study.images[name] for name in reversed(list(study.images))}
    spare = [name for name in SEQUENCES if name != "ct" and name not in images]
    if study.modality == "MR" and spare:
        noise = np.random.default_rng(0).normal(size=study.grid.shape).astype(np.float32)
        images = {spare[0]: Volume(noise, study.grid), **images}
    return Study(study.case, images, study.source, study.space, study.skull_stripped)


def _check_missing(engine: Engine, study: Study) -> None:
    lost = engine.card.sequences[0]
    others = {name: volume for name, volume in study.images.items() if name != lost}
    if not others:
        stand_in = "t1n" if lost in {"t1c", "ct"} else "t1c"
        others = {stand_in: study.images[lost]}
    try:
        engine.predict(Study(study.case, others))
    except InputError:
        return
    except Exception as error:
        raise BrokenLawError(f"A missing sequence must be an InputError, but was {type(error).__name__}.") from error
    raise BrokenLawError(f"The engine predicted a study that lacks {lost}, which its card asks for.")
