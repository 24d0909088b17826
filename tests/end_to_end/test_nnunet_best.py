"""``metseg models best``: which of several runs to take, judged by nnU-Net's cross-validation."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (the train extra)")

from end_to_end.test_nnunet_training import TINY  # noqa: E402
from metseg.cli.main import app  # noqa: E402
from metseg.core.errors import ConfigError, InputError  # noqa: E402
from metseg.io.limits import LABEL_LIMITS  # noqa: E402
from metseg.io.nifti import read_nifti  # noqa: E402
from metseg.training.nnunet.best import best_of  # noqa: E402
from metseg.training.nnunet.recipe import NnunetRecipe  # noqa: E402
from metseg.training.nnunet.run import train_model  # noqa: E402
from nnunet_raw import make_raw  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FOLDS = {"folds": [0, 1], "probabilities": True, "epochs": 1, "validation": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("best")


@pytest.fixture(scope="module")
def data(place):
    return make_raw(place / "Dataset901_Tiny")


@pytest.fixture(scope="module")
def runs(data, place):
    """The same network by two losses, all folds of it."""
    made = {}
    for seed in (0, 1):
        dials = {**TINY, **FOLDS, "data": data, "out": place / f"run-{seed}", "name": f"tiny-{seed}"}
        made[f"tiny-{seed}"] = train_model(NnunetRecipe.model_validate({**dials, "loss": ("dice+ce", "blob")[seed]}))
    return made


def mean_dice(segmented, truths):
    """nnU-Net's: over studies for each label, then over labels; a label that is nowhere says nothing."""
    rows = []
    for case, labels in segmented.items():
        row = []
        for value in (1, 2):
            found, true = labels == value, truths[case] == value
            both = found.sum() + true.sum()
            row.append(2 * (found & true).sum() / both if both else np.nan)
        rows.append(row)
    return np.nanmean(np.nanmean(rows, axis=0))


def test_runs_and_their_mean_are_judged_and_the_best_is_a_model(runs, data, place):
    out = place / "best"
    folders = [str(place / f"run-{seed}") for seed in (0, 1)]
    done = CliRunner().invoke(app, ["models", "best", *folders, "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    truths = {f"case_{n}": read_nifti(data / "labelsTr" / f"case_{n}.nii.gz", LABEL_LIMITS)[0].array for n in range(5)}
    probabilities = [
        {path.stem: np.load(path)["probabilities"] for path in place.glob(f"run-{seed}/nnUNet_results/**/*.npz")}
        for seed in (0, 1)
    ]
    assert [sorted(one) for one in probabilities] == [sorted(truths)] * 2
    both = {case: (one + probabilities[1][case]) / 2 for case, one in probabilities[0].items()}
    names = ("tiny-0", "tiny-1", "tiny-0-and-tiny-1")
    for name, one in zip(names, (*probabilities, both), strict=True):
        labels = {case: array.argmax(axis=0).transpose(2, 1, 0) for case, array in one.items()}
        assert told["dice"][name] == pytest.approx(mean_dice(labels, truths), abs=1e-6)
    assert told["best"] == max(names, key=lambda name: told["dice"][name])
    assert json.loads((out / "best.json").read_text())["best"] == told["best"]
    image = str(data / "imagesTr" / "case_0_0000.nii.gz")
    used = CliRunner().invoke(app, ["segment", image, "-o", str(place / "used"), "--model", told["model"]])
    assert used.exit_code == 0, used.output


def test_what_cannot_be_compared_is_refused(runs, data, place):
    first = place / "run-0"
    with pytest.raises(ConfigError, match="two runs or more"):
        best_of([first, first], place / "no")
    with pytest.raises(InputError, match="is no run of metseg train"):
        best_of([first, data], place / "no")
    alone = {
        **TINY,
        "data": data,
        "out": place / "all",
        "folds": "all",
        "epochs": 1,
        "name": "all",
        "validation": False,
    }
    train_model(NnunetRecipe.model_validate(alone))
    with pytest.raises(ConfigError, match="measured nothing"):
        best_of([first, place / "all"], place / "no")
    assert not (place / "no").exists()
