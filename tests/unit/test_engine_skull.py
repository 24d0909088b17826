"""The brain finder's work: what lies outside the brain is emptied, and a stripped brain is left alone."""

import numpy as np
import pytest

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.engines.manifest import BrainFinder
from metseg.engines.skull import SkullStripper

AIR, SKULL, BRAIN = 3.0, 100.0, 200.0
FINDER = BrainFinder.model_validate(
    {
        "preprocessing": [
            {"name": "reorient"},
            {"name": "resample", "spacing_mm": [2.0, 2.0, 2.0]},
            {"name": "normalise_foreground"},
            {"name": "pad_to_multiple", "multiple": 8},
        ],
        "margin_mm": 2.0,
    }
)


class Bright:
    """A finder that calls the bright half brain, and keeps nothing."""

    def __init__(self):
        self.released = 0

    def infer(self, channels):
        return (channels > channels.mean() + 0.5 * (channels.max() - channels.mean())).astype(np.float32)

    def release(self):
        self.released += 1


class Blind(Bright):
    """A finder that finds none."""

    def infer(self, channels):
        return np.zeros_like(channels)


@pytest.fixture
def distance_mm():
    """Oblique, anisotropic, not cubic: millimetres of each voxel from the middle."""
    turn, _ = np.linalg.qr(np.array([[1, 0.1, 0], [-0.1, 1, 0.2], [0, -0.2, 1]]))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, 1.2, 3.0])
    grid = Grid((70, 90, 40), affine)
    points = np.stack(np.indices(grid.shape), -1) @ affine[:3, :3].T
    middle = affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    return np.linalg.norm(points - middle, axis=-1), grid


def test_a_head_is_stripped_to_its_brain(distance_mm):
    distance, grid = distance_mm
    head = np.select([distance < 30, distance < 48], [BRAIN, SKULL], AIR).astype(np.float32)
    other = np.where(distance < 48, 7.0, -1.0).astype(np.float32)
    study = Study("head", {"t1c": Volume(head, grid), "t2f": Volume(other, grid)})
    finder = Bright()
    stripped, before = SkullStripper(FINDER, "t1c", finder).strip(study)
    assert finder.released == 1
    found = np.asarray(stripped.images["t1c"].array)
    assert (stripped.skull_stripped, before) == (True, False)
    assert (found[distance < 30] == BRAIN).all()
    assert (found[distance > 30 + 6] == AIR).all()  # the margin, along a diagonal, and half a voxel of each grid
    assert (np.asarray(stripped.images["t2f"].array)[distance > 36] == -1).all()
    assert (np.asarray(study.images["t1c"].array)[(distance > 36) & (distance < 48)] == SKULL).all()


def test_a_stripped_brain_is_left_as_it_is(distance_mm):
    distance, grid = distance_mm
    brain = Volume(np.where(distance < 30, BRAIN, 0).astype(np.float32), grid)
    study = Study("brain", {"t1c": brain})
    found, before = SkullStripper(FINDER, "t1c", Bright()).strip(study)
    assert found.images["t1c"] is brain
    assert before is True


def test_where_the_user_says_that_it_is_stripped_nobody_looks(distance_mm):
    distance, grid = distance_mm
    study = Study("brain", {"t1c": Volume(distance.astype(np.float32), grid)}, skull_stripped=True)
    finder = Bright()
    assert SkullStripper(FINDER, "t1c", finder).strip(study) == (study, True)
    assert finder.released == 0


def test_an_image_without_a_brain_is_refused(distance_mm):
    distance, grid = distance_mm
    study = Study("leg", {"t1c": Volume(np.where(distance < 40, BRAIN, AIR).astype(np.float32), grid)})
    with pytest.raises(InputError, match="No brain was found in the t1c image of leg"):
        SkullStripper(FINDER, "t1c", Blind()).strip(study)
