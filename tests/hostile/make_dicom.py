"""Synthetic DICOM series from known arrays, and the ways to break them.

``slices(...)`` gives data sets in memory; a test changes what it wants to and writes them with ``save``. Arrays are
(columns, rows, slices), affines RAS+, as metseg returns them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

CLASSES = {
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "enhanced MR": "1.2.840.10008.5.1.4.1.1.4.1",
    "enhanced CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "secondary capture": "1.2.840.10008.5.1.4.1.1.7",
    "segmentation": "1.2.840.10008.5.1.4.1.1.66.4",
    "report": "1.2.840.10008.5.1.4.1.1.88.33",
}
CANARY = "ZEBRAFINK"  # stands in every attribute that tells of the patient
# Directions (LPS) of rows, of columns; slices go along their cross product.
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": Rotation.from_rotvec((11, -17, 23), degrees=True).as_matrix()[:, :2].T,
}
LPS = np.diag([-1.0, -1.0, 1.0])


def phantom(shape=(21, 18, 12), seed=0, low=0, high=1500):
    """Whole numbers, every slice and corner different; (columns, rows, slices)."""
    ramp = np.indices(shape).sum(axis=0) * 9
    return np.clip(ramp + np.random.default_rng(seed).integers(0, 300, shape) + low, low, high).astype(np.int32)


def geometry(plane="axial", pixel_mm=(0.8, 1.3), step_mm=2.5, origin=(-13.25, 21.5, -40.75)):
    """Row axis, column axis, pixel (rows, columns), slice step as an LPS vector, origin in LPS."""
    row, column = (np.array(axis, dtype=float) for axis in PLANES[plane])
    return row, column, pixel_mm, np.cross(row, column) * step_mm, np.array(origin)


def affine_of(geometry_):
    """The RAS+ affine that metseg should find."""
    row, column, pixel, step, origin = geometry_
    affine = np.eye(4)
    affine[:3, :3] = LPS @ np.stack([row * pixel[1], column * pixel[0], step], axis=1)
    affine[:3, 3] = LPS @ origin
    return affine


def slices(array=None, modality="MR", *, series=1, study="1.2.3", patient="A", intercept=None, **where):
    """One data set for each slice of ``array``; CT holds its values shifted by ``intercept``, -1024 unless given."""
    array = phantom() if array is None else array
    placed = where.pop("geometry", None) or geometry(**where)
    intercept = (-1024 if modality == "CT" else 0) if intercept is None else intercept
    uid = generate_uid(entropy_srcs=[study, str(series), patient])[:48].rstrip(".")
    made = []
    for k in range(array.shape[2]):
        ds = _image(modality, study, uid, series, patient)
        row, column, pixel, step, origin = placed
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        ds.InstanceNumber = k + 1
        ds.ImageOrientationPatient = [f"{x:.10f}" for x in (*row, *column)]
        ds.ImagePositionPatient = [f"{x:.8f}" for x in origin + k * step]
        ds.PixelSpacing = list(pixel)
        ds.SliceThickness = f"{np.linalg.norm(step):.5f}"
        if modality == "CT":
            ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, intercept, "HU"
        set_pixels(ds, array[:, :, k].T - intercept)
        made.append(ds)
    return made


def _image(modality, study, series_uid, series, patient):
    """What every object carries, the patient's identity included."""
    kind = CLASSES[modality]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(kind)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = f"{CANARY}^{patient}", f"{CANARY}-{patient}", "19500101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series_uid, f"{study}.9"
    ds.SeriesNumber, ds.StudyDate, ds.SeriesDescription = series, "20200102", f"T1 {CANARY}"
    ds.Modality = "CT" if "CT" in modality else "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if ds.Modality == "CT" else "M"]
    ds.AccessionNumber, ds.InstitutionName = CANARY, CANARY
    return ds


def set_pixels(ds, values, *, signed=False, bits=16):
    """Put whole numbers (rows, columns), or (frames, rows, columns), into ``ds``."""
    values = np.asarray(values)
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def save(folder: Path, datasets: Sequence[Dataset], prefix="IM", **options) -> list[Path]:
    """Write data sets as ``IM001`` … and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{number:03d}" for number in range(1, len(datasets) + 1)]
    for path, ds in zip(paths, datasets, strict=True):
        ds.save_as(path, enforce_file_format=options.get("enforce_file_format", True))
    return paths


def enhanced(array=None, modality="enhanced MR", *, order=None, volumes=1, slopes=None, **where):
    """One multi-frame object; geometry per frame, orientation and pixels shared.

    Args:
        array: (columns, rows, slices); further volumes hold it plus 1000 each.
        modality: ``"enhanced MR"`` or ``"enhanced CT"``.
        order: slice number of each frame within a volume.
        volumes: how many, told apart by TemporalPositionIndex.
        slopes: of each frame; intercepts are the negative of their slope.
        where: as ``geometry``.
    """
    array = phantom() if array is None else array
    row, column, pixel, step, origin = geometry(**where)
    order = list(range(array.shape[2])) if order is None else order
    ds = _image(modality, "1.2.3", "1.2.3.4", 5, "A")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [f"{x:.10f}" for x in (*row, *column)]
    measures.PixelSpacing, measures.SliceThickness = list(pixel), f"{np.linalg.norm(step):.5f}"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    frames, pixels = [], []
    for volume in range(volumes):
        for k in order:
            slope = slopes[k] if slopes else 1.0
            position, content, values, item = Dataset(), Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [f"{x:.8f}" for x in origin + k * step]
            content.TemporalPositionIndex, content.StackID, content.InStackPositionNumber = volume + 1, "1", k + 1
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slope, -slope, "US"
            item.PlanePositionSequence, item.FrameContentSequence = Items([position]), Items([content])
            item.PixelValueTransformationSequence = Items([values])
            frames.append(item)
            pixels.append((array[:, :, k].T + 1000 * volume) / slope + 1)
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    ds.NumberOfFrames = len(frames)
    set_pixels(ds, np.round(pixels))
    return ds
