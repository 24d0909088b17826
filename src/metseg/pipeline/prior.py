"""What lesions known from an earlier visit change in the decision; docs/reference/prior.md has the whole."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.volume import LabelMap, ProbabilityMap
from metseg.engines.base import ModelCard, OperatingPoint
from metseg.preprocess.sample import labels_on_grid

NEAR_MM: Final = 3.0
EASE: Final = 0.5
# What "the largest wins" comes to between lesion and all else.
_EVEN_CHANCE: Final = 0.5


def eased(rule: OperatingPoint) -> tuple[float, float]:
    """Threshold and smallest confidence near known lesions: ``EASE`` of what they are elsewhere.

    Where the model itself decides, the threshold is ``EASE`` of the even chance.
    """
    threshold = _EVEN_CHANCE if rule.threshold is None else rule.threshold
    return EASE * threshold, EASE * rule.min_confidence


def with_faint_lesions(
    labels: LabelMap, probability: ProbabilityMap, near: NDArray[np.bool_], rule: OperatingPoint, card: ModelCard
) -> LabelMap:
    """The labels, and lesion wherever ``near`` and the probability of lesion reaches the lower threshold.

    Args:
        labels: on the study's grid; what is lesion in them stays what it is.
        probability: on the model's grid; has the class ``"lesion"``.
        near: (i, j, k) on the study's grid.
        rule: as it is elsewhere.
        card: its first value of lesion is what voxels get.
    """
    threshold, _ = eased(rule)
    reached = labels_on_grid(probability, labels.grid, threshold).array != 0
    gained = reached & near & ~np.isin(labels.array, card.lesion)
    array = np.where(gained, np.uint8(card.lesion[0]), labels.array)
    return LabelMap(array, labels.grid, labels.labels)


def eased_confidences(instances: LabelMap, near: NDArray[np.bool_], rule: OperatingPoint) -> dict[int, float]:
    """The smallest confidence of each lesion that reaches into ``near``, by its number in ``instances``."""
    numbers = np.unique(instances.array[near])
    _, min_confidence = eased(rule)
    return dict.fromkeys(numbers[numbers > 0].tolist(), min_confidence)
