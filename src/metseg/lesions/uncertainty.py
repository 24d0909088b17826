"""How unsure a model is of each voxel."""

import numpy as np

from metseg.core.volume import Volume

_SLAB = 16  # slices worked on at a time: logarithms of a whole CT in double precision would fill the memory


def uncertainty(probability: Volume) -> Volume:
    """The entropy of a probability, in bits: 0 where it is 0 or 1, 1 where it is a half (Shannon 1948)."""
    p = np.asarray(probability.array, dtype=np.float32)
    result = np.zeros(p.shape, dtype=np.float32)
    for start in range(0, len(p), _SLAB):
        slab, out = p[start : start + _SLAB], result[start : start + _SLAB]
        for share in (slab, 1 - slab):
            out -= np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0)
    return Volume(np.clip(result, 0, 1, out=result), probability.grid)
