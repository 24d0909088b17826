"""Lesions below a confidence are dropped from instances and table alike."""

import numpy as np
import pytest

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.lesions.measure import drop_unconfident, measure_lesions


@pytest.fixture
def measured(oblique_grid: Grid):
    instances = np.zeros(oblique_grid.shape, dtype=np.uint32)
    instances[1:4, 1:4, 1:4], instances[6:8, 6:8, 3:5], instances[10, 9, 6] = 7, 2, 4  # 27, 8 and 1 voxels
    probability = np.zeros(oblique_grid.shape, dtype=np.float32)
    for number, value in ((7, 0.75), (2, 0.5), (4, 0.875)):
        probability[instances == number] = value
    return measure_lesions(LabelMap(instances, oblique_grid), Volume(probability, oblique_grid))


def test_the_others_are_numbered_anew_in_their_order(measured):
    instances, lesions = drop_unconfident(*measured, 0.6)
    assert [(n.id, n.confidence) for n in lesions] == [(1, 0.75), (2, 0.875)]
    assert [n.centre_ijk for n in lesions] == [(2, 2, 2), (10, 9, 6)]
    assert np.bincount(instances.array.ravel()).tolist() == [13 * 11 * 7 - 28, 27, 1]
    assert instances.array[10, 9, 6] == 2


def test_the_limit_itself_is_enough_and_zero_keeps_all(measured):
    assert len(drop_unconfident(*measured, 0.875)[1]) == 1
    assert len(drop_unconfident(*measured, 0.88)[1]) == 0
    assert drop_unconfident(*measured, 0.88)[0].array.max() == 0
    assert drop_unconfident(*measured, 0.0) == measured


def test_lesions_without_confidence_stay(measured):
    instances, lesions = measure_lesions(measured[0], None)
    assert drop_unconfident(instances, lesions, 0.99) == (instances, lesions)
