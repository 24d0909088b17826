"""A model that was imported is known again without reading its files, as long as nothing about them differs."""

import json
import os
import shutil

import pytest

from end_to_end.test_nnunet_export import zipped
from end_to_end.test_nnunet_models import NETWORK, metseg, put
from metseg.core.errors import InputError, ModelError
from metseg.engines.bundle import read_bundle
from metseg.io import nnunet_import
from metseg.io.nnunet_import import Wishes, import_model, import_nnunet
from metseg.io.nnunet_stamp import STAMP
from nnunet_oracle import make_weights
from torch_files import save


@pytest.fixture
def results(tmp_path):
    put(tmp_path / "nnUNet_results", folds=2)
    return tmp_path / "nnUNet_results"


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def read(monkeypatch):
    """Names of the files that were hashed, and of the zips that were unpacked."""
    names = []

    def hashing(path):
        names.append(path.name)
        return sha256_of(path)

    def unpacking(source):
        names.append(source.name)
        return models_folder(source)

    sha256_of, models_folder = nnunet_import.sha256_of, nnunet_import.models_folder
    monkeypatch.setattr(nnunet_import, "sha256_of", hashing)
    monkeypatch.setattr(nnunet_import, "models_folder", unpacking)
    monkeypatch.setattr("metseg.engines.bundle.sha256_of", hashing)
    return names


def checkpoint(results):
    return min(results.rglob("checkpoint_final.pth"))


def test_the_second_import_of_a_folder_hashes_nothing(results, models, read):
    first = import_nnunet(results, models / "mets")
    assert "checkpoint_final.pth" in read
    read.clear()
    again = import_nnunet(results, models / "mets")
    assert (again.sha256, again.folder, again.manifest) == (first.sha256, first.folder, first.manifest)
    assert read == []
    assert STAMP not in first.manifest.files
    assert read_bundle(first.folder).sha256 == first.sha256


def test_a_file_of_another_time_is_hashed_once(results, models, read):
    first = import_nnunet(results, models / "mets")
    os.utime(checkpoint(results), ns=(5, 5))
    read.clear()
    assert import_nnunet(results, models / "mets").sha256 == first.sha256
    assert read.count("checkpoint_final.pth") == 2
    read.clear()
    assert import_nnunet(results, models / "mets").sha256 == first.sha256
    assert read == []


def test_another_model_is_seen_by_its_time_or_its_size(results, models):
    import_nnunet(results, models / "mets")
    path = checkpoint(results)
    before = path.stat()
    save(path, {"network_weights": make_weights(NETWORK, 9), "more": "x" * 9})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size != before.st_size
    with pytest.raises(ModelError, match="came of other files"):
        import_nnunet(results, models / "mets")
    new = import_nnunet(results, models / "mets", replace=True)
    assert import_nnunet(results, models / "mets").sha256 == new.sha256


def test_another_fold_or_wish_is_no_model_that_is_known(results, models):
    import_nnunet(results, models / "mets")
    with pytest.raises(ModelError, match="came of other files or options"):
        import_nnunet(results, models / "mets", Wishes(licence="CC0-1.0"))
    shutil.copytree(checkpoint(results).parent, checkpoint(results).parent.with_name("fold_2"))
    with pytest.raises(ModelError, match="came of other files or options"):
        import_nnunet(results, models / "mets")


def test_a_bundle_that_was_changed_is_refused_as_before(results, models):
    bundle = import_nnunet(results, models / "mets")
    (bundle.folder / "README.md").write_text("changed")
    with pytest.raises(ModelError, match=r"README\.md of bundle .* is not the one"):
        import_nnunet(results, models / "mets")


@pytest.mark.parametrize("stamp", ["", "{}", None, '{"source": {}, "bundle": {}}'])
def test_without_a_stamp_that_says_something_all_is_hashed(results, models, read, stamp):
    bundle = import_nnunet(results, models / "mets")
    (bundle.folder / STAMP).unlink()
    if stamp is not None:
        (bundle.folder / STAMP).write_text(stamp)
    read.clear()
    assert import_nnunet(results, models / "mets").sha256 == bundle.sha256
    assert read.count("checkpoint_final.pth") == 2
    assert set(json.loads((bundle.folder / STAMP).read_text())["source"]) == {
        f"nnUNetTrainer__nnUNetPlans__3d_fullres/{file}"
        for file in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth")
    }


@pytest.mark.parametrize("name", [None, "ours"])
def test_a_zip_that_is_known_is_not_unpacked(results, models, read, tmp_path, name):
    path = zipped(results, tmp_path / "models.zip")
    first = import_model(path, models, Wishes(name=name))
    assert first.folder == models / (name or "dataset007_mets-3d_fullres")
    read.clear()
    again = import_model(path, models, Wishes(name=name))
    assert (again.sha256, again.folder, read) == (first.sha256, first.folder, [])
    os.utime(path, ns=(5, 5))
    assert import_model(path, models, Wishes(name=name)).sha256 == first.sha256
    assert read[0] == "models.zip"
    read.clear()
    import_model(path, models, Wishes(name=name))
    assert read == []
    with pytest.raises(ModelError, match="came of other files or options"):
        import_model(path, models, Wishes(name=name, licence="CC0-1.0"))


def test_a_zip_asked_for_by_another_name_is_another_bundle(results, models, tmp_path):
    path = zipped(results, tmp_path / "models.zip")
    folders = [import_model(path, models, Wishes(name=name)).folder.name for name in ("a", "b", None)]
    assert folders == ["a", "b", "dataset007_mets-3d_fullres"]


def test_a_zip_that_was_broken_since_is_not_taken_for_known(results, models, tmp_path):
    path = zipped(results, tmp_path / "models.zip")
    import_model(path, models)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"models\.zip is no whole zip"):
        import_model(path, models)


def test_the_command_says_the_same_both_times(results, models):
    told = [metseg("models", "import", results, "-o", models).stdout for _ in range(2)]
    assert told[0] == told[1]
    assert f"--model {models}/dataset007_mets-3d_fullres" in told[0]
