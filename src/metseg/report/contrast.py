"""How bright a study is shown, and where its head lies."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Real, UInt8
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.study import SEQUENCES, Study
from metseg.core.volume import Volume
from metseg.preprocess.foreground import foreground_mask

_CT_BRAIN: Final = (40.0, 80.0)  # level and width in HU
_CT_CONTRAST: Final = (45.0, 100.0)  # enhancement reaches further up
_CT_AIR_HU: Final = -300.0
_MR_PERCENTILES: Final = (1.0, 99.5)
_MOST_VOXELS: Final = 128  # of each axis that statistics look at


@dataclass(frozen=True)
class Window:
    """Intensities that become black and white.

    Raises:
        InputError: ``high`` is not above ``low``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"A display window must rise, but runs from {self.low:g} to {self.high:g}.")

    def apply(self, array: Real[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Grey levels 0 … 255; NaN is black."""
        scaled = (np.asarray(array, dtype=np.float32) - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
        return np.asarray(np.nan_to_num(np.clip(scaled, 0, 255), nan=0.0) + np.float32(0.5)).astype(np.uint8)


def display_sequence(study: Study) -> str:
    """Name of the sequence to show: after contrast, where there is one."""
    return next(name for name in SEQUENCES if name in study.images)


def display_window(study: Study) -> Window:
    """The window that shows the brain of ``display_sequence(study)``.

    CT: the brain window (width 80, level 40 HU), a little wider after contrast (width 100, level 45). MR: from the 1st
    to the 99.5th percentile of the foreground, since its units mean nothing.
    """
    volume = study.images[display_sequence(study)]
    if study.modality == "CT":
        enhanced = study.source.headers.get("ContrastBolusAgent") == "present"
        level, width = _CT_CONTRAST if enhanced else _CT_BRAIN
        return Window(level - width / 2, level + width / 2)
    sample = _sample(volume)
    foreground = sample[foreground_mask(sample)]
    low, high = (float(p) for p in np.percentile(foreground if foreground.size else sample, _MR_PERCENTILES))
    return Window(low, high if high > low else low + 1.0)


def head_mask(study: Study) -> tuple[Bool[np.ndarray, "i j k"], tuple[int, ...]]:
    """What is no background, on every n-th voxel along each axis, and the three n."""
    volume = study.images[display_sequence(study)]
    sample = _sample(volume)
    mask = sample > _CT_AIR_HU if study.modality == "CT" else foreground_mask(sample)
    return mask, _steps(volume)


def head_box(study: Study) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Where the head lies: first voxel, and one past the last, along each voxel axis of the study's grid."""
    mask, steps = head_mask(study)
    extents = []
    for axis, (size, step) in enumerate(zip(study.grid.shape, steps)):
        others = tuple(a for a in range(3) if a != axis)
        share = np.asarray(mask.mean(axis=others))
        # A few bright specks of noise are no head.
        held = np.flatnonzero(share > 0.02 * share.max(initial=0.0))
        first, last = (int(held[0]), int(held[-1])) if held.size else (0, len(share) - 1)
        extents.append((max(first * step - step + 1, 0), min((last + 1) * step, size)))
    return extents[0], extents[1], extents[2]


def _steps(volume: Volume) -> tuple[int, ...]:
    return tuple(-(-n // _MOST_VOXELS) for n in volume.grid.shape)


def _sample(volume: Volume) -> NDArray[np.float32]:
    """The volume, thinned; what is not finite becomes the smallest value."""
    i, j, k = _steps(volume)
    sample = np.array(volume.array[::i, ::j, ::k], dtype=np.float32)
    finite = np.isfinite(sample)
    if not finite.all():
        sample[~finite] = sample[finite].min() if finite.any() else 0
    return sample
