"""Places in the brain: heads made of the template's tissues, whose true place in its world is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable
from metseg.core.study import Source, Study
from metseg.core.volume import LabelMap, Volume
from metseg.io.template import read_template
from metseg.lesions.location import why_not
from metseg.lesions.midline import find_midline, with_sides
from metseg.lesions.registration import register
from metseg.pipeline.location import brain_sample, place_lesions
from results import make_result

HEAD = np.diag([1.06, 0.98, 1.1])  # template millimetres per patient's
POINTS = np.array(
    [(25, 52, 8), (-45, -38, 52), (55, -30, -10), (-12, -88, 4), (30, -64, -40), (-10, -18, 8), (0, -26, -34)]
)
TOLD = [
    ("right", "frontal lobe"), ("left", "parietal lobe"), ("right", "temporal lobe"), ("left", "occipital lobe"),
    ("right", "cerebellum"), ("left", "thalamus"), ("midline", "brainstem"),
]  # fmt: skip


def truth(turn=(0.0, 0.0, 0.0), at=(12.0, -30.0, 45.0)) -> np.ndarray:
    """4 x 4 from the patient's world to the template's."""
    matrix = np.eye(4)
    matrix[:3, :3] = HEAD @ Rotation.from_rotvec(turn, degrees=True).as_matrix().T
    matrix[:3, 3] = -matrix[:3, :3] @ np.array(at)
    return matrix


def head(to_template, spacing=(3.0, 3.5, 4.0), turn=(4.0, -6.0, 8.0), means=(60.0, 100.0, 20.0)) -> Study:
    """A stripped head with noise, on an oblique grid around it that nothing in the template knows of."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix() @ np.diag(spacing)
    middle = np.linalg.inv(to_template) @ (0, -18, 0, 1)
    shape = tuple(round(230 / s) for s in spacing)
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid, template = Grid(shape, affine), read_template()
    world = grid.to_world(np.moveaxis(np.indices(shape), 0, -1)).reshape(-1, 3)
    index = template.grid.to_index(world @ to_template[:3, :3].T + to_template[:3, 3]).T
    tissues = np.stack([map_coordinates(t, index, order=1).reshape(shape) for t in template.tissues])
    image = np.tensordot(means, tissues, 1) + np.random.default_rng(1).normal(0, 3, shape)
    inside = tissues.sum(axis=0) > 0.5
    return Study("h", {"t1c": Volume(np.where(inside, image, 0).astype(np.float32), grid)}, source=Source())


def brain_of(study: Study) -> LabelMap:
    volume = study.images["t1c"]
    return LabelMap((np.asarray(volume.array) != 0).astype(np.uint8), volume.grid, {1: "brain"})


def lesions_at(centres) -> LesionTable:
    boxes = [((5, 5, 5 + n), (6, 6, 6 + n)) for n in range(len(centres))]
    made = make_result(Grid.isotropic((30, 30, 30), 4.0), boxes).lesions
    return LesionTable(tuple(replace(one, centre_mm=tuple(map(float, c))) for one, c in zip(made, centres)))


def placed(study, centres, brain=None):
    brain = brain or brain_of(study)
    midline = find_midline(np.asarray(brain.array) != 0, brain.grid)
    lesions, placing = place_lesions(with_sides(lesions_at(centres), midline), study, brain, midline)
    assert placing.reason == ""
    return [(one.side, one.location and one.location.words) for one in lesions], placing


def in_patient(points, to_template):
    return points @ np.linalg.inv(to_template)[:3, :3].T + np.linalg.inv(to_template)[:3, 3]


@pytest.mark.parametrize(
    ("turn", "means"), [((0, 0, 0), (60, 100, 20)), ((24, 8, -14), (90, 60, 200)), ((-22, 0, 20), (38, 30, 8))]
)
def test_the_map_and_the_places_are_found_however_the_head_lies_and_whatever_its_contrast(turn, means):
    known = truth(turn)
    study = head(known, means=means)
    centres = in_patient(POINTS, known)
    told, placing = placed(study, centres)
    assert told == TOLD
    found = np.array(placing.measures["to_template"])
    off = np.linalg.norm(centres @ found[:3, :3].T + found[:3, 3] - POINTS, axis=1)
    assert off.max() < 2.0


def test_the_order_of_the_voxels_changes_nothing():
    study = head(truth())
    volume, centres = study.images["t1c"], in_patient(POINTS, truth())
    affine = volume.grid.affine[:, [2, 0, 1, 3]].copy()
    array = np.asarray(volume.array).transpose(2, 0, 1)[:, ::-1]
    affine[:3, 3] += affine[:3, 1] * (array.shape[1] - 1)
    affine[:3, 1] *= -1
    other = Study("h", {"t1c": Volume(np.ascontiguousarray(array), Grid(array.shape, affine))}, source=Source())
    (told, one), (again, two) = placed(study, centres), placed(other, centres)
    assert told == again == TOLD
    assert np.allclose(one.measures["to_template"], two.measures["to_template"], atol=1e-4)


def test_a_mirrored_head_swaps_its_sides_and_nothing_else():
    study = head(truth(), turn=(0.0, 0.0, 0.0))
    volume, centres = study.images["t1c"], in_patient(POINTS, truth())
    grid = volume.grid
    array = np.ascontiguousarray(np.asarray(volume.array)[::-1])  # another patient: the mirror image of this one
    last = grid.shape[0] - 1
    there = grid.to_world([last, 0, 0] + grid.to_index(centres) * [-1, 1, 1])
    told, _ = placed(Study("h", {"t1c": Volume(array, grid)}, source=Source()), there)
    swap = {"left": "right", "right": "left", "midline": "midline"}
    assert told == [(swap[side], words) for side, words in TOLD]


def test_a_side_that_the_map_contradicts_is_taken_back():
    known = truth()
    study, centres = head(known), in_patient(POINTS, known)
    wrong = tuple(replace(one, side="left") for one in lesions_at(centres))
    lesions, _ = place_lesions(LesionTable(wrong), study, brain_of(study), None)
    assert [one.side for one in lesions][:6] == [None, "left", None, "left", None, "left"]


def noise_in_a_ball(study: Study) -> Study:
    grid = study.grid
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.to_world((np.array(grid.shape) - 1) / 2)
    texture = gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 1.5)
    image = np.where(((world / (66, 84, 66)) ** 2).sum(axis=-1) < 1, 100 + 400 * texture, 0)
    return replace(study, images={"t1c": Volume(image.astype(np.float32), grid)})


def cut(study: Study, level: int) -> Study:
    volume = study.images["t1c"]
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_world((0, 0, level))
    array = np.asarray(volume.array)[:, :, level:]
    return replace(study, images={"t1c": Volume(array, Grid(array.shape, affine))})


BAD = {
    "no head": noise_in_a_ball,
    "back to front": lambda _: head(truth((0, 0, 180))),
    "upside down": lambda _: head(truth((180, 0, 0))),
    "only the top": lambda study: cut(study, 42),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_placed_is_not_placed(name):
    study = BAD[name](head(truth()))
    lesions, placing = place_lesions(lesions_at([(12.0, -30.0, 45.0)]), study, brain_of(study), None)
    assert placing.reason
    assert lesions.lesions[0].location is None


def test_another_plane_of_symmetry_forbids_a_place():
    study = head(truth())
    sample = brain_sample(study, brain_of(study))
    fit = register(sample, read_template())
    midline = find_midline(sample.brain > 0.5, sample.grid)
    assert why_not(fit, midline) == ""
    assert why_not(fit, replace(midline, offset_mm=midline.offset_mm + 7))
    assert why_not(fit, replace(midline, offset_mm=midline.offset_mm + 7, overlap=0.5)) == ""  # no plane to tell by


def test_without_a_brain_or_with_an_empty_one_nothing_fails():
    study = head(truth())
    lesions = lesions_at([(0.0, 0.0, 0.0)])
    assert place_lesions(lesions, study, None, None)[1].reason == "the model does not look for the brain"
    empty = LabelMap(np.zeros(study.grid.shape, dtype=np.uint8), study.grid, {1: "brain"})
    assert place_lesions(lesions, study, empty, None)[1].reason == "there is too little brain"
    stripped = replace(study, skull_stripped=True)
    assert place_lesions(lesions, stripped, None, None)[1].reason == ""
