"""Headers that are wrong or odd: what is taken over of them into DICOM results, and what is left."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_cases import NOW, findings
from hostile.make_dicom import save, slices
from metseg.core.errors import InputError
from metseg.io.dicom_patient import read_filing
from metseg.io.dicom_reference import read_reference
from metseg.io.rt_regions import make_regions
from metseg.io.rtstruct import make_rtstruct


def written(folder, change):
    """The path of a slice whose header was changed."""
    (first, *_) = slices()
    change(first)
    return save(folder, [first], enforce_file_format=True)[0]


def test_names_of_other_scripts_arrive_as_utf_8(tmp_path):
    def japanese(ds: Dataset):
        ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        ds.PatientName = "Yamada^Tarou=山田^太郎"

    filing = read_filing(written(tmp_path, japanese))
    assert (str(filing.PatientName), filing.SpecificCharacterSet) == ("Yamada^Tarou=山田^太郎", "ISO_IR 192")

    def german(ds: Dataset):
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.PatientName = "Müller^Jörg"

    assert str(read_filing(written(tmp_path / "b", german)).PatientName) == "Müller^Jörg"


@pytest.mark.filterwarnings("ignore")
def test_values_that_are_none_are_left_empty(tmp_path):
    def spoil(ds: Dataset):
        for keyword, value in {
            "PatientSex": "X", "PatientBirthDate": "19.5.1950", "StudyTime": "noon", "PatientAge": "old",
            "AccessionNumber": "far too long for a short string", "StudyDate": "20200102", "PatientWeight": "7,5",
        }.items():  # fmt: skip
            if keyword in ds:
                del ds[keyword]
            vr = pydicom.datadict.dictionary_VR(keyword)
            ds._dict[pydicom.tag.Tag(keyword)] = pydicom.DataElement(keyword, vr, value, already_converted=True)

    filing = read_filing(written(tmp_path, spoil))
    for keyword in ("PatientSex", "PatientBirthDate", "StudyTime", "AccessionNumber"):
        assert filing[keyword].value in {"", None}, keyword
    assert "PatientAge" not in filing
    assert "PatientWeight" not in filing
    assert filing.StudyDate == "20200102"


@pytest.mark.parametrize(
    ("keyword", "what"), [("FrameOfReferenceUID", "frame of reference"), ("StudyInstanceUID", "study")]
)
def test_what_results_must_refer_to_is_asked_for_by_name(tmp_path, keyword, what):
    with pytest.raises(InputError, match=rf"tells of no {what} \({keyword}\)"):
        read_filing(written(tmp_path, lambda ds: ds.__delattr__(keyword)))


def test_a_header_with_next_to_nothing_gives_valid_objects(tmp_path):
    made = slices()
    for one in made:
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"):
            del one[keyword]
    reference = read_reference(save(tmp_path / "in", made), "MR")
    array = np.zeros(reference.grid.shape, dtype=np.uint32)
    array[8:12, 6:9, 5:7] = 1
    structures = make_rtstruct(make_regions(array, reference), reference, "model 1", NOW)
    structures.save_as(tmp_path / "rtstruct.dcm", enforce_file_format=True)
    assert findings(tmp_path / "rtstruct.dcm") == []
    assert structures.PatientID == ""
