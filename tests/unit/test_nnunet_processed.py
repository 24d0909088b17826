"""Images that metseg puts through steps before nnU-Net sees them."""

import json

import numpy as np
import pytest

from metseg.core.errors import ConfigError, ModelError
from metseg.io.limits import LABEL_LIMITS
from metseg.io.nifti import read_nifti
from metseg.io.nnunet_plans import STEPS, Plans
from metseg.preprocess.clahe import Clahe
from metseg.preprocess.normalise import NormaliseWindow
from metseg.training.nnunet.dataset import read_raw
from metseg.training.nnunet.processed import check_steps, write_processed
from nnunet_raw import make_raw

STEP = Clahe(kind="2d", tile_mm=12)


def test_copies_of_thin_slabs_of_two_channels_on_the_same_grid(tmp_path):
    """Eight slices: too few for metseg segment, but not for nnU-Net to learn from."""
    raw = read_raw(make_raw(tmp_path / "Dataset005_Slabs", count=2, shape=(36, 32, 8), channels=("t1c", "t2w")))
    told = []
    done = write_processed(raw, (STEP,), tmp_path / "out", progress=lambda *step: told.append(step))
    files = sorted((tmp_path / "out" / "imagesTr").iterdir())
    assert [path.name for path in files] == [f"case_{n}_000{c}.nii.gz" for n in (0, 1) for c in (0, 1)]
    assert done == {"images": 4, "bytes": sum(path.stat().st_size for path in files)}
    assert told == [(n, 4, "processing images") for n in (1, 2, 3, 4)]
    for path in files:
        source, found = (read_nifti(one, LABEL_LIMITS)[0] for one in (raw.folder / "imagesTr" / path.name, path))
        assert np.array_equal(found.grid.affine, source.grid.affine)
        assert np.array_equal(found.array, STEP.apply(source.array, source.grid)[0])
        assert not np.array_equal(found.array, source.array)
    assert (tmp_path / "out" / "labelsTr" / "case_0.nii.gz").is_file()
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert Plans({}, dataset).steps() == (STEP,)
    del dataset[STEPS]
    assert dataset == json.loads((raw.folder / "dataset.json").read_text())
    assert Plans({}, dataset).steps() == ()


def test_steps_that_no_metseg_knows_are_refused():
    for wrong in ([{"name": "sharpen"}], 3, [3], {"name": "clahe"}):
        with pytest.raises(ModelError, match=r"metseg_preprocessing in dataset\.json is wrong"):
            Plans({}, {STEPS: wrong}).steps()


def test_steps_are_checked_against_the_data_set_before_anything_is_done(tmp_path):
    ct = read_raw(make_raw(tmp_path / "Dataset006_Ct", count=1, channels=("CT",)))
    other = read_raw(make_raw(tmp_path / "Dataset007_Mr", count=1, channels=("contrast",)))
    window = NormaliseWindow(low=0, high=80, middle=0, scale=80)
    check_steps(ct, (window, STEP), ())
    check_steps(other, (STEP,), ("t1c",))
    check_steps(other, (), ())  # nobody asks
    with pytest.raises(ConfigError, match="will not do: CLAHE on CT needs a window before it"):
        check_steps(other, (STEP,), ("ct",))
    with pytest.raises(ConfigError, match="could be any sequence"):
        check_steps(other, (STEP,), ())
