"""Every hostile MetaImage and NRRD file is refused by name."""

import gzip
import zlib

import numpy as np
import pytest

from hostile import make_text_images as make
from hostile import make_zip
from hostile.make_nifti import voxels
from metseg.core.errors import InputError
from metseg.io.other_formats import read_other

# LPS of the generator in RAS.
AFFINE = np.array([[-0.9, 0, 0, 10], [0, -1.2, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("kind", make.REFUSED)
def test_refused_by_name_with_a_remedy(tmp_path, kind):
    hostile = make.REFUSED[kind]
    path = tmp_path / hostile.name
    path.write_bytes(hostile.make())
    with pytest.raises(InputError) as refusal:
        read_other(path)
    assert hostile.says in refusal.value.message
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mha", make.meta()),
        ("a.mha", make.deflated_meta()),
        ("a.mha", make.deflated_meta(CompressedDataSize=None)),
        ("a.mha", make.meta(voxels().astype(">i2").tobytes("F"), BinaryDataByteOrderMSB="True")),
        ("a.nrrd", make.nrrd()),
        ("a.nrrd", make.packed_nrrd()),
        ("a.nrrd", make.nrrd(bytes(10) + make.BYTES, byte_skip="10")),
        ("a.nrrd", make.nrrd(bytes(99) + make.BYTES, byte_skip="-1")),
        ("a.nrrd", make.nrrd(voxels().astype(">i2").tobytes("F"), endian="big")),
        (
            "a.nrrd",
            make.nrrd(space="RAS", space_directions="(-0.9,0,0) (0,-1.2,0) (0,0,2.5)", space_origin="(10,20,30)"),
        ),
    ],
)
def test_good_files_pass_exactly(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    image = read_other(tmp_path / name)
    assert image.notes == ()
    assert np.array_equal(image.volume.array, voxels())
    assert np.array_equal(image.volume.grid.affine, AFFINE)


@pytest.mark.parametrize(
    ("name", "header", "data_name", "data"),
    [
        ("a.mhd", make.meta(b"", ElementDataFile="b.raw"), "b.raw", make.BYTES),
        ("a.mhd", make.deflated_meta(b"", ElementDataFile="b.zraw", CompressedDataSize=None), "b.zraw",
         zlib.compress(make.BYTES)),
        ("a.nhdr", make.nrrd(b"", data_file="b.raw"), "b.raw", make.BYTES),
        ("a.nhdr", make.nrrd(b"", data_file="b.raw.gz", encoding="gzip")[:-1], "b.raw.gz", gzip.compress(make.BYTES)),
    ],
)  # fmt: skip
def test_data_beside_the_header_is_read_and_checked(tmp_path, name, header, data_name, data):
    (tmp_path / name).write_bytes(header)
    (tmp_path / data_name).write_bytes(data)
    image = read_other(tmp_path / name)
    assert np.array_equal(image.volume.array, voxels())
    assert np.array_equal(image.volume.grid.affine, AFFINE)
    (tmp_path / data_name).write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"{data_name} is cut off"):
        read_other(tmp_path / name)


def test_nrrd_without_a_space_says_that_sides_are_unknown(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(make.nrrd(space=None, space_directions=None, space_origin=None, spacings="0.9 1.2 2.5"))
    image = read_other(path)
    assert "LEFT AND RIGHT CANNOT BE KNOWN" in image.notes[0]
    assert np.array_equal(image.volume.grid.affine, np.diag([-0.9, -1.2, 2.5, 1]))


def test_every_finding_stands_in_the_reference(root):
    page = (root / "docs" / "reference" / "intake.md").read_text(encoding="utf-8")
    missing = [kind for kind in (*make.REFUSED, *make_zip.REFUSED) if f"| {kind} |" not in page]
    assert missing == []
