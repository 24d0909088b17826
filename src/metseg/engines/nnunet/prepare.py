"""From a study's images to what an nnU-Net network is given: transposed, cropped, normalised, resampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import binary_fill_holes

from metseg.core.errors import InferenceError
from metseg.core.options import Options

_SMALLEST_DEVIATION: Final = 1e-8
Finite = Annotated[float, Field(allow_inf_nan=False)]
_PART: Final = 1 << 22
Box = tuple[slice, slice, slice]
Channels = Sequence[NDArray[np.float32]]


class Normalisation(Options):
    """How one channel is normalised.

    Args:
        scheme: ``"zscore"``, by its own mean and standard deviation; ``"ct"``, clipped, and by those of the training
            data; ``"rescale"``, to 0 … 1; ``"none"``.
        masked: z-scores are of what is not empty, and the rest stays 0.
        low: where CT is clipped, and so on: the 0.5th percentile of the training data's foreground.
        high: the 99.5th.
        mean: of the training data's foreground.
        deviation: its standard deviation.
    """

    scheme: Literal["zscore", "ct", "rescale", "none"]
    masked: bool = False
    low: Finite = 0.0
    high: Finite = 0.0
    mean: Finite = 0.0
    deviation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def apply(self, image: Float[np.ndarray, "i j k"], inside: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """The normalised image (i, j, k), a new array; ``inside`` is where any channel is not empty, if masked."""
        result = np.array(image, dtype=np.float32, order="C")
        if self.scheme == "ct":
            np.clip(result, self.low, self.high, out=result)
            _scale(result, self.mean, self.deviation)
        elif self.scheme == "rescale":
            result -= result.min()
            _scale(result, 0, float(result.max()))
        elif self.scheme == "zscore" and self.masked:
            values = result[inside]
            _scale(values, *_moments(values))
            result[inside] = values
        elif self.scheme == "zscore":
            _scale(result, *_moments(result))
        return result


def _scale(values: NDArray[np.float32], mean: float, deviation: float) -> None:
    values -= np.float32(mean)
    values /= np.float32(max(deviation, _SMALLEST_DEVIATION))


def _moments(values: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation, in double precision but without such a copy of all values."""
    mean = float(values.mean(dtype=np.float64))
    flat = values.reshape(-1)
    parts = (flat[n : n + _PART].astype(np.float64) for n in range(0, flat.size, _PART))
    return mean, float(np.sqrt(sum(float(((part - mean) ** 2).sum()) for part in parts) / flat.size))


@dataclass(frozen=True, eq=False)
class Cropped:
    """Channels cut down to what is not empty.

    Args:
        channels: each (i, j, k), views of what they were cut from.
        inside: (i, j, k), not empty in any channel, holes filled; None where nobody asked.
        box: where they lay.
    """

    channels: Channels
    inside: NDArray[np.bool_] | None
    box: Box

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = self.channels[0].shape
        return i, j, k


def crop_to_nonzero(channels: Channels, *, masked: bool) -> Cropped:
    """Cut off what is exactly 0 in all channels.

    Args:
        channels: each (i, j, k).
        masked: whether ``inside`` is wanted: filling holes takes long, and changes nothing at the edges.

    Raises:
        InferenceError: all is 0.
    """
    inside = channels[0] != 0
    for channel in channels[1:]:
        inside |= channel != 0
    if not inside.any():
        raise InferenceError("All images of the study are 0 everywhere.")
    spans = []
    for axis in range(3):
        occupied = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    box = (spans[0], spans[1], spans[2])
    filled = binary_fill_holes(inside[box]) if masked else None
    return Cropped(tuple(channel[box] for channel in channels), filled, box)


def one_hot(labels: NDArray[np.uint8], values: Sequence[int]) -> NDArray[np.float32]:
    """What a stage of a cascade gets to see of the one before: a channel (i, j, k) for each label but background."""
    return np.stack([(labels == value).astype(np.float32) for value in values])
