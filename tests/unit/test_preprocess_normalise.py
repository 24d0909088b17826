import numpy as np
import pytest

from metseg.preprocess.foreground import foreground_mask, otsu_threshold
from metseg.preprocess.normalise import foreground_statistics, normalise, normalise_foreground


def head(air_sd=5.0, seed=0):
    """Rician-like air around a box of tissue of 300 ± 40 with some fluid of 100 ± 10."""
    rng = np.random.default_rng(seed)
    image = np.abs(rng.normal(0, air_sd, (40, 36, 31)))
    image[8:32, 8:28, 6:26] = rng.normal(300, 40, (24, 20, 20))
    image[16:20, 14:18, 10:20] = rng.normal(100, 10, (4, 4, 10))
    return image.astype(np.float32)


def stripped():
    """Zero around a brain of 300 ± 40 with some fluid of 100 ± 10."""
    image = np.zeros((40, 36, 31), dtype=np.float32)
    image[8:32, 8:28, 6:26] = head()[8:32, 8:28, 6:26]
    return image


def test_exact_zeros_are_background():
    assert np.array_equal(foreground_mask(stripped()), stripped() > 0)
    found = foreground_statistics(stripped())
    inside = head()[8:32, 8:28, 6:26]
    assert (found.median, found.p15, found.p85) == pytest.approx(np.percentile(inside, (50, 15, 85)), rel=1e-6)


def test_an_exact_minimum_is_background():
    assert np.array_equal(foreground_mask(stripped() - 1031), stripped() > 0)


def test_noisy_air_is_left_out_but_fluid_is_not():
    mask = foreground_mask(head())
    tissue = np.zeros(mask.shape, dtype=bool)
    tissue[8:32, 8:28, 6:26] = True
    assert not mask[~tissue].any()
    assert mask[tissue].mean() > 0.99


@pytest.mark.parametrize(
    ("padding", "offset"), [(0, 0), (0.05, 0), (0.09, 0), (0.11, 0), (0.3, 0), (0, 1000), (0.05, 1000), (0.09, 1000)]
)
def test_padding_and_offset_change_little(padding, offset):
    image = head() + offset
    image[: round(40 * padding)] = 0
    image[8:32, 8:28, 6:26] = head()[8:32, 8:28, 6:26] + offset
    found, plain = foreground_statistics(image), foreground_statistics(head())
    assert found.median == pytest.approx(plain.median + offset, abs=6)
    assert found.range == pytest.approx(plain.range, rel=0.1)


def test_otsu_parts_two_known_classes():
    values = np.concatenate((np.full(700, 10.0), np.full(300, 90.0))).astype(np.float32)
    assert 10 <= otsu_threshold(values) < 90
    assert otsu_threshold(np.full(50, 3.0, dtype=np.float32)) == 3.0


def test_the_scale_is_the_foregrounds():
    image = stripped()
    scaled = normalise_foreground(image)
    assert scaled.dtype == np.float32
    assert np.median(scaled[image > 0]) == pytest.approx(0, abs=1e-6)
    assert np.subtract(*np.percentile(scaled[image > 0], (85, 15))) == pytest.approx(1, rel=1e-5)
    found = foreground_statistics(image)
    expected = (image - found.median) / (found.p85 - found.p15)
    assert scaled == pytest.approx(np.clip(expected, -8, 8), abs=1e-5)


def test_gain_changes_nothing_and_the_input_stays():
    image = head()
    before = image.copy()
    assert normalise_foreground(image * 7.5) == pytest.approx(normalise_foreground(image), abs=1e-4)
    assert np.array_equal(image, before)


def test_values_are_clipped_at_eight():
    image = head()
    image[20, 20, 20], image[0, 0, 0] = 1e6, -1e6
    scaled = normalise_foreground(image)
    assert (scaled.max(), scaled.min()) == (8, -8)


def test_a_constant_image_becomes_zero():
    image = np.full((5, 6, 7), 42.0, dtype=np.float32)
    assert not normalise(image, foreground_statistics(image)).any()


def test_an_image_that_was_standardised_before_keeps_its_dark_half():
    """Zero outside, values around zero inside: half of the brain is negative and still brain."""
    image = np.zeros((20, 22, 18), dtype=np.float32)
    inside = image[4:-4, 4:-4, 4:-4]
    inside[:] = np.linspace(-2, 2, inside.size).reshape(inside.shape)
    found = foreground_statistics(image)
    assert found.median == pytest.approx(0, abs=0.01)
    assert (found.p15, found.p85) == (pytest.approx(-1.4, abs=0.01), pytest.approx(1.4, abs=0.01))
