"""Where passes leave a doubt, whether more of them still change anything, and the fewest windows that see it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, UInt
from numpy.typing import NDArray

from metseg.engines.nnunet.windows import Place
from metseg.lesions.components import label_instances

# Both were chosen on eight brains of bench/nnunet_gated.py, which measures them on others.
# With less than this left for all other labels, more passes seldom turn a voxel.
_DOUBT: Final = 0.1
# A lesion is settled once the last passes changed no more than this share of its voxels.
_SETTLED: Final = 0.1
# A window sees a voxel if it counts at least so much there, of what the window that is nearest to it does.
_SEES: Final = 0.5


def undecided(
    logits: Float[np.ndarray, "output i j k"], weights: Float[np.ndarray, "i j k"], *, regions: bool
) -> NDArray[np.bool_]:
    """Voxels (i, j, k) where no label has nearly all of the probability, or a region's is neither near 0 nor near 1.

    Args:
        logits: weighted sums.
        weights: by which they are divided.
        regions: whether outputs are regions; else they are labels.
    """
    doubt = np.empty(weights.shape, dtype=bool)
    for row, weight in enumerate(weights):  # slice by slice: all at once would take several times the memory
        mean = logits[:, row] / weight
        if regions:
            doubt[row] = (np.abs(mean) < np.log((1 - _DOUBT) / _DOUBT)).any(axis=0)
        else:
            # 1 over the largest share of the softmax.
            doubt[row] = np.exp(mean - mean.max(axis=0)).sum(axis=0) > 1 / (1 - _DOUBT)
    return doubt


def unsettled(before: UInt[np.ndarray, "i j k"], after: UInt[np.ndarray, "i j k"]) -> NDArray[np.bool_]:
    """Voxels (i, j, k) of the lesions, once there or now, of which the last passes changed more than a few voxels.

    Args:
        before: what each voxel was, 0 the background.
        after: what it is now.
    """
    either = (before != 0) | (after != 0)
    lesions = label_instances(either)
    sizes = np.bincount(lesions[either], minlength=1)
    changed = np.bincount(lesions[before != after], minlength=len(sizes))
    return np.asarray((changed > _SETTLED * sizes)[lesions])


class Sight:
    """How well windows see the voxels of an image.

    Args:
        shape: of the image.
        places: all windows.
        importance: of each voxel of a window, (i, j, k), or (j, k) where a window lies in one slice.
    """

    def __init__(self, shape: Sequence[int], places: Sequence[Place], importance: NDArray[np.float32]) -> None:
        self._places, self._importance = places, importance
        self._enough = np.zeros(shape, dtype=np.float32)
        for place in places:
            np.maximum(self._enough[place], importance, out=self._enough[place])
        self._enough *= _SEES

    def fewest(self, voxels: Bool[np.ndarray, "i j k"]) -> list[Place]:
        """A few of the windows, so that each of the voxels lies well inside one: those that see most come first."""
        left = voxels.copy()
        counts = [np.count_nonzero(left[place] & self._well(place)) for place in self._places]
        chosen = []
        for number in sorted(range(len(self._places)), key=lambda n: -counts[n]):
            place = self._places[number]
            if (left[place] & self._well(place)).any():
                chosen.append(place)
                left[place] &= ~self._well(place)
        return chosen

    def unseen(self, voxels: Bool[np.ndarray, "i j k"], places: Sequence[Place]) -> NDArray[np.bool_]:
        """Those of the voxels that none of some windows sees well."""
        left = voxels.copy()
        for place in places:
            left[place] &= ~self._well(place)
        return left

    def _well(self, place: Place) -> NDArray[np.bool_]:
        return np.asarray(self._importance >= self._enough[place])
