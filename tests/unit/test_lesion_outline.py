"""Outlines hold exactly the pixels that were segmented."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from metseg.lesions.outline import enclosed_area, outlines, signed_area


def test_one_pixel_is_a_unit_square():
    mask = np.zeros((5, 7), dtype=bool)
    mask[2, 4] = True
    (loop,) = outlines(mask)
    assert sorted(map(tuple, loop.tolist())) == [(4, 2), (4, 3), (5, 2), (5, 3)]
    assert signed_area(loop) == 1


def test_nothing_has_no_outline():
    assert outlines(np.zeros((3, 4), dtype=bool)) == []


def test_a_mask_to_the_rim_is_closed():
    (loop,) = outlines(np.ones((3, 4), dtype=bool))
    assert sorted(map(tuple, loop.tolist())) == [(0, 0), (0, 3), (4, 0), (4, 3)]


def test_a_ring_has_an_outer_and_an_inner_outline():
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 1:4] = False
    assert sorted(signed_area(loop) for loop in outlines(mask)) == [-3, 25]


def test_pixels_that_touch_at_a_corner_stay_apart():
    assert [signed_area(loop) for loop in outlines(np.eye(3, dtype=bool))] == [1, 1, 1]


def test_a_ring_that_touches_itself_at_a_corner_is_followed_to_its_end():
    mask = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    loops = outlines(mask)
    assert enclosed_area(loops) == 7
    for loop in loops:
        steps = np.abs(np.roll(loop, -1, axis=0) - loop)
        assert ((steps == 0).sum(axis=1) == 1).all()  # each side runs along one axis


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1)])
def test_thin_masks(shape):
    assert enclosed_area(outlines(np.ones(shape, dtype=bool))) == shape[0] * shape[1]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_area_inside_is_the_number_of_pixels(mask):
    loops = outlines(mask)
    assert enclosed_area(loops) == mask.sum()
    edges = sum(np.abs(np.diff(np.pad(mask, 1).astype(int), axis=axis)).sum() for axis in (0, 1))
    assert sum(np.abs(np.roll(loop, -1, axis=0) - loop).sum() for loop in loops) == edges
