import numpy as np

from metseg.core.grid import Grid
from metseg.engines.brain_mask import brain_region, fill_holes, widen
from metseg.engines.manifest import BrainMask


def test_holes_are_filled_and_bays_are_not():
    mask = np.zeros((9, 10, 11), dtype=bool)
    mask[2:7, 2:8, 2:9] = True
    mask[4, 4:6, 5] = False  # a hole
    mask[2:5, 2, 2] = False  # a bay
    filled = fill_holes(mask)
    assert filled[4, 4:6, 5].all()
    assert not filled[2:5, 2, 2].any()
    assert filled.sum() == mask.sum() + 2


def test_a_diagonal_leak_does_not_empty_a_hole():
    mask = np.ones((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = mask[1, 1, 2] = mask[0, 0, 2] = False
    assert fill_holes(mask)[2, 2, 2]
    assert not fill_holes(mask)[0, 0, 2]


def test_the_margin_is_in_millimetres():
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True
    grid = Grid(mask.shape, np.diag([1.0, 2.0, 4.0, 1.0]))
    reached = np.argwhere(widen(mask, grid, 4.0))
    assert (reached.min(axis=0).tolist(), reached.max(axis=0).tolist()) == ([6, 8, 9], [14, 12, 11])
    assert np.array_equal(widen(mask, grid, 0.4), mask)


def test_crumbs_are_no_brain_but_pieces_are():
    probability = np.zeros((20, 20, 20), dtype=np.float32)
    probability[3:10, 3:10, 3:10] = 0.9
    probability[5:7, 5:7, 5:7] = 0.1  # a lesion that the brain output leaves out
    probability[18, 18, 18] = 1.0  # 1 of 336
    probability[14:16, 3:5, 3:5] = 1.0  # 8 of 336
    grid = Grid.isotropic(probability.shape)
    region = brain_region(probability, grid, BrainMask(margin_mm=1))
    expected = np.zeros_like(region)
    expected[2:11, 2:11, 2:11] = True
    expected[13:17, 2:6, 2:6] = True
    assert np.array_equal(region, expected)
    assert not brain_region(np.zeros_like(probability), grid, BrainMask()).any()
