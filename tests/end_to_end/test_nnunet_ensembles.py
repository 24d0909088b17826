"""Several imported models as one: ``metseg models ensemble``, and its labels."""

import json

import nibabel as nib
import numpy as np
import pytest

from end_to_end.test_nnunet_models import INNER, expected_labels, metseg, put, scan  # noqa: F401  a fixture
from metseg.core.errors import ConfigError, ModelError
from metseg.engines.catalogue import find_bundle
from metseg.engines.nnunet.ensemble import shares
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.io.nnunet_ensemble import write_ensemble
from metseg.io.nnunet_import import Wishes, import_nnunet
from metseg.testing.check_engine import check_engine

SEEDS = (2, 9)


@pytest.fixture
def members(tmp_path, request):
    """Two models that see images as they are, or on a coarse grid."""
    for seed in SEEDS:
        put(tmp_path / f"from-{seed}", seed=seed, **getattr(request, "param", {}))
    return [import_nnunet(tmp_path / f"from-{seed}", tmp_path / "models" / f"of-{seed}") for seed in SEEDS]


def test_the_mean_of_their_probabilities_decides(members, scan, tmp_path):  # noqa: F811
    folders = [one.folder for one in members]
    told = metseg("models", "ensemble", *folders, "-o", tmp_path / "models" / "both", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["stages"] == ["3d_fullres", "3d_fullres"]
    done = metseg(
        "segment", scan, "-o", tmp_path / "out", "--model", tmp_path / "models" / "both", "--formats", "nifti"
    )
    assert done.exit_code == 0, done.output
    own = [shares(expected_labels(scan, seed=seed)[1].astype(np.float32), regions=False) for seed in SEEDS]
    mean = np.mean(own, axis=0)
    assert min((one.argmax(axis=0) != mean.argmax(axis=0)).mean() for one in own) > 0.02  # none decides alone
    expected = np.zeros(nib.load(scan).shape, dtype=np.uint8)
    expected[INNER] = mean.argmax(axis=0).transpose(2, 1, 0)
    found = nib.load(tmp_path / "out" / "scan" / "segmentation.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected)


@pytest.mark.parametrize("members", [{"spacing": [9.0, 7.0, 8.0]}], indirect=True)
def test_it_keeps_the_laws_of_engines_and_says_of_what_it_is(members, tmp_path, phantom):
    bundle = write_ensemble(members, tmp_path / "both", {"cross-validation": {"mean Dice": 0.5}})
    check_engine(NnunetEngine(bundle, threads=1), phantom.study)
    assert find_bundle(bundle.folder).sha256 == bundle.sha256  # all files are as it says
    assert bundle.manifest.results == {"of-2": {}, "of-9": {}, "cross-validation": {"mean Dice": 0.5}}
    shown = metseg("models", "show", bundle.folder).output
    assert shown.count("nnU-Net (of an ensemble): 3d_fullres, 2 folds") == 2
    assert all(one.sha256 in (bundle.folder / "README.md").read_text() for one in members)
    assert write_ensemble(members, tmp_path / "both").sha256 == bundle.sha256  # it is there
    with pytest.raises(ModelError, match="is another model"):
        write_ensemble(members[::-1], tmp_path / "both")
    assert "an ensemble, and a folder of nnU-Net holds one model" in metseg(
        "models", "export", bundle.folder, "-o", tmp_path / "back"
    ).output.replace("\n", " ")


def test_models_that_cannot_decide_together_are_refused(members, tmp_path):
    with pytest.raises(ConfigError, match="two models or more, each once"):
        write_ensemble([members[0], members[0]], tmp_path / "both")
    with pytest.raises(ModelError, match="mets-t1c is no nnU-Net model"):
        write_ensemble([members[0], find_bundle("mets-t1c")], tmp_path / "both")
    other = import_nnunet(tmp_path / "from-2", tmp_path / "models" / "oedema", Wishes(lesion=("oedema",)))
    with pytest.raises(ModelError, match="of-2 and oedema differ in lesion"):
        write_ensemble([members[0], other], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    both = write_ensemble(members, tmp_path / "both")
    with pytest.raises(ModelError, match="an ensemble itself"):
        write_ensemble([other, both], tmp_path / "three")
