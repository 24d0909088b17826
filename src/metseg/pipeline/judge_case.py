"""One case from its files: read, checked, judged; what goes wrong is said, never thrown."""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.config.evaluation import JudgeOptions
from metseg.core.errors import InputError, exit_code, explained
from metseg.core.grid import Grid
from metseg.io.labels import LabelFile, read_labels, read_probability
from metseg.io.pairs import CasePair
from metseg.pipeline.judge import Judgement, judge_arrays
from metseg.preprocess.nearest import nearest_on_grid

_LOG = logging.getLogger(__name__)
_SAME_GRID_MM: Final = 1e-3


@dataclass(frozen=True)
class JudgedCase:
    """A case that was judged.

    Args:
        case: its name.
        patient: whose it is.
        missing: whether it had no prediction.
        facts: about the files, as plain data; no path.
        judgement: the scores.
        values: label values that occur in either map.
        notes: a sentence each.
    """

    case: str
    patient: str
    missing: bool
    facts: Mapping[str, Any]
    judgement: Judgement
    values: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailedCase:
    """A case that could not be judged.

    Args:
        case: its name.
        patient: whose it is.
        kind: name of the error.
        message: what is wrong, in one sentence.
        hint: what to do about it.
        exit_code: of the process, because of it.
        details: the traceback, for ``--debug``.
    """

    case: str
    patient: str
    kind: str
    message: str
    hint: str = ""
    exit_code: int = 1
    details: str = field(default="", repr=False)


def judge_pair(pair: CasePair, options: JudgeOptions) -> JudgedCase | FailedCase:
    """Read and judge one case."""
    try:
        return _judge(pair, options)
    except Exception as error:  # noqa: BLE001  # the next case must be judged whatever this one met
        _LOG.debug("case %s failed", pair.case, exc_info=True)
        return failure(pair, error)


def _judge(pair: CasePair, options: JudgeOptions) -> JudgedCase:
    reference = read_labels(pair.reference)
    prediction = read_labels(pair.prediction) if pair.prediction else None
    labels, grid, notes = _on_one_grid(prediction, reference, options)
    probability, probability_sha256 = _probability(pair, grid)
    predicted = None if prediction is None else prediction.labels.array
    judgement = judge_arrays(predicted, labels, grid, options, probability)
    facts = {
        "prediction_sha256": None if prediction is None else prediction.sha256,
        "reference_sha256": reference.sha256,
        "probability_sha256": probability_sha256,
        "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing_mm),
        "reference_resampled": bool(notes),
    }
    notes += reference.notes if prediction is None else (*prediction.notes, *reference.notes)
    return JudgedCase(pair.case, pair.patient, prediction is None, facts, judgement, _values(labels, predicted), notes)


def _on_one_grid(
    prediction: LabelFile | None, reference: LabelFile, options: JudgeOptions
) -> tuple[NDArray[Any], Grid, tuple[str, ...]]:
    """The reference's labels, on the prediction's grid, that grid, and a note where it was resampled.

    Raises:
        InputError: grids that differ, and no leave to resample.
    """
    labels = reference.labels
    if prediction is None or prediction.labels.grid.matches(labels.grid, _SAME_GRID_MM):
        return labels.array, labels.grid, ()
    own = prediction.labels.grid
    if options.resample_reference:
        moved = nearest_on_grid(labels.array, labels.grid, own)
        return moved, own, (f"The reference ({labels.grid}) was brought to the grid of the prediction ({own}).",)
    apart = own.distance_mm(labels.grid)
    how_far = f"; corners lie up to {apart:.4g} mm apart" if np.isfinite(apart) else ""
    raise InputError(
        f"Prediction and reference lie on different grids: prediction {own}; reference {labels.grid}{how_far}.",
        hint="Give both on one grid, or use --resample-reference (nearest voxel).",
    )


def _probability(pair: CasePair, grid: Grid) -> tuple[NDArray[Any] | None, str | None]:
    if pair.probability is None:
        return None, None
    volume, sha256 = read_probability(pair.probability)
    if not volume.grid.matches(grid, _SAME_GRID_MM):
        raise InputError(
            f"Prediction and probability lie on different grids: prediction {grid}; probability {volume.grid}.",
            hint="Give both on one grid.",
        )
    return volume.array, sha256


def _values(*arrays: NDArray[Any] | None) -> tuple[int, ...]:
    """Label values above 0 that occur; of many (instances), the first few."""
    found = [np.unique(array[array > 0]) for array in arrays if array is not None]
    return tuple(np.unique(np.concatenate(found))[:10].tolist())


def failure(pair: CasePair, error: Exception) -> FailedCase:
    """Say it in a sentence."""
    message, hint = explained(error)
    details = "".join(traceback.format_exception(error))
    return FailedCase(pair.case, pair.patient, type(error).__name__, message, hint, exit_code(error), details)
