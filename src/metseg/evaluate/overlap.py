"""How well two segmentations agree: Dice, and which lesions were found."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt


@dataclass(frozen=True)
class Detection:
    """Lesions found and missed. Any shared voxel counts as found.

    Args:
        present: lesions in the reference.
        found: of those, how many the prediction touches.
        predicted: components in the prediction.
        false: of those, how many touch no lesion of the reference.
    """

    present: int
    found: int
    predicted: int
    false: int


def dice(prediction: Bool[np.ndarray, "i j k"], reference: Bool[np.ndarray, "i j k"]) -> float:
    """Dice's coefficient, 2·|A∩B| / (|A| + |B|) (Dice 1945); 1 where both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return 2 * int(np.count_nonzero(prediction & reference)) / total if total else 1.0


def detection(prediction: UInt[np.ndarray, "i j k"], reference: UInt[np.ndarray, "i j k"]) -> Detection:
    """Count found lesions and false components.

    Args:
        prediction: instance numbers, 0 for background.
        reference: the same for the truth.
    """
    both = (prediction > 0) & (reference > 0)
    present, predicted = (np.unique(a[a > 0]) for a in (reference, prediction))
    touched = np.unique(prediction[both])
    return Detection(len(present), len(np.unique(reference[both])), len(predicted), len(predicted) - len(touched))
