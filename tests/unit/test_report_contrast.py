"""Windows show brain; the head is found in air."""

import numpy as np
import pytest

from conftest import oblique_affine
from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.study import Source, Study
from metseg.core.volume import Volume
from metseg.report.contrast import Window, display_sequence, display_window, head_box

GRID = Grid((20, 24, 10), oblique_affine())


def study(array, sequence="t1c", **headers):
    return Study("case", {sequence: Volume(np.asarray(array), GRID)}, source=Source(headers=headers))


def test_ct_has_the_brain_window():
    assert display_window(study(np.zeros(GRID.shape), "ct")) == Window(0, 80)


def test_ct_after_contrast_has_a_wider_one():
    assert display_window(study(np.zeros(GRID.shape), "ct", ContrastBolusAgent="present")) == Window(-5, 95)
    assert display_window(study(np.zeros(GRID.shape), "ct", ContrastBolusAgent="absent")) == Window(0, 80)


def test_mr_goes_by_percentiles_of_what_is_not_background():
    array = np.zeros(GRID.shape, dtype=np.float32)
    array[:10] = np.linspace(200, 1200, array[:10].size).reshape(array[:10].shape)
    window = display_window(study(array))
    assert window.low == pytest.approx(210, abs=1)
    assert window.high == pytest.approx(1195, abs=1)


def test_background_may_be_any_smallest_value():
    array = np.full(GRID.shape, -0.8, dtype=np.float32)
    array[:10] = np.linspace(-0.5, 3.5, array[:10].size).reshape(array[:10].shape)
    window = display_window(study(array))
    assert window.low == pytest.approx(-0.46, abs=0.01)
    assert window.high == pytest.approx(3.48, abs=0.01)


def test_one_bright_vessel_does_not_darken_the_brain():
    array = np.zeros(GRID.shape, dtype=np.float32)
    array[:10] = np.linspace(100, 200, array[:10].size).reshape(array[:10].shape)
    array[0, 0, :5] = 30_000
    assert display_window(study(array)).high == pytest.approx(200, abs=1)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_still_has_a_window(value):
    window = display_window(study(np.full(GRID.shape, value, dtype=np.float32)))
    assert window.low == value
    assert window.high == value + 1


def test_nan_does_not_spread():
    array = np.zeros(GRID.shape, dtype=np.float32)
    array[:10] = 50
    array[3, 4, 5] = np.nan
    array[3, 4, 6] = np.inf
    window = display_window(study(array))
    assert np.isfinite([window.low, window.high]).all()


def test_window_maps_low_to_black_and_high_to_white():
    levels = Window(-10, 90).apply(np.array([-50, -10, 40, 90, 400, np.nan]))
    assert levels.tolist() == [0, 0, 128, 255, 255, 0]
    assert levels.dtype == np.uint8


def test_a_window_must_rise():
    with pytest.raises(InputError, match="runs from 3 to 3"):
        Window(3, 3)


def test_the_sequence_after_contrast_is_shown():
    volume = Volume(np.ones(GRID.shape, dtype=np.float32), GRID)
    assert display_sequence(Study("case", {"t2f": volume, "t1n": volume, "t1c": volume})) == "t1c"
    assert display_sequence(Study("case", {"t2w": volume, "t2f": volume})) == "t2f"


def test_head_box_of_a_stripped_brain():
    array = np.zeros(GRID.shape, dtype=np.float32)
    array[4:15, 6:20, 2:9] = 80
    assert head_box(study(array)) == ((4, 15), (6, 20), (2, 9))


def test_head_box_in_noisy_air():
    array = np.abs(np.random.default_rng(3).normal(0, 4, GRID.shape)).astype(np.float32)
    array[4:15, 6:20, 2:9] += 100
    assert head_box(study(array)) == ((4, 15), (6, 20), (2, 9))


def test_head_box_of_ct_goes_by_air():
    array = np.full(GRID.shape, -1000, dtype=np.int16)
    array[4:15, 6:20, 2:9] = 30
    assert head_box(study(array, "ct")) == ((4, 15), (6, 20), (2, 9))


def test_head_box_holds_the_head_where_the_sample_is_thinned():
    grid = Grid.isotropic((300, 140, 5))
    array = np.zeros(grid.shape, dtype=np.float32)
    array[101:233, 31:98, 1:4] = 80
    (i0, i1), (j0, j1), k = head_box(Study("case", {"t1c": Volume(array, grid)}))
    assert 101 - 3 < i0 <= 101
    assert 233 <= i1 < 233 + 3
    assert 31 - 2 < j0 <= 31
    assert 98 <= j1 < 98 + 2
    assert k == (1, 4)
