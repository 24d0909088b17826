import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.preprocess import steps
from metseg.preprocess.extent import CropForeground, PadToMultiple
from metseg.preprocess.normalise import normalise_foreground
from metseg.preprocess.reorient import Reorient
from metseg.preprocess.resample import Resample, resampled_grid
from metseg.preprocess.sample import resample_volume
from strategies import grids, volumes


def plane(grid, slope=(0.3, -0.5, 0.8), constant=4.0):
    """A function that is linear in the world."""
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return (points @ slope + constant).astype(np.float32)


def centre_mm(grid):
    return grid.to_world((np.array(grid.shape) - 1) / 2)


@given(volumes())
def test_reorient_moves_no_voxel_in_the_world(volume):
    array, grid = Reorient().apply(volume.array, volume.grid)
    places = volume.grid.to_index(grid.to_world(np.argwhere(np.ones(grid.shape)))).round().astype(int)
    assert np.array_equal(array.ravel(), volume.array[tuple(places.T)])
    assert grid.axis_codes == "RAS"
    assert grid.axis_order == (0, 1, 2)


def test_reorient_takes_channels_too(oblique_volume):
    channels = np.stack([oblique_volume.array, 2 * oblique_volume.array])
    both, grid = Reorient().apply(channels, oblique_volume.grid)
    one, same = Reorient().apply(oblique_volume.array, oblique_volume.grid)
    assert np.array_equal(both, np.stack([one, 2 * one]))
    assert grid.distance_mm(same) == 0


@given(grids(largest=12), st.tuples(*[st.floats(0.4, 3)] * 3))
def test_a_resampled_grid_keeps_its_middle_and_covers_the_field_of_view(grid, spacing_mm):
    after = resampled_grid(grid, spacing_mm)
    assert after.spacing_mm == pytest.approx(spacing_mm, rel=1.1e-3)
    assert centre_mm(after) == pytest.approx(centre_mm(grid), abs=1e-6)
    assert after.direction == pytest.approx(grid.direction, abs=1e-9)
    before_mm, after_mm = (np.multiply(g.shape, g.spacing_mm) for g in (grid, after))
    assert (after_mm >= before_mm - 0.011 * np.array(after.spacing_mm)).all()
    assert (after_mm < before_mm + 1.001 * np.array(after.spacing_mm)).all()


def test_resampling_to_the_same_spacing_is_the_identity(oblique_volume):
    step = Resample(spacing_mm=(0.7003, 1.1, 2.9))
    array, grid = step.apply(oblique_volume.array, oblique_volume.grid)
    assert array is oblique_volume.array
    assert grid.distance_mm(oblique_volume.grid) < 1e-9


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.6, 0.7), (1.5, 2.4, 3.7), (0.5, 2.2, 2.9)])
def test_resampling_is_exact_for_linear_functions(spacing_mm, make_volume):
    grid = make_volume((24, 26, 12)).grid
    array, after = Resample(spacing_mm=spacing_mm).apply(plane(grid), grid)
    # A kernel cut off at the edge is no longer centred: the law holds a kernel's width inside.
    inner = tuple(slice(3, n - 3) for n in array.shape)
    assert array[inner] == pytest.approx(plane(after)[inner], abs=2e-4)


def test_upsampling_is_linear_interpolation():
    grid = Grid.isotropic((5, 1, 1), 2.0)
    values = np.array([0, 1, 4, 9, 16], dtype=np.float32).reshape(5, 1, 1)
    array, after = Resample(spacing_mm=(1, 2, 2)).apply(values, grid)
    at = after.to_world(np.argwhere(np.ones(after.shape)))[:, 0]
    assert at[:2] == pytest.approx((-0.5, 0.5))
    assert array.ravel() == pytest.approx(np.interp(at / 2, range(5), values.ravel()))


def test_downsampling_averages_what_it_cannot_show():
    """Every other voxel bright: a coarse grid must show the mean, not the stripes it happens to hit."""
    grid = Grid.isotropic((60, 4, 4), 0.5)
    stripes = np.zeros(grid.shape, dtype=np.float32)
    stripes[::2] = 1
    array, after = Resample(spacing_mm=(2, 0.5, 0.5)).apply(stripes, grid)
    assert after.shape == (15, 4, 4)
    assert array[1:-1] == pytest.approx(0.5, abs=1e-6)


def test_downsampling_keeps_the_integral_of_a_blob(make_volume):
    grid = make_volume((40, 36, 20), spacing_mm=(0.4, 0.5, 0.9)).grid
    blob = np.zeros(grid.shape, dtype=np.float32)
    blob[17:22, 15:20, 8:12] = np.random.default_rng(0).random((5, 5, 4))
    array, after = Resample(spacing_mm=(1.2, 1.5, 1.8)).apply(blob, grid)
    assert array.sum() * after.voxel_volume_mm3 == pytest.approx(blob.sum() * grid.voxel_volume_mm3, rel=0.05)


def test_cropping_cuts_empty_borders_and_keeps_places(make_volume):
    grid = make_volume((30, 28, 14)).grid  # 0.7 × 1.1 × 2.9 mm
    image = np.zeros(grid.shape, dtype=np.float32)
    image[10:21, 9:17, 5:8] = np.random.default_rng(1).uniform(50, 90, (11, 8, 3))
    array, after = CropForeground(margin_mm=3).apply(image, grid)
    assert np.array_equal(array, image[5:26, 6:20, 3:10])  # margins of 5, 3 and 2 voxels
    assert after.to_world((0, 0, 0)) == pytest.approx(grid.to_world((5, 6, 3)))
    wide, whole = CropForeground(margin_mm=1000).apply(image, grid)
    assert np.array_equal(wide, image)
    assert whole.matches(grid)


def test_cropping_keeps_the_foreground_of_every_channel(oblique_grid):
    channels = np.zeros((2, *oblique_grid.shape), dtype=np.float32)
    channels[0, 2:4, 5, 3], channels[1, 9, 1:3, 5] = 7, 9
    array, after = CropForeground(margin_mm=0).apply(channels, oblique_grid)
    assert np.array_equal(array, channels[:, 2:10, 1:6, 3:6])
    assert after.shape == (8, 5, 3)


@pytest.mark.parametrize("background", ["zero", "ringing", "noise"])
def test_cropping_before_and_after_normalising_is_the_same(background, make_volume):
    grid = make_volume((40, 36, 20)).grid
    rng = np.random.default_rng(2)
    image = rng.normal(0, 3, grid.shape) if background == "noise" else np.zeros(grid.shape)
    image[10:30, 9:27, 5:16] = rng.normal(200, 40, (20, 18, 11))
    if background == "ringing":
        image[20, 20, 10] = -30  # so zero is not the minimum
    before, first = CropForeground(margin_mm=1).apply(image.astype(np.float32), grid)
    after, second = CropForeground(margin_mm=1).apply(normalise_foreground(image.astype(np.float32)), grid)
    assert before.shape == after.shape == (24, 20, 13)
    assert first.distance_mm(second) == 0


def test_a_constant_image_is_not_cropped(oblique_grid):
    image = np.full(oblique_grid.shape, 3, dtype=np.float32)
    assert CropForeground().apply(image, oblique_grid)[0] is image


def test_padding_takes_the_minimum_and_moves_nothing(oblique_volume):
    channels = np.stack([oblique_volume.array - 50, oblique_volume.array])
    array, grid = PadToMultiple(multiple=8).apply(channels, oblique_volume.grid)
    assert array.shape == (2, 16, 16, 8)  # from 13 × 11 × 7
    assert np.array_equal(array[:, 1:14, 2:13, 0:7], channels)
    assert grid.to_world((1, 2, 0)) == pytest.approx(oblique_volume.grid.affine[:3, 3])
    outside = np.ones(array.shape[1:], dtype=bool)
    outside[1:14, 2:13, 0:7] = False
    assert (array[0][outside] == -50).all()
    assert (array[1][outside] == 0).all()


ALL = (
    {"name": "reorient"},
    {"name": "resample", "spacing_mm": [1, 1, 1]},
    {"name": "crop_foreground", "margin_mm": 4},
    {"name": "normalise_foreground"},
    {"name": "pad_to_multiple", "multiple": 16},
)


def test_the_grid_is_the_way_back(make_volume):
    """All geometry steps together: interpolating from the last grid gives the image again."""
    volume = make_volume((40, 30, 16))
    smooth = Volume(plane(volume.grid), volume.grid)
    prepared, grid = steps.run(steps.build(ALL[:2]), smooth)
    back = resample_volume(Volume(prepared, grid), volume.grid)
    inner = tuple(slice(4, n - 4) for n in volume.grid.shape)
    assert back.array[inner] == pytest.approx(smooth.array[inner], abs=1e-3)


def test_a_list_of_plain_data_becomes_steps_and_back(oblique_volume):
    built = steps.build(ALL)
    assert [step.name for step in built] == [step["name"] for step in ALL]
    assert steps.build([step.model_dump() for step in built]) == built
    array, grid = steps.run(built, oblique_volume)
    assert array.dtype == np.float32
    assert array.shape == grid.shape
    assert all(n % 16 == 0 for n in grid.shape)
    assert grid.axis_codes == "RAS"
    assert np.isfinite(array).all()


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": "sharpen"}, "step 1"),
        ({"name": "resample", "spacing": [1, 1, 1]}, "spacing"),
        ({"name": "resample", "spacing_mm": [1, 0, 1]}, "spacing_mm.1"),
        ({"name": "pad_to_multiple", "multiple": 0}, "multiple"),
    ],
)
def test_a_wrong_step_is_named(wrong, where):
    with pytest.raises(ConfigError, match=where):
        steps.build([{"name": "reorient"}, wrong])


def test_a_study_is_prepared_in_the_models_order(make_volume):
    images = {name: make_volume(seed=seed) for seed, name in enumerate(("t1c", "t1n", "t2f"))}
    study = Study("case", images)
    channels, grid = steps.run_study(steps.build(ALL[:1]), study, ("t2f", "t1c"))
    assert np.array_equal(channels[0], steps.run([Reorient()], images["t2f"])[0])
    assert np.array_equal(channels[1], steps.run([Reorient()], images["t1c"])[0])
    assert grid.axis_codes == "RAS"
    with pytest.raises(InputError, match="t2w"):
        steps.run_study((), study, ("t2w",))
