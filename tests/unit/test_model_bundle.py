import json
import re
import shutil

import pytest

from metseg.core.errors import ModelError
from metseg.engines import catalogue
from metseg.engines.bundle import read_bundle, read_manifest, sha256_of
from metseg.engines.catalogue import find_bundle, list_bundles
from metseg.engines.manifest import BrainMask, BundleManifest, MeasuredPoint
from metseg.preprocess.resample import Resample
from tiny_bundle import MANIFEST, write_tiny_bundle


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written.folder, tmp_path / "copy")


def edit(folder, **changes):
    path = folder / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(changes)
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "REMOVED"}), encoding="utf-8")


def test_a_bundle_is_read_as_it_was_written(written, folder):
    bundle = read_bundle(folder)
    assert bundle.manifest == written.manifest
    assert bundle.sha256 == sha256_of(folder / "model.json") == written.sha256
    assert sorted(bundle.manifest.files) == ["README.md", "model.onnx"]
    assert bundle.manifest.files["model.onnx"] == sha256_of(folder / "model.onnx")
    assert bundle.manifest.preprocessing[1] == Resample(spacing_mm=(1, 1, 1))
    assert dict(bundle.manifest.labels) == {1: "lesion"}
    thresholds = {name: point.threshold for name, point in bundle.card.operating_points.items()}
    assert thresholds == {"balanced": 0.5, "sensitive": 0.2, "strict": 0.4}
    assert bundle.path("model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_a_changed_file_is_named(folder):
    with (folder / "README.md").open("a", encoding="utf-8") as file:
        file.write("!")
    with pytest.raises(ModelError, match=r"README\.md .* SHA-256 differs"):
        read_bundle(folder)
    assert read_manifest(folder).name == "tiny"


def test_a_missing_file_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"lacks the file model\.onnx"):
        read_bundle(folder)


def test_a_file_the_manifest_does_not_name_is_never_opened(folder):
    (folder / "weights.pkl").write_bytes(b"!")
    with pytest.raises(ModelError, match=r"no weights\.pkl"):
        read_bundle(folder).path("weights.pkl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version"),
        ({"name": "../up"}, "at name"),
        ({"licence": "REMOVED"}, "at licence"),
        ({"colour": "red"}, "at colour"),
        ({"modality": "PET"}, "at modality"),
        ({"sequences": ["t9"]}, r"at sequences\.0"),
        ({"sequences": []}, "at sequences"),
        ({"sequences": ["ct"]}, "do not fit modality MR"),
        ({"modality": "CT", "sequences": ["t1c"]}, "do not fit modality CT"),
        ({"sequences": ["t1c", "t1c"]}, "twice"),
        ({"spacing_mm": [1, 1, 0]}, r"at spacing_mm\.2"),
        ({"spacing_mm": [1, 1, 2]}, "resample step"),
        ({"labels": {"1": "oedema"}}, "oedema"),
        ({"labels": {"0": "lesion"}}, "at labels"),
        ({"brain_mask": {"output": "lesion"}}, "that is no label"),
        ({"outputs": ["lesion"], "brain_mask": True}, "brain_mask"),
        ({"preprocessing": [{"name": "sharpen"}]}, r"at preprocessing\.0"),
        ({"operating_points": {"balanced": {"threshold": 1.5}}}, r"operating_points\.balanced\.threshold"),
        ({"operating_points": {"balanced": {"threshold": 0.5, "found_by_size": {"<3 mm": [3, 2]}}}}, "of 2 lesions"),
        ({"default_operating_point": "best"}, "'best' is not in"),
        ({"tiling": {"size": [64, 64, 64], "margin": 32}}, "all margin"),
        ({"files": {"../model.onnx": "0" * 64}}, "no plain path"),
        ({"files": {"/model.onnx": "0" * 64}}, "no plain path"),
        ({"files": {"a\\b.onnx": "0" * 64}}, "no plain path"),
        ({"files": {"model.onnx": "abc"}}, "at files"),
        ({"files": {"model.json": "0" * 64}}, "own hash"),
    ],
)
def test_a_wrong_field_is_named(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=message):
        read_manifest(folder)


def test_what_is_no_bundle(tmp_path, folder):
    with pytest.raises(ModelError, match=r"has no model\.json"):
        read_bundle(tmp_path)
    (folder / "model.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="not valid"):
        read_bundle(folder)
    (folder / "model.json").write_bytes(b" " * 1_000_001)
    with pytest.raises(ModelError, match="over 1000000 bytes"):
        read_bundle(folder)


def test_a_brain_mask_by_yes_or_no():
    yes = BundleManifest.model_validate({**MANIFEST, "brain_mask": True})
    no = BundleManifest.model_validate({**MANIFEST, "brain_mask": False})
    assert (yes.brain_mask, no.brain_mask) == (BrainMask(), None)


def test_bundles_are_found_by_name_and_by_folder(written, monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: written.folder.parent)
    assert [bundle.name for bundle in list_bundles()] == ["tiny"]
    assert find_bundle("tiny").sha256 == written.sha256
    assert find_bundle(written.folder).sha256 == written.sha256
    assert find_bundle(str(written.folder)).sha256 == written.sha256
    with pytest.raises(ModelError, match=r"no model called 'huge'.*Known models: tiny"):
        find_bundle("huge")
    assert list_bundles(tmp_path) == ()


def test_every_bundle_that_ships_is_whole_and_light():
    bundles = [read_bundle(bundle.folder) for bundle in list_bundles()]
    sizes = [sum(p.stat().st_size for p in bundle.folder.rglob("*") if p.is_file()) for bundle in bundles]
    assert all(size <= 16 * 2**20 for size in sizes)
    assert sum(sizes) <= 40 * 2**20
    assert all(bundle.folder.name == bundle.name for bundle in bundles)


def test_a_card_and_its_readme_say_the_same_of_what_was_found_by_size():
    for bundle in list_bundles():
        readme = (bundle.folder / "README.md").read_text(encoding="utf-8")
        for name, point in bundle.manifest.operating_points.items():
            assert isinstance(point, MeasuredPoint)
            row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
            told = [(int(found), int(of)) for found, of in re.findall(r"(\d+) of (\d+):", row)]
            assert list(point.found_by_size.values()) == told
            found, of = (sum(column) for column in zip(*told))
            assert point.sensitivity == pytest.approx(found / of, abs=5e-5)
