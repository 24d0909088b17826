"""Scan files for DICOM objects: headers only, pixels left on disk."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name
from metseg.io.dicom_values import number_of, text_of

MAX_FILES: Final = 50_000
_DICOMDIR: Final = "1.2.840.10008.1.3.10"
_IDENTITY: Final = ("PatientID", "PatientName", "PatientBirthDate")
# Identities are compared within one process only: a secret key makes their digests worthless outside it.
_KEY: Final = secrets.token_bytes(32)
_TAGS: Final = (
    *_IDENTITY,
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "SeriesDescription", "ProtocolName", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices",
    "GantryDetectorTilt", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "MRAcquisitionType", "VolumetricProperties", "ScanningSequence", "SequenceVariant", "SequenceName",
    "PulseSequenceName", "EchoTime", "EchoNumbers",
    "EchoPulseSequence", "RepetitionTime", "InversionTime", "FlipAngle", "MagneticFieldStrength", "KVP",
    "ConvolutionKernel", "TemporalPositionIdentifier", "DiffusionBValue", "TriggerTime", "AcquisitionNumber",
    "AcquisitionTime", "ComplexImageComponent", "BurnedInAnnotation", "InstanceNumber",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Header:
    """What one DICOM file says about itself, pixels and patient left out.

    Args:
        path: the file.
        dataset: the attributes metseg looks at.
        patient: keyed digests of identity attributes, empty where the file leaves one blank; only ever compared.
    """

    path: Path
    dataset: Dataset = field(repr=False)
    patient: tuple[str, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """File name, for messages."""
        return shown_name(self.path)

    def text(self, keyword: str) -> str:
        """A top-level value as text; empty where missing."""
        return text_of([self.dataset], keyword)

    @property
    def sop_class(self) -> str:
        """UID of the kind of object."""
        meta = getattr(self.dataset, "file_meta", None)
        return self.text("SOPClassUID") or (text_of([meta], "MediaStorageSOPClassUID") if meta else "")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, 0 where missing."""
        rows, columns = (number_of([self.dataset], keyword) or 0 for keyword in ("Rows", "Columns"))
        return int(rows), int(columns)


@dataclass(frozen=True)
class Scan:
    """The DICOM objects among some files, and how many other files were passed over, by kind."""

    headers: tuple[Header, ...]
    ignored: Counter[str]


def scan_headers(paths: Sequence[Path]) -> Scan:
    """Read the headers of all DICOM files among ``paths``; folders stand for all that lies in them.

    Raises:
        InputError: too many files; a DICOM file that cannot be parsed; files of more than one patient.
    """
    headers: list[Header] = []
    ignored: Counter[str] = Counter()
    for number, path in enumerate(_expand(paths)):
        if number >= MAX_FILES:
            raise InputError(f"There are more than {MAX_FILES} files.", hint="Give the folder of one study.")
        kind = _kind_of_file(path)
        header = _read_header(path, force=kind == "maybe") if kind in {"dicom", "maybe"} else kind
        if isinstance(header, Header):
            headers.append(header)
        else:
            ignored[header] += 1
    _refuse_mixed_patients(headers)
    return Scan(tuple(headers), ignored)


def _expand(paths: Sequence[Path]) -> Iterator[Path]:
    """All plain files, sorted within each folder; pipes and devices are left out, as reading them could hang."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if file.is_file())


def _kind_of_file(path: Path) -> str:
    """``"dicom"``, ``"maybe"`` (begins like a data set without preamble), or the kind of file to pass over."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        raise InputError(f"{shown_name(path)} cannot be opened.", hint="Check that it may be read.") from None
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR index"
    if start[128:132] == b"DICM":
        return "dicom"
    # A data set begins with a low element of group 2 or 8; then comes a VR, or the length of a short value.
    if len(start) == 132 and start[:2] in {b"\x02\x00", b"\x08\x00", b"\x00\x08"}:
        low = start[3] == 0 if start[0] else start[2] == 0
        if low and (start[4:6].isalpha() or start[6:8] == b"\0\0"):
            return "maybe"
    return "file that is not DICOM"


def _read_header(path: Path, *, force: bool) -> Header | str:
    """The header, or the kind of file where it is none that counts."""
    unreadable = InputError(
        f"{shown_name(path)} is a DICOM file whose header cannot be parsed.",
        hint="Export the series again, or take the file away if it is no part of it.",
    )
    try:
        if not force:
            _refuse_deflated(path)
        dataset = dcmread(path, stop_before_pixels=True, force=force, specific_tags=list(_TAGS))
        kind = text_of([dataset], "SOPClassUID") or text_of([dataset.file_meta], "MediaStorageSOPClassUID")
        known = bool(kind) or ("Modality" in dataset and "Rows" in dataset)
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - any byte can be wrong, and pydicom raises what that provokes
        if force:
            return "file that is not DICOM"
        raise unreadable from None
    if not known:
        if force:
            return "file that is not DICOM"
        raise unreadable
    if kind == _DICOMDIR:
        return "DICOMDIR index"
    patient = tuple(_digest(dataset, keyword) for keyword in _IDENTITY)
    for keyword in _IDENTITY:
        if keyword in dataset:
            del dataset[keyword]
    return Header(path, dataset, patient)


def _refuse_deflated(path: Path) -> None:
    """The header of such a file only exists inflated, to a size that nobody knows beforehand."""
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise InputError(
            f"{shown_name(path)} is a deflated DICOM file.", hint="Export it with another transfer syntax."
        )


def _digest(dataset: Dataset, keyword: str) -> str:
    """Keyed digest of a normalised identity attribute; empty where it is blank."""
    text = "".join(text_of([dataset], keyword).casefold().replace("^", " ").split())
    return hashlib.blake2b(text.encode("utf-8", "replace"), key=_KEY).hexdigest() if text else ""


def _refuse_mixed_patients(headers: Sequence[Header]) -> None:
    """An attribute that some files leave blank says nothing; two that are filled and differ mean two patients."""
    for digests in zip(*(header.patient for header in headers), strict=True):
        if len(set(digests) - {""}) > 1:
            raise InputError(
                f"The {len(headers)} DICOM files come from more than one patient.",
                hint="Give one folder for each patient.",
            )


def name_of_class(uid: str) -> str:
    """The standard's name of a kind of object, in small letters and without "storage", for messages."""
    name = UID(uid).name if uid else ""
    return name.removesuffix(" Storage").lower() if name and name != uid else "object of unknown kind"
