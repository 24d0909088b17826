"""Every hostile NIfTI is refused by name, or repaired and told; none passes in silence."""

import os
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from hostile import make_nifti as make
from metseg.core.errors import InputError
from metseg.io.limits import Limits
from metseg.io.nifti import read_nifti


@pytest.fixture
def put(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", make.REFUSED)
def test_refused_by_name_with_a_remedy(put, kind):
    hostile = make.REFUSED[kind]
    with pytest.raises(InputError) as refusal:
        read_nifti(put(hostile.name, hostile.make()))
    assert hostile.says in refusal.value.message
    assert hostile.name in refusal.value.message
    assert refusal.value.hint


def test_missing_folder_pipe_and_dangling_link_are_refused(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "link.nii").symlink_to(tmp_path / "gone.nii")
    for name, says in [
        ("folder.nii.gz", "is a folder"),
        ("pipe.nii", "is a pipe or a device"),
        ("link.nii", "cannot be read"),
        ("none.nii", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=says):
            read_nifti(tmp_path / name)


@dataclass(frozen=True)
class Bomb:
    head: bytes
    says: str


@pytest.mark.parametrize(
    "hostile",
    [
        Bomb(make.nifti(), "holds more data than its header declares"),
        Bomb(make.header((1024, 1024, 1024), "i2").binaryblock + bytes(4), "would unpack"),
    ],
    ids=["behind a small header", "as large as its header says"],
)
def test_bomb_of_2_gib_is_refused_in_little_memory(put, hostile):
    content = make.bomb(hostile.head, 2048)
    assert 1.9e6 < len(content) < 2.3e6
    path = put("bomb.nii.gz", content)
    tracemalloc.start()
    with pytest.raises(InputError, match=hostile.says):
        read_nifti(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


def test_caps_are_options(put):
    path = put("a.nii.gz", make.packed(make.nifti(dtype="f8")))
    with pytest.raises(InputError, match="limit is 30,000"):
        read_nifti(path, Limits(max_bytes=30_000))
    with pytest.raises(InputError, match="more than 2048 along an axis or 5,000 in all"):
        read_nifti(path, Limits(max_bytes=20_000))
    zeros = np.zeros(make.SHAPE, "i2")
    zeros[5, 5, 5] = 1
    path = put("b.nii.gz", make.packed(make.nifti(zeros)))
    with pytest.raises(InputError, match="would unpack"):
        read_nifti(path, Limits(ratio_free_bytes=0, max_ratio=50))


def test_mask_that_is_nearly_all_zero_passes(put):
    mask = np.zeros((128, 112, 96), "u1")
    mask[100:104, 100:103, 80:82] = 1
    content = make.packed(make.nifti(mask, sform=make.sized(1, 1, 1), qform=None))
    assert mask.size / len(content) > 200
    volume, notes, _ = read_nifti(put("mask.nii.gz", content))
    assert notes == ()
    assert np.array_equal(volume.array, mask)


def test_many_gzip_members_are_one_file_until_they_are_too_many(put):
    content = make.nifti()
    path = put("a.nii.gz", b"".join(make.packed(content[at : at + 1000]) for at in range(0, len(content), 1000)))
    volume, notes, _ = read_nifti(path)
    assert notes == ()
    assert np.array_equal(volume.array, make.voxels())
    with pytest.raises(InputError, match="over 3 gzip members"):
        read_nifti(path, Limits(max_members=3))


# ------------------------------------------------------------------------------------------- repaired and told

_MOVED = make.AFFINE + np.array([[0, 0, 0, 3.0], [0, 0, 0, 0], [0, 0, 0, 4.0], [0, 0, 0, 0]])
_MIRRORED = np.diag([-1.0, 1, 1, 1]) @ make.AFFINE
_GROWN = make.AFFINE @ np.diag([1.2, 1.2, 1.2, 1])


@pytest.mark.parametrize(
    ("fields", "affine", "says"),
    [
        ({"sform": _MOVED}, _MOVED, "sform and qform disagree by up to 5.0 mm; the sform was used"),
        ({"sform": _MIRRORED}, _MIRRORED, "MIRROR EACH OTHER (left and right may be swapped)"),
        ({"sform": _GROWN, "sform_code": 4}, make.AFFINE, "the qform was used, because the sform leads to a space of"),
        ({"sform": _GROWN, "sform_code": 1}, _GROWN, "the sform was used"),
        ({"sform": make.sheared(0.05)}, make.AFFINE, "its sform is sheared"),
        ({"sform": make.AFFINE * np.nan}, make.AFFINE, "its sform holds a value that is not a finite number"),
        ({"quatern_b": 3.0}, make.AFFINE, "the sform was used instead"),
        (
            {"sform": None, "qform": None, "pixdim": [1, 0.9, 1.2, 2.5, 0, 0, 0, 0]},
            make.sized(0.9, 1.2, 2.5),
            "LEFT AND",
        ),
        ({"qform": None, "pixdim": [1, 3, 3, 3, 0, 0, 0, 0]}, make.AFFINE, "(pixdim, 3×3×3 mm) differ from its sform"),
    ],
    ids=["moved", "mirrored", "template", "resized", "sheared", "nan", "quaternion", "no codes", "pixdim"],
)
def test_geometry_is_chosen_by_the_rule_and_told(put, fields, affine, says):
    volume, notes, _ = read_nifti(put("scan.nii", make.nifti(**fields)))
    assert len(notes) == 1
    assert says in notes[0]
    assert np.allclose(volume.grid.affine, affine, atol=1e-5, rtol=0)
    assert np.array_equal(volume.array, make.voxels())


def test_tiny_shear_and_disagreement_pass_in_silence(put):
    path = put("scan.nii", make.nifti(sform=make.sheared(5e-4)))
    volume, notes, _ = read_nifti(path)
    assert notes == ()
    assert np.array_equal(volume.grid.affine, make.sheared(5e-4).astype("f4").astype("f8"))


def test_few_nan_become_zero_and_are_counted(put):
    array = make.with_nan(0.005)
    volume, notes, _ = read_nifti(put("scan.nii", make.nifti(array)))
    count = int(np.count_nonzero(~np.isfinite(array)))
    assert count == 38
    assert notes == (f"scan.nii: {count} voxels that were NaN or infinite were set to 0.",)
    assert np.array_equal(volume.array, np.nan_to_num(array, posinf=0))


def test_names_that_lie_about_compression_are_told(put):
    for name, content, says in [
        ("scan.nii.gz", make.nifti(), "is not compressed"),
        ("scan.nii", make.packed(make.nifti()), "is compressed"),
    ]:
        volume, notes, _ = read_nifti(put(name, content))
        assert says in notes[0]
        assert np.array_equal(volume.array, make.voxels())


def test_scale_that_is_no_number_is_taken_as_none_and_told(put):
    volume, notes, _ = read_nifti(put("scan.nii", make.nifti(scl_slope=np.nan, scl_inter=np.nan)))
    assert "the stored values were taken" in notes[0]
    assert np.array_equal(volume.array, make.voxels())


def test_extensions_are_passed_over(put):
    content = make.nifti(vox_offset=352 + 64)
    volume, notes, _ = read_nifti(put("scan.nii", content[:348] + b"\1\0\0\0" + bytes(64) + content[352:]))
    assert notes == ()
    assert np.array_equal(volume.array, make.voxels())


def test_every_finding_stands_in_the_reference(root):
    page = (root / "docs" / "reference" / "intake.md").read_text(encoding="utf-8")
    missing = [kind for kind in make.REFUSED if f"| {kind} |" not in page]
    assert missing == []
