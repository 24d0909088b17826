"""From a study's images to what an nnU-Net network is given: transposed, cropped, normalised, resampled."""

from collections.abc import Mapping, Sequence
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
Box = tuple[slice, slice, slice]


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

    def apply(self, image: Float[np.ndarray, "i j k"], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The normalised image (i, j, k); ``inside`` is where any channel is not empty."""
        if self.scheme == "ct":
            return np.asarray((np.clip(image, self.low, self.high) - np.float32(self.mean))
                              / np.float32(max(self.deviation, _SMALLEST_DEVIATION)), dtype=np.float32)  # fmt: skip
        if self.scheme == "zscore":
            values = image[inside] if self.masked else image
            mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
            scored = (image - np.float32(mean)) / np.float32(max(deviation, _SMALLEST_DEVIATION))
            return np.asarray(np.where(inside, scored, image) if self.masked else scored, dtype=np.float32)
        if self.scheme == "rescale":
            shifted = image - image.min()
            return np.asarray(shifted / max(float(shifted.max()), _SMALLEST_DEVIATION), dtype=np.float32)
        return image


@dataclass(frozen=True, eq=False)
class Cropped:
    """Channels cut down to what is not empty.

    Args:
        channels: (channel, i, j, k).
        inside: (i, j, k), not empty in any channel, holes filled.
        box: where they lay.
    """

    channels: NDArray[np.float32]
    inside: NDArray[np.bool_]
    box: Box


def crop_to_nonzero(channels: Float[np.ndarray, "channel i j k"]) -> Cropped:
    """Cut off what is exactly 0 in all channels.

    Raises:
        InferenceError: all is 0.
    """
    filled: NDArray[np.bool_] = binary_fill_holes((channels != 0).any(axis=0))
    if not filled.any():
        raise InferenceError("All images of the study are 0 everywhere.")
    spans = []
    for axis in range(3):
        occupied = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    box = (spans[0], spans[1], spans[2])
    return Cropped(np.ascontiguousarray(channels[(slice(None), *box)]), filled[box], box)


def normalised(cropped: Cropped, schemes: Sequence[Normalisation]) -> NDArray[np.float32]:
    """Each channel by its own scheme: (channel, i, j, k)."""
    return np.stack([scheme.apply(c, cropped.inside) for scheme, c in zip(schemes, cropped.channels, strict=True)])


def one_hot(labels: NDArray[np.uint8], values: Sequence[int]) -> NDArray[np.float32]:
    """What a stage of a cascade gets to see of the one before: a channel (i, j, k) for each label but background."""
    return np.stack([(labels == value).astype(np.float32) for value in values])


def stacked(
    images: Mapping[str, NDArray[np.generic]], order: Sequence[str], axes: Sequence[int]
) -> NDArray[np.float32]:
    """Images (i, j, k) as channels, their axes in the model's order."""
    return np.stack([np.asarray(images[name], dtype=np.float32).transpose(axes) for name in order])
