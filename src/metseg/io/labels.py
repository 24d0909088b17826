"""Read one label map or one probability map, for judging: as strict as with images, but empty maps are welcome."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.volume import LabelMap, Volume
from metseg.io.case_names import shown_name
from metseg.io.image_file import ImageFile
from metseg.io.image_formats import read_image_file
from metseg.io.limits import LABEL_LIMITS, Limits

# Whole numbers up to this are exact in the readers' float32.
_LARGEST_LABEL: Final = 2**24


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A label map as it came out of a file.

    Args:
        labels: uint8 or uint32 (i, j, k), and where it lies.
        sha256: over the bytes of the file.
        notes: what was repaired or doubted, a sentence each.
    """

    labels: LabelMap
    sha256: str
    notes: tuple[str, ...] = ()


def read_labels(path: Path, limits: Limits = LABEL_LIMITS, name: str = "") -> LabelFile:
    """Read a label map: NIfTI, MetaImage or NRRD.

    Args:
        path: the file.
        limits: what it may claim and hold.
        name: what messages and notes call it; by default its file name.

    Raises:
        InputError: the file is refused, or holds a value that is no whole number from 0 on.
    """
    name = name or shown_name(path)
    return label_file(read_image_file(path, limits, name), name)


def label_file(image: ImageFile, name: str) -> LabelFile:
    """An image that was read, as a label map.

    Raises:
        InputError: it holds a value that is no whole number from 0 on.
    """
    return LabelFile(LabelMap(_whole(image.volume.array, name), image.volume.grid), image.sha256, image.notes)


def read_probability(path: Path, limits: Limits = LABEL_LIMITS) -> tuple[Volume, str]:
    """Read a map of probabilities in [0, 1].

    Returns:
        The map, and the SHA-256 of its file.

    Raises:
        InputError: the file is refused, or holds a value outside [0, 1].
    """
    image = read_image_file(path, limits, shown_name(path))
    low, high = float(image.volume.array.min()), float(image.volume.array.max())
    if low < 0 or high > 1:
        raise InputError(
            f"{shown_name(path)} holds values from {low:g} to {high:g}, so they are no probabilities.",
            hint="Give probabilities between 0 and 1, not logits or percentages.",
        )
    return image.volume, image.sha256


def _whole(array: NDArray[np.float32], name: str) -> NDArray[Any]:
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > _LARGEST_LABEL:
        raise InputError(
            f"{name} holds values from {low:g} to {high:g}; labels are whole numbers from 0 on.",
            hint="Give a label map, with 0 for background.",
        )
    labels = array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint32)
    if not np.array_equal(labels, array):
        odd = float(array[labels != array][0])
        raise InputError(
            f"{name} holds {odd:g}, which is no whole number, so it is no label map.",
            hint="Give the segmentation, not the probability; metseg evaluate has --prob-suffix for the latter.",
        )
    return labels
