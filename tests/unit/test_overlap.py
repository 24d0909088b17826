"""Dice and detection on instances counted by hand."""

import numpy as np

from metseg.evaluate.overlap import Detection, detection, dice


def _map(*boxes) -> np.ndarray:
    array = np.zeros((9, 7, 5), dtype=np.uint32)
    for number, box in enumerate(boxes, start=1):
        array[box] = number
    return array


def test_dice_counts_shared_voxels_twice():
    a, b = np.zeros((4, 3, 2), dtype=bool), np.zeros((4, 3, 2), dtype=bool)
    a[:2], b[1:3] = True, True  # 12 voxels each, 6 shared
    assert dice(a, b) == 0.5
    assert dice(a, ~a) == 0.0


def test_two_empty_masks_agree():
    empty = np.zeros((4, 3, 2), dtype=bool)
    assert dice(empty, empty) == 1.0
    assert detection(_map(), _map()) == Detection(present=0, found=0, predicted=0, false=0)


def test_detection_counts_lesions_and_components():
    reference = _map(np.s_[0:2, 0:2, 0:2], np.s_[4:6, 0:2, 0:2], np.s_[8, 6, 4])
    prediction = _map(np.s_[1:5, 1, 1], np.s_[0, 6, 0], np.s_[0, 6, 4])  # one touches two lesions, two touch none
    assert detection(prediction, reference) == Detection(present=3, found=2, predicted=3, false=2)
