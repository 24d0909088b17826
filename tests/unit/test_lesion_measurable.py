"""RANO-BM's measurable lesions, by size."""

from dataclasses import replace

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.lesions.measurable import why_not_measurable
from results import make_result

GRID = Grid((40, 40, 20), np.diag([1.0, 1.0, 3.0, 1.0]))
BOX = ((5, 5, 5), (16, 12, 8))


@pytest.mark.parametrize(
    ("slice_mm", "slices", "diameter", "across", "told"),
    [
        (3.0, 3, 10.0, 5.0, ""), (3.0, 3, 9.9, 9.0, "below 10 mm"), (3.0, 3, 12.0, 4.9, "below 5 mm across"),
        (3.0, 1, 12.0, 9.0, "in one slice only"), (5.0, 2, 10.0, 8.0, ""),
        (6.0, 2, 11.9, 8.0, "below two slice distances"), (6.0, 2, 12.0, 8.0, ""),
    ],
)  # fmt: skip
def test_size_slices_and_their_distance_decide(slice_mm, slices, diameter, across, told):
    (lesion,) = make_result(GRID, [BOX]).lesions
    box = ((5, 5, 5), (16, 12, 5 + slices))
    lesion = replace(lesion, diameter_mm=diameter, perpendicular_mm=across, bbox_ijk=box)
    assert why_not_measurable(lesion, Grid((40, 40, 20), np.diag([1.0, 1.0, slice_mm, 1.0]))) == told


def test_slices_are_counted_along_the_axial_axis():
    sagittal = Grid((20, 40, 40), np.array([[0, 1.0, 0, 0], [0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]]))
    (lesion,) = make_result(GRID, [BOX]).lesions
    flat = replace(lesion, diameter_mm=20.0, perpendicular_mm=20.0, bbox_ijk=((5, 5, 5), (6, 30, 30)))
    assert why_not_measurable(flat, sagittal) == "in one slice only"
    assert why_not_measurable(replace(flat, bbox_ijk=((5, 5, 5), (30, 6, 30))), sagittal) == ""
