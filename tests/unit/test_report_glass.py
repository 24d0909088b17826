"""The glass brain: lesions where they are, in the world's own directions."""

from dataclasses import replace

import numpy as np
import pytest

from conftest import oblique_affine
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap
from metseg.report.glass import draw_glass
from metseg.report.style import lesion_colour
from results import make_result

LPS = Grid((40, 44, 30), np.array([[-4.0, 0, 0, 80], [0, -4.0, 0, 90], [0, 0, 5.0, -60], [0, 0, 0, 1]]))
OBLIQUE = Grid((40, 44, 30), oblique_affine(spacing_mm=(3.5, 4.0, 5.0)))


def tint(picture: np.ndarray, number: int) -> np.ndarray:
    """(x, y) of the pixels that are nearly of a lesion's colour."""
    away = np.abs(picture.astype(int) - lesion_colour(number)).max(axis=-1)
    return np.argwhere(away < 25)[:, ::-1]


@pytest.mark.parametrize("grid", [LPS, OBLIQUE], ids=["LPS", "oblique"])
def test_a_lesion_lies_where_it_lies_in_the_world(grid):
    result = make_result(grid, [((16, 18, 14), (20, 22, 17))])
    model = Grid.isotropic((80, 90, 70), 2.0, grid.to_world((20, 22, 15)) - (80, 90, 70))
    world = model.to_world(np.moveaxis(np.indices(model.shape), 0, -1))
    centre = grid.to_world((20, 22, 15))
    inside = (((world - centre) / (60, 75, 55)) ** 2).sum(-1) < 1
    result = replace(result, brain=LabelMap(inside.astype(np.uint8), model, {1: "brain"}))
    picture, is_brain = draw_glass(result)
    assert is_brain
    array = np.asarray(picture)
    low, high = world[inside].min(0) - 7, world[inside].max(0) + 7
    scale = (1132 - 12) / (2 * (high[0] - low[0]) + high[1] - low[1])
    x, y, z = result.lesions.lesions[0].centre_mm
    starts = (0, (high[0] - low[0]) * scale + 6, 2 * ((high[0] - low[0]) * scale + 6))
    expected = ((high[0] - x, high[1] - y), (high[0] - x, high[2] - z), (high[1] - y, high[2] - z))
    drawn = tint(array, 1)
    for start, stop, place in zip(starts, (*starts[1:], 1132), expected):
        there = drawn[(drawn[:, 0] >= start) & (drawn[:, 0] < stop)]
        assert len(there) > 40
        assert there.mean(0) == pytest.approx(np.array(place) * scale + (start, 0), abs=3)


def test_without_a_brain_the_head_is_shown_and_a_hundred_lesions_are_drawn():
    lattice = [(i, j, k) for k in range(6, 26, 4) for j in range(12, 34, 4) for i in range(12, 30, 4)][:120]
    result = make_result(LPS, [(p, (p[0] + 1, p[1] + 1, p[2] + 1)) for p in lattice])
    picture, is_brain = draw_glass(result)
    assert not is_brain
    assert picture.width == 1132
    assert all(len(tint(np.asarray(picture), number)) > 30 for number in range(1, 7))
