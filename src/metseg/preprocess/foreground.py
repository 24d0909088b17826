"""What of an image is head or brain, and what is the air around it."""

from typing import Final

import numpy as np
from jaxtyping import Real
from numpy.typing import NDArray

_PADDING_SHARE: Final = 0.01
_EMPTY_SHARE: Final = 0.1
_NOISE_SHARE: Final = 0.35
_NOISE_HEIGHT: Final = 0.25
_BINS: Final = 256


def otsu_threshold(array: Real[np.ndarray, "..."]) -> float:
    """Otsu's threshold on a 256-bin histogram between the 0.5th and the 99.5th percentile.

    Values beyond those percentiles are counted at them. The threshold is the centre of the last bin of the darker
    class, or half-way to the brighter class where a gap parts the two (Otsu 1979, "A threshold selection method from
    gray-level histograms").
    """
    low, high = (float(p) for p in np.percentile(array, (0.5, 99.5)))
    if high <= low:
        return low
    counts, edges = np.histogram(np.clip(array, low, high), bins=_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    sum_below = np.cumsum(counts * centres)[:-1]
    above = array.size - below
    mean_gap = sum_below / np.maximum(below, 1) - (float(counts @ centres) - sum_below) / np.maximum(above, 1)
    between = below * above * mean_gap**2
    # Where no value lies between the classes the variance is level there: the middle is the fairest threshold.
    return float(centres[:-1][np.isclose(between, between.max())].mean())


def foreground_mask(array: Real[np.ndarray, "i j k"]) -> NDArray[np.bool_]:
    """Voxels of the head, or of the brain where the skull was taken off; all where nothing stands out.

    Emptied voxels are background: those of exactly the minimum, or exactly zero, where they are over 1 %. Of the others
    those are foreground that are brighter than half-way from their 0.5th percentile to their Otsu threshold: half-way,
    so that noise of air is left out, and most of the dark fluid in a head is not. Where at least 10 % were emptied and
    the dark ones are few, or not near nothing, a brain alone was left, and all of it is foreground.
    """
    empty = max((0.0, float(array.min())), key=lambda value: np.count_nonzero(array == value))
    held = np.asarray(array != empty)
    emptied = 1 - np.count_nonzero(held) / array.size
    if emptied <= _PADDING_SHARE or emptied == 1:
        held = np.ones(array.shape, dtype=bool)
    others = array[held]
    low = float(np.percentile(others, 0.5))
    level: float = low + (otsu_threshold(others) - low) / 2
    dark = others <= level
    if dark.all() or (_EMPTY_SHARE <= emptied < 1 and not _is_noise(others[dark] - empty, others[~dark] - empty)):
        return held
    return np.asarray(held & (array > level))


def _is_noise(dark: Real[np.ndarray, " n"], bright: Real[np.ndarray, " m"]) -> bool:
    """Are these heights above what was emptied those of air, beside those of tissue: many, and close to nothing?"""
    many = dark.size >= _NOISE_SHARE * (dark.size + bright.size)
    return many and bool(np.median(dark) < _NOISE_HEIGHT * np.median(bright))
