"""From what lies about to cases: which, in which order, under which names."""

import logging
import os
import struct
import zipfile

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hostile import make_dicom
from hostile import make_nifti as make
from metseg.core.errors import InputError
from metseg.io.case_names import safe_name, unique_names
from metseg.io.discover import CaseInput, find_sources, named_sources
from metseg.io.read import read_image, read_study


@pytest.fixture
def put(tmp_path):
    """Makes empty files below the folder ``in``; returns that folder."""

    def write(*names, content=b""):
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "in"

    return write


def put_dicom(path, study="1.2.3"):
    """A DICOM file with an identifier and nothing to see."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dataset.PatientName, dataset.StudyInstanceUID = "Canary^Carl", study
    dataset.save_as(path)


def found(*inputs, **kwargs):
    """Case name -> names of its files, in order."""
    return {case.case: [path.name for path in case.files] for case in find_sources(list(inputs), **kwargs)}


def test_folder_of_images_is_one_case_each(put):
    folder = put("b scan.nii.gz", "Ärztin ß.nii", "sub/c.mha", "sub/deep/d.NRRD", "e.mhd", "e.raw", "f.nhdr")
    assert found(folder) == {
        "b scan": ["b scan.nii.gz"], "e": ["e.mhd"], "f": ["f.nhdr"], "Ärztin ß": ["Ärztin ß.nii"], "c": ["c.mha"],
        "d": ["d.NRRD"],
    }  # fmt: skip


def test_numbered_files_are_one_case_where_the_first_is_there(put):
    folder = put(
        "p_0000.nii.gz", "p_0001.nii.gz", "p_0003.nii", "q_0001.nii.gz", "q_0002.nii.gz", "r_0000.mha", "s_01.nii"
    )
    cases = {case.case: case for case in find_sources([folder])}
    assert {name: case.channels for name, case in cases.items()} == {
        "p": (0, 1, 3), "q": (1, 2), "r": (0,), "s_01": (),
    }  # fmt: skip
    assert [path.name for path in cases["p"].files] == ["p_0000.nii.gz", "p_0001.nii.gz", "p_0003.nii"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["p_0000.nii", "p_0000.nii.gz", "p_0001.nii.gz"], "Two images are numbered _0000"),
        (["p_0001.nii"], "An image is numbered _0001, but none is numbered _0000"),
    ],
)
def test_numbers_that_leave_doubt_are_one_case_that_is_refused(put, names, says):
    folder = put(*names, "ok.nii", content=make.nifti())
    cases = {case.case: case for case in find_sources([folder])}
    assert set(cases) == {"p", "ok"}
    with pytest.raises(InputError, match=says) as refusal:
        read_study(cases["p"], ("t1c",), "MR")
    assert "--t1c" in refusal.value.hint
    assert list(read_study(cases["ok"], ("t1c",), "MR").images) == ["t1c"]


def test_numbered_files_whose_names_differ_in_the_sequence_are_one_case(put):
    folder = put("p_t1c_0000.nii", "p_FLAIR_0001.nii", "q_t1c_0000.nii", "q_flair_0000.nii", "r_x_0000.nii",
                 "r_y_0001.nii", "t1c_0000.nii", content=make.nifti())  # fmt: skip
    cases = {case.case: case for case in find_sources([folder])}
    assert {name: case.channels for name, case in cases.items()} == {
        "p": (0, 1), "q_t1c": (0,), "q_flair": (0,), "r_x": (0,), "r_y": (1,), "t1c": (0,),
    }  # fmt: skip
    assert [path.name for path in cases["p"].files] == ["p_t1c_0000.nii", "p_FLAIR_0001.nii"]
    assert read_study(cases["p"], ("t1c", "t2f"), "MR").source.notes == ()
    (warning,) = read_study(cases["p"], ("t2f", "t1c"), "MR").source.notes
    assert warning.startswith("WARNING: t2f and t1c look swapped: p_t1c_0000.nii, read as t2f, is t1c by its name")
    (warning,) = read_study(cases["q_flair"], ("t1c",), "MR").source.notes
    assert warning == "WARNING: q_flair_0000.nii was read as t1c, but by its name it is t2f: the model takes t1c."


def test_what_all_names_have_in_common_tells_none_from_another(put):
    folder = put("p_t1_0000.nii", "p_t1_0001.nii", content=make.nifti())
    assert read_study(find_sources([folder])[0], ("t2f", "t2w"), "MR").source.notes == ()


def test_names_against_the_flags_are_doubted(put):
    folder = put("a_flair.nii", "a_t1c.nii", content=make.nifti())
    named = named_sources({"t1c": folder / "a_flair.nii", "t2f": folder / "a_t1c.nii"})
    (warning,) = read_study(named, ("t1c", "t2f"), "MR").source.notes
    assert warning.startswith("WARNING: t1c and t2f look swapped: a_flair.nii, read as t1c, is t2f by its name")


def test_an_image_in_a_zip_is_doubted_by_its_number(put):
    folder = put()
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("Carl Canary FLAIR.nii", make.nifti())
    (warning,) = read_study(find_sources([folder])[0], ("t1c",), "MR").source.notes
    assert warning == "WARNING: image 1 of the zip was read as t1c, but by its name it is t2f: the model takes t1c."


@pytest.mark.parametrize(("description", "doubted"), [("Canary^Carl T2 FLAIR", True), ("t1_mprage +C", False)])
def test_a_dicom_series_is_doubted_by_its_description_which_is_not_told(tmp_path, description, doubted):
    slices = make_dicom.slices()
    for dataset in slices:
        dataset.SeriesDescription = description
    make_dicom.save(tmp_path / "study", slices)
    notes = read_study(find_sources([tmp_path / "study"])[0], ("t1c",), "MR").source.notes
    says = "WARNING: The DICOM series was read as t1c, but by its DICOM header it is t2f: the model takes t1c."
    assert (says in notes) == doubted
    assert "Canary" not in " ".join(notes)


def test_a_number_says_nothing_where_the_sequence_is_named(put):
    folder = put("p_0001.nii", content=make.nifti())
    study = read_study(named_sources({"t1c": folder / "p_0001.nii"}), ("t1c",), "MR")
    assert np.array_equal(study.images["t1c"].array, make.voxels())


def test_years_and_long_counts_are_no_channels(put):
    folder = put("scan_2023.nii.gz", "scan_0012.nii.gz", "scan_2000.nii")
    assert list(found(folder)) == ["scan_0012", "scan_2000", "scan_2023"]
    assert [case.refusal for case in find_sources([folder])] == [""] * 3


def test_named_files_are_grouped_but_neighbours_are_not_drawn_in(put):
    folder = put("p_0000.nii.gz", "p_0001.nii.gz", "p_0002.nii.gz")
    assert found(folder / "p_0001.nii.gz", folder / "p_0000.nii.gz") == {"p": ["p_0000.nii.gz", "p_0001.nii.gz"]}


def test_what_systems_leave_behind_is_passed_over(put, caplog):
    folder = put("a.nii", "._a.nii", ".DS_Store", "Thumbs.db", "desktop.ini", "DICOMDIR", ".hidden/b.nii", "a.json",
                 "__MACOSX/c.nii", "letter.pdf", "notes.txt")  # fmt: skip
    with caplog.at_level(logging.INFO, logger="metseg.io.discover"):
        assert found(folder) == {"a": ["a.nii"]}
    assert caplog.messages == ["Ignored 2 files that are no image (.pdf, .txt)."]


def test_results_and_the_output_folder_are_not_read_again(put):
    folder = put("a.nii", "out/case/segmentation.nii.gz", "old/run.json", "old/segmentation.nii.gz")
    assert list(found(folder, exclude=[folder / "out"])) == ["a"]
    assert list(found(folder)) == ["a", "segmentation"]
    assert list(found(folder, exclude=[folder])) == ["a", "segmentation"]  # output into the input folder itself


def test_links_are_followed_and_loops_end(put, tmp_path):
    folder = put("a.nii")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "gone.nii").symlink_to(tmp_path / "gone.nii")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "b.nii").touch()
    (folder / "link").symlink_to(tmp_path / "far")
    (folder / "l.nii").symlink_to(tmp_path / "far" / "b.nii")
    assert found(folder) == {"a": ["a.nii"], "l": ["l.nii"], "b": ["b.nii"]}


def test_a_pair_becomes_a_case_so_that_it_is_refused_aloud(put):
    folder = put("p.hdr", "p.img", content=make.nifti())
    (case,) = find_sources([folder])
    assert case.files == (folder / "p.hdr",)
    with pytest.raises(InputError, match="belongs to a pair"):
        read_study(case, ("t1c",), "MR")


@pytest.mark.parametrize(
    ("names", "asked", "says"),
    [
        (["x.json"], "", "There is no image in in"),
        (["letter.pdf"], "letter.pdf", "letter.pdf is of no format that metseg reads"),
        (["x.json"], "gone.nii", "gone.nii does not exist"),
    ],
)
def test_nothing_to_read_is_refused(put, names, asked, says):
    folder = put(*names)
    with pytest.raises(InputError, match=says) as refusal:
        find_sources([folder / asked])
    assert refusal.value.hint


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no image"):
        find_sources([tmp_path])


def test_names_that_no_terminal_can_bear_read_well_and_are_shown_tamed(tmp_path):
    path = tmp_path / os.fsdecode(b"M\xfcller\x1b[31m.nii.gz")
    path.write_bytes(make.nifti())
    (case,) = find_sources([tmp_path])
    assert case.case == "M_ller_[31m"
    study = read_study(case, ("t1c",), "MR")
    assert study.source.notes == (
        "M\ufffdller\ufffd[31m.nii.gz is not compressed though its name ends in .gz; it was read as what it is.",
    )


def test_a_path_that_cannot_be_asked_for_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_sources([tmp_path / ("x" * 300)])


# ------------------------------------------------------------------------------------------------------ DICOM


def test_folders_of_one_study_are_one_case_and_other_studies_others(tmp_path):
    top = tmp_path / "in"
    for name, study in [
        ("anna/DICOM/s1/1", "1.1"),
        ("anna/DICOM/s2/1.dcm", "1.1"),
        ("ben/x/1", "2.1"),
        ("ben/y/1", "2.2"),
    ]:
        put_dicom(top / name, study)
    put_dicom(top / "anna/DICOM/s1/2.IMA", "1.1")
    for name in ("s1/info.txt", "s2/Befund.Mueller", "s2/b.PDF"):
        (top / "anna/DICOM" / name).write_text("x")
    cases = find_sources([top])
    assert {case.case: (case.kind, len(case.files)) for case in cases} == {
        "anna": ("dicom", 3), "ben_x": ("dicom", 1), "ben_y": ("dicom", 1),
    }  # fmt: skip
    assert cases[0].notes == ("Ignored 3 files that are no image (.pdf, .txt, others).",)


def test_one_dicom_folder_has_its_own_name(tmp_path):
    put_dicom(tmp_path / "carl" / "1.dcm")
    put_dicom(tmp_path / "carl" / "2.dcm")
    assert found(tmp_path / "carl") == {"carl": ["1.dcm", "2.dcm"]}
    assert found(tmp_path / "carl/1.dcm", tmp_path / "carl/2.dcm") == {"carl": ["1.dcm", "2.dcm"]}
    assert found(tmp_path / "carl/2.dcm") == {"2": ["2.dcm"]}


def test_dicom_without_its_mark_is_known(tmp_path):
    path = tmp_path / "x" / "IM0"
    path.parent.mkdir()
    path.write_bytes(struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100" + bytes(200))
    assert [case.kind for case in find_sources([tmp_path])] == ["dicom"]


def test_a_dicom_study_reads_the_same_from_folder_zip_and_name(tmp_path):
    paths = make_dicom.save(tmp_path / "carl" / "DICOM", make_dicom.slices(plane="oblique"))
    with zipfile.ZipFile(tmp_path / "carl.zip", "w") as archive:
        for path in reversed(paths):
            archive.write(path, f"export/{path.name}")
        archive.writestr("export/DICOMDIR", b"x")
        archive.writestr("readme.txt", b"x")
    (from_folder,) = find_sources([tmp_path / "carl"])
    (from_zip,) = find_sources([tmp_path / "carl.zip"])
    named = named_sources({"t1c": tmp_path / "carl.zip"})
    assert [case.case for case in (from_folder, from_zip, named)] == ["carl"] * 3
    for case in (from_folder, from_zip, named):
        study = read_study(case, ("t1c",), "MR")
        assert study.source.format == "dicom"
        assert study.source.headers["Modality"] == "MR"
        assert np.array_equal(study.images["t1c"].array, make_dicom.phantom())
        assert np.allclose(study.grid.affine, make_dicom.affine_of(make_dicom.geometry("oblique")), atol=1e-6)
        assert study.source.sha256 == read_study(from_folder, ("t1c",), "MR").source.sha256
    assert from_zip.files == (tmp_path / "carl.zip",)


# -------------------------------------------------------------------------------------------------------- zips


def test_zip_of_several_images_is_several_cases(put):
    folder = put()
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for name in ("anna/t1.nii.gz", "ben/t1.nii.gz", "c_0000.nii.gz", "c_0001.nii.gz", ".x.nii", "readme.txt"):
            archive.writestr(name, make.packed(make.nifti()))
    cases = {case.case: case for case in find_sources([folder])}
    assert {name: case.members for name, case in cases.items()} == {
        "anna_t1": ("anna/t1.nii.gz",), "ben_t1": ("ben/t1.nii.gz",), "c": ("c_0000.nii.gz", "c_0001.nii.gz"),
    }  # fmt: skip
    study = read_study(cases["c"], ("t1c", "t1n"), "MR")
    assert list(study.images) == ["t1c", "t1n"]
    assert np.array_equal(study.images["t1n"].array, make.voxels())


def test_images_of_a_zip_are_told_by_number(put):
    folder = put()
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("readme.txt", b"x")
        archive.writestr("a.nii", make.packed(make.nifti()))
        archive.writestr("Zebra.nii", make.packed(make.nifti()))
    (zebra,) = [case for case in find_sources([folder]) if case.case == "Zebra"]
    assert read_study(zebra, ("t1c",), "MR").source.notes == (
        "image 2 of the zip is compressed though its name does not end in .gz; it was read as what it is.",
    )


def test_a_zip_with_long_names_alike_at_first_is_read(tmp_path):
    paths = make_dicom.save(tmp_path / "DICOM", make_dicom.slices())
    with zipfile.ZipFile(tmp_path / "carl.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"export/{'x' * 130}.{path.name}")
    study = read_study(find_sources([tmp_path / "carl.zip"])[0], ("t1c",), "MR")
    assert np.array_equal(study.images["t1c"].array, make_dicom.phantom())


# ------------------------------------------------------------------------------------------------------- names


def test_names_are_safe_and_each_but_once(tmp_path):
    a, b = tmp_path / "a" / "x", tmp_path / "b" / "x"
    wanted = [("T1", a), ("t1", b), ("T1", a), ("..", a), ("con", a), ("x/../y", a), ("a\u202eb", a)]
    assert unique_names(wanted) == ["a_T1", "b_t1", "a_T1_2", "case", "_con", "x_.._y", "a_b"]


@pytest.mark.parametrize("text", ["ä" * 300, "-rf", "  . ", "a:b|c", "\0", "=cmd()", "a\nb", "\ud800x"])
def test_any_text_becomes_one_part_of_a_path(text, tmp_path):
    name = safe_name(text)
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not name.startswith("-")
    assert len(name.encode()) <= 121


# -------------------------------------------------------------------------------------------------- read_study


@pytest.fixture
def images(put):
    """Three images of one grid with voxels of their own."""
    for channel in range(3):
        folder = put(f"p_000{channel}.nii", content=make.nifti(make.voxels() + np.int16(channel)))
    return folder


def test_channels_are_the_sequences_in_the_models_order(images):
    (case,) = find_sources([images])
    study = read_study(case, ("t1c", "t2f"), "MR")
    assert study.case == "p"
    assert np.array_equal(study.images["t1c"].array, make.voxels())
    assert np.array_equal(study.images["t2f"].array, make.voxels() + 1)
    assert study.source.notes == (
        "WARNING: The model takes t1c, t2f in this order, but there are 3 images; not used: p_0002.nii.",
    )
    assert study.source.format == "nifti"
    one = read_study(CaseInput("q", case.files[:1]), ("t1c",), "MR")
    assert len(study.source.sha256) == 64
    assert study.source.sha256 != one.source.sha256


def test_named_sequences_go_where_they_were_named(images):
    paths = {"t2f": images / "p_0002.nii", "t1c": images / "p_0001.nii", "t2w": images / "p_0000.nii"}
    study = read_study(named_sources(paths, case="visit 1"), ("t1c", "t1n", "t2f"), "MR")
    assert study.case == "visit 1"
    assert sorted(study.images) == ["t1c", "t2f"]
    assert np.array_equal(study.images["t2f"].array, make.voxels() + 2)
    assert study.source.notes == ("Not used by the model: t2w.",)


def test_named_sequences_that_the_model_does_not_know_are_refused(images):
    with pytest.raises(InputError, match="has t2w, but the model needs t1c"):
        read_study(named_sources({"t2w": images / "p_0000.nii"}), ("t1c",), "MR")
    with pytest.raises(InputError, match="does not exist"):
        named_sources({"t1c": images / "gone.nii"})


def test_folder_of_several_images_is_no_single_image(images):
    with pytest.raises(InputError, match="holds several images"):
        read_image(images)
    assert read_image(images / "p_0001.nii").volume.array[2, 3, 4] == make.voxels()[2, 3, 4] + 1
