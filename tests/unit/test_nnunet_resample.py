"""nnU-Net's resampling by matrices, against scipy's ``zoom``, which is what nnU-Net calls."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, zoom

from metseg.engines.nnunet.resample import (
    Resampling,
    axis_weights,
    planned_shape,
    resample_image,
    resample_labels,
)

CASES = [
    ((15, 21, 26), (1.0, 0.7, 0.9), (1.3, 1.0, 0.6)),
    ((9, 21, 26), (5.0, 0.7, 0.9), (5.0, 1.0, 0.6)),
    ((9, 21, 26), (5.0, 0.7, 0.9), (1.0, 1.0, 1.0)),
    ((20, 21, 10), (0.5, 0.5, 0.5), (1.0, 1.0, 4.0)),
]


def by_zoom(image, target, order):
    """One image of any dimension, never beyond its own range."""
    factors = [after / before for before, after in zip(image.shape, target, strict=True)]
    result = zoom(image.astype(np.float64), factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(result, image.min(), image.max())


def slice_by_slice(image, target, order, slow):
    """In the slices first, then along the slow axis by the nearest."""
    slices = np.moveaxis(image, slow, 0)
    inner = [n for axis, n in enumerate(target) if axis != slow]
    resized = np.stack([by_zoom(one, inner, order) for one in slices])
    n, count = target[slow], len(resized)
    place = count / n * (np.arange(n) + 0.5) - 0.5
    at = map_coordinates(np.arange(count), [place], order=0, mode="nearest")
    return np.moveaxis(resized[at], 0, slow)


@pytest.mark.parametrize(("shape", "now_mm", "next_mm"), CASES)
@pytest.mark.parametrize("order", [1, 3])
def test_images_are_resized_as_zoom_does(shape, now_mm, next_mm, order):
    channels = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    target = planned_shape(shape, now_mm, next_mm)
    how = Resampling(order=order)
    slow = how.slow_axis(now_mm, next_mm)
    found = resample_image(channels, target, how, slow)
    for channel, resized in zip(channels, found, strict=True):
        expected = by_zoom(channel, target, order) if slow is None else slice_by_slice(channel, target, order, slow)
        np.testing.assert_allclose(resized, expected, atol=3e-6)


@pytest.mark.parametrize(("shape", "now_mm", "next_mm"), CASES)
def test_a_label_map_keeps_its_labels_and_its_shape_in_space(shape, now_mm, next_mm):
    labels = np.zeros(shape, dtype=np.uint8)
    labels[2:-2, 4:-4, 3:9] = 3
    labels[2:-2, 4:-4, 9:-3] = 1
    target = planned_shape(shape, now_mm, next_mm)
    how = Resampling(order=1)
    found = resample_labels(labels, target, how, how.slow_axis(now_mm, next_mm))
    assert set(np.unique(found)) <= {0, 1, 3}
    scores = {label: (labels == label).astype(np.float64) for label in (0, 1, 3)}
    slow = how.slow_axis(now_mm, next_mm)
    best = np.stack([
        by_zoom(s, target, 1) if slow is None else slice_by_slice(s, target, 1, slow) for s in scores.values()
    ])  # fmt: skip
    clear = np.sort(best, axis=0)[-1] - np.sort(best, axis=0)[-2] > 1e-6
    np.testing.assert_array_equal(found[clear], np.array([0, 1, 3])[best.argmax(axis=0)][clear])


def test_a_tie_goes_to_the_nearest_label():
    labels = np.array([0, 0, 2, 2], dtype=np.uint8).reshape(4, 1, 1).repeat(4, 1).repeat(4, 2)
    # From 4 to 3 voxels the middle one lies just between 0 and 2; the nearest neighbour decides.
    found = resample_labels(labels, (3, 4, 4), Resampling(order=1), None)
    assert found[:, 0, 0].tolist() == [0, 2, 2]


def test_the_same_shape_is_the_same_array():
    channels = np.random.default_rng(0).normal(size=(1, 5, 6, 7)).astype(np.float32)
    assert resample_image(channels, (5, 6, 7), Resampling(), None) is channels


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("n_in", "n_out"), [(7, 19), (19, 7), (8, 4), (1, 5), (5, 1)])
def test_weights_sum_to_one(n_in, n_out, order):
    weights = axis_weights(n_in, n_out, order)
    assert weights.shape == (n_out, n_in)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("now_mm", "next_mm", "separate", "axis"),
    [
        ((1, 1, 1), (1, 1, 1), None, None),
        ((4, 1, 1), (1, 1, 1), None, 0),
        ((1, 1, 1), (1, 1, 3.1), None, 2),
        ((1, 1, 1), (1, 1, 3.0), None, None),  # the ratio must be exceeded
        ((0.24, 1.25, 1.25), (1, 1, 1), None, None),  # two slow axes: none is resized by itself
        ((4, 1, 1), (1, 1, 4), None, 0),  # what is there comes before what is wanted
        ((4, 1, 1), (1, 1, 1), False, None),
        ((1, 1.5, 1), (1, 1, 1), True, 1),
        ((1, 1, 1), (1, 1, 4), True, None),
    ],
)
def test_the_slow_axis(now_mm, next_mm, separate, axis):
    assert Resampling(separate_z=separate).slow_axis(now_mm, next_mm) == axis
