"""Known lesions on their way through grids, what lies near them, and what touches them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable
from metseg.core.study import Study
from metseg.core.volume import LabelMap
from metseg.engines.nnunet.resample import resample_mask
from metseg.lesions.known import count_known, match_known, measure_known, near_known
from metseg.lesions.measure import drop_unconfident, measure_lesions
from metseg.preprocess.nearest import carried_to_grid, nearest_on_grid


def tilted(shape, spacing, degrees=(7, -9, 12), origin=(11.0, -7.0, 3.0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(degrees, degrees=True).as_matrix() @ np.diag([-spacing[0], *spacing[1:]])
    affine[:3, 3] = origin
    return Grid(shape, affine)


def test_near_is_three_millimetres_between_centres(oblique_grid):
    array = np.zeros(oblique_grid.shape, dtype=np.uint32)
    array[3, 4, 2], array[12, 10, 6] = 2, 1
    world = oblique_grid.to_world(np.moveaxis(np.indices(oblique_grid.shape), 0, -1))
    away = [np.linalg.norm(world - oblique_grid.to_world(place), axis=-1) for place in ((3, 4, 2), (12, 10, 6))]
    found = near_known(LabelMap(array, oblique_grid), 3.0)
    assert np.array_equal(found, np.minimum(*away) <= 3.0)
    assert found[3, 4, 3]  # the slice beside it is 2.9 mm away
    assert not near_known(LabelMap(np.zeros_like(array), oblique_grid), 3.0).any()


def test_a_lesion_of_one_voxel_does_not_fall_between_the_voxels_of_a_coarser_grid():
    fine, coarse = tilted((40, 36, 30), (0.7, 0.8, 1.1)), tilted((9, 10, 8), (3.1, 2.9, 4.2), (2, 5, -8))
    rng = np.random.default_rng(0)
    lost = 0
    for number, voxel in enumerate(rng.integers(8, 24, (20, 3)), 1):
        labels = np.zeros(fine.shape, dtype=np.uint32)
        labels[tuple(voxel)] = number
        found = carried_to_grid(labels, fine, coarse)
        lost += not nearest_on_grid(labels, fine, coarse).any()
        place = tuple(np.round(coarse.to_index(fine.to_world(voxel))).astype(int))
        expected = np.zeros(coarse.shape, dtype=np.uint32)
        expected[place] = number
        assert np.array_equal(found, expected)
    assert lost > 10


def test_on_the_same_grid_labels_stay_and_on_a_finer_one_they_have_no_holes():
    grid, fine = tilted((9, 10, 8), (3.1, 2.9, 4.2)), tilted((40, 36, 30), (0.7, 0.8, 1.1))
    labels = np.random.default_rng(1).integers(0, 3, grid.shape).astype(np.uint32)
    assert np.array_equal(carried_to_grid(labels, grid, grid), labels)
    labels[:] = 0
    labels[2:5, 3:6, 2:4] = 7
    assert np.array_equal(carried_to_grid(labels, grid, fine), nearest_on_grid(labels, grid, fine))


@pytest.mark.parametrize("target", [(5, 11, 23), (13, 4, 7), (13, 11, 7), (1, 1, 1)])
def test_every_stage_voxel_that_a_mask_voxel_falls_into_is_marked(target):
    shape = (13, 11, 7)
    mask = np.random.default_rng(2).random(shape) < 0.02
    found = resample_mask(mask, target)
    expected = np.zeros(target, dtype=bool)
    for voxel in np.argwhere(mask):
        expected[tuple(np.floor((voxel + 0.5) * target / shape).astype(int))] = True
    assert mask.any()
    assert (found[expected]).all()
    for place in np.argwhere(found & ~expected):  # only where an axis got finer, the nearest voxel
        nearest = np.floor((place + 0.5) * shape / target).astype(int)
        finer = np.array(target) > shape
        assert finer.any()
        within = np.argwhere(mask)[:, finer] == nearest[finer]
        assert within.all(axis=1).any()


def test_lesions_that_share_a_corner_with_a_known_one_are_known(oblique_grid):
    instances = np.zeros(oblique_grid.shape, dtype=np.uint8)
    instances[1:4, 1:4, 1:4], instances[7:9, 7:9, 3:5], instances[11, 1, 1] = 1, 2, 3
    found, lesions = measure_lesions(LabelMap(instances, oblique_grid))
    known = np.zeros_like(instances)
    known[4, 4, 4], known[9, 9, 6] = 1, 2  # a corner of the first; two slices beyond the second
    prior = LabelMap(known, oblique_grid)
    marked, matched = match_known(found, lesions, prior, measure_known(prior, prior))
    assert [lesion.known for lesion in marked] == [True, False, False]
    assert [lesion.known for lesion in lesions] == [None] * 3
    assert [(one.id, one.found, one.status) for one in matched] == [(1, True, "found"), (2, False, "not found")]
    nothing, unmatched = match_known(found, LesionTable(), prior, matched)
    assert (nothing, [one.found for one in unmatched]) == (LesionTable(), [False, False])
    assert count_known(LabelMap(known, oblique_grid)) == 2
    assert count_known(LabelMap(np.zeros_like(known), oblique_grid)) == 0


def test_known_lesions_are_measured_on_their_own_grid():
    own, study = tilted((40, 36, 30), (0.7, 0.8, 1.1)), tilted((14, 16, 9), (3.1, 2.9, 4.2), (-3, 8, 5), (6, -19, -8))
    array = np.zeros(own.shape, dtype=np.uint32)
    array[10:14, 20:23, 15:17], array[30, 5, 9] = 1, 2
    array[0:2, 0:2, 0:2] = 3  # its voxels lie where the study has none
    mask = LabelMap(array, own)
    prior = LabelMap(carried_to_grid(array, own, study), study)
    found = measure_known(mask, prior)
    assert [one.id for one in found] == [1, 2, 3]
    assert [one.volume_mm3 for one in found] == pytest.approx([24 * 0.616, 0.616, 8 * 0.616])
    for one, centre in zip(found, ((11.5, 21, 15.5), (30, 5, 9), (0.5, 0.5, 0.5)), strict=True):
        assert one.centre_mm == pytest.approx(own.to_world(centre))
    for one in found:
        places = np.round(study.to_index(own.to_world(np.argwhere(array == one.id))))
        assert one.share_inside == ((places >= 0) & (places < study.shape)).all(axis=1).mean()
        assert (one.value, one.found) == (one.id if one.share_inside else 0, None)
    assert [one.share_inside for one in found] == [1, 1, 0]
    _, matched = match_known(prior, LesionTable(), prior, found)
    assert [one.status for one in matched] == ["not found", "not found", "outside"]


def test_a_known_lesion_that_is_cut_by_the_edge_is_outside_unless_it_is_found(oblique_grid):
    far = oblique_grid.crop((0, -4, 0), (oblique_grid.shape[0], oblique_grid.shape[1] + 4, oblique_grid.shape[2]))
    array = np.zeros(far.shape, dtype=np.uint32)
    array[2:4, 1:5, 3], array[2:4, 9, 3] = 1, 2  # of the first, a quarter lies inside
    prior = LabelMap(carried_to_grid(array, far, oblique_grid), oblique_grid)
    known = measure_known(LabelMap(array, far), prior)
    assert [one.share_inside for one in known] == [0.25, 1]
    seen = np.zeros(oblique_grid.shape, dtype=np.uint8)
    seen[2, 0, 3] = 1
    table = measure_lesions(LabelMap(seen, oblique_grid))
    assert [one.status for one in match_known(*table, prior, known)[1]] == ["found", "not found"]
    assert [one.status for one in match_known(table[0], LesionTable(), prior, known)[1]] == ["outside", "not found"]


def test_a_known_lesion_under_another_on_a_coarser_grid_shares_its_fate():
    fine = tilted((8, 8, 20), (1.0, 1.2, 1.0))
    affine = fine.affine.copy()
    affine[:3, 2] *= 5
    affine[:3, 3] = fine.to_world((0, 0, 2))
    coarse = Grid((8, 8, 4), affine)
    array = np.zeros(fine.shape, dtype=np.uint32)
    array[2:5, 2:5, 5:8], array[3, 3, 9], array[6, 6, 17] = 1, 2, 3  # 1 and 2 fall into one thick slice
    prior = LabelMap(carried_to_grid(array, fine, coarse), coarse)
    assert count_known(prior) == 2
    known = measure_known(LabelMap(array, fine), prior)
    assert [(one.share_inside, one.value) for one in known] == [(1, 1), (1, 1), (1, 3)]
    seen = np.zeros(coarse.shape, dtype=np.uint8)
    seen[3, 3, 1] = 1
    _, matched = match_known(*measure_lesions(LabelMap(seen, coarse)), prior, known)
    assert [one.found for one in matched] == [True, True, False]


def test_some_lesions_may_be_less_sure_than_others(oblique_grid):
    from metseg.core.volume import Volume

    instances, probability = np.zeros(oblique_grid.shape, dtype=np.uint8), np.zeros(oblique_grid.shape, np.float32)
    for number, (start, value) in enumerate(((1, 0.3), (5, 0.3), (9, 0.8)), 1):
        instances[start : start + 4 - number] = number
        probability[start : start + 4 - number] = value
    measured = measure_lesions(LabelMap(instances, oblique_grid), Volume(probability, oblique_grid))
    kept, table = drop_unconfident(*measured, 0.5, {2: 0.25})
    assert [lesion.confidence for lesion in table] == pytest.approx([0.3, 0.8])
    assert np.array_equal(kept.array, np.where(instances > 1, instances - 1, 0))
    assert len(drop_unconfident(*measured, 0.5, {2: 0.31})[1]) == 1


def test_a_prior_lies_on_the_studys_grid(oblique_volume, oblique_grid):
    known = LabelMap(np.ones(oblique_grid.shape, dtype=np.uint8), oblique_grid)
    assert Study("case", {"t1c": oblique_volume}, prior=known).prior is known
    shifted = LabelMap(np.asarray(known.array), oblique_grid.crop((1, 0, 0), oblique_grid.shape))
    with pytest.raises(InputError, match="prior of study case lies on"):
        Study("case", {"t1c": oblique_volume}, prior=shifted)
