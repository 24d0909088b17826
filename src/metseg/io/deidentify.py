"""Take out of a DICOM result who was imaged (PS3.15 E.2, Basic Application Level Confidentiality Profile).

Only objects that metseg made itself come here: their attributes are known, and tests hold each of them against the
profile's table. Every UID, and the patient's ID, is replaced by one that is made of it and a secret (HMAC-SHA256), so
the objects of one result go on referring to each other, and nobody without the secret finds the way back.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final
from uuid import UUID

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from metseg.core.errors import ConfigError
from metseg.io.case_names import shown_name

METHOD: Final = "PS3.15 Basic Profile; what is text was written by software"
# Basic profile, Clean Descriptors, Clean Structured Content (CID 7050).
_OPTIONS: Final = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113104", "Clean Structured Content Option"),
)
_STANDARD: Final = "1.2.840.10008."  # classes, transfer syntaxes, code systems
_SHORTEST_KEY: Final = 32
_LONGEST_KEY: Final = 4096
# Actions X of the table, where an object of ours has them: patient and study beyond what must be there, and dates.
_REMOVED: Final = (
    "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription",
    "InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime", "ContributionDateTime",
)  # fmt: skip
# Action Z.
_EMPTIED: Final = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# Action D for those dates and times that an object must have.
_DUMMIES: Final = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}


def read_secret(path: Path | None) -> bytes:
    """The secret in a file; a random one, which is kept nowhere, where there is no file.

    Raises:
        ConfigError: the file cannot be read, or is no secret.
    """
    if path is None:
        return secrets.token_bytes(_SHORTEST_KEY)
    hint = f"Make one of {_SHORTEST_KEY} random bytes, keep it where nobody else reads it, and use it for all visits."
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_KEY + 1)
    except OSError as error:
        message = f"The key file {shown_name(path)} cannot be read: {error.strerror or type(error).__name__}."
        raise ConfigError(message, hint=hint) from None
    if not _SHORTEST_KEY <= len(content) <= _LONGEST_KEY or len(set(content)) < 8:
        message = f"The key file {shown_name(path)} is no key: it needs {_SHORTEST_KEY} to {_LONGEST_KEY} random bytes."
        raise ConfigError(message, hint=hint)
    return content


class Pseudonyms:
    """Names and UIDs in the place of others: the same for the same ones and the same secret.

    Args:
        secret: who has it can tell which pseudonym belongs to a known name; nobody can read the name out of it.
        patient: what tells the patient from others: an ID.
    """

    def __init__(self, secret: bytes, patient: str) -> None:
        self._secret = secret
        self.patient = f"SUBJ-{self._digest('patient', patient).hex()[:12].upper()}"

    def uid(self, uid: str) -> UID:
        """In the place of one of an instance; those that the standard defines stay.

        >>> Pseudonyms(b"x", "1").uid("1.2.840.10008.1.2")
        '1.2.840.10008.1.2'
        """
        if not uid or uid.startswith(_STANDARD):
            return UID(uid)
        return UID(f"2.25.{UUID(bytes=self._digest('uid', uid)[:16], version=4).int}")

    def cleaned(self, dataset: Dataset) -> Dataset:
        """An object of metseg's as the profile leaves it. The one given stays: parts of it can belong to others too."""
        made = self._cleaned_part(dataset)
        made.file_meta = FileMetaDataset()
        made.file_meta.update(self._cleaned_part(dataset.file_meta))
        for keyword in _EMPTIED:
            if keyword in made:
                setattr(made, keyword, "")
        made.PatientName = made.PatientID = self.patient
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = METHOD
        made.DeidentificationMethodCodeSequence = [_code(*each) for each in _OPTIONS]
        made.LongitudinalTemporalInformationModified = "REMOVED"
        return made

    def _cleaned_part(self, dataset: Dataset) -> Dataset:
        made = Dataset()
        for element in dataset:
            if element.keyword in _REMOVED:
                continue
            if element.VR == "SQ":
                made.add_new(element.tag, "SQ", [self._cleaned_part(item) for item in element.value])
            else:
                made.add(self._cleaned_element(element))
        return made

    def _cleaned_element(self, element: DataElement) -> DataElement:
        if element.VR == "UI" and element.value:
            several = not isinstance(element.value, str)
            value = [self.uid(one) for one in element.value] if several else self.uid(element.value)
            return DataElement(element.tag, "UI", value)
        if element.VR in _DUMMIES and element.value:
            return DataElement(element.tag, element.VR, _DUMMIES[element.VR])
        return element

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.new(self._secret, f"{kind}\0{text}".encode(), hashlib.sha256).digest()


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
