"""Who was imaged: read for the report of a user who asks for it, and for nothing else."""

from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread

from metseg.core.study import Identity
from metseg.io.dicom_values import quiet, text_of

_KEYWORDS = {
    "name": "PatientName", "patient_id": "PatientID", "birth_date": "PatientBirthDate", "study_date": "StudyDate",
}  # fmt: skip


def identity_of_files(files: Iterable[Path]) -> Identity:
    """What the first DICOM file that names a patient says; all files of a case are one patient's, or were refused."""
    for path in files:
        with quiet():
            try:
                tags = ["SpecificCharacterSet", *_KEYWORDS.values()]
                dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
            except Exception:  # noqa: BLE001, S112 - any byte can be wrong, and other files may do
                continue
            identity = Identity(**{field: text_of([dataset], keyword) for field, keyword in _KEYWORDS.items()})
        if identity.name or identity.patient_id:
            return identity
    return Identity()
