"""Interpolation from the model's grid to the study's."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.core.volume import ProbabilityMap, Volume
from metseg.preprocess.sample import labels_on_grid, probability_on_grid, resample_volume
from strategies import grids, volumes

SLOPE, CONSTANT = (0.003, -0.005, 0.008), 0.45


def points_of(grid):
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))


def plane(grid):
    return (points_of(grid) @ SLOPE + CONSTANT).astype(np.float32)


def turned(spacing_mm, rotvec_degrees, shape, middle_mm):
    """A grid about a middle."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(rotvec_degrees, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = np.asarray(middle_mm) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def by_definition(volume, target):
    """Trilinear interpolation, edge values up to the outer face, 0 beyond."""
    places = np.moveaxis(volume.grid.to_index(points_of(target)), -1, 0)
    limits = np.array(volume.grid.shape).reshape(3, 1, 1, 1)
    inside = ((places >= -0.5 - 1e-6) & (places <= limits - 0.5 + 1e-6)).all(axis=0)
    values = map_coordinates(volume.array, np.clip(places, 0, limits - 1), order=1, mode="nearest")
    return np.where(inside, values, 0)


@given(grids(), st.tuples(*[st.floats(-60, 60)] * 3))
def test_a_linear_function_is_sampled_exactly_on_any_grid(target, rotvec_degrees):
    reach = np.abs(target.corners_mm() - target.corners_mm().mean(axis=0)).max()
    source = turned((4.1, 3.7, 5.3), rotvec_degrees, (40, 44, 31), target.corners_mm().mean(axis=0))
    assert reach < 60  # well inside the source
    found = resample_volume(Volume(plane(source), source), target)
    assert found.array == pytest.approx(plane(target), abs=2e-4)


@given(volumes(grids(largest=7)), st.tuples(*[st.floats(0.4, 2.5)] * 3), st.booleans(), st.integers(0, 99))
def test_sampling_obeys_its_definition(volume, scale, parallel, seed):
    rng = np.random.default_rng(seed)
    turn = np.eye(3) if parallel else Rotation.from_rotvec(rng.uniform(-1, 1, 3)).as_matrix()
    affine = volume.grid.affine.copy()
    affine[:3, :3] = turn @ affine[:3, rng.permutation(3)] * scale * rng.choice((-1, 1), 3)
    shape = tuple(int(n) for n in rng.integers(1, 12, 3))
    affine[:3, 3] = volume.grid.corners_mm().mean(axis=0) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    affine[:3, 3] += rng.uniform(-1, 1, 3)
    target = Grid(shape, affine)
    scaled = Volume(volume.array / volume.array.size, volume.grid)
    assert resample_volume(scaled, target).array == pytest.approx(by_definition(scaled, target), abs=1e-5)


def test_permuted_and_flipped_grids_get_the_very_same_values(oblique_volume):
    source = oblique_volume.grid
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = source.affine.copy()
        affine[:3, :3] = source.affine[:3, order]
        shape = tuple(source.shape[axis] for axis in order)
        flips = tuple(axis for axis, sign in enumerate(signs) if sign < 0)
        for axis in flips:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
        found = resample_volume(oblique_volume, Grid(shape, affine))
        assert np.array_equal(found.array, np.flip(oblique_volume.array.transpose(order), flips))


def test_beyond_the_outer_face_probability_is_zero():
    source = Grid.isotropic((4, 4, 4), 2.0)
    volume = Volume(np.ones(source.shape, dtype=np.float32), source)
    target = Grid.isotropic((13, 1, 1), 1.0, (-3, 2, 2))  # x from -3 to 9; the source's faces lie at -1 and 7
    assert resample_volume(volume, target).array.ravel().tolist() == [0, 0] + [1] * 9 + [0, 0]


def blobs(grid, seed):
    """Smooth probabilities that reach the edge here and there."""
    rng = np.random.default_rng(seed)
    points, result = points_of(grid), np.zeros(grid.shape)
    for _ in range(5):
        centre = grid.to_world(rng.uniform(0, np.array(grid.shape) - 1))
        result += 1.5 * np.exp(-(((points - centre) / rng.uniform(2, 5)) ** 2).sum(axis=-1))
    return np.clip(result, 0, 1).astype(np.float32)


@pytest.mark.parametrize("rotvec_degrees", [(0, 0, 0), (11, -17, 23)])
@pytest.mark.parametrize("threshold", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_are_thresholded_probabilities(rotvec_degrees, threshold, seed):
    source = turned((1, 1, 1), (0, 0, 0), (32, 30, 28), (3, 2, 1))
    target = turned((0.6, 0.7, 2.3), rotvec_degrees, (49, 57, 17), (4, 0, 3))
    values = np.stack([blobs(source, seed), np.ones(source.shape, dtype=np.float32)])
    probability = ProbabilityMap(values, source, ("lesion", "brain"))
    labels = labels_on_grid(probability, target, threshold)
    full = probability_on_grid(probability, target)
    assert full.array == pytest.approx(by_definition(Volume(values[0], source), target), abs=1e-5)
    differing = labels.array != (full.array >= threshold)
    # Only rounding may decide otherwise.
    assert (np.abs(full.array[differing] - threshold) < 1e-5).all()
    assert labels.array.dtype == np.uint8
    assert dict(labels.labels) == {1: "lesion"}
    assert labels.array.sum() > 0
    assert labels_on_grid(probability, target, 0.5, "brain").labels[1] == "brain"


def test_nothing_above_the_threshold_or_nothing_in_reach():
    grid = Grid.isotropic((8, 9, 7))
    probability = ProbabilityMap(np.full((1, 8, 9, 7), 0.6, dtype=np.float32), grid, ("lesion",))
    assert not labels_on_grid(probability, grid, 0.7).array.any()
    assert labels_on_grid(probability, grid, 0.6).array.all()
    away = Grid.isotropic((5, 5, 5), 1.0, (100, 0, 0))
    assert not labels_on_grid(probability, away, 0.5).array.any()


def test_many_slabs_equal_one(monkeypatch):
    source = turned((1.3, 1, 1), (0, 0, 0), (22, 20, 18), (0, 0, 0))
    volume = Volume(blobs(source, 4), source)
    for rotvec_degrees in ((0, 0, 0), (20, 5, 8)):
        target = turned((0.6, 0.7, 0.8), rotvec_degrees, (37, 33, 29), (0, 0, 0))
        whole = resample_volume(volume, target).array
        with monkeypatch.context() as patch:
            patch.setattr("metseg.preprocess.sample._SLAB_VOXELS", 3000)
            assert resample_volume(volume, target).array == pytest.approx(whole, abs=1e-6)
