"""SimpleITK writes MetaImage and NRRD, metseg reads the same voxels at the same place."""

import numpy as np
import pytest
import SimpleITK

from conftest import oblique_affine
from metseg.io.limits import Limits
from metseg.io.other_formats import read_other

LIMITS = Limits(min_size=1)


def to_itk(array, affine):
    """An ITK image (LPS) of an array (i, j, k) with a RAS affine."""
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose()))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_voxels_and_affine_equal_what_simpleitk_wrote(tmp_path, name, compress, dtype):
    array = (np.random.default_rng(3).random((13, 11, 7)) * 100).astype(dtype)
    affine = oblique_affine()
    SimpleITK.WriteImage(to_itk(array, affine), tmp_path / name, useCompression=compress)
    image = read_other(tmp_path / name, LIMITS)
    assert image.notes == ()
    assert np.array_equal(image.volume.array, array.astype("f4"))
    assert np.allclose(image.volume.grid.affine, affine, atol=1e-9, rtol=0)
