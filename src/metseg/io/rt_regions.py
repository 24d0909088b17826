"""Lesions, and lesions with a margin, as regions of interest: named contours on the slices of a series."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from metseg.io.dicom_reference import Reference
from metseg.lesions.keyhole import slice_outlines
from metseg.lesions.margins import grow
from metseg.lesions.outline import Outline

Kind = Literal["GTV", "PTV"]
_COLOURS: Final = {"GTV": (255, 64, 64), "PTV": (64, 160, 255)}


@dataclass(frozen=True, eq=False)
class Region:
    """One region of interest.

    Args:
        name: ``GTV_01``, ``PTV_01_1mm``.
        kind: what planning systems take it for.
        lesion: its number in the lesion table.
        volume_mm3: inside the contours, slices as thick as they lie apart.
        contours: slice and corners (points, 2) as indices of column and row, for each.
        description: for people.
    """

    name: str
    kind: Kind
    lesion: int
    volume_mm3: float
    contours: list[tuple[int, Outline]] = field(repr=False)
    description: str = ""

    @property
    def colour(self) -> tuple[int, int, int]:
        """Red, green, blue."""
        return _COLOURS[self.kind]


def make_regions(
    instances: NDArray[Any],
    reference: Reference,
    margins_mm: Sequence[float] = (),
    within: NDArray[np.bool_] | None = None,
) -> list[Region]:
    """A ``GTV`` for each lesion, as sorted in the table; then, for each margin, a ``PTV`` for each.

    Args:
        instances: (columns, rows, slices) on the reference's grid, numbered as in the table.
        reference: the series.
        margins_mm: each above 0.
        within: the brain, on the same grid: margins end there.
    """
    boxes = _boxes(instances)
    regions = [
        Region(
            name=f"GTV_{number:02d}",
            kind="GTV",
            lesion=number,
            volume_mm3=float(np.count_nonzero(mask)) * reference.grid.voxel_volume_mm3,
            contours=slice_outlines(mask, start),
            description="Outlined by software for research",
        )
        for number, (mask, start) in boxes.items()
    ]
    for margin_mm in margins_mm:
        for number, (mask, start) in boxes.items():
            grown = grow(mask, start, reference.grid, margin_mm, within)
            regions.append(
                Region(
                    name=f"PTV_{number:02d}_{margin_mm:g}mm",
                    kind="PTV",
                    lesion=number,
                    volume_mm3=grown.volume_mm3,
                    contours=slice_outlines(grown.mask, grown.start, grown.finer),
                    description=f"GTV_{number:02d} and {margin_mm:g} mm around, for research",
                )
            )
    return regions


def _boxes(instances: NDArray[Any]) -> dict[int, tuple[NDArray[np.bool_], tuple[int, int, int]]]:
    """The voxels of each lesion in their bounding box, and the first voxel of that, by number."""
    found = {}
    for number, box in enumerate(find_objects(instances), 1):
        i, j, k = (side.start for side in box)
        found[number] = instances[box] == number, (i, j, k)
    return found
