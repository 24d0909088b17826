"""A DICOM series made of an image that was none, so that DICOM results have images to refer to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from metseg.core.grid import Grid
from metseg.core.study import Modality
from metseg.core.uid import uid_of
from metseg.core.volume import Volume
from metseg.io.dicom_marks import MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import CLASSES, Reference, ReferenceSlice, decimal

_TOP: Final = 65535
_HU_OFFSET: Final = 1024


@dataclass(frozen=True, eq=False)
class DerivedSeries:
    """A series and what results need to know of it.

    Args:
        reference: slices from foot to head.
        images: one data set a slice, in their order, ready to be written.
    """

    reference: Reference
    images: tuple[Dataset, ...]


def derive_series(volume: Volume, modality: Modality, sha256: str) -> DerivedSeries:
    """Nearly axial slices of a volume, each voxel as it lies, under a study and a patient made up for it.

    Rows run to the patient's left and columns to the back, as nearly as the voxel axes do. CT keeps whole Hounsfield
    units; MR, whose values have no unit, is scaled to 16 bits.

    Args:
        volume: the image; its axes at right angles.
        modality: ``"MR"`` or ``"CT"``.
        sha256: of the file's bytes: names patient and study.
    """
    reference = _turned(volume.grid, modality)
    stored = _stored(reference.carry(volume.array), modality)
    series = uid_of("derived series", sha256, volume.grid.affine.tobytes(), stored.tobytes(), VERSION)
    pieces = tuple(ReferenceSlice(CLASSES[modality], uid_of("derived", series, str(k))) for k in range(stored.shape[2]))
    filing = _filing(sha256, volume.grid)
    reference = replace(reference, slices=pieces, series_uid=series, filing=filing)
    window = np.percentile(stored[stored > stored.min()] if np.ptp(stored) else stored, (1, 99.5))
    images = tuple(_images(reference, stored, (float(window[0]), float(window[1]))))
    return DerivedSeries(reference, images)


def _turned(grid: Grid, modality: Modality) -> Reference:
    """The grid with its axes towards left, back and head, as nearly as they go, and how arrays come to it."""
    axes = grid.axis_order
    toward = (-1, -1, 1)
    flipped = [bool(grid.direction[world, axis] * toward[world] < 0) for world, axis in enumerate(axes)]
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, (old, flip) in enumerate(zip(axes, flipped)):
        turn[old, new] = -1 if flip else 1
        turn[old, 3] = grid.shape[old] - 1 if flip else 0
    shape = (grid.shape[axes[0]], grid.shape[axes[1]], grid.shape[axes[2]])
    return Reference(
        grid=Grid(shape, grid.affine @ turn),
        slices=(),
        modality=modality,
        series_uid="",
        filing=Dataset(),
        axes=axes,
        flipped=(flipped[0], flipped[1], flipped[2]),
    )


def _stored(array: NDArray[Any], modality: Modality) -> NDArray[np.uint16]:
    """Values as unsigned 16 bits."""
    values = array.astype(np.float64)
    if modality == "CT":
        return np.asarray(np.clip(np.rint(values) + _HU_OFFSET, 0, _TOP), dtype=np.uint16)
    low, high = float(values.min()), float(values.max())
    return np.asarray(np.rint((values - low) * (_TOP / (high - low) if high > low else 0.0)), dtype=np.uint16)


def _filing(sha256: str, grid: Grid) -> Dataset:
    """A patient and a study without a person: the same for the same file."""
    filing = Dataset()
    filing.SpecificCharacterSet = "ISO_IR 192"
    filing.PatientName = "Anonymous^Research"
    filing.PatientID = f"{MAKER}-{sha256[:12]}"
    filing.PatientBirthDate = filing.PatientSex = ""
    filing.PatientIdentityRemoved = "YES"
    filing.DeidentificationMethod = "Made of an image file that told of no patient"
    filing.StudyInstanceUID = uid_of("derived study", sha256)
    filing.StudyDate = filing.StudyTime = filing.AccessionNumber = filing.ReferringPhysicianName = ""
    filing.StudyID = sha256[:12]
    filing.FrameOfReferenceUID = uid_of("derived frame of reference", sha256, grid.affine.tobytes())
    filing.PositionReferenceIndicator = ""
    return filing


def _images(reference: Reference, stored: NDArray[np.uint16], window: tuple[float, float]) -> Iterator[Dataset]:
    shift = -_HU_OFFSET if reference.modality == "CT" else 0
    columns_mm, rows_mm, slices_mm = reference.grid.spacing_mm
    for k, piece in enumerate(reference.slices):
        image = Dataset()
        image.update(reference.filing)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID(piece.sop_class)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(piece.sop_instance)
        image.Modality, image.SeriesInstanceUID = reference.modality, reference.series_uid
        image.SeriesNumber, image.InstanceNumber = SERIES_NUMBERS["derived"], k + 1
        image.SeriesDescription = series_description("images")
        image.ImageComments = f"{NOT_DIAGNOSTIC}. Made of an image file; patient and study are made up."
        image.Manufacturer = image.ManufacturerModelName = MAKER
        image.SoftwareVersions = VERSION
        image.BodyPartExamined, image.PatientPosition = "HEAD", ""
        image.BurnedInAnnotation = "NO"
        _say_how(image, reference.modality)
        image.PixelSpacing = [decimal(rows_mm), decimal(columns_mm)]
        image.SliceThickness = decimal(slices_mm)
        image.ImageOrientationPatient = [decimal(x) for x in reference.unit_axes.ravel()]
        image.ImagePositionPatient = [decimal(x) for x in reference.position(k)]
        image.WindowCenter = decimal(sum(window) / 2 + shift)
        image.WindowWidth = decimal(max(1.0, window[1] - window[0]))
        image.Columns, image.Rows = reference.grid.shape[:2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelData = np.ascontiguousarray(stored[:, :, k].T).astype("<u2").tobytes()
        yield image


def _say_how(image: Dataset, modality: Modality) -> None:
    """What MR and CT images must tell of their acquisition, as far as it is known: not at all."""
    if modality == "CT":
        image.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        image.KVP = image.AcquisitionNumber = None
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = -_HU_OFFSET, 1, "HU"
        return
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "RM", "NONE", ""
    image.MRAcquisitionType = ""
    image.RepetitionTime = image.EchoTime = image.EchoTrainLength = None
