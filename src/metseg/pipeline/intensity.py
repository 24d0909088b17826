"""What the intensities of an image say about its modality.

The signatures were set on real images: head CT in Hounsfield units, a CT template in the stretched units of
Rorden's clinical toolbox (Cormack-like), 40 skull-stripped and whole-head MR images, and label maps.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.volume import Volume

_SAMPLES: Final = 1_000_000
_MASK_VALUES: Final = 20
# Half width of the window about the commonest value, relative to it: ±4 % of 1 040 is ±42 HU about soft tissue.
_PEAK_HALF_WIDTH: Final = 0.04


@dataclass(frozen=True)
class IntensityFacts:
    """Statistics of an image's finite voxels; shares are of voxels, in [0, 1].

    Args:
        minimum: smallest value.
        maximum: largest value.
        distinct: number of distinct values if all are whole numbers and at most 20, else None.
        flat: share of neighbouring foreground voxels that are exactly equal, for whole numbers of at most 256
            distinct values; 0 for others.
        air: share in -1100 … -850, the air of Hounsfield units.
        soft: share in 0 … 80, soft tissue and blood.
        bone: share in 300 … 3500.
        peak: the commonest foreground value, above the darkest.
        peak_share: share of the foreground within 4 % of it. CT: over half, as all soft tissues attenuate alike;
            MR: under 0.37.
    """

    minimum: float
    maximum: float
    distinct: int | None
    flat: float
    air: float
    soft: float
    bone: float
    peak: float
    peak_share: float

    @property
    def looks_like(self) -> str | None:
        """Name of the CT unit whose signature the image bears, or None."""
        if self.minimum <= -500 and self.air >= 0.02 and self.soft >= 0.03 and self.bone >= 0.003:
            return "CT in Hounsfield units"
        if self.minimum < -0.05 * self.peak:
            return None
        if 950 <= self.peak <= 1150 and self.peak_share >= 0.45 and self.maximum > 1300:
            return "CT in Hounsfield units shifted by about 1000"
        if 2140 <= self.peak <= 2900 and self.maximum < 2.2 * self.peak and self.peak_share >= 0.33:
            return "CT in stretched (Cormack-like) units"
        return None

    @property
    def is_ct(self) -> bool:
        """CT, in whatever units, with its skull or without."""
        return self.looks_like is not None or (self.minimum <= -500 and self.air >= 0.02 and self.soft >= 0.03)

    @property
    def is_label_map(self) -> bool:
        """Few whole numbers, or many in flat patches (``flat`` of 8-bit MR is up to 0.18, of atlases over 0.8)."""
        return self.distinct is not None or self.flat > 0.6


def measure_intensity(volume: Volume) -> IntensityFacts:
    """Statistics over a regular sample of about a million voxels; voxels that are not finite are left out."""
    step = max(1, round((volume.array.size / _SAMPLES) ** (1 / 3)))
    sample = volume.array[::step, ::step, ::step].astype(np.float64).ravel()
    values = sample[np.isfinite(sample)]
    if values.size == 0:
        values = np.zeros(1)
    levels = np.unique(values)
    peak, peak_share = _peak(values)
    return IntensityFacts(
        minimum=float(values.min()),
        maximum=float(values.max()),
        distinct=_distinct_whole_numbers(volume.array, levels, _MASK_VALUES),
        flat=_flatness(volume.array, levels),
        air=_share(values, -1100, -850),
        soft=_share(values, 0, 80),
        bone=_share(values, 300, 3500),
        peak=peak,
        peak_share=peak_share,
    )


def foreground_volume_mm3(volume: Volume) -> float:
    """Rough volume of what is not background: above a tenth of the way from the darkest to the 99th percentile."""
    step = max(1, round((volume.array.size / _SAMPLES) ** (1 / 3)))
    values = volume.array[::step, ::step, ::step].astype(np.float64)
    low, high = np.nanpercentile(values, (0.1, 99))
    share = float(np.mean(values > low + 0.1 * (high - low)))
    return share * volume.array.size * volume.grid.voxel_volume_mm3


def _share(values: NDArray[np.float64], low: float, high: float) -> float:
    return float(np.mean((values >= low) & (values <= high)))


def _peak(values: NDArray[np.float64]) -> tuple[float, float]:
    """Commonest foreground value above the darkest, and the share of the foreground within 4 % of it."""
    above = np.sort(values - np.percentile(values, 0.1))
    above = above[np.searchsorted(above, 0, side="right") :]
    if above.size == 0:
        return 0.0, 0.0
    foreground = above[np.searchsorted(above, 0.3 * np.percentile(above, 90)) :]
    centres = np.geomspace(foreground[0], foreground[-1], 400)
    inside = np.searchsorted(foreground, centres * (1 + _PEAK_HALF_WIDTH), side="right") - np.searchsorted(
        foreground, centres * (1 - _PEAK_HALF_WIDTH)
    )
    best = int(inside.argmax())
    return float(centres[best]), float(inside[best] / foreground.size)


def _distinct_whole_numbers(array: NDArray[np.generic], levels: NDArray[np.float64], at_most: int) -> int | None:
    """Number of distinct values if all are whole numbers and no more than ``at_most``; those sampled decide early."""
    if levels.size > at_most or not np.array_equal(levels, np.rint(levels)):
        return None
    values = np.unique(array)
    whole = np.array_equal(values.astype(np.float64), np.rint(values.astype(np.float64)))
    return int(values.size) if whole and values.size <= at_most else None


def _flatness(array: NDArray[np.generic], levels: NDArray[np.float64]) -> float:
    """Share of foreground voxels of the middle slices that equal their neighbour exactly, for few whole numbers."""
    if levels.size > 256 or not np.array_equal(levels, np.rint(levels)):
        return 0.0
    middle = array[:, :, array.shape[2] // 3 : -(array.shape[2] // 3) or None]
    one, other = middle[:-1], middle[1:]
    foreground = one > levels[0]
    return float(np.mean(one[foreground] == other[foreground])) if foreground.any() else 0.0
