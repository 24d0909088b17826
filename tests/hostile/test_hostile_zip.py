"""Every hostile zip is refused when it is read, writes nothing outside, and leaves nothing behind."""

import numpy as np
import pytest

from hostile import make_nifti, make_zip
from metseg.core.errors import InputError
from metseg.io.discover import find_sources
from metseg.io.limits import Limits
from metseg.io.read import read_study


@pytest.mark.parametrize("kind", make_zip.REFUSED)
def test_refused_when_read_and_leaves_nothing(tmp_path, room, kind):
    hostile = make_zip.REFUSED[kind]
    path = tmp_path / "in" / "study.zip"
    path.parent.mkdir()
    path.write_bytes(hostile.make())
    cases = find_sources([path.parent])
    assert [case.case for case in cases] == ["study"]
    with pytest.raises(InputError) as refusal:
        read_study(cases[0], ("t1c",), "MR")
    assert hostile.says in refusal.value.message
    assert refusal.value.hint
    assert "evil" not in str(refusal.value)  # names in a zip tend to be the patient's
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "room", "study.zip"]


def test_zip_bomb_is_refused_by_its_ratio(tmp_path, room):
    path = tmp_path / "bomb.zip"
    path.write_bytes(make_zip.zipped(*[(f"{n}.dcm", bytes(2**20)) for n in range(4)]))
    (case,) = find_sources([path])
    with pytest.raises(InputError, match=r"would unpack 4,\d\d\d bytes to 4,194,304"):
        read_study(case, ("t1c",), "MR", Limits(ratio_free_bytes=2**20))


def test_zip_with_too_many_files_is_refused(tmp_path, room):
    path = tmp_path / "many.zip"
    path.write_bytes(make_zip.zipped(*[(f"{n}.dcm", b"") for n in range(40)]))
    (case,) = find_sources([path])
    with pytest.raises(InputError, match="holds over 39 files"):
        read_study(case, ("t1c",), "MR", Limits(max_members=39))


def test_good_zip_gives_the_image_and_the_room_back(tmp_path, room):
    path = tmp_path / "Müller 1.zip"
    path.write_bytes(make_zip.zipped(("deep/er/a b.nii.gz", make_zip.image()), ("__MACOSX/._a b.nii.gz", b"x")))
    (case,) = find_sources([path])
    assert case.case == "Müller 1"
    study = read_study(case, ("t1c",), "MR")
    assert np.array_equal(study.images["t1c"].array, make_nifti.voxels())
    assert study.source.paths == (path,)
