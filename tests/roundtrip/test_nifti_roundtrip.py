"""What is written is read back bit for bit, in exactly the same place, under exactly the same codes."""

import nibabel
import numpy as np
import pytest
from hypothesis import given

from hostile import make_nifti as make
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.io.limits import Limits
from metseg.io.nifti import read_nifti_image, write_nifti
from metseg.io.nifti_header import NiftiCodes
from strategies import grids, volumes

ANY_SIZE = Limits(min_size=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nifti")


@given(volumes(grids(largest=7)))
def test_any_grid_comes_back_exactly(folder, volume):
    if volume.array.min() == volume.array.max():
        return  # a single voxel is a constant image
    write_nifti(folder / "a.nii", volume)
    image = read_nifti_image(folder / "a.nii", ANY_SIZE)
    assert image.notes == ()
    assert np.array_equal(image.volume.array, volume.array)
    assert np.array_equal(image.volume.grid.affine, volume.grid.affine.astype("f4").astype("f8"))
    assert image.volume.grid.matches(volume.grid)


@given(grids(largest=7))
def test_qform_says_the_same_as_sform(folder, grid):
    write_nifti(folder / "q.nii", Volume(np.zeros(grid.shape, "f4"), grid))
    written = nibabel.load(folder / "q.nii")
    qform, code = written.get_qform(coded=True)
    assert code == 1
    assert Grid(grid.shape, qform).distance_mm(grid) < 0.01


@pytest.mark.parametrize(
    ("fields", "affine"),
    [
        ({"sform_code": 2}, make.AFFINE),
        ({"sform": None}, make.AFFINE),
        ({"qform": None}, make.AFFINE),
        ({"sform": None, "qform": None, "pixdim": [1, 0.9, 1.2, 2.5, 0, 0, 0, 0]}, make.sized(0.9, 1.2, 2.5)),
        ({"sform": make.AFFINE @ np.diag([1.2, 1, 1, 1]), "sform_code": 4}, make.AFFINE),
        ({"version": 2, "order": ">"}, make.AFFINE),
    ],
    ids=["both", "qform only", "sform only", "no codes", "template sform", "NIfTI-2"],
)
def test_result_gets_the_geometry_of_its_image_unchanged(folder, fields, affine):
    (folder / "in.nii").write_bytes(make.nifti(**fields))
    image = read_nifti_image(folder / "in.nii")
    mask = LabelMap((image.volume.array > 100).astype("u4"), image.volume.grid)
    codes = NiftiCodes.from_headers(image.headers)
    write_nifti(folder / "out.nii.gz", mask, codes)

    before, after = nibabel.load(folder / "in.nii"), nibabel.load(folder / "out.nii.gz")
    assert type(after) is type(before)
    for name in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d",
                 "qoffset_x", "qoffset_y", "qoffset_z"):  # fmt: skip
        assert after.header[name] == pytest.approx(before.header[name], abs=0, nan_ok=True)
    assert np.array_equal(after.header["pixdim"][:4], before.header["pixdim"][:4])
    again = read_nifti_image(folder / "out.nii.gz")
    assert np.array_equal(again.volume.grid.affine, image.volume.grid.affine)
    assert np.array_equal(again.volume.array, mask.array)
    assert np.allclose(again.volume.grid.affine, affine, atol=1e-5, rtol=0)


def test_codes_of_another_grid_are_not_taken(folder, oblique_volume):
    (folder / "in.nii").write_bytes(make.nifti(sform_code=4))
    codes = NiftiCodes.from_headers(read_nifti_image(folder / "in.nii").headers)
    write_nifti(folder / "out.nii", oblique_volume, codes)
    written = nibabel.load(folder / "out.nii")
    assert int(written.header["sform_code"]) == 1
    assert np.array_equal(written.affine, oblique_volume.grid.affine.astype("f4"))


def test_source_that_was_no_nifti_has_no_codes():
    assert NiftiCodes.from_headers({"Modality": "MR"}) is None


@pytest.mark.parametrize(("largest", "dtype"), [(1, "u1"), (255, "u1"), (256, "u2"), (70_000, "u4")])
def test_labels_are_stored_in_the_smallest_type(folder, oblique_grid, largest, dtype):
    array = np.zeros(oblique_grid.shape, np.uint32)
    array[3, 4, 5] = largest
    write_nifti(folder / "l.nii.gz", LabelMap(array, oblique_grid))
    written = nibabel.load(folder / "l.nii.gz")
    assert written.get_data_dtype() == np.dtype(dtype)
    assert np.array_equal(np.asarray(written.dataobj), array)


def test_sheared_grid_is_written_without_a_qform(folder):
    affine = np.eye(4)
    affine[0, 1] = 0.3
    write_nifti(folder / "s.nii", Volume(np.zeros((5, 6, 7), "f4"), Grid((5, 6, 7), affine)))
    written = nibabel.load(folder / "s.nii")
    assert int(written.header["qform_code"]) == 0
    assert np.array_equal(written.affine, affine.astype("f4"))


def test_equal_content_gives_equal_bytes(folder, oblique_volume):
    write_nifti(folder / "1.nii.gz", oblique_volume)
    write_nifti(folder / "another name.nii.gz", oblique_volume)
    assert (folder / "1.nii.gz").read_bytes() == (folder / "another name.nii.gz").read_bytes()
    assert (folder / "1.nii.gz").read_bytes()[4:8] == bytes(4)  # no time in the gzip header


# ------------------------------------------------------------------------------------------ nibabel as the oracle


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (0, 5), (0.37, -1024.5)])
@pytest.mark.parametrize("version", [1, 2])
def test_voxels_and_affine_equal_nibabels(folder, dtype, order, slope, inter, version):
    path = folder / "o.nii"
    content = make.nifti(dtype=dtype, order=order, version=version, scl_slope=slope, scl_inter=inter)
    path.write_bytes(content)
    image, oracle = read_nifti_image(path), nibabel.load(path)
    assert image.notes == ()
    assert np.array_equal(image.volume.array, oracle.get_fdata().astype("f4"))
    assert np.array_equal(image.volume.grid.affine, oracle.affine)


def test_four_dimensions_with_one_volume_are_three(folder):
    (folder / "4.nii").write_bytes(make.nifti(make.voxels((*make.SHAPE, 1))))
    image = read_nifti_image(folder / "4.nii")
    assert np.array_equal(image.volume.array, make.voxels((*make.SHAPE, 1))[..., 0])


@given(grids(largest=7))
def test_qform_alone_equals_nibabels(folder, grid):
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape).astype("f4")
    array[0, 0, 0] = -1
    if array.size == 1:
        return
    (folder / "qf.nii").write_bytes(make.nifti(array, sform=None, qform=grid.affine))
    image = read_nifti_image(folder / "qf.nii", ANY_SIZE)
    assert Grid(grid.shape, nibabel.load(folder / "qf.nii").affine).distance_mm(image.volume.grid) < 1e-4


def test_real_image_equals_nibabels(shared):
    path = shared("data", "mets", "BraTS-MET-00110", "BraTS-MET-00110-000-t1c.nii.gz")
    image, oracle = read_nifti_image(path), nibabel.load(path)
    assert image.notes == ()
    assert np.array_equal(image.volume.array, np.asarray(oracle.dataobj))
    assert np.array_equal(image.volume.grid.affine, oracle.affine)
