"""Windows cover the image, overlap as nnU-Net's do, and count by a Gaussian."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from metseg.engines.mirroring import mirrorings
from metseg.engines.nnunet.windows import importance, padding, window_starts, windows


def test_starts_are_evenly_spread():
    assert window_starts([110], [64]) == [[0, 23, 46]]
    assert window_starts([64, 65, 128, 150], [64, 64, 64, 64]) == [[0], [0, 1], [0, 32, 64], [0, 29, 57, 86]]
    assert window_starts([128], [64], step=1.0) == [[0, 64]]


@given(
    st.lists(st.tuples(st.integers(4, 40), st.integers(0, 30)), min_size=3, max_size=3),
    st.sampled_from([0.25, 0.5, 1.0]),
)
def test_windows_cover_everything(axes, step):
    window = [width for width, _ in axes]
    size = [width + more for width, more in axes]
    seen = np.zeros(size, dtype=int)
    places = list(windows(size, window, step))
    for place in places:
        assert seen[place].shape == tuple(window)
        seen[place] += 1
    assert seen.min() >= 1
    assert len(set(map(str, places))) == len(places)
    for starts, width in zip(window_starts(size, window, step), window, strict=True):
        assert max(np.diff(starts), default=0) <= max(1, np.ceil(width * step))


def test_flat_windows_lie_in_one_slice_each():
    places = list(windows((3, 10, 8), (6, 8)))
    assert len(places) == 3 * 3
    assert [place[0] for place in places[::3]] == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize("window", [(8, 10, 7), (16, 12)])
def test_importance_is_a_gaussian_about_the_middle(window):
    delta = np.zeros(window)
    delta[tuple(n // 2 for n in window)] = 1
    bell = gaussian_filter(delta, [n / 8 for n in window], mode="constant")
    np.testing.assert_allclose(importance(window), bell / bell.max(), rtol=1e-5)
    assert importance(window).min() > 0


def test_padding_is_even_with_the_odd_voxel_behind():
    assert padding((5, 20, 7), (8, 16, 8)) == [(1, 2), (0, 0), (0, 1)]
    assert padding((5, 20, 7), (16, 8)) == [(0, 0), (0, 0), (0, 1)]


def test_mirrorings():
    assert mirrorings((0, 2)) == [(), (0,), (2,), (0, 2)]
    assert mirrorings(()) == [()]
