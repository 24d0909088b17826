"""Without ``--model`` each case gets the model that ships for its modality."""

import json
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from hostile import make_dicom
from metseg.cli.main import app
from metseg.config.options import SegmentOptions
from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.core.volume import Volume
from metseg.engines import catalogue
from metseg.io.discover import find_sources, named_sources
from metseg.io.nifti import write_nifti
from metseg.pipeline.batch import run_batch
from metseg.pipeline.modality import modality_of
from metseg.pipeline.models import Models
from tiny_bundle import MANIFEST, write_tiny_bundle
from unit.test_pipeline_guard import cormack, hounsfield, mr

STEPS = [
    {"name": "reorient"},
    {"name": "resample", "spacing_mm": [1.0, 1.0, 1.0]},
    {"name": "normalise_window"},
    {"name": "pad_to_multiple", "multiple": 4},
]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two tiny models in place of those that ship."""
    folder = tmp_path / "models"
    write_tiny_bundle(folder / "mets-t1c", name="mets-t1c")
    write_tiny_bundle(folder / "mets-ct", name="mets-ct", modality="CT", sequences=["ct"], preprocessing=STEPS)
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: folder)
    return folder


def put(path, array):
    path.parent.mkdir(exist_ok=True)
    write_nifti(path, Volume(array.astype(np.float32), Grid.isotropic(array.shape, 2.5)))
    return path


def case_of(path):
    (case,) = find_sources([path])
    return case


@pytest.mark.parametrize(
    ("array", "modality"),
    [
        (mr(), "MR"),
        (mr() * 23 - 300, "MR"),
        (hounsfield(), "CT"),
        (np.where(np.abs(hounsfield()) < 200, hounsfield(), -1024), "CT"),  # stripped: no bone
        (hounsfield() + 1024, "CT"),
        (cormack(hounsfield()), "CT"),
    ],
)
def test_intensities_tell_the_modality_of_an_image(tmp_path, array, modality):
    path = put(tmp_path / "in" / "scan.nii.gz", array)
    assert modality_of(case_of(path)) == modality
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(path, "scan.nii.gz")
    assert modality_of(case_of(tmp_path / "scan.zip")) == modality


def test_names_of_sequences_win_over_intensities(tmp_path):
    path = put(tmp_path / "in" / "scan.nii.gz", mr())
    assert modality_of(named_sources({"ct": path})) == "CT"
    assert modality_of(named_sources({"t1c": path, "t2f": path})) == "MR"
    put(tmp_path / "in" / "a_0000.nii.gz", hounsfield())
    put(tmp_path / "in" / "a_0001.nii.gz", hounsfield())
    path.unlink()
    assert modality_of(case_of(tmp_path / "in")) == "MR"


@pytest.mark.parametrize(
    ("series", "modality"),
    [
        ((("CT", 12),), "CT"),
        ((("MR", 12),), "MR"),
        ((("CT", 12), ("MR", 12)), "MR"),
        ((("CT", 12), ("MR", 3)), "CT"),  # three slices are no volume
        ((("MR", 3),), "MR"),
    ],
)
def test_headers_tell_the_modality_of_dicom(tmp_path, series, modality):
    folder = tmp_path / "study"
    for number, (kind, count) in enumerate(series, 1):
        made = make_dicom.slices(make_dicom.phantom((21, 18, count)), kind, series=number)
        make_dicom.save(folder / str(number), made)
    assert modality_of(case_of(folder)) == modality
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for n, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
            archive.write(path, f"{n}.dcm")
    assert modality_of(case_of(tmp_path / "study.zip")) == modality


def test_what_cannot_be_read_has_no_modality(tmp_path):
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"bad\.nii\.gz"):
        modality_of(case_of(path))


@pytest.mark.usefixtures("shipped")
def test_each_case_gets_its_own_model_and_each_model_is_loaded_once(tmp_path, monkeypatch):
    for name, array in {"a": mr(), "b": hounsfield(), "c": mr() * 3}.items():
        put(tmp_path / "in" / f"{name}.nii.gz", array)
    (tmp_path / "in" / "d.nii.gz").write_bytes(b"no gzip")
    loaded = []
    find = catalogue.find_bundle
    monkeypatch.setattr("metseg.engines.openvino_engine.find_bundle", lambda name: loaded.append(name) or find(name))
    options = SegmentOptions(formats="json")
    models = Models(options)
    assert loaded == []
    outcomes = run_batch(find_sources([tmp_path / "in"]), tmp_path / "out", models.of, options)
    assert [outcome.model for outcome in outcomes] == ["mets-t1c 1.0", "mets-ct 1.0", "mets-t1c 1.0", None]
    assert [outcome.state for outcome in outcomes] == ["done", "done", "done", "failed"]
    assert loaded == ["mets-t1c", "mets-ct"]
    assert [card.name for card in models.used] == loaded
    manifest = json.loads((tmp_path / "out" / "b" / "run.json").read_text(encoding="utf-8"))
    assert manifest["model"]["name"] == manifest["options"]["model"] == "mets-ct"
    again = run_batch(find_sources([tmp_path / "in"]), tmp_path / "out", models.of, options)
    assert [outcome.state for outcome in again] == ["skipped", "skipped", "skipped", "failed"]


def test_a_broken_model_fails_its_own_cases_only(tmp_path, shipped):
    for name, array in {"a": mr(), "b": hounsfield()}.items():
        put(tmp_path / "in" / f"{name}.nii.gz", array)
    (shipped / "mets-ct" / "model.onnx").write_bytes(b"changed")
    result = CliRunner().invoke(app, ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"])
    told = json.loads(result.stdout)
    assert [(case["state"], case["model"]) for case in told["cases"]] == [("done", "mets-t1c 1.0"), ("failed", None)]
    assert [model["name"] for model in told["models"]] == ["mets-t1c"]
    assert result.exit_code == 4


def test_an_operating_point_must_be_known_to_every_model_that_may_be_chosen(tmp_path, shipped):
    assert Models(SegmentOptions(operating_point="strict")).used == ()
    points = {"balanced": MANIFEST["operating_points"]["balanced"]}
    write_tiny_bundle(shipped / "mets-ct", name="mets-ct", operating_points=points)
    with pytest.raises(ConfigError, match="mets-ct has no operating point 'strict'"):
        Models(SegmentOptions(operating_point="strict"))


def test_a_model_that_is_named_takes_every_case(tmp_path, shipped):
    path = put(tmp_path / "in" / "scan.nii.gz", mr())
    models = Models(SegmentOptions(model=str(shipped / "mets-ct")))
    assert models.of(case_of(path)).card.name == "mets-ct"
    options = SegmentOptions(model=str(shipped / "mets-ct"), formats="json")
    (outcome,) = run_batch([case_of(path)], tmp_path / "out", models.of, options)
    assert "are not Hounsfield units, which the model mets-ct needs" in outcome.message
