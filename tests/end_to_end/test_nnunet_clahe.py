"""CLAHE in a recipe of ``metseg train``: nnU-Net learns from processed images, and the bundle processes them alike."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed (the train extra)")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (the train extra)")

from end_to_end.test_nnunet_training import TINY, checkpoint, oracle_labels, own_labels  # noqa: E402
from metseg.cli.main import app  # noqa: E402
from metseg.core.errors import ConfigError  # noqa: E402
from metseg.core.study import Study  # noqa: E402
from metseg.core.volume import Volume  # noqa: E402
from metseg.engines.manifest import BundleManifest  # noqa: E402
from metseg.engines.nnunet_engine import NnunetEngine  # noqa: E402
from metseg.io.nifti import read_nifti  # noqa: E402
from metseg.io.nnunet_import import import_nnunet  # noqa: E402
from metseg.preprocess.clahe import Clahe  # noqa: E402
from metseg.preprocess.normalise import NormaliseWindow  # noqa: E402
from metseg.training.nnunet.recipe import NnunetRecipe  # noqa: E402
from metseg.training.nnunet.run import train_model  # noqa: E402
from nnunet_raw import make_raw, make_study  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # nnU-Net's, where it predicts beside us
STEP = {"name": "clahe", "kind": "3d", "tile_mm": 12.0, "clip_limit": 3.0, "bins": 64}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("clahe")


@pytest.fixture(scope="module")
def data(place):
    return make_raw(place / "Dataset901_Tiny")


def recipe(data, out, **dials):
    return NnunetRecipe.model_validate({"data": data, "out": out, **TINY, **dials})


@pytest.fixture(scope="module")
def trained(data, place):
    return train_model(recipe(data, place / "run", preprocessing=[STEP]))


class Recorded:
    """Runs a stage, and keeps what its network was to see."""

    def __init__(self, predict):
        self.predict = predict

    def __call__(self, stage, folds, channels, **how):
        self.channels = channels.copy()
        return self.predict(stage, folds, channels, **how)


def test_the_network_sees_in_use_what_it_saw_in_training(trained, data):
    import blosc2

    engine = NnunetEngine(trained.bundle, threads=1)
    recorded = Recorded(engine.running.predict)
    engine.running = replace(engine.running, predict=recorded)
    prepared = data.parent / "run" / "nnUNet_preprocessed" / "Dataset901_Tiny" / "nnUNetPlans_3d_fullres"
    for number in (0, 3):
        image, _, _ = read_nifti(data / "imagesTr" / f"case_{number}_0000.nii.gz")
        engine.predict(Study(f"case_{number}", {"t1c": image}))
        learned_from = blosc2.open(str(prepared / f"case_{number}.b2nd"), mode="r")[:]
        assert recorded.channels.shape == learned_from.shape
        assert recorded.channels == pytest.approx(learned_from, abs=1e-5)
        plain = (image.array - image.array.mean()) / image.array.std()
        assert np.abs(recorded.channels[0].transpose(2, 1, 0) - plain).max() > 0.1


def test_nnunets_predictor_gives_the_same_labels_of_the_processed_image(trained, place, tmp_path):
    image, _ = make_study(77)
    processed = Volume(Clahe.model_validate(STEP).apply(image.array, image.grid)[0], image.grid)
    model = checkpoint(place / "run").parents[1]
    expected, unprocessed = oracle_labels(model, processed), oracle_labels(model, image)
    found = own_labels(trained.bundle, image, tmp_path)
    assert len(np.unique(expected)) > 1
    assert np.mean(found != expected) < 2e-3  # half precision there, at the borders of labels
    assert np.mean(unprocessed != expected) > np.mean(found != expected)


def test_the_run_says_what_it_did_and_the_same_again_is_kept(trained, data, place):
    raw = place / "run" / "nnUNet_raw" / "Dataset901_Tiny"
    files = sorted((raw / "imagesTr").glob("*.nii.gz"))
    assert trained.processed == {"images": 5, "bytes": sum(path.stat().st_size for path in files)}
    assert (raw / "labelsTr").is_symlink()
    image, _, _ = read_nifti(files[0])
    original, _, _ = read_nifti(data / "imagesTr" / files[0].name)
    assert image.grid.matches(original.grid)
    assert not np.array_equal(image.array, original.array)
    assert np.array_equal(image.array, Clahe.model_validate(STEP).apply(original.array, original.grid)[0])
    assert trained.bundle.manifest.preprocessing == (Clahe.model_validate(STEP),)
    assert any("steps clahe" in line for line in trained.bundle.manifest.training_data)
    again = train_model(recipe(data, place / "run", preprocessing=[STEP]))
    assert set(again.steps.values()) == {"kept"}
    assert again.processed == trained.processed
    with pytest.raises(ConfigError, match="differs in preprocessing"):
        train_model(recipe(data, place / "run"))


def test_a_stopped_run_goes_on_with_the_images_that_are_there(trained, data, place):
    """Those that are there are kept as they are, and those that are missing are made, by other processes."""
    out = place / "stopped"
    shutil.copytree(place / "run", out, symlinks=True)
    (out / "steps" / "processing.json").unlink()
    images = out / "nnUNet_raw" / "Dataset901_Tiny" / "imagesTr"
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    for number in (1, 4):
        (images / f"case_{number}_0000.nii.gz").unlink()
    kept = (images / "case_0_0000.nii.gz").stat().st_mtime_ns
    again = train_model(recipe(data, out, preprocessing=[STEP], workers=2))
    assert again.steps["processing"] == "done"
    assert {path.name: path.read_bytes() for path in images.iterdir()} == before
    assert (images / "case_0_0000.nii.gz").stat().st_mtime_ns == kept


def test_export_says_what_nnunet_will_not_do_and_an_import_brings_the_steps_back(trained, place, tmp_path):
    model = str(trained.bundle.folder)
    done = CliRunner().invoke(app, ["models", "export", model, "-o", str(tmp_path / "results"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert "nnUNetv2_predict leaves them out" in told["warnings"][0]
    assert "the steps clahe" in done.stderr
    for source in (tmp_path / "results", place / "run" / "nnUNet_results"):
        bundle = import_nnunet(source, tmp_path / f"again-{source.parent.name}")
        assert bundle.manifest.preprocessing == trained.bundle.manifest.preprocessing
    shown = CliRunner().invoke(app, ["models", "show", model])
    assert '"name":"clahe"' in shown.stdout


def test_a_start_from_a_model_that_saw_its_images_otherwise_is_refused(trained, data, place):
    with pytest.raises(ConfigError, match=r"after other steps \(clahe\) than the recipe's \(none\)"):
        train_model(recipe(data, place / "started", preprocessing=(), start=str(trained.bundle.folder), patch=None))
    assert not (place / "started").exists()


def test_ct_is_windowed_first(place):
    data = make_raw(place / "Dataset903_Ct", channels=("CT",))
    window = {"name": "normalise_window", "low": 60, "high": 300, "middle": 60, "scale": 240}
    with pytest.raises(ConfigError, match="CLAHE on CT needs a window before it"):
        train_model(recipe(data, place / "ct", preprocessing=[STEP]))
    assert not (place / "ct").exists()
    trained = train_model(recipe(data, place / "ct", preprocessing=[window, STEP], epochs=1))
    assert trained.bundle.card.modality == "CT"
    assert [type(step) for step in trained.bundle.manifest.preprocessing] == [NormaliseWindow, Clahe]
    processed, _, _ = read_nifti(place / "ct" / "nnUNet_raw" / "Dataset903_Ct" / "imagesTr" / "case_0_0000.nii.gz")
    assert 0 <= processed.array.min() < processed.array.max() <= 1
    told = json.loads((trained.bundle.folder / "model.json").read_text())
    told["preprocessing"] = told["preprocessing"][1:]
    with pytest.raises(ValueError, match="CLAHE on CT needs a window before it"):
        BundleManifest.model_validate(told)
    told["preprocessing"] = [{"name": "reorient"}]
    with pytest.raises(ValueError, match="the step reorient cannot stand before nnU-Net"):
        BundleManifest.model_validate(told)
