"""A PDF as DICOM Encapsulated PDF (PS3.3 A.45.1)."""

from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from metseg.core.uid import uid_of
from metseg.io.dicom_marks import MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import Reference, ReferenceSlice

_CLASS: Final = UID("1.2.840.10008.5.1.4.1.1.104.1")


def make_pdf_object(pdf: bytes, reference: Reference, now: datetime) -> Dataset:
    """A PDF, ready to be written.

    Args:
        pdf: the document.
        reference: the series that it tells of; it is filed under its patient and study.
        now: when it is made.
    """
    uid = UID(uid_of("pdf", reference.series_uid, pdf, VERSION))
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
    made.BurnedInAnnotation = "NO"  # text, but none that tells of the patient
    made.Manufacturer = made.ManufacturerModelName = MAKER
    made.SoftwareVersions = VERSION
    made.DocumentTitle = NOT_DIAGNOSTIC
    made.ConceptNameCodeSequence = []
    made.SourceInstanceSequence = [_item(one) for one in {one.sop_instance: one for one in reference.slices}.values()]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    made.EncapsulatedDocumentLength = len(pdf)
    return made


def _item(image: ReferenceSlice) -> Dataset:
    item = image.item()
    item.pop("ReferencedFrameNumber", None)  # the whole object is referred to
    return item
