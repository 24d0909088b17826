"""What a DICOM result takes over from its source, so that an archive files both together.

The only part of metseg that reads who the patient is. What it reads goes into DICOM results and nowhere else.
"""

import re
from pathlib import Path
from typing import Any, Final

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import PersonName, validate_value

from metseg.core.errors import InputError

# Modules Patient, General Study, Patient Study and Frame of Reference (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, C.7.4.1).
_NEEDED: Final = {"StudyInstanceUID": "study", "FrameOfReferenceUID": "frame of reference"}
_EMPTY_IF_UNKNOWN: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_IF_THERE: Final = (
    "IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "StudyDescription", "PatientAge",
    "PatientSize", "PatientWeight", "PositionReferenceIndicator",
)  # fmt: skip
_TAKEN: Final = (*_NEEDED, *_EMPTY_IF_UNKNOWN, *_IF_THERE)
_SETS: Final = {"PatientSex": {"M", "F", "O"}, "PatientIdentityRemoved": {"YES", "NO"}}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")


def read_filing(path: Path) -> Dataset:
    """Patient, study and frame of reference of a DICOM file, in UTF-8; what is no valid value is left empty.

    Raises:
        InputError: the file cannot be read again, or tells of no study or no frame of reference.
    """
    try:
        source = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SpecificCharacterSet", *_TAKEN])
        source.decode()
    except Exception:  # noqa: BLE001 - any byte can be wrong, and pydicom raises what that provokes
        raise InputError(
            "The DICOM series cannot be read again for its DICOM results.", hint="Leave the files in place."
        ) from None
    filing = Dataset()
    filing.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TAKEN:
        value = _clean(source, keyword)
        if value or keyword in _EMPTY_IF_UNKNOWN:
            setattr(filing, keyword, value)
        elif keyword in _NEEDED:
            raise InputError(
                f"The DICOM series tells of no {_NEEDED[keyword]} ({keyword}), which DICOM results must refer to.",
                hint="Export it again from the archive, or leave the DICOM formats out.",
            )
    if "PositionReferenceIndicator" not in filing:
        filing.PositionReferenceIndicator = ""
    return filing


def _clean(source: Dataset, keyword: str) -> str:
    """The value as text that its VR allows; empty where there is none."""
    try:
        element: Any = source[keyword]
        value = element.value
        text = str(value) if isinstance(value, str | PersonName | UID) or value is not None else ""
        validate_value(element.VR, text, config.RAISE)
    except Exception:  # noqa: BLE001 - missing, or whatever the text provokes
        return ""
    text = text.strip()
    if element.VR == "UI" and not UID(text).is_valid:
        return ""
    if _CONTROL.search(text) or (keyword in _SETS and text not in _SETS[keyword]):
        return ""
    return text
