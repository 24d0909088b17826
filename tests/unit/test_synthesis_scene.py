"""Scenes: deterministic, their parts in agreement, and made of anatomy that makes sense."""

import numpy as np
import pytest

from metseg.synthesis.demo import make_demo_study
from metseg.synthesis.hosts import ScanHost, white_matter_level
from metseg.synthesis.scene import SceneOptions, make_scene
from metseg.synthesis.tissues import INTRACRANIAL, Tissue, tissues_from_freesurfer
from synthetic_hosts import made_head


@pytest.fixture(scope="module")
def head():
    return made_head()


def test_freesurfer_numbers_become_tissues():
    numbers = np.array([0, 2, 41, 3, 42, 24, 4, 8, 16, 515, 999], dtype=np.int32).reshape(11, 1, 1)
    expected = [
        Tissue.AIR, Tissue.WHITE, Tissue.WHITE, Tissue.CORTEX, Tissue.CORTEX, Tissue.FLUID, Tissue.VENTRICLE,
        Tissue.CEREBELLAR_CORTEX, Tissue.BRAINSTEM, Tissue.BONE, Tissue.AIR,
    ]  # fmt: skip
    assert tissues_from_freesurfer(numbers).ravel().tolist() == expected


def test_a_made_head_has_a_brain_of_human_size_wrapped_in_bone(head):
    brain_ml = head.brain.sum() / 1000
    assert 900 < brain_ml < 1900
    present = set(np.unique(head.tissues).tolist())
    assert present >= {int(t) for t in (Tissue.WHITE, Tissue.CORTEX, Tissue.VENTRICLE, Tissue.BONE, Tissue.SKIN)}
    assert not head.tissues[0].any()  # air all around
    middle = head.tissues[:, :, 150]
    for column in (middle[:, 108], middle[92, :]):
        inside = np.flatnonzero(np.isin(column, INTRACRANIAL))
        assert Tissue.BONE in column[: inside[0]]
        assert Tissue.BONE in column[inside[-1] :]


def test_the_same_seed_gives_the_same_scene_and_another_another(head):
    options = SceneOptions(count=2)
    a, b, c = (make_scene(np.random.default_rng(seed), head, (48, 40, 56), options) for seed in (7, 7, 8))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.truth, b.truth)
    assert not np.array_equal(a.image, c.image)


@pytest.mark.parametrize("seed", range(4))
def test_stripped_scenes_are_empty_outside_and_keep_every_lesion(head, seed):
    scene = make_scene(np.random.default_rng(seed), head, (56, 64, 48), SceneOptions(stripped=1.0, count=3))
    assert (scene.image[~scene.brain] == 0).all()
    assert scene.brain[scene.truth > 0].all()
    assert scene.image.dtype == np.float32
    assert np.isfinite(scene.image).all()


def test_pieces_from_anywhere_keep_the_skull_and_may_miss_the_brain(head):
    options = SceneOptions(stripped=1.0, anywhere=1.0, count=3)
    scenes = [make_scene(np.random.default_rng(seed), head, (40, 40, 40), options) for seed in range(12)]
    shares = [float(scene.brain.mean()) for scene in scenes]
    assert min(shares) == 0
    assert max(shares) > 0.5
    assert any((scene.image[~scene.brain] > 0.3).any() for scene in scenes)  # what lies outside is still there
    assert not any(scene.truth[~scene.brain].any() for scene in scenes)


def test_without_lesions_there_is_no_truth(head):
    assert not make_scene(np.random.default_rng(1), head, (40, 40, 40), SceneOptions(count=0)).truth.any()


def test_a_real_scan_keeps_its_contrast():
    """A brain of white matter 1, grey 0.7 comes back about as it was."""
    plain = np.zeros((60, 64, 56), dtype=np.float32)
    plain[6:-6, 6:-6, 6:-6] = 0.7
    plain[16:-16, 16:-16, 16:-16] = 1.0
    plain[8:20, 8:20, 8:20] = 0.1  # fluid
    host = ScanHost("box", plain, plain)
    assert white_matter_level(plain, plain > 0) == pytest.approx(1.0, abs=0.02)
    scene = make_scene(np.random.default_rng(4), host, None, SceneOptions(bend=False, count=0, thick_slices=0.0))
    inner = scene.image[24:-24, 24:-24, 24:-24].mean()
    outer = scene.image[8:14, 24:-24, 24:-24].mean()
    assert 0.6 < outer / inner < 0.85
    assert scene.statistics["t1c"].median == pytest.approx(0.7, abs=0.01)


def test_the_demonstration_has_lesions_that_enhance():
    image, truth = make_demo_study(0)
    array, lesions = np.asarray(image.array), np.asarray(truth.array)
    assert image.grid.matches(truth.grid)
    assert image.grid.axis_codes == "RAS"
    assert 2 <= len(np.unique(lesions)) - 1 <= 4
    assert array[lesions > 0].std() > 0
