"""Cropping and normalisation by nnU-Net's rules."""

import numpy as np
import pytest

from metseg.core.errors import InferenceError
from metseg.engines.nnunet.prepare import Normalisation, crop_to_nonzero, one_hot


@pytest.fixture
def channels():
    """Two channels, empty outside a box, with a hole of 0 inside."""
    rng = np.random.default_rng(0)
    array = np.zeros((2, 9, 11, 10), dtype=np.float32)
    array[0, 2:7, 3:9, 1:8] = rng.normal(50, 10, (5, 6, 7))
    array[1, 2:7, 3:9, 1:9] = rng.normal(-5, 2, (5, 6, 8))
    array[:, 4, 5, 4] = 0
    return array


def test_the_box_holds_what_is_not_empty_in_any_channel(channels):
    cropped = crop_to_nonzero(list(channels), masked=True)
    assert cropped.shape == (5, 6, 8)
    assert cropped.box == (slice(2, 7), slice(3, 9), slice(1, 9))
    np.testing.assert_array_equal(cropped.channels, channels[:, 2:7, 3:9, 1:9])
    assert cropped.inside.all()  # the hole is filled
    with pytest.raises(InferenceError, match="0 everywhere"):
        crop_to_nonzero([np.zeros((4, 4, 4), dtype=np.float32)], masked=False)
    unasked = crop_to_nonzero(list(channels), masked=False)
    assert (unasked.box, unasked.inside) == (cropped.box, None)


def test_z_scores_of_the_whole_and_of_what_is_inside():
    rng = np.random.default_rng(1)
    image = rng.normal(30, 4, (6, 7, 8)).astype(np.float32)
    inside = rng.random(image.shape) < 0.6
    image[~inside] = 0
    found = Normalisation(scheme="zscore", masked=True).apply(image, inside)
    np.testing.assert_allclose([found[inside].mean(), found[inside].std()], [0, 1], atol=1e-5)
    assert (found[~inside] == 0).all()
    found = Normalisation(scheme="zscore").apply(image, inside)
    np.testing.assert_allclose(found, (image - image.mean()) / image.std(), atol=1e-5)
    assert (Normalisation(scheme="zscore").apply(np.full((3, 3, 3), 7, np.float32), inside) == 0).all()


def test_ct_is_clipped_and_scaled_by_the_training_data():
    image = np.array([-1000, -50, 10, 40, 300], dtype=np.float32).reshape(5, 1, 1)
    scheme = Normalisation(scheme="ct", low=-30, high=90, mean=40, deviation=20)
    assert scheme.apply(image, image > 0).ravel().tolist() == [-3.5, -3.5, -1.5, 0.0, 2.5]


def test_the_other_schemes():
    image = np.array([2, 4, 10], dtype=np.float32).reshape(3, 1, 1)
    assert Normalisation(scheme="rescale").apply(image, image > 0).ravel().tolist() == [0.0, 0.25, 1.0]
    assert Normalisation(scheme="none").apply(image, image > 0).ravel().tolist() == [2, 4, 10]


def test_an_image_is_never_changed(channels):
    before = channels.copy()
    for scheme in ("zscore", "ct", "rescale", "none"):
        result = Normalisation(scheme=scheme, high=60, masked=True).apply(channels[0], channels[0] != 0)
        result[...] = 3
    np.testing.assert_array_equal(channels, before)


def test_labels_become_channels_in_order():
    labels = np.array([0, 1, 3, 2], dtype=np.uint8).reshape(4, 1, 1)
    assert one_hot(labels, (1, 2, 3)).reshape(3, 4).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
