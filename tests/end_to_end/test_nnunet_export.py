"""Models of nnU-Net go to a bundle, back to folders, through zips, and stay the same."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from end_to_end.test_nnunet_models import NETWORK, OWN, metseg, own, put
from metseg.core.errors import InputError, ModelError
from metseg.io import nnunet_export
from metseg.io.nnunet_export import export_nnunet
from metseg.io.nnunet_import import Wishes, import_nnunet
from metseg.io.nnunet_stamp import STAMP
from metseg.io.torch_file import read_torch_file
from nnunet_oracle import make_weights, with_running_statistics
from torch_files import save

LAST = NETWORK.model_copy(update={"channels": 3})
FULLRES = "Dataset007_Mets/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def results(tmp_path):
    return tmp_path / "nnUNet_results"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zipped(folder, path):
    """As nnUNetv2_export_model_to_zip does."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents(folder).items():
            archive.writestr(name, content)
    return path


def test_there_and_back_gives_the_same_weights_and_plans(results, tmp_path):
    put(results, "3d_lowres", seed=1)
    put(results, "3d_cascade_fullres", LAST, seed=7)
    bundle = import_nnunet(results, tmp_path / "mets", Wishes(licence="CC0-1.0"))
    result = metseg("models", "export", tmp_path / "mets", "-o", tmp_path / "back", "--json")
    assert result.exit_code == 0, result.output
    names = [f"nnUNetTrainer__nnUNetPlans__{stage}" for stage in ("3d_lowres", "3d_cascade_fullres")]
    folders = [str(tmp_path / "back" / "Dataset007_Mets" / name) for name in names]
    told = {"name": "mets", "sha256": bundle.sha256, "folders": folders, "warnings": []}
    assert json.loads(result.stdout) == told
    files = ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth")
    found = contents(tmp_path / "back")
    assert set(found) == {f"Dataset007_Mets/{name}/{file}" for name in names for file in files}
    for name, content in contents(results).items():
        assert not name.endswith(".json") or found[name] == content
    again = import_nnunet(tmp_path / "back", tmp_path / "again", Wishes(licence="CC0-1.0"))
    assert again.manifest.nnunet == bundle.manifest.nnunet
    assert again.manifest.labels == bundle.manifest.labels
    for stage in bundle.manifest.nnunet.stages:
        for path in stage.weights:
            assert (again.folder / path).read_bytes() == (bundle.folder / path).read_bytes()


@pytest.mark.parametrize("decoder", OWN)
def test_metsegs_own_networks_go_back_with_each_weight_once(results, tmp_path, decoder):
    """In a cascade whose second stage inherits its network, with dropout and batch normalisation."""
    more = {"dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.2}, "norm_op": "torch.nn.BatchNorm3d"}
    network, architecture = own(decoder, 3, **more)
    put(results, "3d_lowres", architecture=architecture)
    path = put(results, "3d_cascade_fullres", folds=1, architecture=architecture)
    weights = with_running_statistics(make_weights(network))
    save(path / "fold_0" / "checkpoint_final.pth", {"network_weights": weights, "trainer_name": "nnUNetTrainer"})
    bundle = import_nnunet(results, tmp_path / "mets")
    assert [stage.network.decoder for stage in bundle.manifest.nnunet.stages] == ["plain", decoder]
    _, last = export_nnunet(bundle, tmp_path / "back")
    state = read_torch_file(last / "fold_0" / "checkpoint_final.pth")["network_weights"]
    assert set(state) == set(weights)
    for key, weight in weights.items():
        assert state[key].shape == weight.shape
        np.testing.assert_array_equal(state[key], weight)
    assert (last / "plans.json").read_bytes() == (path / "plans.json").read_bytes()
    again = import_nnunet(tmp_path / "back", tmp_path / "again")
    assert again.manifest.nnunet == bundle.manifest.nnunet


def test_a_checkpoint_says_what_nnunet_asks_of_it(results, tmp_path):
    path = put(results, folds=0)
    weights = with_running_statistics(make_weights(NETWORK))
    content = {"network_weights": weights, "trainer_name": "MyTrainer", "inference_allowed_mirroring_axes": None}
    save(path / "fold_all" / "checkpoint_best.pth", content)
    export_nnunet(import_nnunet(results, tmp_path / "mets"), tmp_path / "back")
    found = read_torch_file(tmp_path / "back" / FULLRES / "fold_all" / "checkpoint_final.pth")
    state = found.pop("network_weights")
    assert found == {
        "trainer_name": "MyTrainer", "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": None,
    }  # fmt: skip
    for name, weight in weights.items():
        assert (state[name].dtype, state[name].shape) == (weight.dtype, weight.shape)
        np.testing.assert_array_equal(state[name], weight)
    conv, heads = "encoder.stages.0.0.convs.0", {name for name in state if "seg_layers" in name}
    assert np.shares_memory(state[f"{conv}.conv.weight"], state[f"decoder.{conv}.all_modules.0.weight"])
    assert heads == {f"decoder.seg_layers.{n}.{part}" for n in range(2) for part in ("weight", "bias")}


def test_the_data_set_has_a_name_that_nnunet_takes(results, tmp_path):
    put(results, folds=1)
    (results / "Dataset007_Mets").rename(results / "my model")
    bundle = import_nnunet(results, tmp_path / "ours-1")
    assert [path.parent.name for path in export_nnunet(bundle, tmp_path / "back")] == ["Dataset999_ours_1"]
    plans = results / "my model" / FULLRES.partition("/")[2] / "plans.json"
    plans.write_text(json.dumps({**json.loads(plans.read_text()), "dataset_name": "Dataset123_BrainMets"}))
    bundle = import_nnunet(results, tmp_path / "ours-2")
    assert [path.parent.name for path in export_nnunet(bundle, tmp_path / "back")] == ["Dataset123_BrainMets"]


def test_nothing_that_is_there_is_replaced(results, tmp_path):
    put(results, folds=1)
    put(results, "3d_lowres", folds=1, seed=5)
    fine, coarse = (
        import_nnunet(results, tmp_path / name, Wishes(configuration=name)) for name in ("3d_fullres", "3d_lowres")
    )
    back = tmp_path / "back"
    (target,) = export_nnunet(fine, back)
    (target / "notes.txt").write_text("mine")
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert export_nnunet(fine, back) == (target,)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == times
    assert len(export_nnunet(coarse, back)) == 1  # beside it
    shutil.rmtree(target / "fold_0")
    before = contents(back)
    result = metseg("models", "export", tmp_path / "3d_fullres", "-o", back)
    assert (result.exit_code, "is there already, and is not this model" in result.stderr) == (4, True)
    assert contents(back) == before
    assert sorted(path.name for path in target.parent.iterdir()) == [
        f"nnUNetTrainer__nnUNetPlans__{name}" for name in ("3d_fullres", "3d_lowres")
    ]


def test_of_a_cascade_all_stages_are_written_or_none(results, tmp_path):
    put(results, "3d_lowres", folds=1)
    path = put(results, "3d_cascade_fullres", LAST, folds=1)
    bundle = import_nnunet(results, tmp_path / "mets")
    in_the_way = tmp_path / "back" / "Dataset007_Mets" / path.name
    in_the_way.mkdir(parents=True)
    (in_the_way / "plans.json").write_text("{}")
    with pytest.raises(ModelError, match="3d_cascade_fullres is there already"):
        export_nnunet(bundle, tmp_path / "back")
    assert list(contents(tmp_path / "back").values()) == [b"{}"]


@pytest.fixture
def cascade(results, tmp_path):
    put(results, "3d_lowres", folds=1)
    put(results, "3d_cascade_fullres", LAST, folds=1)
    return import_nnunet(results, tmp_path / "mets")


def failing_rename(monkeypatch, at):
    """Renames of what is complete, of which the one number ``at`` fails; gives their names."""
    rename, named = Path.rename, []

    def failing(self, to):
        if ".partial-" in str(self) and ".partial-" not in str(to):
            named.append(to.name)
            if len(named) == at:
                raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    return named


def test_a_cascade_gets_its_name_at_once_in_a_new_place(cascade, tmp_path, monkeypatch):
    out = tmp_path / "back"
    with monkeypatch.context() as patched:
        assert failing_rename(patched, 1) == []
        with pytest.raises(InputError, match="No space left"):
            export_nnunet(cascade, out)
    assert list(out.iterdir()) == []
    named = failing_rename(monkeypatch, 0)
    folders = export_nnunet(cascade, out)
    assert named == ["Dataset007_Mets"]
    assert all((folder / "fold_0" / "checkpoint_final.pth").is_file() for folder in folders)
    assert len(contents(out)) == 6


def test_where_others_are_a_stage_that_fails_takes_the_first_with_it(cascade, tmp_path, monkeypatch):
    place = tmp_path / "back" / "Dataset007_Mets"
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    with monkeypatch.context() as patched:
        named = failing_rename(patched, 2)
        with pytest.raises(InputError, match="No space left"):
            export_nnunet(cascade, place.parent)
    assert named == [f"nnUNetTrainer__nnUNetPlans__{name}" for name in ("3d_lowres", "3d_cascade_fullres")]
    assert contents(place.parent) == {"Dataset007_Mets/notes.txt": b"mine"}
    assert [path.name for path in place.iterdir()] == ["notes.txt"]
    folders = export_nnunet(cascade, place.parent)
    assert sorted(path.name for path in place.iterdir()) == sorted(["notes.txt", *(each.name for each in folders)])
    shutil.rmtree(folders[1])  # as a kill between the two leaves it
    first = contents(folders[0])
    assert export_nnunet(cascade, place.parent) == folders
    assert (contents(folders[0]), len(contents(place))) == (first, 7)


def test_exports_of_two_models_of_one_data_set_at_once_both_stay(results, tmp_path, monkeypatch):
    put(results, folds=1)
    put(results, "3d_lowres", folds=1, seed=5)
    fine, coarse = (
        import_nnunet(results, tmp_path / name, Wishes(configuration=name)) for name in ("3d_fullres", "3d_lowres")
    )
    alone = nnunet_export.alone_in

    exporting = "import sys; from metseg.cli.main import app; app(sys.argv[1:])"

    def overtaken(out):
        command = [sys.executable, "-c", exporting, "models", "export", str(coarse.folder), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return alone(out)

    monkeypatch.setattr(nnunet_export, "alone_in", overtaken)
    export_nnunet(fine, tmp_path / "back")
    names = {path.name for path in (tmp_path / "back" / "Dataset007_Mets").iterdir()}
    assert names == {f"nnUNetTrainer__nnUNetPlans__{name}" for name in ("3d_fullres", "3d_lowres")}
    assert len(contents(tmp_path / "back")) == 6
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["Dataset007_Mets"]


def test_what_appears_meanwhile_is_not_replaced(cascade, tmp_path, monkeypatch):
    """As a training that does not ask for our lock may write there."""
    place, write = tmp_path / "back" / "Dataset007_Mets", nnunet_export.publish_new
    place.mkdir(parents=True)

    def overtaken(partial, target):
        if "cascade" in target.name:
            (target / "fold_0").mkdir(parents=True)
            (target / "fold_0" / "checkpoint_best.pth").write_text("mine")
        write(partial, target)

    monkeypatch.setattr(nnunet_export, "publish_new", overtaken)
    with pytest.raises(InputError, match="not empty"):
        export_nnunet(cascade, place.parent)
    assert list(contents(place).values()) == [b"mine"]
    assert len(list(place.iterdir())) == 1


def test_what_a_killed_export_left_is_no_model_and_goes_with_the_next(cascade, results, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = results / f".Dataset007_Mets.partial-{process.pid}"
    shutil.copytree(results / "Dataset007_Mets", left)
    assert import_nnunet(results, tmp_path / "mets").sha256 == cascade.sha256  # one model, not two
    beside = tmp_path / "back" / left.name
    shutil.copytree(left, beside)
    export_nnunet(cascade, beside.parent)
    assert [path.name for path in beside.parent.iterdir()] == ["Dataset007_Mets"]


def test_only_what_came_of_nnunet_goes_back(results, tmp_path):
    result = metseg("models", "export", "mets-t1c", "-o", tmp_path / "back")
    assert (result.exit_code, "mets-t1c was not imported from nnU-Net" in result.stderr) == (4, True)
    (tmp_path / "file").write_text("mine")
    put(results, folds=1)
    import_nnunet(results, tmp_path / "mets")
    result = metseg("models", "export", tmp_path / "mets", "-o", tmp_path / "file")
    assert (result.exit_code, "file cannot be written" in result.stderr) == (2, True)


def test_a_zip_gives_the_bundle_that_its_folder_gives(results, tmp_path):
    put(results, folds=2)
    path = zipped(results, tmp_path / "models.zip")
    arguments = ("models", "import", path, "-o", tmp_path / "models", "--json")
    first = metseg(*arguments)
    assert first.exit_code == 0, first.output
    target = tmp_path / "models" / "dataset007_mets-3d_fullres"
    times = {each: each.stat().st_mtime_ns for each in target.rglob("*") if each.is_file()}
    assert json.loads(metseg(*arguments).stdout) == json.loads(first.stdout)
    assert {each: each.stat().st_mtime_ns for each in times} == times
    assert import_nnunet(results, target).sha256 == json.loads(first.stdout)["sha256"]
    del times[target / STAMP]  # it now tells how the folder looks
    assert {each: each.stat().st_mtime_ns for each in times} == times
    there, again = contents(target), contents(import_nnunet(results, tmp_path / target.name).folder)
    assert {**there, STAMP: b""} == {**again, STAMP: b""}


def test_a_zip_without_a_model_says_so(results, tmp_path):
    path = zipped(put(results, folds=0), tmp_path / "models.zip")
    result = metseg("models", "import", path, "-o", tmp_path / "models")
    assert (result.exit_code, "There is no trained nnU-Net model in models.zip." in result.stderr) == (4, True)
    path.write_text("no zip")
    result = metseg("models", "import", path, "-o", tmp_path / "models")
    assert (result.exit_code, "models.zip is no whole zip" in result.stderr) == (2, True)
    assert not (tmp_path / "models").exists()
