import numpy as np
import pytest

from metseg.preprocess.normalise import foreground_statistics, normalise, normalise_foreground, otsu_threshold


def head(air_sd=5.0, seed=0):
    """Rician-like air around a box of tissue of 300 ± 40 with some fluid of 100 ± 10."""
    rng = np.random.default_rng(seed)
    image = np.abs(rng.normal(0, air_sd, (40, 36, 31)))
    image[8:32, 8:28, 6:26] = rng.normal(300, 40, (24, 20, 20))
    image[16:20, 14:18, 10:20] = rng.normal(100, 10, (4, 4, 10))
    return image.astype(np.float32)


def test_exact_zeros_are_background():
    image = head()
    image[:8] = 0
    found = foreground_statistics(image)
    inside = image[image > 0]
    assert found.threshold == 0
    assert (found.median, found.p15, found.p85) == pytest.approx(np.percentile(inside, (50, 15, 85)), rel=1e-6)


def test_an_exact_minimum_is_background():
    image = head() - 1024
    image[:8] = -1024 - 7
    assert foreground_statistics(image).threshold == -1031


def test_noisy_air_is_left_out_but_fluid_is_not():
    found = foreground_statistics(head())
    assert 25 < found.threshold < 80  # above five sigma of the air, below the fluid
    assert found.threshold == pytest.approx(otsu_threshold(head()) / 2)
    tissue = head()[8:32, 8:28, 6:26]
    assert found.median == pytest.approx(np.median(tissue), rel=1e-3)


def test_otsu_parts_two_known_classes():
    values = np.concatenate((np.full(700, 10.0), np.full(300, 90.0))).astype(np.float32)
    assert 10 <= otsu_threshold(values) < 90
    assert otsu_threshold(np.full(50, 3.0, dtype=np.float32)) == 3.0


def test_the_scale_is_the_foregrounds():
    image = head()
    image[:8] = 0
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
