"""Outlines with keyholes: every way of filling polygons finds the mask again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path

from metseg.lesions.keyhole import simple_outlines
from metseg.lesions.outline import signed_area
from rt_reader import crossings

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


def centres(mask):
    rows, columns = np.indices(mask.shape)
    return np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)


@given(MASKS)
def test_polygons_fill_the_mask_by_exclusive_or_and_by_union(mask):
    loops = simple_outlines(mask)
    fills = [crossings(loop, centres(mask)).reshape(mask.shape) for loop in loops]
    assert np.array_equal(np.logical_xor.reduce(fills) if fills else np.zeros_like(mask), mask)
    assert np.array_equal(np.logical_or.reduce(fills) if fills else np.zeros_like(mask), mask)
    assert sum(map(signed_area, loops)) == mask.sum()
    assert all(signed_area(loop) > 0 and len(loop) >= 4 for loop in loops)


@given(MASKS)
def test_a_fill_by_winding_finds_the_mask_too(mask):
    filled = np.zeros(mask.size, dtype=bool)
    for loop in simple_outlines(mask):
        filled |= Path(np.concatenate([loop, loop[:1]])).contains_points(centres(mask))
    assert np.array_equal(filled.reshape(mask.shape), mask)


def test_a_ring_is_one_polygon():
    mask = np.ones((5, 5), dtype=bool)
    mask[1:4, 1:4] = False
    (loop,) = simple_outlines(mask)
    assert signed_area(loop) == 16
    assert len(loop) == 4 + 4 + 3  # two squares, the start of the inner one again, both ends of the channel


def test_a_ring_in_a_ring():
    mask = np.ones((9, 9), dtype=bool)
    mask[1:8, 1:8] = False
    mask[3:6, 3:6] = True
    mask[4, 4] = False
    assert sorted(map(signed_area, simple_outlines(mask))) == [8, 32]


def test_two_holes_side_by_side_are_one_polygon():
    mask = np.ones((4, 8), dtype=bool)
    mask[1:3, 2] = mask[1:3, 5] = False
    (loop,) = simple_outlines(mask)
    assert signed_area(loop) == 28
