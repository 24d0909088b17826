"""Rules and assignments on instances counted by hand."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment

from metseg.evaluate.matching import MatchingOptions, match, overlapping
from metseg.evaluate.parts import Parts


def instances(*boxes, shape=(20, 9, 7), dtype=np.uint32):
    array = np.zeros(shape, dtype=dtype)
    for number, box in enumerate(boxes, start=1):
        array[box] = number
    return array


def pairs(prediction, reference, **options):
    found = match(prediction, reference, MatchingOptions(**options))
    return list(zip(found.prediction.tolist(), found.reference.tolist()))


# Along i. Lesion 1: 0–4, lesion 2: 4–8 (they touch), lesion 3: 12–16, lesion 4: one voxel, on the border.
REFERENCE = instances(np.s_[0:4, 0:2, 0], np.s_[4:8, 0:2, 0], np.s_[12:16, 0:2, 0], np.s_[19, 8, 6])
# 1 lies over lesions 1 and 2 (a fourth of each in turn), 2 and 3 are pieces of lesion 3, 4 touches nothing.
PREDICTION = instances(np.s_[3:6, 0:2, 0], np.s_[12:15, 0, 0], np.s_[13:16, 1, 0], np.s_[10, 5:8, 4])


def test_overlaps_are_counted():
    found = overlapping(PREDICTION, REFERENCE, (Parts.of(PREDICTION), Parts.of(REFERENCE)))
    assert list(zip(found.prediction, found.reference)) == [(1, 1), (1, 2), (2, 3), (3, 3)]
    assert found.shared.tolist() == [2, 4, 3, 3]
    assert found.dice.tolist() == pytest.approx([4 / 14, 8 / 14, 6 / 11, 6 / 11])
    assert found.iou.tolist() == pytest.approx([2 / 12, 4 / 10, 3 / 8, 3 / 8])


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("many_to_many", [(1, 1), (1, 2), (2, 3), (3, 3)]),
        ("many_to_one", [(1, 2), (2, 3), (3, 3)]),
        ("one_to_one", [(1, 2), (2, 3)]),
    ],
)
def test_assignments(assignment, expected):
    found = pairs(PREDICTION, REFERENCE, assignment=assignment)
    if assignment == "one_to_one":  # both pieces of lesion 3 are equally good
        assert found in (expected, [(1, 2), (3, 3)])
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rule": "dice", "threshold": 0.56}, [(1, 2)]),
        ({"rule": "dice", "threshold": 8 / 14}, [(1, 2)]),
        ({"rule": "dice", "threshold": 0.5}, [(1, 2), (2, 3), (3, 3)]),
        ({"rule": "iou", "threshold": 0.4}, [(1, 2)]),
        ({"rule": "iou", "threshold": 0.375}, [(1, 2), (2, 3), (3, 3)]),
        ({"rule": "iou", "threshold": 1.0}, []),
        ({"rule": "centroid"}, [(1, 2), (2, 3), (3, 3)]),
    ],
)
def test_rules(options, expected):
    assert pairs(PREDICTION, REFERENCE, **options) == expected


def test_a_centroid_may_lie_in_a_lesion_that_the_component_surrounds():
    ring = np.ones((7, 7, 3), dtype=np.uint32)
    ring[1:6, 1:6] = 0
    core = np.zeros_like(ring)
    core[3, 3, 1] = 5
    assert pairs(ring, core, rule="centroid") == [(1, 5)]
    assert pairs(ring, core, rule="centroid", assignment="one_to_one") == [(1, 5)]
    assert pairs(core, ring, rule="centroid") == []
    assert pairs(ring, core) == []


def test_one_to_one_has_the_largest_total_dice_not_the_best_single_pair():
    """Component 1 covers lesion 1 (5 voxels) best, but then component 2 would be left without a partner."""
    reference = instances(np.s_[0:5, 0, 0], np.s_[5:9, 0, 0])
    prediction = instances(np.s_[2:8, 0, 0], np.s_[0:2, 0, 0])
    assert pairs(prediction, reference, assignment="one_to_one") == [(1, 2), (2, 1)]
    assert pairs(prediction, reference, assignment="many_to_one") == [(1, 2), (2, 1)]


def test_a_better_total_may_need_a_worse_pair():
    reference = instances(np.s_[0:6, 0, 0], np.s_[6:9, 0, 0])
    prediction = instances(np.s_[2:9, 0, 0], np.s_[0:2, 0, 0])
    # Dice: (1,1) 8/13, (1,2) 6/10, (2,1) 4/8: one each gives more than (1,1) alone.
    assert pairs(prediction, reference, assignment="many_to_one") == [(1, 1), (2, 1)]
    assert pairs(prediction, reference, assignment="one_to_one") == [(1, 2), (2, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_one_to_one_by_groups_equals_the_whole_assignment(seed):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(0, 9, (6, 5, 4)).astype(np.uint16) * (rng.random((6, 5, 4)) < 0.5)
    reference = rng.integers(0, 7, (6, 5, 4)).astype(np.uint8) * (rng.random((6, 5, 4)) < 0.4)
    prediction, reference = prediction.astype(np.uint16), reference.astype(np.uint8)
    table = np.zeros((9, 7))
    for p in range(1, 9):
        for r in range(1, 7):
            a, b = prediction == p, reference == r
            table[p, r] = 2 * (a & b).sum() / max(1, a.sum() + b.sum())
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    found = match(prediction, reference, MatchingOptions(assignment="one_to_one"))
    assert table[found.prediction, found.reference].sum() == pytest.approx(best)
    assert found.dice == pytest.approx(table[found.prediction, found.reference])
    assert len(set(found.prediction.tolist())) == len(set(found.reference.tolist())) == len(found)


@pytest.mark.parametrize("rule", ["any_overlap", "centroid"])
@pytest.mark.parametrize("assignment", ["many_to_many", "many_to_one", "one_to_one"])
def test_empty_sides(rule, assignment):
    nothing = instances()
    for sides in ((nothing, nothing), (PREDICTION, nothing), (nothing, REFERENCE)):
        assert pairs(*sides, rule=rule, assignment=assignment) == []


def test_numbers_need_not_follow_each_other():
    renumber = np.array([0, 70000, 3, 900, 12], dtype=np.uint32)
    assert pairs(renumber[PREDICTION], REFERENCE) == [(3, 3), (900, 3), (70000, 1), (70000, 2)]


@pytest.mark.parametrize("options", [{"rule": "dice"}, {"threshold": 0.5}, {"rule": "iou", "threshold": 0.0}])
def test_a_threshold_stands_where_it_counts_and_nowhere_else(options):
    with pytest.raises(ValidationError):
        MatchingOptions(**options)


def test_parts_know_size_box_and_centroid():
    parts = Parts.of(REFERENCE)
    assert parts.ids.tolist() == [1, 2, 3, 4]
    assert parts.voxels.tolist() == [8, 8, 8, 1]
    assert parts.start.tolist() == [[0, 0, 0], [4, 0, 0], [12, 0, 0], [19, 8, 6]]
    assert parts.stop.tolist() == [[4, 2, 1], [8, 2, 1], [16, 2, 1], [20, 9, 7]]
    assert parts.centroid.tolist() == [[1.5, 0.5, 0], [5.5, 0.5, 0], [13.5, 0.5, 0], [19, 8, 6]]
    values = np.arange(REFERENCE.size).reshape(REFERENCE.shape)
    assert [v.tolist() for v in parts.values(values)] == [values[n == REFERENCE].tolist() for n in (1, 2, 3, 4)]
    assert len(Parts.of(instances())) == 0
    assert Parts.of(instances()).values(values) == []
