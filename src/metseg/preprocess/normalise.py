"""Intensities to a common scale: of MR by the foreground's median and central 70 %, of CT by a window."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.grid import Grid
from metseg.core.options import Options
from metseg.preprocess.foreground import foreground_mask

LIMIT: Final = 8.0
_SMALLEST_RANGE: Final = 1e-6


@dataclass(frozen=True)
class ForegroundStatistics:
    """What ``normalise`` needs to know about an image.

    Args:
        median: of the foreground.
        p15: 15th percentile of the foreground.
        p85: 85th percentile of the foreground.
    """

    median: float
    p15: float
    p85: float

    @property
    def range(self) -> float:
        """``p85 - p15``, kept off zero."""
        return max(self.p85 - self.p15, _SMALLEST_RANGE)


def foreground_statistics(array: Float[np.ndarray, "i j k"]) -> ForegroundStatistics:
    """Central values of an image's ``foreground_mask``."""
    p15, median, p85 = np.percentile(array[foreground_mask(array)], (15, 50, 85))
    return ForegroundStatistics(float(median), float(p15), float(p85))


def normalise(array: Float[np.ndarray, "i j k"], statistics: ForegroundStatistics) -> NDArray[np.float32]:
    """``(array - median) / (p85 - p15)``, clipped to [-8, 8]; voxels outside the foreground take the same map."""
    scaled = array.astype(np.float32)
    scaled -= np.float32(statistics.median)
    scaled /= np.float32(statistics.range)
    return np.clip(scaled, -LIMIT, LIMIT, out=scaled)


def normalise_foreground(array: Float[np.ndarray, "i j k"]) -> NDArray[np.float32]:
    """``normalise`` by the image's own ``foreground_statistics``."""
    return normalise(array, foreground_statistics(array))


class NormaliseWindow(Options):
    """Step, for CT: clip to [``low``, ``high``] HU, then ``middle`` becomes 0 and ``middle + scale`` 1."""

    name: Literal["normalise_window"] = "normalise_window"
    low: float = -60.0
    high: float = 200.0
    middle: float = 35.0
    scale: Annotated[float, Field(gt=0)] = 25.0

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The normalised image, on the same grid."""
        scaled = np.clip(array, self.low, self.high).astype(np.float32)
        scaled -= np.float32(self.middle)
        scaled /= np.float32(self.scale)
        return scaled, grid


class NormaliseForeground(Options):
    """Step: ``normalise_foreground``. The grid stays as it is."""

    name: Literal["normalise_foreground"] = "normalise_foreground"

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The normalised image, each channel by itself, on the same grid."""
        channels = [normalise_foreground(channel) for channel in array.reshape(-1, *grid.shape)]
        return np.stack(channels).reshape(array.shape), grid
