"""Where plain passes leave a doubt, and the fewest windows that see all of it: only these are mirrored."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from metseg.engines.nnunet.windows import Place

# With less than this left for all other labels, more passes hardly ever turn a voxel.
_DOUBT: Final = 0.02
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


def windows_that_see(
    voxels: Bool[np.ndarray, "i j k"], places: Sequence[Place], importance: NDArray[np.float32]
) -> list[Place]:
    """A few of the windows, so that each of the voxels lies well inside one: those that see most come first.

    Args:
        voxels: what must be seen.
        places: all windows.
        importance: of each voxel of a window, (i, j, k), or (j, k) where a window lies in one slice.
    """
    best = np.zeros(voxels.shape, dtype=np.float32)
    for place in places:
        np.maximum(best[place], importance, out=best[place])
    best *= _SEES
    left = voxels.copy()
    counts = [np.count_nonzero(left[place] & (importance >= best[place])) for place in places]
    chosen = []
    for number in sorted(range(len(places)), key=lambda n: -counts[n]):
        place = places[number]
        seen = left[place] & (importance >= best[place])
        if seen.any():
            chosen.append(place)
            left[place] &= ~seen
    return chosen
