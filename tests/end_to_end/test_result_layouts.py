"""``metseg segment --layout bids|nnunet``: masks where other programs look for them, reports aside."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from end_to_end.cases import QUICK, hashes, manifest_of, run
from metseg import __version__
from metseg.config.resolve import resolve_options
from metseg.core.errors import ConfigError, InputError
from metseg.datasets.adapters.bids import BIDS, BidsOptions
from metseg.io.discover import find_sources
from metseg.pipeline.batch import run_batch

LAID_OUT = QUICK.model_copy(update={"layout": "bids"})
FLAT = QUICK.model_copy(update={"layout": "nnunet"})
DERIVATIVE = "derivatives/metseg"


@pytest.fixture
def bids(tmp_path, scan):
    """A raw BIDS data set: two visits of a subject."""
    root = tmp_path / "bids"
    for visit in ("1", "2"):
        folder = root / "sub-07" / f"ses-{visit}" / "anat"
        folder.mkdir(parents=True)
        image = nib.load(scan)
        moved = nib.Nifti1Image(image.get_fdata(dtype=np.float32) + int(visit), image.affine)
        nib.save(moved, folder / f"sub-07_ses-{visit}_ce-gd_T1w.nii.gz")
    return root


def test_bids_names_come_from_the_input(bids, tmp_path, engine):
    out = tmp_path / "out"
    outcomes = run_batch(find_sources([bids]), out, lambda *_: engine, LAID_OUT)
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    names = {path.relative_to(out / DERIVATIVE).as_posix() for path in (out / DERIVATIVE).rglob("sub-07_ses-?_*dseg*")}
    assert names == {
        f"sub-07/ses-{visit}/anat/sub-07_ses-{visit}_ce-gd_desc-metseg_dseg.{end}"
        for visit in "12"
        for end in ("nii.gz", "tsv", "json")
    }
    start = out / DERIVATIVE / "sub-07/ses-1/anat/sub-07_ses-1_ce-gd_desc-metseg_dseg.nii.gz"
    mask, image = nib.load(start), nib.load(next((bids / "sub-07" / "ses-1").rglob("*.nii.gz")))
    assert np.allclose(mask.affine, image.affine, atol=1e-6)
    assert start.read_bytes() == (outcomes[0].folder / "segmentation.nii.gz").read_bytes()
    assert outcomes[0].folder.parent == out / DERIVATIVE / "results"
    table = start.with_name(start.name.replace(".nii.gz", ".tsv")).read_text()
    assert table == "index\tname\n0\tbackground\n1\tlesion\n"
    beside = json.loads(start.with_name(start.name.replace(".nii.gz", ".json")).read_text())
    assert (beside["Lesions"], beside["Manual"], beside["GeneratedBy"]["Version"]) == (2, False, __version__)
    told = json.loads((out / DERIVATIVE / "dataset_description.json").read_text())
    assert (told["DatasetType"], told["GeneratedBy"][0]["Name"]) == ("derivative", "metseg")
    assert (out / DERIVATIVE / ".bidsignore").read_text() == "results/\n"


def test_what_was_written_is_read_back_as_a_bids_derivative(bids, engine):
    """By the importer of public data sets, from derivatives beside the raw images."""
    run_batch(find_sources([bids / "sub-07"]), bids, lambda *_: engine, LAID_OUT)
    found = BIDS.find(bids, BidsOptions(derivative="metseg", desc="metseg"))
    assert [(case.patient, case.time_point, len(case.masks)) for case in found.cases] == [
        ("07", "1", 1),
        ("07", "2", 1),
    ]


def test_a_case_that_is_no_bids_gets_a_valid_subject(scan, out, engine):
    run(scan, out, engine, LAID_OUT)
    assert (out / DERIVATIVE / "sub-Kopfe1/anat/sub-Kopfe1_desc-metseg_dseg.nii.gz").is_file()


def test_nnunet_gets_flat_masks_and_the_rest_aside(scan, out, engine):
    outcome = run(scan, out, engine, FLAT)
    assert sorted(path.name for path in out.iterdir()) == ["Köpfe 1.nii.gz", "results"]
    assert outcome.folder == out / "results" / "Köpfe 1"
    assert (out / "Köpfe 1.nii.gz").read_bytes() == (outcome.folder / "segmentation.nii.gz").read_bytes()
    labels = np.unique(nib.load(out / "Köpfe 1.nii.gz").get_fdata())
    assert manifest_of(outcome.folder)["labels"] == {"1": "lesion"}
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("options", [LAID_OUT, FLAT])
def test_a_run_goes_on_where_it_was_and_touches_nothing_twice(scan, out, engine, options):
    first = run(scan, out, engine, options)
    before = hashes(out)
    assert run(scan, out, engine, options).state == "skipped"
    assert hashes(out) == before
    masks = [path for path in out.rglob("*.nii.gz") if first.folder not in path.parents]
    assert len(masks) == 1
    masks[0].unlink()  # as if stopped before it was copied
    assert run(scan, out, engine, options).state == "skipped"
    assert hashes(out) == before
    changed = options.model_copy(update={"min_volume_mm3": 2500.0})
    assert run(scan, out, engine, changed).lesions == 1
    assert hashes(out)[str(masks[0].relative_to(out))] != before[str(masks[0].relative_to(out))]


@pytest.mark.parametrize("options", [LAID_OUT, FLAT])
def test_what_is_the_users_stays(scan, out, engine, options):
    run(scan, out, engine, options)
    (mask,) = (path for path in out.rglob("*.nii.gz") if "results" not in path.parts)
    mask.write_bytes(b"edited by hand")
    assert run(scan, out, engine, options).state == "skipped"
    assert mask.read_bytes() == b"edited by hand"
    changed = options.model_copy(update={"min_volume_mm3": 1.0})
    with pytest.raises(InputError, match="metseg did not write it as it is"):
        run(scan, out, engine, changed)
    assert mask.read_bytes() == b"edited by hand"
    assert run(scan, out, engine, changed, force=True).state == "done"
    assert mask.read_bytes() != b"edited by hand"


def test_two_cases_of_one_bids_name_do_not_overwrite_each_other(scan, out, engine):
    other = scan.with_name("Kopfe_1.nii.gz")
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 3, image.affine), other)
    outcomes = run_batch(find_sources([scan.parent]), out, lambda *_: engine, LAID_OUT)
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]
    assert "stands where a result would go" in outcomes[1].message


def test_another_data_set_is_not_written_into(scan, out, engine):
    (out / DERIVATIVE).mkdir(parents=True)
    description = out / DERIVATIVE / "dataset_description.json"
    description.write_text('{"Name": "mine", "GeneratedBy": [{"Name": "fmriprep"}]}')
    with pytest.raises(InputError, match="tells of another data set"):
        run(scan, out, engine, LAID_OUT)
    shutil.rmtree(out)
    assert run(scan, out, engine, LAID_OUT).state == "done"


def test_layouts_need_masks():
    with pytest.raises(ConfigError, match="layout nnunet needs the format nifti"):
        resolve_options(flags={"layout": "nnunet", "formats": "json"})
