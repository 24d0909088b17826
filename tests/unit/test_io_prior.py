"""Which mask guides which case, and which masks are refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import Volume
from metseg.io.discover import CaseInput
from metseg.io.prior import guided_by, with_priors

CASES = [CaseInput(name, (Path(f"{name}.nii.gz"),)) for name in ("anna", "ben", "cem")]


def grid_of(shape=(20, 24, 18), spacing=(1.5, 1.2, 2.6), degrees=(7, -9, 12)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(degrees, degrees=True).as_matrix() @ np.diag([-spacing[0], *spacing[1:]])
    affine[:3, 3] = 15, -14, -20
    return Grid(shape, affine)


@pytest.fixture
def study():
    grid = grid_of()
    return Study("anna", {"t1c": Volume(np.ones(grid.shape, dtype=np.float32), grid)})


def save(path, array, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def some_mask(path):
    return save(path, np.ones((4, 4, 4), dtype=np.uint8), np.eye(4))


def test_a_folder_gives_each_case_the_mask_of_its_name(tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "out"
    for name in ("anna.nii.gz", "anna/lesions.nii.gz", "cem/segmentation.nii.gz", "dora.nii.gz"):
        some_mask(masks / name)
    found = with_priors(CASES, masks, out)
    assert [case.case for case in found] == ["anna", "ben", "cem"]
    assert [case.prior for case in found] == [masks / "anna.nii.gz", None, masks / "cem/segmentation.nii.gz"]
    some_mask(masks / "cem/lesions.nii.gz")
    assert with_priors(CASES[2:], masks, out)[0].prior == masks / "cem/lesions.nii.gz"


def test_a_folder_without_any_case_is_refused(tmp_path):
    some_mask(tmp_path / "masks" / "dora.nii.gz")
    with pytest.raises(ConfigError, match="masks holds no prior for any case") as refused:
        with_priors(CASES, tmp_path / "masks", tmp_path / "out")
    assert "CASE/lesions.nii.gz" in refused.value.hint


def test_one_mask_is_for_one_case(tmp_path):
    mask = some_mask(tmp_path / "mask.nii.gz")
    assert with_priors(CASES[:1], mask, tmp_path / "out")[0].prior == mask
    with pytest.raises(ConfigError, match="One mask is given as prior, but there are 3 cases"):
        with_priors(CASES, mask, tmp_path / "out")


def test_a_path_that_is_not_there_and_the_output_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii\.gz \(prior\) does not exist"):
        with_priors(CASES[:1], tmp_path / "gone.nii.gz", tmp_path / "out")
    mask = some_mask(tmp_path / "out" / "anna" / "lesions.nii.gz")
    for prior in (mask, tmp_path / "out"):
        with pytest.raises(ConfigError, match="lies in the output folder"):
            with_priors(CASES[:1], prior, tmp_path / "out")


def test_every_voxel_that_is_not_0_is_known_and_components_are_numbered(study, tmp_path):
    array = np.zeros(study.grid.shape, dtype=np.int16)
    array[2:5, 3:6, 4:7], array[5, 6, 7], array[12:14, 20, 9] = 2, 300, 1
    guided = guided_by(study, save(tmp_path / "m.nii.gz", array, study.grid.affine))
    expected = np.zeros(study.grid.shape, dtype=np.uint32)
    expected[array > 1], expected[array == 1] = 1, 2
    assert np.array_equal(guided.prior.array, expected)
    assert guided.prior.grid.matches(study.grid)
    assert study.prior is None


def test_a_mask_on_another_grid_lands_where_it_is_in_the_world(study, tmp_path):
    other = grid_of((60, 50, 30), (0.9, 1.1, 3.0), (-3, 14, 5))
    array = np.zeros(other.shape, dtype=np.uint8)
    centre = study.grid.to_world((9.3, 11.8, 8.1))
    points = other.to_world(np.moveaxis(np.indices(other.shape), 0, -1))
    array[np.linalg.norm(points - centre, axis=-1) <= 6] = 1
    array[tuple(np.round(other.to_index(study.grid.to_world((16, 19, 12)))).astype(int))] = 1
    guided = guided_by(study, save(tmp_path / "m.nii.gz", array, other.affine))
    here = study.grid.to_world(np.argwhere(guided.prior.array == 1))
    assert here.mean(axis=0) == pytest.approx(centre, abs=0.5)
    assert len(here) * study.grid.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.15)
    assert np.argwhere(guided.prior.array == 2).tolist() == [[16, 19, 12]]  # one voxel, and not lost
    first, second = guided.known
    assert first.volume_mm3 == pytest.approx((array > 0).sum() * 0.9 * 1.1 * 3 - second.volume_mm3)
    assert first.centre_mm == pytest.approx(centre, abs=0.3)
    assert (second.id, second.volume_mm3, second.share_inside) == (2, pytest.approx(0.9 * 1.1 * 3), 1)
    assert second.centre_mm == pytest.approx(study.grid.to_world((16, 19, 12)), abs=1.6)  # half a voxel's diagonal


@pytest.mark.parametrize(("inside", "refused"), [(9, True), (10, False), (11, False)])
def test_a_mask_that_lies_mostly_outside_is_not_registered(study, tmp_path, inside, refused):
    far = study.grid.crop((0, 0, -10), (20, 24, 28))
    array = np.zeros(far.shape, dtype=np.uint8)
    array[5, 6, 10 : 10 + inside], array[5, 6, 10 - (20 - inside) // 2 : 10] = 1, 1
    array[7, 6, : 20 - inside - (20 - inside) // 2] = 1
    assert array.sum() == 20
    path = save(tmp_path / "m.nii.gz", array, far.affine)
    if refused:
        with pytest.raises(InputError, match="Over half of the prior lies outside the images of study anna"):
            guided_by(study, path)
    else:
        assert (guided_by(study, path).prior.array > 0).sum() == inside


def test_what_lies_outside_is_known_all_the_same(study, tmp_path):
    far = study.grid.crop((0, 0, -10), (20, 24, 28))
    array = np.zeros(far.shape, dtype=np.uint8)
    array[5:9, 6:9, 15:19], array[12, 4, 8:12], array[3, 20, 2] = 1, 1, 1
    guided = guided_by(study, save(tmp_path / "m.nii.gz", array, far.affine))
    assert [(one.id, one.share_inside, one.value) for one in guided.known] == [(1, 1, 1), (2, 0.5, 2), (3, 0, 0)]
    assert guided.known[2].centre_mm == pytest.approx(far.to_world((3, 20, 2)), abs=1e-4)
    assert guided.known[2].volume_mm3 == pytest.approx(1.5 * 1.2 * 2.6)


def test_an_empty_mask_is_a_warning_and_no_prior(study, tmp_path):
    path = save(tmp_path / "m.nii.gz", np.zeros(study.grid.shape, dtype=np.uint8), study.grid.affine)
    guided = guided_by(study, path)
    assert guided.prior is None
    assert guided.source.notes == ("WARNING: The mask given as prior is empty: the result is that without one.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda a: a * 0.5, "no whole number"), (lambda a: np.where(a > 0, np.nan, a), "NaN"),
     (lambda a: np.stack([a, a], -1), "4"), (lambda a: -a, "labels are whole numbers from 0 on")],
    ids=["fractions", "nan", "4d", "negative"],
)  # fmt: skip
def test_what_is_no_label_map_is_refused(study, tmp_path, change, message):
    array = np.zeros(study.grid.shape, dtype=np.float32)
    array[3:5, 3:5, 3:5] = 1
    path = save(tmp_path / "m.nii.gz", change(array).astype(np.float32), study.grid.affine)
    with pytest.raises(InputError, match=message):
        guided_by(study, path)


def test_what_cannot_be_read_is_refused(study, tmp_path):
    path = some_mask(tmp_path / "m.nii.gz")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="the prior is"):
        guided_by(study, path)
