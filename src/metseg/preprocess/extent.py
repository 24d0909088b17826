"""Change how far the image reaches: cut empty margins off, or pad to sizes that a network takes."""

from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field

from metseg.core.grid import Grid
from metseg.core.options import Options
from metseg.preprocess.foreground import otsu_threshold

_EMPTY_SHARE: Final = 0.1


def background_level(array: Float[np.ndarray, "i j k"]) -> float:
    """What is not above it is taken for empty when borders are cut off.

    The value of a corner voxel, or the minimum, where at least 10 % of the voxels equal it exactly. Elsewhere a quarter
    of the way from the 0.5th percentile to Otsu's threshold: cautious, since what is cut off is never looked at.
    The level moves along with an image's offset and gain, so cropping before and after normalising is the same.
    """
    corners = array[np.ix_(*((0, -1) for _ in range(3)))]
    counts = {float(v): np.count_nonzero(array == v) for v in {array.min(), *corners.ravel()}}
    level = max(counts, key=lambda value: counts[value])
    if counts[level] >= _EMPTY_SHARE * array.size:
        return level
    low = float(np.percentile(array, 0.5))
    return low + (otsu_threshold(array) - low) / 4


class CropForeground(Options):
    """Step: cut down to the bounding box of what lies above ``background_level`` in any channel.

    Args:
        margin_mm: kept around the box, as far as the image reaches.
    """

    name: Literal["crop_foreground"] = "crop_foreground"
    margin_mm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The box's voxels and their grid; all of them where nothing is foreground."""
        mask = np.zeros(grid.shape, dtype=bool)
        for channel in array.reshape(-1, *grid.shape):
            mask |= channel > background_level(channel)
        if not mask.any():
            return array, grid
        box: list[slice] = []
        for axis, spacing in enumerate(grid.spacing_mm):
            occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            margin = int(np.ceil(self.margin_mm / spacing))
            box.append(slice(max(0, int(occupied[0]) - margin), min(grid.shape[axis], int(occupied[-1]) + 1 + margin)))
        cropped = np.ascontiguousarray(array[..., box[0], box[1], box[2]])
        i, j, k = cropped.shape[-3:]
        return cropped, grid.crop([part.start for part in box], (i, j, k))


class PadToMultiple(Options):
    """Step: pad each axis, evenly at both ends, to a multiple of a number of voxels.

    The new voxels take the channel's minimum, which is what lies around a head.

    Args:
        multiple: of voxels: 2 to the number of times that the network halves its resolution.
    """

    name: Literal["pad_to_multiple"] = "pad_to_multiple"
    multiple: Annotated[int, Field(ge=1, le=256)] = 16

    def apply(self, array: Float[np.ndarray, "*channel i j k"], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
        """The padded image and its grid."""
        missing = [-n % self.multiple for n in grid.shape]
        before = [n // 2 for n in missing]
        i, j, k = (n + more for n, more in zip(grid.shape, missing))
        padded = np.empty((*array.shape[:-3], i, j, k), dtype=np.float32)
        padded[:] = array.min(axis=(-3, -2, -1), keepdims=True)
        inner = [slice(at, at + n) for at, n in zip(before, grid.shape)]
        padded[..., inner[0], inner[1], inner[2]] = array
        return padded, grid.crop([-at for at in before], (i, j, k))
