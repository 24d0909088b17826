"""Scenes: image and truth agree, whatever is seen of them and by whichever scanner."""

import numpy as np
import pytest
from scipy import ndimage

from metseg.preprocess.normalise import foreground_statistics
from metseg.synthesis.scene import SceneOptions, make_scene
from metseg.synthesis.tissues import Tissue
from synthetic_hosts import half_head

SHAPE = (48, 56, 40)
MR4 = ("t1c", "t1n", "t2f", "t2w")


def scene(seed, shape=SHAPE, **options):
    return make_scene(np.random.default_rng(seed), half_head(), shape, SceneOptions(**options))


@pytest.fixture(scope="module")
def varied():
    """Scenes of all kinds."""
    return [
        scene(
            seed,
            sequences=(("t1c",), ("ct",), MR4)[seed % 3],
            count=6,
            cavities=0.5,
            stripped=float(seed % 2),
            anywhere=0.3,
        )
        for seed in range(9)
    ]


@pytest.fixture(scope="module")
def empty():
    """The whole head in all sequences, neither bent nor tumorous, and what each voxel of it is."""
    options = {"bend": False, "stripped": 0.0, "count": 0, "cavities": 0.0, "mimics": False, "thick_slices": 0.0}
    it = scene(1, None, sequences=(*MR4, "ct"), thicken_cortex=0.0, **options)
    return it, half_head().tissues


def mean(image, tissues, *kinds):
    """Of ``image`` in the middle of what ``kinds`` fill."""
    return float(image[ndimage.binary_erosion(np.isin(tissues, kinds))].mean())


@pytest.mark.parametrize("sequences", [("t1c",), ("ct",), MR4])
def test_the_same_generator_gives_the_same_scene_bit_for_bit(sequences):
    a, b = (scene(11, sequences=sequences, count=4, cavities=1.0) for _ in range(2))
    assert list(a.images) == list(b.images) == list(sequences)
    for one, other in ((a.labels, b.labels), (a.truth, b.truth), (a.brain, b.brain)):
        assert one.tobytes() == other.tobytes()
    for sequence in sequences:
        assert a.images[sequence].tobytes() == b.images[sequence].tobytes()
    assert a.statistics == b.statistics


def test_whatever_is_seen_the_truth_is_the_same():
    t1c, ct, four = (scene(12, sequences=sequences, count=5) for sequences in (("t1c",), ("ct",), MR4))
    assert t1c.labels.any()
    for other in (ct, four):
        assert np.array_equal(t1c.labels, other.labels)
        assert np.array_equal(t1c.truth, other.truth)
        assert np.array_equal(t1c.brain, other.brain)
    assert np.array_equal(t1c.image, four.images["t1c"])


def test_lesions_are_numbered_where_they_are_labelled_tumour(varied):
    for it in varied:
        assert np.array_equal(it.truth > 0, np.isin(it.labels, (1, 3)))
        assert it.labels.max() <= 4
    assert {int(n) for it in varied for n in np.unique(it.labels)} == {0, 1, 2, 3, 4}


def test_every_tumour_lies_in_the_brain(varied):
    assert all(it.brain[it.truth > 0].all() for it in varied)


@pytest.mark.parametrize("seed", [19, 26])
def test_a_tumour_in_a_sinus_lies_in_the_brain(seed):
    """In these scenes one has grown beyond the inside of the skull."""
    it = scene(seed, (48, 56, 64), count=6, stripped=0.0)
    assert it.truth.any()
    assert it.brain[it.truth > 0].all()


def test_images_are_finite_and_in_their_units(varied):
    for it in varied:
        for sequence, image in it.images.items():
            assert image.dtype == np.float32
            assert image.shape == it.labels.shape == SHAPE
            assert np.isfinite(image).all()
            assert image.min() >= (-1024 if sequence == "ct" else 0)
            assert image.max() <= (3071 if sequence == "ct" else 15)
        assert set(it.statistics) == set(it.images) - {"ct"}


def test_what_looks_like_a_metastasis_is_background():
    for seed in range(4):
        options = {"count": 0, "cavities": 0.0, "stripped": 0.0}
        with_mimics, without = (scene(seed, mimics=mimics, **options) for mimics in (True, False))
        assert not with_mimics.labels.any()
        assert not with_mimics.truth.any()
        assert not np.array_equal(with_mimics.image, without.image)


@pytest.mark.parametrize("seed", range(4))
def test_tumours_stand_out_on_t1c(seed):
    """Of many lesions most that enhance are brighter than what is right around them, oedema and cavities left out."""
    it = scene(seed, (56, 60, 52), count=8, largest_mm=14.0, cavities=0.0, thick_slices=0.0, mimics=False)
    brighter = []
    for number in range(1, int(it.truth.max()) + 1):
        lesion = (it.truth == number) & (it.labels == 3)
        shell = ndimage.binary_dilation(lesion, iterations=4) & (it.labels == 0) & it.brain
        if lesion.any() and shell.any():
            brighter.append(it.image[lesion].mean() > it.image[shell].mean())
    assert len(brighter) >= 4
    assert np.mean(brighter) >= 0.6


def test_ct_shows_tissues_in_hounsfield_units(empty):
    it, tissues = empty
    ct = it.images["ct"]
    assert 15 < mean(ct, tissues, Tissue.WHITE) < 45
    assert mean(ct, tissues, Tissue.BONE) > 300
    assert -10 < mean(ct, tissues, Tissue.VENTRICLE) < 22
    assert mean(ct, tissues, Tissue.AIR) < -950
    assert mean(ct, tissues, Tissue.CORTEX) > mean(ct, tissues, Tissue.WHITE)


def test_fluid_is_dark_on_t1_and_flair_and_bright_on_t2(empty):
    it, tissues = empty
    for sequence, image in it.images.items():
        ratio = mean(image, tissues, Tissue.VENTRICLE) / mean(image, tissues, Tissue.WHITE)
        assert (ratio > 1.8) if sequence == "t2w" else (ratio < 0.7), sequence


def test_grey_matter_is_darker_than_white_on_t1_and_brighter_on_t2(empty):
    it, tissues = empty
    for sequence in MR4:
        image = it.images[sequence]
        grey, white = mean(image, tissues, Tissue.CEREBELLAR_CORTEX), mean(image, tissues, Tissue.CEREBELLAR_WHITE)
        assert (grey < white) if sequence in {"t1c", "t1n"} else (grey > white), sequence


def test_statistics_are_about_those_of_the_whole_head(empty):
    it, _ = empty
    for sequence in MR4:
        told, measured = it.statistics[sequence], foreground_statistics(it.images[sequence])
        assert 0.6 < told.median / measured.median < 1.7
        assert 0.4 < told.range / measured.range < 2.5


def test_the_brain_of_a_head_with_skull_is_the_inside_of_the_skull(empty):
    it, tissues = empty
    inside = np.isin(tissues, range(Tissue.WHITE, Tissue.SINUS))
    assert it.brain[inside].all()
    assert np.count_nonzero(it.brain & ~inside) < 0.06 * np.count_nonzero(inside)
    assert not it.brain[np.isin(tissues, (Tissue.AIR, Tissue.EYE))].any()
