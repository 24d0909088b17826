"""Windows: which values are black and which white."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]
# Centre and width in Hounsfield units.
CT_WINDOWS: Final = {"brain": (40, 80), "stroke": (32, 8), "subdural": (75, 215), "bone": (600, 2800)}
# Percentiles of what is not background.
MR_WINDOWS: Final = {"auto": (2.0, 99.0), "percentiles": (0.5, 99.5), "soft": (20.0, 99.9)}
_SAMPLES: Final = 400_000


def presets(sequence: str) -> tuple[str, ...]:
    """Names of the windows of a sequence, the usual one first."""
    return tuple(CT_WINDOWS if sequence == "ct" else MR_WINDOWS)


def window(array: NDArray[Any], preset: str) -> Window:
    """Black and white of a preset.

    Args:
        array: the image.
        preset: a name out of ``presets``.
    """
    if preset in CT_WINDOWS:
        centre, width = CT_WINDOWS[preset]
        return centre - width / 2, centre + width / 2
    values = array.ravel()[:: max(1, array.size // _SAMPLES)]
    inside = values[values > values.min()]
    if not inside.size:
        return float(values.min()), float(values.min()) + 1.0
    low, high = np.percentile(inside, MR_WINDOWS[preset])
    return float(low), float(max(high, low + 1e-6))
