"""A report as DICOM Encapsulated PDF (PS3.3 A.45.1)."""

from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from metseg.core.uid import uid_of
from metseg.io.dicom_marks import MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import Reference

_CLASS: Final = UID("1.2.840.10008.5.1.4.1.1.104.1")
_TITLE: Final = ("126000", "DCM", "Imaging Measurement Report")


def make_encapsulated_pdf(content: bytes, reference: Reference, now: datetime, *, names_patient: bool) -> Dataset:
    """A PDF in a DICOM object, ready to be written.

    Args:
        content: the PDF.
        reference: the series whose patient and study it is filed under.
        now: when it is made.
        names_patient: whether the pages say who was imaged and when.
    """
    uid = UID(uid_of("pdf", reference.series_uid, content, VERSION))
    made = Dataset()
    made.update(reference.filing)
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):  # a document lies nowhere
        del made[keyword]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = _CLASS
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.Modality, made.ConversionType = "DOC", "WSD"
    made.ContentDate = made.InstanceCreationDate = f"{now:%Y%m%d}"
    made.ContentTime = made.InstanceCreationTime = f"{now:%H%M%S}"
    made.AcquisitionDateTime = ""
    made.SeriesInstanceUID = uid_of("pdf series", uid)
    made.SeriesNumber, made.InstanceNumber = SERIES_NUMBERS["pdf"], 1
    made.SeriesDescription = series_description("report")
    made.Manufacturer = made.ManufacturerModelName = made.SecondaryCaptureDeviceManufacturer = MAKER
    made.SoftwareVersions = made.SecondaryCaptureDeviceSoftwareVersions = VERSION
    made.BurnedInAnnotation = "YES" if names_patient else "NO"
    made.SourceInstanceSequence = [
        _reference(reference.slices[ks[0]].sop_class, instance) for instance, ks in reference.by_instance().items()
    ]
    made.DocumentTitle = f"{MAKER} report. {NOT_DIAGNOSTIC}"
    made.ConceptNameCodeSequence = [Dataset()]
    code = made.ConceptNameCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _TITLE
    made.VerificationFlag = "UNVERIFIED"
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


def _reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item
