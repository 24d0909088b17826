"""``metseg train`` with nnU-Net itself, on five tiny studies: whole, killed and gone on with, and as a cascade."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (the train extra)")

import metseg  # noqa: E402
from metseg.cli.main import app  # noqa: E402
from metseg.core.errors import ConfigError, InputError, MetsegError  # noqa: E402
from metseg.io.nifti import write_nifti  # noqa: E402
from metseg.training.nnunet.curves import read_log  # noqa: E402
from metseg.training.nnunet.recipe import NnunetRecipe  # noqa: E402
from metseg.training.nnunet.run import train_model  # noqa: E402
from nnunet_raw import make_raw, make_study  # noqa: E402
from unit.test_nnunet_process import runs  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # nnU-Net's, where it predicts beside us
TINY = {
    "folds": [0], "epochs": 3, "iterations": 2, "validation_iterations": 1, "save_every": 1, "patch": [16, 16, 16],
    "batch": 2, "mirror_axes": [], "workers": 0, "threads": 1, "device": "cpu",
}  # fmt: skip
COMMAND = (sys.executable, "-c", "from metseg.cli.main import app; app()", "train")


def recipe(data, out, **dials):
    return NnunetRecipe.model_validate({"data": data, "out": out, **TINY, **dials})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def data(place):
    return make_raw(place / "Dataset901_Tiny")


@pytest.fixture(scope="module")
def full(data, place):
    """A training of 3d_fullres that nobody disturbed."""
    return train_model(recipe(data, place / "full"))


@pytest.fixture(scope="module")
def cascade(data, place):
    """A cascade of U-Net++, which the first stage of two folds learns for."""
    dials = {"configuration": "3d_cascade_fullres", "network": "unet++", "epochs": 1, "mirror_axes": [0]}
    return train_model(recipe(data, place / "cascade", **dials))


def checkpoint(out, configuration="3d_fullres", plans="nnUNetPlans", fold=0):
    folder = out / "nnUNet_results" / "Dataset901_Tiny" / f"nnUNetTrainer__{plans}__{configuration}"
    return folder / f"fold_{fold}" / "checkpoint_final.pth"


def read(path):
    return torch.load(path, map_location="cpu", weights_only=False)


def oracle_labels(model, image, previous=None):
    """Labels by nnUNetPredictor, (i, j, k). It lives in nnU-Net's order of axes."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, perform_everything_on_device=False)
        predictor.initialize_from_trained_model_folder(str(model), (0,))
        spacing = [float(mm) for mm in image.grid.spacing_mm[::-1]]
        array = np.asarray(image.array, dtype=np.float32).transpose(2, 1, 0)[np.newaxis]
        before = None if previous is None else previous.transpose(2, 1, 0)[np.newaxis].astype(np.float32)
        labels = predictor.predict_single_npy_array(array, {"spacing": spacing}, before)
    return np.asarray(labels).transpose(2, 1, 0)


def own_labels(bundle, image, folder):
    """Labels by ``metseg segment``, (i, j, k)."""
    write_nifti(folder / "one.nii.gz", image)
    arguments = ["segment", folder / "one.nii.gz", "-o", folder, "--model", bundle.folder, "--formats", "nifti", "-q"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return np.asarray(nib.load(folder / "one" / "segmentation.nii.gz").dataobj)


def test_the_bundle_says_what_it_was_trained_on_and_what_was_measured(full, place):
    card = full.bundle.manifest
    assert full.bundle.name == "dataset901_tiny-nnunet-3d_fullres"
    known = recipe(place / "Dataset901_Tiny", place / "full")
    assert any(known.sha256 in line for line in card.training_data)
    assert card.training_data[0].startswith("5 studies of Dataset901_Tiny, channels t1c.")
    summary = json.loads((checkpoint(place / "full").parent / "validation" / "summary.json").read_text())
    scores = card.results["nnU-Net's validation, 3d_fullres, fold 0"]
    assert scores["studies"] == 3
    assert scores["mean_dice"] == pytest.approx(summary["foreground_mean"]["Dice"], abs=1e-4)
    assert set(scores["dice"]) <= {"1", "2"}
    assert known.sha256 in (full.bundle.folder / "README.md").read_text()


def test_what_is_written_beside_the_checkpoints(full, place):
    folder = checkpoint(place / "full").parent
    log = read_log(folder)
    assert log["epoch"] == [1, 2, 3]
    assert log["learning_rate"] == pytest.approx([0.01 * (1 - n / 3) ** 0.9 for n in range(3)])
    assert all(np.isfinite(log["train_loss"]))
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    saved = read(folder / "checkpoint_final.pth")
    assert (saved["trainer_name"], saved["init_args"]["configuration"]) == ("nnUNetTrainer", "3d_fullres")
    assert not list(folder.glob("*.part"))
    assert not list((place / "full").rglob("postprocessing*"))  # which would keep the largest component alone


def test_the_same_again_is_kept(full, data, place):
    again = train_model(recipe(data, place / "full"))
    assert set(full.steps.values()) == {"done"}
    assert set(again.steps.values()) == {"kept"}
    assert (again.bundle.sha256, again.networks) == (full.bundle.sha256, full.networks)
    with pytest.raises(ConfigError, match="begun with another recipe: it differs in epochs"):
        train_model(recipe(data, place / "full", epochs=4))


def test_metsegs_engine_gives_what_nnunets_predictor_gives(full, place, tmp_path):
    image, _ = make_study(77)
    expected = oracle_labels(checkpoint(place / "full").parents[1], image)
    found = own_labels(full.bundle, image, tmp_path)
    assert len(np.unique(expected)) > 1
    assert np.mean(found != expected) < 2e-3  # half precision there, at the borders of labels


def test_killed_and_gone_on_with_it_is_as_if_it_had_not_been(full, place):
    again = place / "again"
    shutil.copytree(place / "full", again, symlinks=True)
    for path in (again / "nnUNet_results", again / "models", again / "steps" / "training-3d_fullres-fold-0.json"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lines = [f'data = "{place / "Dataset901_Tiny"}"', f'out = "{again}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in TINY.items()]
    (place / "again.toml").write_text("\n".join(lines))
    environment = {**os.environ, "PYTHONPATH": str(Path(metseg.__file__).parents[1])}
    running = subprocess.Popen([*COMMAND, str(place / "again.toml"), "-q"], env=environment)
    latest = checkpoint(again).with_name("checkpoint_latest.pth")
    while not latest.exists():
        assert running.poll() is None
        time.sleep(0.05)
    own = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert len(own) == 1
    assert not runs(own[0])
    assert not checkpoint(again).exists()
    begun = read(latest)["current_epoch"]
    command = [*COMMAND, str(place / "again.toml"), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["steps"] == {
        "check": "kept", "planning": "kept", "preparing-3d_fullres": "kept", "training-3d_fullres-fold-0": "done"
    }  # fmt: skip
    printed = (again / "logs" / "training-3d_fullres-fold-0.txt").read_text()
    assert begun in (1, 2)
    assert printed.count(": Epoch 0\n") == 2  # of the first training, whose log was copied, and of the killed one
    weights, expected = (read(checkpoint(out))["network_weights"] for out in (again, place / "full"))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert read_log(checkpoint(again).parent)["train_loss"] == read_log(checkpoint(place / "full").parent)["train_loss"]


def test_a_cascade_hands_over_what_the_first_stage_says_of_studies_it_did_not_see(cascade, place):
    assert set(cascade.networks) == {"3d_lowres, fold 0", "3d_lowres, fold 1", "3d_cascade_fullres, fold 0"}
    handed = checkpoint(place / "cascade", "3d_lowres", "UNetPlusPlusPlans").parents[1] / "predicted_next_stage"
    assert len(list((handed / "3d_cascade_fullres").glob("case_*"))) == 5
    assert [stage.name for stage in cascade.bundle.manifest.nnunet.stages] == ["3d_lowres", "3d_cascade_fullres"]
    assert {stage.network.decoder for stage in cascade.bundle.manifest.nnunet.stages} == {"nested"}
    assert cascade.bundle.manifest.nnunet.stages[0].mirror_axes == (0,)


def test_metsegs_engine_gives_what_nnunets_predictor_gives_of_a_cascade(cascade, place, tmp_path):
    image, _ = make_study(78)
    models = [checkpoint(place / "cascade", stage, "UNetPlusPlusPlans").parents[1] for stage in
              ("3d_lowres", "3d_cascade_fullres")]  # fmt: skip
    expected = oracle_labels(models[1], image, oracle_labels(models[0], image))
    found = own_labels(cascade.bundle, image, tmp_path)
    assert np.mean(found != expected) < 2e-2  # each gives its second stage its own labels


def test_attention_unet_of_slices_for_a_moment(data, place, tmp_path):
    dials = {
        "configuration": "2d",
        "patch": [16, 16],
        "network": "attention-unet",
        "epochs": 9,
        "minutes": 1e-4,
        "workers": 1,
    }
    trained = train_model(recipe(data, place / "flat", **dials))
    network = trained.networks["2d, fold 0"]
    assert (network["epochs"], network["stopped"]) == (1, "minutes")
    assert trained.bundle.manifest.nnunet.stages[0].network.decoder == "attention"
    image, _ = make_study(79)
    assert own_labels(trained.bundle, image, tmp_path).shape == image.array.shape


def test_a_training_starts_from_a_bundle(full, data, place):
    dials = {"patch": None, "epochs": 1, "start": str(full.bundle.folder)}
    trained = train_model(recipe(data, place / "fine", **dials))
    before, after = (read(checkpoint(out))["network_weights"] for out in (place / "full", place / "fine"))
    name = "encoder.stages.0.0.convs.0.conv.weight"
    moved = (after[name] - before[name]).abs().mean() / before[name].abs().mean()
    assert 0 < moved < 0.2  # random weights would be far off
    assert any("It started from the model" in line for line in trained.bundle.manifest.training_data)


def broken(data, folder, spoil):
    """The data set, what is done to its images a function."""
    shutil.copytree(data, folder)
    for number in range(5):
        image, _ = make_study(number)
        spoilt = spoil(np.array(image.array, np.float32))
        nib.save(nib.Nifti1Image(spoilt, image.grid.affine), folder / "imagesTr" / f"case_{number}_0000.nii.gz")
    return folder


def test_a_loss_that_is_no_number_stops_with_a_sentence(data, place):
    huge = broken(data, place / "Dataset902_Huge", lambda array: 1e35 * array)  # nnU-Net's mean of them is infinite
    with pytest.raises(MetsegError, match="loss is not a finite number in epoch 1 of training 3d_fullres, fold 0"):
        train_model(recipe(huge, place / "huge"))


def test_voxels_that_are_no_numbers_are_refused_before_anything_is_trained(data, place):
    def spoil(array):
        array[::2] = np.nan
        return array

    with pytest.raises(InputError, match="case_0 has 17280 voxels in channel 0 that are not finite numbers"):
        train_model(recipe(broken(data, place / "Dataset903_NaN", spoil), place / "nan"))
    assert not (place / "nan" / "nnUNet_preprocessed" / "Dataset903_NaN" / "nnUNetPlans.json").exists()


def test_a_full_disk_is_told_in_a_sentence():
    from metseg.training.nnunet.child import _known_trouble

    told = _known_trouble(OSError(errno.ENOSPC, "No space left on device"))
    assert (type(told), told.message) == (InputError, "The disk is full.")
    assert "not enough memory" in _known_trouble(MemoryError()).message
    assert _known_trouble(ValueError("another")) is None
