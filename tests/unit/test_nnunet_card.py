"""What a trained bundle says of itself, and the picture of its training."""

from pathlib import Path

import pytest

from metseg.core.errors import MetsegError
from metseg.training.nnunet.card import make_card
from metseg.training.nnunet.curves import read_log, write_curves
from metseg.training.nnunet.dataset import read_raw
from metseg.training.nnunet.recipe import NnunetRecipe
from nnunet_raw import make_raw

LOG = """epoch,seconds,learning_rate,train_loss,val_loss,pseudo_dice,pseudo_dice_mean,lesion_sensitivity
1,3.4,0.01,1.02,0.83,,,
2,3.1,0.005,0.73,0.56,0.25,0.25,0.5
"""


def network(**changes):
    return {
        "epochs": 7, "stopped": "patience", "minutes": 12.5, "device": "cuda", "studies": 2,
        "dice": {"1": 0.81234, "2": None}, "foreground_dice": 0.81234, **changes,
    }  # fmt: skip


@pytest.fixture
def card(tmp_path):
    raw = read_raw(make_raw(tmp_path / "Dataset007_Mets", count=2, shape=(9, 8, 7)))

    def make(**dials):
        recipe = NnunetRecipe(data=raw.folder, out=Path("out"), **{"folds": (0,), **dials})
        return recipe, make_card(recipe, raw, "The folds were made by patient.", {"3d_fullres, fold 0": network()})

    return make


def test_a_card_names_data_budget_recipe_and_what_was_measured(card):
    recipe, made = card(seed=5)
    assert made.training_data[0] == "2 studies of Dataset007_Mets, channels t1c. The folds were made by patient."
    assert made.training_data[1] == "3d_fullres, fold 0: 7 epochs (it got no better), 12.5 minutes on cuda."
    assert recipe.sha256 in made.training_data[2]
    # Label 2 was nowhere, in truth or prediction: it has no Dice, and none is written.
    assert made.results == {
        "nnU-Net's validation, 3d_fullres, fold 0": {"studies": 2, "dice": {"1": 0.8123}, "mean_dice": 0.8123}
    }
    assert "| 3d_fullres, fold 0 | 2 | 0.8123 |" in made.about
    assert '"seed": 5' in made.about
    assert "Dataset007" not in made.about.partition("The recipe:")[2]  # paths are the user's own


def test_what_all_studies_were_learned_from_is_not_called_measured(card):
    _, made = card(folds="all")
    assert made.results == {}
    assert "It learned from all studies, so that none was left to measure it by." in made.limits
    assert "Nothing was measured." in made.about


def test_the_picture_is_drawn_from_the_log(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    log = read_log(tmp_path)
    assert log["train_loss"] == [1.02, 0.73]
    assert log["pseudo_dice"] == pytest.approx([float("nan"), 0.25], nan_ok=True)
    first = write_curves(tmp_path, "3d_fullres, fold 0").read_bytes()
    assert first.startswith(b"\x89PNG")
    (tmp_path / "log.csv").write_text(LOG.replace("0.73", "0.23"))
    assert write_curves(tmp_path, "3d_fullres, fold 0").read_bytes() != first


def test_a_log_that_is_missing_is_told(tmp_path):
    with pytest.raises(MetsegError, match=r"log\.csv, cannot be read"):
        write_curves(tmp_path, "none")
