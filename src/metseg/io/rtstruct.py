"""RT Structure Sets (PS3.3 A.19): one region of interest a lesion, as closed planar contours in patient space.

Contours run along the edges of voxels, so each encloses exactly the voxels of its slice: whatever reads them, by area
or by the centres of pixels, on this grid or one that is shifted in the plane, finds the same volume. Holes are joined
to the outline by a channel of no width (the keyhole technique of PS3.3 C.8.8.6.3), as systems that read only
``CLOSED_PLANAR`` need it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from metseg.core.uid import uid_of
from metseg.io.dicom_marks import LABEL, MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import Reference
from metseg.io.rt_regions import Region
from metseg.lesions.outline import Outline

_CLASS: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_CLASS: Final = "1.2.840.10008.3.1.2.3.1"
_CODES: Final = {
    "GTV": ("228791009", "Gross tumor volume"),
    "PTV": ("228793007", "Planning target volume"),
}


def make_rtstruct(regions: Sequence[Region], reference: Reference, model: str, now: datetime) -> Dataset:
    """A structure set, ready to be written; its contours are text until it is read again.

    Args:
        regions: at least one.
        reference: the series that its contours lie on.
        model: name and version of what found the lesions.
        now: when it is made.
    """
    contours = [[(k, _contour_data(polygon, k, reference)) for k, polygon in one.contours] for one in regions]
    content = repr([(region.name, data) for region, data in zip(regions, contours)])
    made = Dataset()
    made.update(reference.filing)
    _say_what(made, reference, content, model, now)
    frame_of_reference = reference.filing.FrameOfReferenceUID
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(reference)]
    made.StructureSetROISequence = []
    made.ROIContourSequence = []
    made.RTROIObservationsSequence = []
    for number, (region, data) in enumerate(zip(regions, contours), 1):
        made.StructureSetROISequence.append(_roi(region, number, frame_of_reference, model))
        made.ROIContourSequence.append(_roi_contours(region, number, data, reference))
        made.RTROIObservationsSequence.append(_observation(region, number))
    return made


def _say_what(made: Dataset, reference: Reference, content: str, model: str, now: datetime) -> None:
    """Modules SOP Common, RT Series, General Equipment, Structure Set and Approval."""
    uid = UID(uid_of("rtstruct", reference.series_uid, content, model, VERSION))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # long contours do not fit the lengths of an explicit VR
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID(_CLASS)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.InstanceCreationDate = made.StructureSetDate = made.SeriesDate = f"{now:%Y%m%d}"
    made.InstanceCreationTime = made.StructureSetTime = made.SeriesTime = f"{now:%H%M%S}"
    made.Modality = "RTSTRUCT"
    made.SeriesInstanceUID = uid_of("rtstruct series", uid)
    made.SeriesNumber = SERIES_NUMBERS["rtstruct"]
    made.InstanceNumber = 1
    made.SeriesDescription = series_description("contours")
    made.OperatorsName = ""
    made.Manufacturer = made.ManufacturerModelName = MAKER
    made.SoftwareVersions = VERSION
    made.StructureSetLabel = LABEL
    made.StructureSetName = f"{MAKER} lesions"
    made.StructureSetDescription = f"{NOT_DIAGNOSTIC}. Found by {MAKER} {VERSION}, model {model}. To be checked."
    made.ApprovalStatus = "UNAPPROVED"


def _referenced_frame(reference: Reference) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = reference.series_uid
    series.ContourImageSequence = [one.item() for one in reference.slices]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = reference.filing.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = reference.filing.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi(region: Region, number: int, frame_of_reference: str, model: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = frame_of_reference
    roi.ROIName = region.name
    roi.ROIDescription = region.description
    roi.ROIVolume = f"{region.volume_mm3 / 1000:.6f}"
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = f"{MAKER} {VERSION}, {model}"[:64]
    return roi


def _roi_contours(region: Region, number: int, data: list[tuple[int, list[str]]], reference: Reference) -> Dataset:
    roi = Dataset()
    roi.ROIDisplayColor = list(region.colour)
    roi.ReferencedROINumber = number
    roi.ContourSequence = []
    for count, (k, values) in enumerate(data, 1):
        contour = Dataset()
        contour.ContourNumber = count
        contour.ContourImageSequence = [reference.slices[k].item()]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(values) // 3
        # As one text: each number as an element of its own would be checked by pydicom, which takes long.
        contour.add(DataElement("ContourData", "DS", "\\".join(values), already_converted=True))
        roi.ContourSequence.append(contour)
    return roi


def _observation(region: Region, number: int) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodeMeaning = _CODES[region.kind]
    code.CodingSchemeDesignator = "SCT"
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.ROIObservationLabel = region.name
    observation.RTROIIdentificationCodeSequence = [code]
    observation.RTROIInterpretedType = region.kind
    observation.ROIInterpreter = ""
    return observation


def _contour_data(polygon: Outline, k: int, reference: Reference) -> list[str]:
    """Corners as x, y, z in DICOM's millimetres, to 0.1 µm."""
    corners = np.column_stack([polygon, np.full(len(polygon), float(k)), np.ones(len(polygon))])
    points = corners @ reference.to_lps[:3].T
    return [f"{x:.4f}" for x in (np.round(points, 4) + 0.0).ravel().tolist()]
