"""Which lesions RANO-BM would measure, as far as size alone tells."""

from typing import Final

from metseg.core.grid import Grid
from metseg.core.lesion import Lesion

LEAST_DIAMETER_MM: Final = 10.0
LEAST_PERPENDICULAR_MM: Final = 5.0
_THICK_SLICE_MM: Final = 5.0


def why_not_measurable(lesion: Lesion, grid: Grid) -> str:
    """Why a lesion is too small to be measurable disease; empty where its size allows it.

    RANO-BM (Lin et al., Lancet Oncol 2015) asks of a measurable lesion: a longest axial diameter of 10 mm, 5 mm across
    it, two axial slices at least that show it, and, where slices are more than 5 mm apart, a diameter of twice that.
    It asks for more than size (enhancement, sharp borders; no dural, bony or purely cystic lesion): not judged here.

    Args:
        lesion: measured.
        grid: of the study.
    """
    slice_mm = max(grid.spacing_mm)
    if lesion.diameter_mm < LEAST_DIAMETER_MM:
        return "below 10 mm"
    if lesion.perpendicular_mm < LEAST_PERPENDICULAR_MM:
        return "below 5 mm across"
    first, stop = (corner[grid.axial_axis] for corner in lesion.bbox_ijk)
    if stop - first < 2:
        return "in one slice only"
    if slice_mm > _THICK_SLICE_MM and lesion.diameter_mm < 2 * slice_mm:
        return "below two slice distances"
    return ""
