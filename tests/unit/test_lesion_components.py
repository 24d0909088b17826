import numpy as np
import pytest
from hypothesis import given

import strategies
from metseg.core.grid import Grid
from metseg.lesions.components import Foreground, drop_small, label_instances


def test_components_are_numbered_by_decreasing_size():
    mask = np.zeros((9, 8, 7), dtype=bool)
    mask[0, 0, 0] = True  # 1 voxel, first in the array
    mask[3:6, 2:4, 5] = True  # 6 voxels
    mask[8, 7, :3] = True  # 3 voxels
    instances = label_instances(mask)
    assert instances.dtype == np.uint32
    assert (instances[0, 0, 0], instances[4, 3, 5], instances[8, 7, 1]) == (3, 1, 2)
    assert np.bincount(instances.ravel())[1:].tolist() == [6, 3, 1]


def test_equal_components_are_numbered_by_their_first_voxel():
    mask = np.zeros((6, 5, 4), dtype=bool)
    mask[4, 0, 0] = mask[0, 4, 1] = mask[0, 4, 3] = mask[2, 2, 2] = True
    instances = label_instances(mask)
    assert [instances[at] for at in ((0, 4, 1), (0, 4, 3), (2, 2, 2), (4, 0, 0))] == [1, 2, 3, 4]


@pytest.mark.parametrize(("connectivity", "expected"), [(26, 1), (18, 2), (6, 3)])
def test_connectivity(connectivity, expected):
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[1, 1, 1] = mask[2, 2, 1] = mask[3, 3, 2] = True  # an edge shared, then a corner
    assert label_instances(mask, connectivity).max() == expected


def test_an_empty_mask_has_no_components():
    assert not label_instances(np.zeros((4, 5, 6), dtype=bool)).any()


def test_small_components_go_and_the_rest_is_numbered_without_gaps(oblique_grid):
    instances = np.zeros(oblique_grid.shape, dtype=np.uint16)
    instances[0, 0, 0] = 1
    instances[5, 5, 2:6] = 2
    instances[9, 1:4, 6] = 7
    voxel = 0.7 * 1.1 * 2.9
    assert oblique_grid.voxel_volume_mm3 == pytest.approx(voxel)
    kept = drop_small(instances, oblique_grid, 2 * voxel)
    assert np.array_equal(kept, np.where(instances == 2, 1, np.where(instances == 7, 2, 0)))
    assert not drop_small(instances, oblique_grid, 5 * voxel).any()
    assert np.unique(drop_small(instances, oblique_grid, 0.0)).tolist() == [0, 1, 2, 3]


@given(strategies.masks())
def test_numbering_loses_nothing_and_sorts(mask_and_grid):
    mask, grid = mask_and_grid
    instances = label_instances(mask)
    assert np.array_equal(instances > 0, mask)
    sizes = np.bincount(instances.ravel())[1:]
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()
    table = Foreground.of(instances).order_by_size()
    assert np.array_equal(table, np.arange(table.size))
    assert np.array_equal(drop_small(instances, grid, 0.0), instances)


def test_numbering_does_not_hang_on_the_numbers_before():
    rng = np.random.default_rng(3)
    mask = rng.random((17, 11, 13)) < 0.04
    instances = label_instances(mask)
    shuffle = np.concatenate(([0], rng.permutation(instances.max()) + 1)).astype(np.uint32)
    assert np.array_equal(drop_small(shuffle[instances], Grid.isotropic(mask.shape), 0.0), instances)
