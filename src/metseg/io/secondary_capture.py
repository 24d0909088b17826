"""A picture as DICOM Secondary Capture (PS3.3 A.8.1)."""

from datetime import datetime
from typing import Final

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from metseg.core.uid import uid_of
from metseg.io.dicom_marks import MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import Reference

_CLASS: Final = UID("1.2.840.10008.5.1.4.1.1.7")


def make_capture(picture: UInt8[np.ndarray, "rows columns 3"], reference: Reference, now: datetime) -> Dataset:
    """A colour picture, ready to be written.

    Args:
        picture: red, green, blue.
        reference: the series whose patient and study it is filed under.
        now: when it is made.
    """
    uid = UID(uid_of("capture", reference.series_uid, picture.tobytes(), VERSION))
    made = Dataset()
    made.update(reference.filing)
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):  # a picture lies nowhere
        del made[keyword]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = _CLASS
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.Modality, made.ConversionType, made.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
    made.ContentDate = made.InstanceCreationDate = f"{now:%Y%m%d}"
    made.ContentTime = made.InstanceCreationTime = f"{now:%H%M%S}"
    made.SeriesInstanceUID = uid_of("capture series", uid)
    made.SeriesNumber, made.InstanceNumber = SERIES_NUMBERS["montage"], 1
    made.SeriesDescription = series_description("overview")
    made.ImageComments = NOT_DIAGNOSTIC
    made.BodyPartExamined, made.PatientOrientation = "HEAD", ""
    made.BurnedInAnnotation = "NO"  # text, but none that tells of the patient
    made.Manufacturer = made.ManufacturerModelName = made.SecondaryCaptureDeviceManufacturer = MAKER
    made.SoftwareVersions = made.SecondaryCaptureDeviceSoftwareVersions = VERSION
    made.Rows, made.Columns = picture.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    content = picture.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    return made
