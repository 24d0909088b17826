"""Every engine that ships obeys the laws of the seam, and OpenVINO computes what the network says."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from metseg.core.errors import ConfigError, InferenceError, InputError, MissingExtraError, ModelError
from metseg.core.grid import Grid
from metseg.core.study import Study
from metseg.core.volume import LabelMap, Volume
from metseg.engines import ENGINES, Engine, load_engine
from metseg.engines.base import OperatingPoint
from metseg.engines.bundle import write_manifest
from metseg.engines.manifest import BundleManifest, Tiling
from metseg.engines.openvino_engine import OpenVinoEngine
from metseg.engines.tiling import tiles
from metseg.preprocess import steps
from metseg.preprocess.sample import labels_on_grid
from metseg.testing import check_engine
from metseg.testing.phantoms import Ellipsoid, make_phantom
from tiny_bundle import MANIFEST, expected_outputs, write_finder, write_network, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def finding(tmp_path):
    """A bundle that finds the brain by its brightness first."""
    folder = write_tiny_bundle(tmp_path / "finding").folder
    write_finder(folder / "brain.onnx", gain=1.0, bias=-150.0)
    finder = {"preprocessing": [{"name": "pad_to_multiple", "multiple": 1}], "margin_mm": 0}
    return write_manifest(folder, BundleManifest.model_validate({**MANIFEST, "brain_finder": finder}))


def test_the_threshold_engine_obeys_the_laws(phantom):
    found = check_engine(load_engine("threshold"), phantom.study)
    assert found.grid.axis_codes == "RAS"
    labels = labels_on_grid(found, phantom.study.grid, 0.5)
    truth = phantom.truth.array > 0
    assert 2 * (labels.array & truth).sum() / (labels.array.sum() + truth.sum()) > 0.9


def test_the_openvino_engine_obeys_the_laws(phantom, bundle):
    found = check_engine(load_engine("openvino", str(bundle.folder), threads=1), phantom.study)
    assert found.classes == ("lesion", "brain")


def test_the_laws_hold_for_two_sequences_in_the_bundles_order(phantom, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "two", sequences=["t2f", "t1c"])
    t1c = phantom.study.images["t1c"]
    study = Study("two", {"t1c": t1c, "t2f": Volume(t1c.array[::-1], t1c.grid)})
    engine = OpenVinoEngine(bundle, threads=1)
    check_engine(engine, study)
    channels, _ = steps.run_study(bundle.manifest.preprocessing, study, ("t2f",))
    assert engine.predict(study).array == pytest.approx(expected_outputs(channels[0]), abs=2e-6)


def test_openvino_computes_what_the_network_says(phantom, bundle):
    channels, grid = steps.run_study(bundle.manifest.preprocessing, phantom.study, ("t1c",))
    found = OpenVinoEngine(bundle, threads=1).predict(phantom.study)
    assert found.grid.distance_mm(grid) == 0
    assert found.array == pytest.approx(expected_outputs(channels[0]), abs=2e-6)
    assert found.of("lesion").max() > 0.9


@pytest.mark.parametrize("size", [(12, 16, 12), (16, 100, 12)])
def test_tiles_give_what_one_pass_gives(phantom, bundle, size):
    whole = OpenVinoEngine(bundle, threads=1).predict(phantom.study)
    tiled = OpenVinoEngine(bundle, threads=1, tiling=Tiling(max_voxels=1, size=size, margin=1))
    reports = []
    found = tiled.predict(phantom.study, progress=lambda done, total, what: reports.append((done / total, what)))
    assert found.array == pytest.approx(whole.array, abs=1e-6)
    assert len(reports) > 4
    assert reports[-1] == (1, "network")


def test_tiles_without_margin_do_not(phantom, bundle):
    """So the test above does cut, and does need its margin."""
    whole = OpenVinoEngine(bundle, threads=1).predict(phantom.study)
    cut = OpenVinoEngine(bundle, threads=1, tiling=Tiling(max_voxels=1, size=(12, 12, 12), margin=0))
    assert np.abs(cut.predict(phantom.study).array - whole.array).max() > 0.05


@pytest.mark.parametrize("axes", [(0,), (0, 2)])
def test_mirrored_passes_are_averaged(phantom, tmp_path, axes):
    bundle = write_tiny_bundle(tmp_path / "mirrored", mirror_axes=list(axes))
    channels, _ = steps.run_study(bundle.manifest.preprocessing, phantom.study, ("t1c",))
    expected = expected_outputs(channels[0])
    mirrors = [(), (0,)] if axes == (0,) else [(), (0,), (2,), (0, 2)]
    passes = [np.flip(expected_outputs(np.flip(channels[0], m)), [a + 1 for a in m]) for m in mirrors]
    found = OpenVinoEngine(bundle, threads=1).predict(phantom.study).array
    assert found == pytest.approx(np.mean(passes, axis=0), abs=2e-6)
    assert np.abs(found - expected).max() > 0.01


def test_tiles_that_hold_a_known_lesion_are_mirrored_as_when_thorough(phantom, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "mirrored", thorough_mirror_axes=[0, 2])
    tiling = Tiling(max_voxels=1, size=(12, 16, 12), margin=2)
    fast, thorough = (
        OpenVinoEngine(bundle, threads=1, tiling=tiling, mode=mode) for mode in ("fast", "thorough")
    )  # fmt: skip
    plain, full = fast.predict(phantom.study), thorough.predict(phantom.study)
    known = np.zeros(phantom.study.grid.shape, dtype=np.uint8)
    known[12, 12, 7] = 1
    guided = replace(phantom.study, prior=LabelMap(known, phantom.study.grid))
    found = fast.predict(guided)
    voxel = np.round(found.grid.to_index(guided.grid.to_world((12, 12, 7)))).astype(int)
    i, j, k = found.array.shape[1:]
    (own,) = [
        tile.keeps for tile in tiles((i, j, k), tiling, 4)
        if all(part.start <= n < part.stop for part, n in zip(tile.keeps, voxel, strict=True))
    ]  # fmt: skip
    expected = np.array(plain.array)
    expected[(slice(None), *own)] = full.array[(slice(None), *own)]
    assert np.array_equal(found.array, expected)
    assert np.abs(found.array - plain.array).max() > 0.01
    assert np.array_equal(thorough.predict(guided).array, full.array)


def test_the_brain_masks_lesions(phantom, tmp_path):
    image = np.array(phantom.study.images["t1c"].array)
    image[:3, :3, :2] = 400  # bright and brain-like, but a crumb
    study = Study("masked", {"t1c": Volume(image, phantom.study.grid)})
    free = OpenVinoEngine(write_tiny_bundle(tmp_path / "free"), threads=1).predict(study)
    masked_bundle = write_tiny_bundle(tmp_path / "masked", brain_mask={"margin_mm": 2})
    masked = OpenVinoEngine(masked_bundle, threads=1).predict(study)
    assert np.array_equal(free.of("brain"), masked.of("brain"))
    corner = tuple(free.grid.to_index(study.grid.to_world((1, 1, 0))).round().astype(int))
    assert free.of("lesion")[corner] > 0.9
    assert masked.of("lesion")[corner] == 0
    middle = tuple(free.grid.to_index(study.grid.to_world((12, 12, 7))).round().astype(int))
    assert masked.of("lesion")[middle] == free.of("lesion")[middle] > 0.9
    kept = masked.of("lesion") > 0
    assert np.array_equal(masked.of("lesion")[kept], free.of("lesion")[kept])


def head_and_brain(grid):
    """A bright brain in a darker head, (i, j, k), and where it is."""
    texture = np.random.default_rng(5).normal(0, 10, grid.shape)
    head, brain = np.zeros(grid.shape), np.zeros(grid.shape, dtype=bool)
    head[2:28, 2:25, 1:14] = 100
    brain[6:24, 6:22, 3:12] = True
    return np.where(brain, 200 + texture, head).astype(np.float32), brain


def test_the_brain_finder_comes_first(grid, finding, tmp_path):
    head, brain = head_and_brain(grid)
    whole = Study("head", {"t1c": Volume(head, grid)})
    alone = Study("head", {"t1c": Volume(np.where(brain, head, 0), grid)}, skull_stripped=True)
    engine = OpenVinoEngine(finding, threads=1)
    expected = engine.predict(alone).array
    assert np.array_equal(engine.predict(whole).array, expected)
    plain = OpenVinoEngine(write_tiny_bundle(tmp_path / "plain"), threads=1)
    assert np.array_equal(plain.predict(alone).array, expected)
    assert not np.array_equal(plain.predict(whole).array, expected)


def test_the_laws_hold_where_a_brain_finder_comes_first(finding, grid):
    head, brain = head_and_brain(grid)
    head[12:15, 12:15, 6:8] = 320
    engine = OpenVinoEngine(finding, threads=1)
    found = check_engine(engine, Study("head", {"t1c": Volume(head, grid)}))
    peak = np.unravel_index(found.of("lesion").argmax(), found.grid.shape)
    assert found.grid.to_world(peak) == pytest.approx(grid.to_world((13, 13, 6.5)), abs=2)
    assert found.skull_stripped is False
    alone = Volume(np.where(brain, head, 0), grid)
    assert engine.predict(Study("brain", {"t1c": alone})).skull_stripped is True


def test_the_laws_hold_for_the_model_that_ships_and_its_brain_finder():
    """On a small made brain, so that the network is quick."""
    grid = Grid((44, 52, 30), np.array([[-1.8, 0.1, 0, 38], [0.1, 1.7, 0.2, -44], [0, -0.2, 2.9, -40], [0, 0, 0, 1]]))
    spot = tuple(grid.to_world((20, 30, 16)).tolist())
    study = replace(make_phantom(grid, [Ellipsoid.sphere(spot, 8.0)]).study, skull_stripped=None)
    engine = load_engine("openvino", "mets-t1c", threads=1, mode="fast")
    assert isinstance(engine, OpenVinoEngine)
    assert engine.stripper is not None
    found = check_engine(engine, study)
    assert found.classes == ("lesion", "brain")
    assert found.of("brain").max() > 0.5
    assert found.skull_stripped is True


def test_a_finder_of_the_wrong_shape_is_a_model_error(tmp_path):
    folder = write_tiny_bundle(tmp_path / "wrong").folder
    write_network(folder / "brain.onnx")
    finder = {"preprocessing": []}
    bundle = write_manifest(folder, BundleManifest.model_validate({**MANIFEST, "brain_finder": finder}))
    with pytest.raises(ModelError, match=r"brain\.onnx has shape"):
        OpenVinoEngine(bundle)


def test_an_engine_serves_studies_of_different_sizes(phantom, bundle):
    engine = OpenVinoEngine(bundle, threads=1)
    first = engine.predict(phantom.study)
    part = phantom.study.images["t1c"]
    smaller = Study("smaller", {"t1c": Volume(part.array[4:, 2:, 1:], part.grid.crop((4, 2, 1), (27, 25, 14)))})
    engine.predict(smaller)
    assert np.array_equal(engine.predict(phantom.study).array, first.array)


def test_cards(bundle):
    card = OpenVinoEngine(bundle).card
    assert (card.name, card.version, card.sha256) == ("tiny", "1.0", bundle.sha256)
    assert card.operating_point() == card.operating_point("balanced")
    assert (card.operating_point().threshold, card.operating_point().min_confidence) == (0.5, 0.0)
    assert (card.operating_point("strict").threshold, card.operating_point("strict").min_confidence) == (0.4, 0.9)
    assert card.operating_point(0.37) == card.operating_point("0.37") == OperatingPoint(threshold=0.37)
    for wrong in ("best", 0, 1.0, "nan", "-0.1"):
        with pytest.raises(ConfigError, match="operating point"):
            card.operating_point(wrong)
    assert dict(card.labels) == {1: "lesion"}


def test_engines_by_name(bundle):
    assert ENGINES.names() == ["openvino", "threshold", "torch"]
    assert isinstance(load_engine("threshold"), Engine)
    assert isinstance(load_engine("openvino", str(bundle.folder), threads=1), Engine)
    with pytest.raises(ConfigError, match="no engine called 'magic'"):
        load_engine("magic")
    with pytest.raises(ConfigError, match="at least 1 thread"):
        load_engine("threshold", threads=0)
    with pytest.raises(ConfigError, match="quantum"):
        load_engine("openvino", str(bundle.folder), device="quantum")
    with pytest.raises(ConfigError, match="quantum"):
        load_engine("threshold", device="quantum")
    with pytest.raises(ConfigError, match="tiny"):
        load_engine("threshold", "tiny")


def test_without_torch_its_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="This needs torch, which is not installed") as caught:
        load_engine("torch")
    assert caught.value.hint == "Install it with: pip install 'metseg[torch]'"


def test_a_network_that_does_not_fit_its_manifest_is_refused(tmp_path):
    folder = write_tiny_bundle(tmp_path / "one").folder
    two = BundleManifest.model_validate({**MANIFEST, "sequences": ["t1c", "t2f"]})
    with pytest.raises(ModelError, match="2 channels"):
        OpenVinoEngine(write_manifest(folder, two))
    (folder / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="cannot read"):
        OpenVinoEngine(write_manifest(folder, two))
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"has no model\.onnx"):
        OpenVinoEngine(write_manifest(folder, two))


def test_a_network_that_gives_no_numbers_is_an_inference_error(phantom, tmp_path):
    folder = write_tiny_bundle(tmp_path / "nan").folder
    write_network(folder / "model.onnx", lesion_bias=np.nan)
    engine = OpenVinoEngine(write_manifest(folder, BundleManifest.model_validate(MANIFEST)), threads=1)
    with pytest.raises(InferenceError, match="finite"):
        engine.predict(phantom.study)


def test_a_missing_sequence_says_which(phantom, bundle):
    study = Study("native", {"t1n": phantom.study.images["t1c"]})
    with pytest.raises(InputError, match="lacks t1c; it has t1n"):
        OpenVinoEngine(bundle).predict(study)


def test_a_network_file_is_read_only_by_its_hash(tmp_path, bundle):
    """A network swapped after the manifest was written never runs."""
    folder = write_tiny_bundle(tmp_path / "swapped").folder
    write_network(folder / "model.onnx", 2)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_engine("openvino", str(folder))
