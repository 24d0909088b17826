"""Tracking UIDs: the same lesion has the same one, and hands it on to the visit after."""

import json
from dataclasses import replace

import numpy as np

from conftest import oblique_affine
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap
from metseg.io.lesion_files import read_tracking_uids
from metseg.lesions.known import match_known, measure_known
from metseg.lesions.measure import measure_lesions
from metseg.lesions.tracking import track_lesions

GRID = Grid((30, 20, 10), oblique_affine())


def lesions_of(*boxes):
    array = np.zeros(GRID.shape, dtype=np.uint32)
    for number, (start, stop) in enumerate(boxes, 1):
        array[start:stop, 4:9, 2:6] = number
    return measure_lesions(LabelMap(array, GRID))


def uids(*boxes, sha256="1" * 64):
    instances, lesions = lesions_of(*boxes)
    return [lesion.tracking_uid for lesion in track_lesions(lesions, instances, sha256)]


def test_voxels_and_image_make_the_name_not_the_number():
    assert uids((2, 6), (10, 12)) == [uids((2, 6))[0], uids((10, 12))[0]]
    assert uids((2, 6)) != uids((2, 6), sha256="2" * 64)
    assert uids((2, 6)) != uids((2, 7))


def followed(before, after):
    """Names of the lesions ``after``, where those ``before`` are called "1", "2" …, largest first."""
    prior, _ = lesions_of(*before)
    known = tuple(replace(one, tracking_uid=str(one.id)) for one in measure_known(prior, prior))
    instances, lesions = lesions_of(*after)
    found, _ = match_known(instances, lesions, prior, known)
    return [lesion.tracking_uid for lesion in found]


def test_a_lesion_keeps_its_name_when_sizes_change_places():
    assert followed([(2, 8), (12, 15)], [(2, 4), (12, 17)]) == ["2", "1"]


def test_the_largest_part_of_a_lesion_that_fell_apart_keeps_the_name():
    assert followed([(2, 14)], [(2, 5), (7, 12)]) == ["1", None]


def test_lesions_that_grew_together_are_called_by_the_largest():
    assert followed([(2, 6), (8, 15)], [(2, 15)]) == ["1"]


def test_a_new_lesion_gets_no_old_name():
    assert followed([(2, 8)], [(2, 8), (20, 23)]) == ["1", None]


def test_tables_that_are_none_give_no_names(tmp_path):
    path = tmp_path / "lesions.json"
    assert read_tracking_uids(path) == {}
    for content in ("", "[]", '{"lesions": 3}', '{"lesions": [{"id": "x"}, 4]}', "[" * 100_000):
        path.write_text(content)
        assert read_tracking_uids(path) == {}
    path.write_text(json.dumps({"lesions": [{"id": 1, "tracking_uid": "2.25.7"}, {"id": 2, "tracking_uid": "^x"}]}))
    assert read_tracking_uids(path) == {1: "2.25.7"}
