"""Margins have the areas that geometry says, whatever the voxels' sizes, and never touch the lesion itself."""

import math

import numpy as np
import pytest

from conftest import oblique_affine
from metseg.core.grid import Grid
from metseg.lesions.margins import grow

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.9, 3.0), (0.7, 1.1, 1.5)]


def box_in(grid, size_mm):
    """A box of about this size, and its sides."""
    shape = [round(mm / s) for mm, s in zip(size_mm, grid.spacing_mm, strict=True)]
    return np.ones(shape, dtype=bool), np.array(shape) * grid.spacing_mm


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("margin_mm", [1.0, 2.0, 3.5])
def test_a_box_grows_as_a_box_with_round_edges(spacing, margin_mm):
    grid = Grid((60, 50, 40), oblique_affine(spacing))
    box, (a, b, c) = box_in(grid, (9, 7, 6))
    start = (20, 18, 15)
    grown = grow(box, start, grid, margin_mm)
    pixel_mm2 = spacing[0] * spacing[1] / math.prod(grown.finer)
    for k in range(grown.mask.shape[2]):
        beyond = abs((grown.start[2] + k - start[2] + 0.5) * spacing[2] - c / 2) - c / 2  # of the slice's plane
        reach = math.sqrt(max(0.0, margin_mm**2 - max(0.0, beyond) ** 2))
        expected = a * b + 2 * reach * (a + b) + math.pi * reach**2 if beyond < margin_mm else 0.0
        if beyond <= 0 or abs(beyond - margin_mm) > 0.15:  # a slice at the very margin may go either way
            # Parts of 0.2 mm: the edge may lie half of one beside the margin, all around.
            assert grown.mask[:, :, k].sum() * pixel_mm2 == pytest.approx(
                expected, abs=0.105 * 2 * (a + b + math.pi * reach)
            )


def test_a_margin_of_nothing_is_the_lesion():
    grid = Grid((30, 30, 30), oblique_affine((0.7, 1.1, 2.9)))
    box, sides = box_in(grid, (5, 6, 9))
    grown = grow(box, (10, 10, 10), grid, 0.0)
    assert grown.volume_mm3 == pytest.approx(math.prod(sides), rel=1e-9)


def test_margins_end_at_the_brain_but_leave_the_lesion_whole():
    grid = Grid((40, 40, 40), oblique_affine((1.0, 1.0, 1.0)))
    box = np.ones((6, 6, 6), dtype=bool)
    brain = np.zeros(grid.shape, dtype=bool)
    brain[:, :14] = True
    grown = grow(box, (10, 10, 10), grid, 3.0, within=brain)
    low, fine = grown.start[1], grown.finer[1]
    columns = np.flatnonzero(grown.mask.any(axis=(0, 2)))
    assert columns.max() == (16 - low) * fine - 1  # the lesion's last voxel, beyond the brain
    outside = grown.mask[:, (14 - low) * fine :]
    assert outside.sum() == 2 * fine * 6 * grown.finer[0] * 6  # of the lesion, and nothing else
    assert columns.min() < (10 - low) * fine  # inside the brain it grew


def test_at_the_images_edge_it_is_cut():
    grid = Grid((12, 12, 12), oblique_affine((1.0, 1.0, 1.0)))
    grown = grow(np.ones((3, 3, 3), dtype=bool), (0, 9, 0), grid, 2.0)
    assert grown.start[0] == grown.start[2] == 0
    assert grown.start[1] + grown.mask.shape[1] / grown.finer[1] <= 12
