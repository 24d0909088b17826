"""Intensities to a common scale: the foreground's median becomes 0, its central 70 % a range of 1."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Real
from numpy.typing import NDArray

from metseg.core.grid import Grid
from metseg.core.options import Options

LIMIT: Final = 8.0
_EMPTY_SHARE: Final = 0.1
_BINS: Final = 256
_SMALLEST_RANGE: Final = 1e-6


@dataclass(frozen=True)
class ForegroundStatistics:
    """What ``normalise`` needs to know about an image.

    Args:
        threshold: the value of emptied voxels, or the one above which voxels are foreground.
        median: of the foreground.
        p15: 15th percentile of the foreground.
        p85: 85th percentile of the foreground.
    """

    threshold: float
    median: float
    p15: float
    p85: float

    @property
    def range(self) -> float:
        """``p85 - p15``, kept off zero."""
        return max(self.p85 - self.p15, _SMALLEST_RANGE)


def otsu_threshold(array: Real[np.ndarray, "..."]) -> float:
    """Otsu's threshold on a 256-bin histogram between the 0.5th and the 99.5th percentile.

    Values beyond those percentiles are counted at them. The threshold is the centre of the last bin of the darker
    class (Otsu 1979, "A threshold selection method from gray-level histograms").
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
    return float(centres[np.argmax(below * above * mean_gap**2)])


def foreground_statistics(array: Float[np.ndarray, "i j k"]) -> ForegroundStatistics:
    """Find the foreground of an image and its central values.

    Where at least 10 % of the voxels equal the minimum or zero exactly (air set to zero, a skull taken off, a margin
    padded), all other voxels are foreground, negative ones too. Elsewhere the voxels above half of Otsu's threshold
    are: half, so that the dark fluid in a head still counts. A constant image is all foreground.
    """
    lowest = float(array.min())
    emptied = [v for v in (0.0, lowest) if np.count_nonzero(array == v) >= _EMPTY_SHARE * array.size]
    threshold = emptied[0] if emptied else 0.5 * otsu_threshold(array)
    foreground = array[array != threshold] if emptied else array[array > threshold]
    p15, median, p85 = np.percentile(foreground if foreground.size else array, (15, 50, 85))
    return ForegroundStatistics(threshold, float(median), float(p15), float(p85))


def normalise(array: Float[np.ndarray, "i j k"], statistics: ForegroundStatistics) -> NDArray[np.float32]:
    """``(array - median) / (p85 - p15)``, clipped to [-8, 8]; voxels outside the foreground take the same map."""
    scaled = array.astype(np.float32)
    scaled -= np.float32(statistics.median)
    scaled /= np.float32(statistics.range)
    return np.clip(scaled, -LIMIT, LIMIT, out=scaled)


def normalise_foreground(array: Float[np.ndarray, "i j k"]) -> NDArray[np.float32]:
    """``normalise`` by the image's own ``foreground_statistics``."""
    return normalise(array, foreground_statistics(array))


class NormaliseForeground(Options):
    """Step: ``normalise_foreground``. The grid stays as it is."""

    name: Literal["normalise_foreground"] = "normalise_foreground"

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The normalised image, each channel by itself, on the same grid."""
        channels = [normalise_foreground(channel) for channel in array.reshape(-1, *grid.shape)]
        return np.stack(channels).reshape(array.shape), grid
