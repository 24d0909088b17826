"""Where the brain is, and its middle."""

import numpy as np

from metseg.core.study import Study
from metseg.core.volume import LabelMap, ProbabilityMap
from metseg.lesions.midline import Midline, find_midline, thin
from metseg.preprocess.foreground import foreground_mask

_AIR_HU = -300.0


def brain_of(probability: ProbabilityMap) -> LabelMap | None:
    """Where the model sees brain, on its own grid; None for a model that does not look for it."""
    if "brain" not in probability.classes:
        return None
    return LabelMap((probability.of("brain") >= 0.5).astype(np.uint8), probability.grid, {1: "brain"})


def midline_of(study: Study, brain: LabelMap | None) -> Midline | None:
    """The middle of the brain, or else of all that is not background.

    Returns:
        None where the file leaves left and right in doubt, or there is too little to tell.
    """
    if not study.source.sides_known:
        return None
    if brain is not None:
        return find_midline(np.asarray(brain.array) != 0, brain.grid)
    image = next(iter(study.images.values()))
    sample, grid = thin(image.array, image.grid)
    return find_midline(sample > _AIR_HU if study.modality == "CT" else foreground_mask(sample), grid)
