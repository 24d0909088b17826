"""Where in the brain the lesions lie: the brain laid onto the template, and what may be said by it."""

import logging
from typing import Any, Final

import numpy as np

from metseg.core.lesion import LesionTable
from metseg.core.result import Placing
from metseg.core.study import Study
from metseg.core.volume import LabelMap
from metseg.io.template import read_template
from metseg.lesions.location import why_not, with_locations
from metseg.lesions.midline import Midline
from metseg.lesions.registration import Fit, Sample, register
from metseg.preprocess.foreground import foreground_mask
from metseg.preprocess.reorient import Reorient
from metseg.preprocess.resample import Resample
from metseg.preprocess.sample import resample_volume

_LOG = logging.getLogger(__name__)
_LATTICE_MM: Final = (4.0, 4.0, 4.0)
_NO_BRAIN: Final = "the model does not look for the brain"
_TOO_LITTLE: Final = "there is too little brain"


def place_lesions(
    lesions: LesionTable, study: Study, brain: LabelMap | None, midline: Midline | None
) -> tuple[LesionTable, Placing]:
    """Say of each lesion in which part of the brain it lies, or why that cannot be told.

    Whatever goes wrong here costs the locations only.

    Args:
        lesions: with their sides.
        study: as it was segmented.
        brain: as the model sees it; None for a model that does not look for it.
        midline: the brain's own plane of symmetry, by which the sides were told.
    """
    try:
        return _place(lesions, study, brain, midline)
    except Exception as error:  # noqa: BLE001  # a lesion without a place is worth more than no result
        _LOG.warning("placing the lesions of %s failed", study.case, exc_info=True)
        return lesions, Placing(f"the registration failed with {type(error).__name__}")


def brain_sample(study: Study, brain: LabelMap | None) -> Sample | None:
    """Brain and image on a lattice of 4 mm, whatever the order of the voxels; None where the brain is not known.

    Without a model that looks for the brain, it is all that is not background, if the skull is known to be off.
    """
    image = next(iter(study.images.values()))
    if brain is None:
        if not study.skull_stripped:
            return None
        brain = LabelMap(foreground_mask(np.asarray(image.array)).astype(np.uint8), image.grid, {1: "brain"})
    mask = np.asarray(brain.array, dtype=np.float32)
    values = np.asarray(resample_volume(image, brain.grid).array)
    stack, grid = Reorient().apply(np.stack([mask, mask * values]), brain.grid)
    stack, grid = Resample(spacing_mm=_LATTICE_MM).apply(stack, grid)
    share, weighted = stack.astype(np.float64)
    index = study.grid.to_index(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)))
    seen = ((index > -0.5) & (index < np.array(study.grid.shape) - 0.5)).all(axis=-1)
    return Sample(share, weighted / np.maximum(share, 1e-3), np.asarray(seen), grid)


def _place(
    lesions: LesionTable, study: Study, brain: LabelMap | None, midline: Midline | None
) -> tuple[LesionTable, Placing]:
    sample = brain_sample(study, brain)
    if sample is None:
        return lesions, Placing(_NO_BRAIN)
    fit = register(sample, read_template())
    if fit is None:
        return lesions, Placing(_TOO_LITTLE)
    reason = why_not(fit, midline)
    return lesions if reason else with_locations(lesions, fit), Placing(reason, _measures(fit))


def _measures(fit: Fit) -> dict[str, Any]:
    return {
        "overlap": round(fit.overlap, 4),
        "explained": round(fit.explained, 4),
        "seen": round(fit.seen, 4),
        "spread_mm": round(fit.spread_mm, 3),
        "to_template": [[round(float(value), 6) for value in row] for row in fit.matrix],
    }
