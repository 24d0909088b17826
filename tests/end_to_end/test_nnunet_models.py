"""A model that nnU-Net trained, from its folder to a result."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from metseg.cli.main import app
from metseg.core.errors import ConfigError, ModelError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume
from metseg.engines.nnunet.cascade import Running
from metseg.engines.nnunet_engine import NnunetEngine
from metseg.io.nifti import write_nifti
from metseg.io.nnunet_import import Wishes, bundle_name, import_nnunet
from metseg.testing.check_engine import check_engine
from nnunet_oracle import Oracle, make_weights
from torch_files import save
from unit.test_nnunet_graph import PLAIN, expected_logits
from unit.test_nnunet_plans import ARCHITECTURE, FULLRES

NETWORK = PLAIN.model_copy(update={"channels": 1})
WINDOW = (8, 16, 16)
KWARGS = {
    **ARCHITECTURE["arch_kwargs"], "features_per_stage": [4, 6, 5], "n_conv_per_stage": [2, 1, 2],
    "n_conv_per_stage_decoder": [1, 2],
}  # fmt: skip
PLAN = {
    **FULLRES, "spacing": [2.0, 1.0, 1.0], "patch_size": list(WINDOW), "normalization_schemes": ["NoNormalization"],
    "architecture": {**ARCHITECTURE, "arch_kwargs": KWARGS},
}  # fmt: skip
OWN = {"nested": "metseg.networks.unet_plus_plus.UNetPlusPlus",
       "attention": "metseg.networks.attention_unet.AttentionUNet"}  # fmt: skip
SEED = 2  # with which all labels are found
INNER = (slice(1, 17), slice(2, 18), slice(3, 15))
LABELS = {"background": 0, "core": 1, "oedema": 2}


def put(results, configuration="3d_fullres", network=NETWORK, folds=2, *, channels=None, seed=SEED, **changes):
    """A trained folder with weights of our own."""
    path = results / "Dataset007_Mets" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    path.mkdir(parents=True)
    low = {**PLAN, "spacing": [2.0, 2.0, 2.0]}
    last = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    known = {"3d_fullres": {**PLAN, **changes}, "3d_lowres": low, "3d_cascade_fullres": last}
    (path / "plans.json").write_text(json.dumps({"configurations": known, "transpose_forward": [0, 1, 2]}))
    dataset = {"labels": LABELS, "channel_names": channels or {"0": "T1ce"}}
    (path / "dataset.json").write_text(json.dumps(dataset))
    for fold in range(folds):
        content = {
            "network_weights": make_weights(network, seed + fold),
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": configuration},
            "inference_allowed_mirroring_axes": (1, 2),
        }
        save(path / f"fold_{fold}" / "checkpoint_final.pth", content)
    return path


def own(decoder, channels=1, **kwargs):
    """A network with one of metseg's own decoders, and the plan's words for it."""
    architecture = {**ARCHITECTURE, "network_class_name": OWN[decoder], "arch_kwargs": {**KWARGS, **kwargs}}
    return NETWORK.model_copy(update={"decoder": decoder, "channels": channels}), architecture


@pytest.fixture
def results(tmp_path):
    return tmp_path / "nnUNet_results"


@pytest.fixture
def scan(tmp_path):
    """Of the plan's spacing, (i, j, k) of 1, 1 and 2 mm, oblique, empty at the edges."""
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.0, 2.0])
    affine[:3, 3] = 7, -3, 11
    array = np.zeros((18, 19, 17), dtype=np.float32)
    array[INNER] = np.random.default_rng(5).normal(3, 1, (16, 16, 12))
    path = tmp_path / "in" / "scan.nii.gz"
    path.parent.mkdir()
    write_nifti(path, Volume(array, Grid(array.shape, affine)))
    return path


def expected_labels(scan, network=NETWORK, seed=SEED):
    """By double precision: nothing is resampled, since the scan has the plan's spacing."""
    image = np.asarray(nib.load(scan).dataobj).astype(np.float32)
    channels = image[INNER].transpose(2, 1, 0)[np.newaxis]
    weights = [make_weights(network, seed + fold) for fold in range(2)]
    logits = expected_logits(network, weights, channels, WINDOW, (1, 2))
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[INNER] = logits.argmax(axis=0).transpose(2, 1, 0)
    return labels, logits


def metseg(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_import_segment_and_get_the_labels_that_the_network_gives(results, scan, tmp_path):
    put(results)
    result = metseg("models", "import", results, "-o", tmp_path / "models", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["name"] == "dataset007_mets-3d_fullres"
    assert (told["sequences"], told["labels"], told["lesion"]) == (["t1c"], {"1": "core", "2": "oedema"}, [1])
    assert (told["modality"], told["stages"]) == ("MR", ["3d_fullres"])
    out = tmp_path / "out"
    result = metseg("segment", scan, "-o", out, "--model", told["folder"], "--formats", "nifti,json,csv,html")
    assert result.exit_code == 0, result.output
    expected, _ = expected_labels(scan)
    found = nib.load(out / "scan" / "segmentation.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected)
    np.testing.assert_allclose(found.affine, nib.load(scan).affine, atol=1e-5)
    assert {1, 2} <= set(np.unique(expected))
    lesions = np.asarray(nib.load(out / "scan" / "lesions.nii.gz").dataobj)
    np.testing.assert_array_equal(lesions > 0, expected == 1)
    manifest = json.loads((out / "scan" / "run.json").read_text(encoding="utf-8"))
    assert manifest["model"]["name"] == "dataset007_mets-3d_fullres"
    assert manifest["options"]["operating_point"] == "nnunet"


@pytest.mark.parametrize("decoder", OWN)
def test_metsegs_own_networks_give_their_labels(results, scan, tmp_path, decoder):
    network, architecture = own(decoder)
    put(results, network=network, architecture=architecture, seed=3)
    told = json.loads(metseg("models", "import", results, "-o", tmp_path / "models", "--json").stdout)
    arguments = ("segment", scan, "-o", tmp_path / "out", "--model", told["folder"], "--formats", "nifti")
    assert metseg(*arguments).exit_code == 0
    expected, _ = expected_labels(scan, network, seed=3)
    assert {1, 2} <= set(np.unique(expected))
    found = nib.load(tmp_path / "out" / "scan" / "segmentation.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), expected)


def test_probabilities_lie_where_the_image_is(results, scan, tmp_path):
    put(results)
    engine = NnunetEngine(import_nnunet(results, tmp_path / "mets"), threads=1)
    image = np.asarray(nib.load(scan).dataobj).astype(np.float32)
    grid = Grid(image.shape, nib.load(scan).affine)
    found = engine.predict(Study("scan", {"t1c": Volume(image, grid)}))
    _, logits = expected_labels(scan)
    shares = np.exp(logits) / np.exp(logits).sum(axis=0)
    assert found.classes == ("core", "oedema", "lesion")
    np.testing.assert_allclose(found.of("oedema"), shares[2], atol=1e-5)
    np.testing.assert_allclose(found.of("lesion"), shares[1], atol=1e-5)
    # Voxel (0, 0, 0) of the map is (1, 2, 3) of the image; its axes are k, j, i.
    np.testing.assert_allclose(found.grid.to_world(np.array([[0, 0, 0]])), grid.to_world(np.array([[1, 2, 3]])))
    np.testing.assert_allclose(found.grid.to_world(np.array([[2, 3, 4]])), grid.to_world(np.array([[5, 5, 5]])))


def test_it_keeps_the_laws_of_engines(results, tmp_path, phantom):
    put(results, spacing=[9.0, 7.0, 8.0])
    engine = NnunetEngine(import_nnunet(results, tmp_path / "mets"), threads=1)
    found = check_engine(engine, phantom.study)
    assert found.decision.grid.matches(phantom.study.grid)


@pytest.mark.parametrize("canonical", [False, True])
@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 2, 0)])
def test_what_is_known_lies_where_the_images_are(results, scan, tmp_path, canonical, axes):
    put(results, spacing=[2.0, 1.0, 1.0])
    engine = NnunetEngine(import_nnunet(results, tmp_path / "mets"), threads=1)
    stage = engine.model.stages[0].model_copy(update={"spacing_mm": tuple((1.0, 1.0, 2.0)[a] for a in axes)})
    engine.models = (engine.model.model_copy(update={"canonical": canonical, "axes": axes, "stages": (stage,)}),)
    seen = []

    def predict(stage, folds, channels, *, known=None, **how):
        seen.append((channels[0], known))
        return np.zeros((3, *channels.shape[1:]), dtype=np.float32)

    engine.running = Running(predict, lambda _: [])
    grid = Grid((18, 19, 17), nib.load(scan).affine)
    known = np.zeros(grid.shape, dtype=np.uint32)
    known[3:6, 4, 5], known[12, 15, 12], known[0, 0, 0] = 1, 2, 3  # the last lies in what is cut off
    image = np.zeros(grid.shape, dtype=np.float32)
    image[INNER] = 1 + (known[INNER] > 0)
    study = Study("scan", {"t1c": Volume(image, grid)}, prior=LabelMap(known, grid))
    engine.predict(study)
    engine.predict(replace(study, prior=None))
    (channel, mask), (_, none) = seen
    assert np.array_equal(mask, channel == 2)
    assert mask.sum() == 4
    assert none is None


def test_both_stages_of_a_cascade_come_along(results, scan, tmp_path):
    put(results, "3d_lowres", seed=1)
    put(results, "3d_cascade_fullres", NETWORK.model_copy(update={"channels": 3}), seed=7)
    bundle = import_nnunet(results, tmp_path / "mets")
    assert [stage.name for stage in bundle.manifest.nnunet.stages] == ["3d_lowres", "3d_cascade_fullres"]
    assert bundle.manifest.spacing_mm == (1.0, 1.0, 2.0)
    assert sorted(name for name in bundle.manifest.files if name.endswith(".safetensors")) == [
        f"{stage}/fold_{fold}.safetensors" for stage in ("3d_cascade_fullres", "3d_lowres") for fold in (0, 1)
    ]
    out = tmp_path / "out"
    assert metseg("segment", scan, "-o", out, "--model", tmp_path / "mets", "--formats", "nifti").exit_code == 0
    assert np.asarray(nib.load(out / "scan" / "segmentation.nii.gz").dataobj).any()


def test_what_was_imported_stays_and_another_model_does_not_replace_it(results, tmp_path):
    path = put(results, folds=1)
    target = tmp_path / "mets"
    first = import_nnunet(results, target)
    times = {file: file.stat().st_mtime_ns for file in target.rglob("*")}
    assert import_nnunet(path, target).sha256 == first.sha256
    assert {file: file.stat().st_mtime_ns for file in target.rglob("*")} == times
    save(path / "fold_0" / "checkpoint_final.pth", {"network_weights": make_weights(NETWORK, 9)})
    with pytest.raises(ModelError, match="came of other files or options"):
        import_nnunet(results, target)
    with pytest.raises(ModelError, match="came of other files or options"):
        import_nnunet(results, target, Wishes(lesion=("oedema",)))
    second = import_nnunet(results, target, Wishes(lesion=("oedema",)), replace=True)
    assert second.card.lesion == (2,)
    assert second.sha256 != first.sha256
    assert import_nnunet(results, target).sha256 == second.sha256
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "fold_1/checkpoint_final.pth").write_bytes(b"PK"), "checkpoint_final.pth is no"),
        (
            lambda path: save(path / "fold_1/checkpoint_final.pth", {"network_weights": make_weights(PLAIN)}),
            r"encoder.stages.0.0.convs.0.conv.weight has shape \(4, 2, 1, 3, 3\), but its plan asks for",
        ),
        (lambda path: (path / "plans.json").write_text("{}"), "plans.json has no configuration '3d_fullres'"),
    ],
)
def test_a_broken_model_leaves_nothing_behind(results, tmp_path, change, message):
    change(put(results))
    with pytest.raises(ModelError, match=message):
        import_nnunet(results, tmp_path / "mets")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["nnUNet_results"]


def test_the_user_names_what_the_folder_does_not_say(results, tmp_path):
    put(results, channels={"0": "postcontrast scan"})
    with pytest.raises(ConfigError, match="calls a channel 'postcontrast scan', which could be any sequence"):
        import_nnunet(results, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"has 1 channels \(postcontrast scan\), not t1c, t1n"):
        import_nnunet(results, tmp_path / "a", Wishes(sequences=("t1c", "t1n")))
    with pytest.raises(ConfigError, match="has no label 'tumour'"):
        import_nnunet(results, tmp_path / "a", Wishes(sequences=("t1c",), lesion=("tumour",)))
    with pytest.raises(ModelError, match="lacks the fold 4; it has 0, 1"):
        import_nnunet(results, tmp_path / "a", Wishes(folds=("4",)))
    with pytest.raises(ConfigError, match="ours' cannot name a model"):
        bundle_name(results, Wishes(name="../ours"))
    wishes = Wishes(name="ours", sequences=("ct",), lesion=("core", "oedema"), folds=("1",), licence="CC-BY-4.0")
    bundle = import_nnunet(results, tmp_path / bundle_name(results, wishes), wishes)
    assert (bundle.name, bundle.card.modality, bundle.card.lesion) == ("ours", "CT", (1, 2))
    assert bundle.manifest.nnunet.stages[0].weights == ("3d_fullres/fold_1.safetensors",)
    assert bundle.manifest.licence == "CC-BY-4.0"


def test_channels_declared_against_their_names_are_warned_of_and_stay_a_limit(results, tmp_path):
    put(results, folds=1, channels={"0": "FLAIR"})
    says = "dataset.json calls channel 0 'FLAIR', but it was declared as t1c. By their names the channels are t2f."
    arguments = ("models", "import", results, "-o", tmp_path / "models", "--sequences", "t1c")
    for _ in range(2):
        assert metseg(*arguments).stderr.splitlines() == [f"Warning: {says}"]
    assert json.loads(metseg(*arguments, "--json").stdout)["warnings"] == [says]
    assert f"limit: {says}" in metseg("models", "show", tmp_path / "models" / "dataset007_mets-3d_fullres").stdout
    honest = metseg("models", "import", results, "-o", tmp_path / "models", "--name", "honest", "--json")
    assert (json.loads(honest.stdout)["warnings"], honest.stderr) == ([], "")


def test_models_are_listed_shown_and_verified(results, tmp_path):
    put(results, folds=1)
    import_nnunet(results, tmp_path / "models" / "ours")
    listed = metseg("models", "list", tmp_path / "models")
    assert listed.exit_code == 0
    assert "mets-t1c" in listed.stdout
    assert "ours " in listed.stdout
    shown = metseg("models", "show", tmp_path / "models" / "ours").stdout
    for line in ("label 2: oedema, no lesion", "operating point nnunet: as the model decides", "3d_fullres, 1 folds"):
        assert line in shown
    assert "all 5 files are as model.json says" in metseg("models", "verify", tmp_path / "models" / "ours").stdout
    (tmp_path / "models" / "ours" / "README.md").write_text("changed")
    result = metseg("models", "verify", tmp_path / "models" / "ours")
    assert (result.exit_code, "README.md" in result.stderr) == (4, True)


def test_an_oracle_of_one_window_is_the_network():
    """The oracle of the windows gives back a single window's logits."""
    weights = make_weights(NETWORK)
    image = np.random.default_rng(0).normal(size=(1, *WINDOW)).astype(np.float32)
    found = expected_logits(NETWORK, [weights], image, WINDOW, ())
    np.testing.assert_allclose(found, Oracle(NETWORK, weights)(image))
