"""Where plain passes leave a doubt, and the fewest windows that see all of it: only these are mirrored."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from metseg.engines.nnunet.windows import Place

# Below this share of foreground, or above what is left of 1, more passes hardly ever turn a voxel.
_DOUBT: Final = 0.02
# A window sees a voxel if it counts at least so much there, of what the window that is nearest to it does.
_SEES: Final = 0.5


def undecided(logits: Float[np.ndarray, "output ..."], *, regions: bool) -> NDArray[np.bool_]:
    """Voxels (...) whose probability of foreground, or of any region, is neither near 0 nor near 1."""
    if regions:
        odds = logits
    else:
        rest = logits[1:]
        top = rest.max(axis=0)
        odds = (top + np.log(np.exp(rest - top).sum(axis=0)) - logits[0])[np.newaxis]
    doubt = np.log((1 - _DOUBT) / _DOUBT)
    return np.asarray((np.abs(odds) < doubt).any(axis=0))


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
