"""One DICOM object as bytes, known by hashes of its identifiers and of its content."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from metseg.core.errors import InputError
from metseg.io.dicom_series import IMAGE_CLASSES
from metseg.io.dicom_values import quiet, text_of

_PREAMBLE: Final = 128
_DEFLATED: Final = DeflatedExplicitVRLittleEndian.encode()
_FILE_NAME: Final = re.compile(r"[0-9a-f]{24}-[0-9a-f]{24}\.dcm")


class NotAnImageError(InputError):
    """A DICOM object that is no MR or CT image."""


@dataclass(frozen=True, eq=False)
class Instance:
    """A DICOM object.

    Args:
        content: the file's bytes.
        sop_class: UID of its kind.
        sop_instance: its own.
        study: of the study that it belongs to.
    """

    content: bytes = field(repr=False)
    sop_class: str
    sop_instance: str = field(repr=False)
    study: str = field(repr=False)

    @property
    def is_image(self) -> bool:
        """Is it of a kind that metseg can segment?"""
        return self.sop_class in IMAGE_CLASSES

    @property
    def study_key(self) -> str:
        """What the study is called in names and logs."""
        return key_of(self.study)

    @cached_property
    def file_name(self) -> str:
        """Made of the object's UID and of its content: the same object has the same name.

        The file's own header is left out of the content: it tells of the software that wrote the file.
        """
        content = self.content[_start_of_data(self.content) :]
        return f"{key_of(self.sop_instance)}-{hashlib.sha256(content).hexdigest()[:24]}.dcm"


def key_of(uid: str) -> str:
    """A UID as 24 hexadecimal digits: the start of its SHA-256."""
    return hashlib.sha256(uid.encode()).hexdigest()[:24]


def instance_files(folder: Path) -> list[Path]:
    """The files in a folder that bear names of ``Instance.file_name``, sorted."""
    return sorted(path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)) if folder.is_dir() else []


def instance_of(content: bytes) -> Instance:
    """Look at a file's bytes.

    Raises:
        InputError: no DICOM object, one that cannot be parsed, a deflated one, or one without the identifiers of
            study and object.
    """
    header = _header(content)
    meta = getattr(header, "file_meta", Dataset())
    with quiet():
        sop_class = text_of([header], "SOPClassUID") or text_of([meta], "MediaStorageSOPClassUID")
        sop_instance, study = (text_of([header], name) for name in ("SOPInstanceUID", "StudyInstanceUID"))
    if not (sop_class and sop_instance and study):
        raise InputError(
            "A DICOM object does not tell which it is (SOPClassUID, SOPInstanceUID, StudyInstanceUID).",
            hint="Export it again from the archive.",
        )
    return Instance(content, sop_class, sop_instance, study)


def image_of(content: bytes) -> Instance:
    """Look at a file's bytes, which should be those of an MR or CT image.

    Raises:
        NotAnImageError: it is another kind of object.
        InputError: as ``instance_of``.
    """
    instance = instance_of(content)
    if not instance.is_image:
        raise NotAnImageError("A DICOM object is no MR or CT image.", hint="Send MR or CT images only.")
    return instance


def _header(content: bytes) -> Dataset:
    tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
    begins = content[_PREAMBLE : _PREAMBLE + 4] == b"DICM"
    try:
        with quiet():
            # The size of what is deflated is unknown before it is inflated; pydicom would inflate it at once.
            if not begins or _DEFLATED not in content:
                return dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=tags, force=not begins)
    except Exception:  # noqa: BLE001 - any byte can be wrong, and pydicom raises what that provokes
        raise InputError("A DICOM object cannot be parsed.", hint="Export it again from the archive.") from None
    raise InputError("A DICOM object is deflated.", hint="Send it with another transfer syntax.")


def _start_of_data(content: bytes) -> int:
    """Where the file's own header ends, by its first element, which tells its length; 0 where there is none."""
    first = content[_PREAMBLE + 4 : _PREAMBLE + 16]
    if content[_PREAMBLE : _PREAMBLE + 4] != b"DICM" or first[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        return 0
    return _PREAMBLE + 16 + int.from_bytes(first[8:12], "little")
