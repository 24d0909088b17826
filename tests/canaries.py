"""Words that stand for what no result may tell: planted in inputs, searched in all that a run leaves behind."""

import gzip
import io
import re
import struct
import zipfile
import zlib
from base64 import b64decode
from contextlib import suppress
from pathlib import Path

import pydicom

# By DICOM keyword; each its own word, so that a failure names its source. Docs: docs/reference/privacy.md.
PATIENT = {
    "PatientName": "Zyxwvut^Qponmlk",
    "PatientID": "PID4711QZ",
    "PatientBirthDate": "19331122",
    "StudyDate": "19871213",
    "AccessionNumber": "ACCQZ8812",
    "StudyID": "STUQZ99",
    "StudyDescription": "StudyDescQz",
    "ReferringPhysicianName": "Refqzdoc^Anna",
    "IssuerOfPatientID": "ISSUERQZ",
}
# What goes into no output whatever, not even into those that are filed with the patient's images.
OTHERS = {
    "OtherPatientIDs": "OTHERIDQZ",
    "PatientBirthName": "Birthqzname",
    "PatientMotherBirthName": "Motherqzname",
    "PatientAddress": "Qzstreet 12",
    "PatientTelephoneNumbers": "0555987123",
    "PatientComments": "commentqz",
    "MedicalRecordLocator": "LOCATORQZ",
    "EthnicGroup": "ETHNICQZ",
    "Occupation": "OCCUPQZ",
    "InstitutionName": "Hospitalqz",
    "InstitutionAddress": "Hospqzstreet 3",
    "InstitutionalDepartmentName": "Departqz",
    "PerformingPhysicianName": "Performqz^Ben",
    "PhysiciansOfRecord": "Recordqz^Cleo",
    "NameOfPhysiciansReadingStudy": "Readingqz^Dora",
    "RequestingPhysician": "Requestqz^Eva",
    "OperatorsName": "Operatorqz^Finn",
    "StationName": "STATIONQZ",
    "DeviceSerialNumber": "SERIALQZ77",
    "SeriesDescription": "T1 seriesqz",
    "ProtocolName": "T1C protoqz",
    "ImageComments": "imagecommentqz",
    "RequestedProcedureDescription": "procedureqz",
    "AdmissionID": "ADMISSIONQZ",
    "SeriesDate": "19871214",
    "AcquisitionDate": "19871215",
    "ContentDate": "19871216",
    "StudyTime": "031744.123",
}
PRIVATE = "privateqz"  # the value of a private tag
PATHS = ("Folderqzname", "Fileqzname")  # of folders and files where names of patients could be
_MAY_BE_FILED = {*PATIENT, "StudyTime"}  # an archive files by these


def plant(folder: Path) -> dict[str, str]:
    """Put all of them into the headers of a DICOM series, and its files below folders named by them.

    Returns:
        The canaries by name; among them the UIDs of the study, the series, the frame of reference and the first image.
    """
    inside = folder / PATHS[0]
    inside.mkdir()
    uids: dict[str, str] = {}
    for number, path in enumerate(sorted(path for path in folder.iterdir() if path.is_file())):
        dataset = pydicom.dcmread(path)
        for keyword, text in (PATIENT | OTHERS).items():
            setattr(dataset, keyword, text)
        dataset.private_block(0x0019, "QZ CREATOR", create=True).add_new(1, "LO", PRIVATE)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            uids.setdefault(keyword, str(dataset[keyword].value))
        dataset.save_as(inside / f"{PATHS[1]}{number:04d}.dcm")
        path.unlink()
    named = {**PATIENT, **OTHERS, "private tag": PRIVATE, **uids, "folder": PATHS[0], "file": PATHS[1]}
    return {label: text.partition("^")[0] for label, text in named.items()}


def told(contents: bytes | str, words: dict[str, str]) -> set[str]:
    """Labels of the canaries in these bytes, upper and lower case alike, also as UTF-16 and in dates with dashes."""
    low = (contents.encode() if isinstance(contents, str) else contents).lower()
    return {label for label, text in words.items() if any(form in low for form in _forms(text.lower()))}


def _forms(text: str) -> list[bytes]:
    dashed = [f"{text[:4]}-{text[4:6]}-{text[6:]}", f"{text[6:]}.{text[4:6]}.{text[:4]}"] if len(text) == 8 else []
    dates = dashed if text.isdigit() else []
    return [form.encode(code) for form in (text, *dates) for code in ("utf-8", "utf-16-be", "utf-16-le")]


def everything(path: Path) -> bytes:
    """Name and bytes of a file, and all that is packed in it."""
    return path.name.encode() + b"\n" + unpacked(path.read_bytes())


def unpacked(content: bytes, depth: int = 4) -> bytes:
    """Bytes, and those packed in them: gzip, zip, PDF (streams, text of pages, description), PNG chunks, data URIs."""
    if depth == 0:
        return content
    inner: list[bytes] = []
    if content[:2] == b"\x1f\x8b":
        inner.append(gzip.decompress(content))
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner += [name.encode() + archive.read(name) for name in archive.namelist()]
    inner += [b64decode(uri) for uri in re.findall(rb"data:[\w/+.-]+;base64,([\w+/=]+)", content)]
    if (start := content.find(b"%PDF-")) >= 0:
        inner.append(_pdf(content[start : content.rfind(b"%%EOF") + 6]))
    for found in re.finditer(rb"\x89PNG\r\n\x1a\n", content):
        inner += [data for name, data in png_chunks(content, found.end()) if name != b"IDAT"]
    return b"\n".join([content, *(unpacked(each, depth - 1) for each in inner)])


def png_chunks(content: bytes, place: int) -> list[tuple[bytes, bytes]]:
    """Name and data, inflated where they can be, of the chunks of a PNG from the first on."""
    chunks, name = [], b""
    while name != b"IEND":
        (length,), name = struct.unpack(">I", content[place : place + 4]), content[place + 4 : place + 8]
        data = content[place + 8 : place + 8 + length]
        with suppress(zlib.error):  # zTXt and iCCP: a keyword, two zeros, a stream
            data += zlib.decompress(data.partition(b"\0")[2][1:])
        chunks.append((name, data))
        place += length + 12
    return chunks


def _pdf(content: bytes) -> bytes:
    """Streams, text of the pages, description. Pages write glyphs, so their text must be put together."""
    parts = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        with suppress(zlib.error):
            parts.append(zlib.decompress(stream))
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    parts += [page.extract_text().encode() for page in reader.pages]
    parts.append(repr(reader.metadata).encode())
    return b"\n".join(parts)


def may_be_filed(words: dict[str, str]) -> set[str]:
    """Labels of those that DICOM objects in the patient's own study may hold."""
    uids = {"SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"}
    return (_MAY_BE_FILED | uids) & set(words)
