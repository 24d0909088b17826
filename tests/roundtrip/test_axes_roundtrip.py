"""The same head stored in other ways gives the same lesions, in millimetres of the world."""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metseg.config.options import SegmentOptions
from metseg.core.grid import Grid
from metseg.engines.registry import load_engine
from metseg.io.discover import find_sources
from metseg.io.read import read_study
from metseg.pipeline.segment import segment
from metseg.testing.phantoms import Ellipsoid, draw_fraction

LESIONS = (
    Ellipsoid((22, 14, 6), (13, 10, 9), axes=Rotation.from_rotvec((20, 30, -10), degrees=True).as_matrix().tolist()),
    Ellipsoid.sphere((-28, -22, -9), 16),
    Ellipsoid.sphere((5, 38, 20), 12),
)
BRAIN = Ellipsoid((0, 0, 0), (62, 75, 55))
FIELD_MM = np.array([150.0, 176.0, 136.0])


def grid_of(spacing_mm, turn_degrees=(0, 0, 0)) -> Grid:
    """A grid about the origin that holds the brain, whichever way it is turned."""
    shape = np.ceil(FIELD_MM / spacing_mm).astype(int)
    rotation = Rotation.from_rotvec(turn_degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(tuple(shape.tolist()), affine)


def draw(grid) -> np.ndarray:
    """Brain 100, lesions 300, air 0; the same texture in the world whatever the grid."""
    image = 100 * draw_fraction(BRAIN, grid, samples=2)
    inside = image > 50
    for lesion in LESIONS:
        fraction = draw_fraction(lesion, grid)
        image += fraction * (300 - image)
    x, y, z = np.moveaxis(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    texture = 20 * np.sin(x / 3.1 + 1) * np.sin(y / 2.7) * np.sin(z / 3.7 + 2) + 12 * np.sin((x + y - z) / 9)
    return (image + texture * inside).astype(np.float32)


def lesions_of(tmp_path, array, affine):
    """Through a file and the whole pipeline; the result's grid is the file's."""
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), path)
    (case,) = find_sources([path])
    engine = load_engine("threshold")
    study = read_study(case, engine.card.sequences, engine.card.modality)
    np.testing.assert_allclose(study.grid.affine, affine, atol=1e-4)
    result = segment(study, engine, SegmentOptions(engine="threshold"))
    for lesion in result.lesions:
        where = np.argwhere(result.instances.array == lesion.id)
        np.testing.assert_allclose(nib.affines.apply_affine(affine, where.mean(axis=0)), lesion.centre_mm, atol=1e-3)
    return result.lesions


@pytest.fixture(scope="module")
def upright(tmp_path_factory):
    grid = grid_of((2.0, 2.2, 2.4))
    array = draw(grid)
    lesions = lesions_of(tmp_path_factory.mktemp("upright"), array, grid.affine)
    assert len(lesions) == 3
    return array, grid, lesions


@pytest.mark.parametrize("order", ["LPS", "PIR", "ASL", "SRP", "IAL", "RSA"])
def test_permuted_and_flipped_axes_give_exactly_the_same_lesions(tmp_path, upright, order):
    array, grid, expected = upright
    wanted = nib.orientations.axcodes2ornt(order)
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(grid.affine), wanted)
    stored = nib.orientations.apply_orientation(array, change)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(change, array.shape)
    found = lesions_of(tmp_path, np.ascontiguousarray(stored), affine)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.volume_mm3 == pytest.approx(other.volume_mm3)
        assert one.centre_mm == pytest.approx(other.centre_mm, abs=1e-3)
        assert one.diameter_3d_mm == pytest.approx(other.diameter_3d_mm, abs=1e-3)
        assert one.diameter_mm == pytest.approx(other.diameter_mm, abs=1e-3)
        assert one.perpendicular_mm == pytest.approx(other.perpendicular_mm, abs=1e-3)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


@pytest.mark.parametrize(
    ("spacing_mm", "turn_degrees", "relative"),
    [((2.0, 2.2, 2.4), (14, -9, 21), 0.15), ((1.0, 1.0, 6.0), (0, 0, 0), 0.25), ((1.2, 3.1, 1.7), (0, 25, 0), 0.15)],
)
def test_oblique_and_anisotropic_scans_give_the_same_lesions(tmp_path, upright, spacing_mm, turn_degrees, relative):
    grid = grid_of(np.array(spacing_mm), turn_degrees)
    found = lesions_of(tmp_path, draw(grid), grid.affine)
    assert len(found) == 3
    for one, other, shape in zip(found, upright[2], LESIONS, strict=True):
        within = max(0.6, max(spacing_mm) / 6)
        assert one.centre_mm == pytest.approx(other.centre_mm, abs=within)
        assert one.centre_mm == pytest.approx(shape.centre_mm, abs=within)
        assert one.volume_mm3 == pytest.approx(shape.volume_mm3, rel=relative)
