"""Folders with more in them than one series: what is chosen, passed over, or refused."""

import logging
import os
import struct

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from hostile.make_dicom import CANARY, CLASSES, phantom, save, set_pixels, slices
from metseg.core.errors import InputError
from metseg.io.dicom import read_dicom
from metseg.io.dicom_values import quiet

ARRAY = phantom((17, 18, 8))


def described(made, text="", **attributes):
    for ds in made:
        ds.SeriesDescription = text
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    return made


def chosen(folder, **options):
    image = read_dicom([folder], **options)
    assert CANARY not in repr(image.notes)
    return image


def test_localiser_is_passed_over(tmp_path):
    localiser = slices(phantom((64, 64, 15), seed=3), series=2)
    save(tmp_path, described(localiser, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), prefix="L")
    save(tmp_path, slices(ARRAY), prefix="A")
    image = chosen(tmp_path)
    np.testing.assert_array_equal(image.volume.array, ARRAY)
    assert "Passed over: 15 × localiser." in image.notes


def test_three_plane_survey_without_a_mark_is_too_small_to_be_chosen(tmp_path):
    for plane in ("axial", "sagittal", "coronal"):
        survey = slices(phantom((64, 64, 5), seed=3), series=1, plane=plane)
        for number, ds in enumerate(survey):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{len(plane)}.{number + 1}"
        save(tmp_path / plane, survey)
    save(tmp_path, slices(ARRAY, series=8))
    image = chosen(tmp_path)
    np.testing.assert_array_equal(image.volume.array, ARRAY)
    assert any("series 8 was used" in note for note in image.notes)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"MRAcquisitionType": "3D"}, {"MRAcquisitionType": "2D"}),
        ({"ContrastBolusAgent": "Gadovist"}, {"ContrastBolusAgent": ""}),
        ({"text": "t1_mprage_km"}, {"text": "t1_mprage_nativ"}),
        ({"text": "AX T1+C"}, {"text": "AX T1"}),
        ({"text": "T1 post gd"}, {"text": "T2 FLAIR post gd"}),
        ({"text": "SAG MPRAGE"}, {"text": "dwi b1000"}),
        ({"EchoTime": 3}, {"EchoTime": 95}),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
    ],
)
def test_the_series_for_metastases_is_chosen(tmp_path, good, bad):
    save(tmp_path, described(slices(ARRAY, series=9), **good), prefix="good")
    save(tmp_path, described(slices(phantom((17, 18, 9), seed=4), series=2), **bad), prefix="bad")
    image = chosen(tmp_path)
    np.testing.assert_array_equal(image.volume.array, ARRAY)
    assert any("Of 2 image series, series 9 was used" in note and "not series 2" in note for note in image.notes)


def test_contrast_is_read_from_the_header(tmp_path):
    save(tmp_path, described(slices(ARRAY), ContrastBolusAgent=f"Dotarem {CANARY}", SliceThickness=2.5))
    headers = chosen(tmp_path).headers
    assert headers["ContrastBolusAgent"] == "present"
    assert headers["SliceThickness"] == "2.5"
    assert CANARY not in repr(headers)


def test_modality_decides(tmp_path):
    save(tmp_path, slices(ARRAY, series=1), prefix="mr")
    save(tmp_path, slices(phantom((17, 18, 8), seed=2), "CT", series=2), prefix="ct")
    assert chosen(tmp_path, modality="CT").headers["Modality"] == "CT"
    np.testing.assert_array_equal(chosen(tmp_path, modality="MR").volume.array, ARRAY)


def test_other_modality_is_refused(tmp_path):
    save(tmp_path, slices(ARRAY))
    with pytest.raises(InputError, match="no CT series among the DICOM files, only MR"):
        read_dicom([tmp_path], modality="CT")


def test_series_broken_beyond_choice_is_named(tmp_path):
    save(tmp_path, described(slices(series=3), MRAcquisitionType="3D")[:9][::2] * 2, prefix="a")
    made = described(slices(series=4), MRAcquisitionType="3D")
    del made[2]
    save(tmp_path, made, prefix="b")
    with pytest.raises(InputError, match="Series 4 lacks 1 slice"):
        read_dicom([tmp_path])


def test_mixed_patients_are_refused_unnamed(tmp_path):
    save(tmp_path, slices(ARRAY, patient="A"), prefix="a")
    save(tmp_path, slices(ARRAY, patient="B", series=2), prefix="b")
    with pytest.raises(InputError, match="more than one patient") as caught:
        read_dicom([tmp_path])
    assert CANARY not in str(caught.value)


def test_identity_left_blank_in_some_files_is_no_second_patient(tmp_path):
    made = slices(ARRAY)
    for ds in made[::2]:
        ds.PatientName, ds.PatientBirthDate = f"{CANARY} a", ""
    for ds in made[1::2]:
        ds.PatientName = f"{CANARY.lower()}^A^^"
    save(tmp_path, made)
    np.testing.assert_array_equal(chosen(tmp_path).volume.array, ARRAY)


@pytest.mark.parametrize("better", [{}, {"MRAcquisitionType": "3D", "ContrastBolusAgent": "Gadovist"}])
def test_two_visits_are_refused_even_where_one_is_the_better_choice(tmp_path, better):
    save(tmp_path, described(slices(ARRAY, study="1.2.3"), **better), prefix="a")
    save(tmp_path, slices(ARRAY, study="1.2.4", series=2), prefix="b")
    with pytest.raises(InputError, match=r"image series of 2 studies \(visits\)") as caught:
        read_dicom([tmp_path])
    assert "each visit in a folder of its own" in caught.value.hint
    for private in (CANARY, "1.2.3", "1.2.4", "20200102"):
        assert private not in f"{caught.value} {caught.value.hint}"


def test_other_visit_without_a_volume_that_could_be_segmented_is_no_obstacle(tmp_path):
    save(tmp_path, slices(ARRAY, study="1.2.3"), prefix="a")
    save(tmp_path, slices(phantom((17, 18, 3)), study="1.2.4", series=2), prefix="b")
    save(tmp_path, slices(ARRAY, "CT", study="1.2.5", series=3), prefix="c")
    np.testing.assert_array_equal(chosen(tmp_path, modality="MR").volume.array, ARRAY)


def other_object(kind, **attributes):
    (ds,) = described(slices(phantom((21, 18, 1)), series=50), **attributes)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CLASSES[kind]
    return ds


def test_objects_that_are_no_scan_are_passed_over_and_counted(tmp_path):
    save(tmp_path, slices(ARRAY))
    others = ["secondary capture", "segmentation", "report"]
    save(tmp_path, [other_object(kind) for kind in others], prefix="x")
    save(tmp_path, [other_object("MR", ImageType=["DERIVED", "SECONDARY", "MIP"])], prefix="mip")
    image = chosen(tmp_path)
    np.testing.assert_array_equal(image.volume.array, ARRAY)
    (note,) = [note for note in image.notes if note.startswith("Passed over")]
    for kind in ("secondary capture image", "segmentation", "comprehensive sr", "projection"):
        assert f"1 × {kind}" in note


def test_secondary_capture_alone_is_no_image(tmp_path):
    save(tmp_path, [other_object("secondary capture")])
    with pytest.raises(InputError, match="no MR or CT image among the 1 files: 1 × secondary capture image"):
        read_dicom([tmp_path])


@pytest.mark.parametrize("files", [{}, {"a.txt": b"x", "b.bin": bytes(500)}])
def test_no_image_at_all(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"no MR or CT image among the {len(files)} files"):
        read_dicom([tmp_path])


def test_text_files_and_index_are_passed_over(tmp_path):
    save(tmp_path, slices(ARRAY))
    (tmp_path / "readme.txt").write_text("hello " * 100)
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(20))
    (tmp_path / "looks alike").write_bytes(b"\x08\x00\x05\x00CS" + b"\xff" * 300)
    image = chosen(tmp_path)
    assert "Passed over: 1 × DICOMDIR index, 3 × file that is not DICOM." in image.notes


def test_pipes_are_not_opened(tmp_path):
    save(tmp_path, slices(ARRAY))
    os.mkfifo(tmp_path / "IM000")
    np.testing.assert_array_equal(chosen(tmp_path).volume.array, ARRAY)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "explicit", ExplicitVRBigEndian])
def test_files_without_preamble(tmp_path, syntax):
    explicit, little = syntax != ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    for number, ds in enumerate(slices(ARRAY)):
        if not little:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        del ds.file_meta
        path = tmp_path / f"{number}"
        dcmwrite(path, ds, implicit_vr=not explicit, little_endian=little, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(chosen(tmp_path).volume.array, ARRAY)


def test_unreadable_header_is_refused_by_name(tmp_path):
    paths = save(tmp_path, slices(ARRAY))
    paths[3].write_bytes(paths[3].read_bytes()[:150] + b"\xff" * 2000)
    with pytest.raises(InputError, match=r"IM004"):
        read_dicom([tmp_path])


def test_deflated_files_are_refused_before_they_are_inflated(tmp_path):
    made = slices(ARRAY)
    made[3].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(tmp_path, made)
    with pytest.raises(InputError, match="IM004 is a deflated DICOM file"):
        read_dicom([tmp_path])


@pytest.mark.parametrize("where", ["before", "after"])
def test_sequences_nested_without_end_are_no_crash(tmp_path, where):
    """Deeper than Python can recurse; before or after the attributes that count."""
    tag = (0x0008, 0x1140) if where == "before" else (0x5400, 0x0100)
    opening = struct.pack("<HH", *tag) + b"SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    paths = save(tmp_path, slices(ARRAY))
    content = paths[3].read_bytes()
    split = content.index(struct.pack("<HH", 0x0010, 0x0010) + b"PN" if where == "before" else b"\xe0\x7f\x10\x00OW")
    paths[3].write_bytes(content[:split] + opening * 3000 + content[split:])
    with pytest.raises(InputError, match="IM004"):
        read_dicom([tmp_path])


def test_names_that_no_terminal_can_bear(tmp_path):
    made = slices(ARRAY)
    del made[0].PixelSpacing
    save(tmp_path, made, prefix="a\x1b[31m\n")
    with pytest.raises(InputError) as caught:
        read_dicom([tmp_path])
    assert caught.value.message.isprintable()


def test_file_cut_in_its_header_is_refused_by_name(tmp_path):
    paths = save(tmp_path, slices(ARRAY))
    content = paths[3].read_bytes()
    for length in (400, 700, 1000):
        paths[3].write_bytes(content[:length])
        with pytest.raises(InputError):
            read_dicom([tmp_path])


def test_pydicom_keeps_quiet_about_values(tmp_path, caplog):
    made = slices(ARRAY)
    with quiet():
        for ds in made:
            ds.add_new(0x00080050, "SH", f"{CANARY} is far longer than sixteen characters")
        save(tmp_path, made)
    with caplog.at_level(logging.DEBUG):
        read_dicom([tmp_path])
    assert CANARY not in caplog.text


def test_colour_images_are_passed_over(tmp_path):
    made = slices(phantom((17, 18, 8), seed=1), series=7)
    for ds in made:
        set_pixels(ds, np.zeros((18, 21)))
        ds.SamplesPerPixel = 3
    save(tmp_path, made, prefix="rgb")
    save(tmp_path, slices(ARRAY))
    assert "Passed over: 8 × colour image." in chosen(tmp_path).notes
