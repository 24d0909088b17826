"""DICOM Segmentation (PS3.3 A.51): one segment a lesion, on the slices of the series."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from metseg.core.lesion import Lesion, LesionTable
from metseg.core.uid import uid_of
from metseg.io.dicom_marks import LABEL, MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import CLASSES, Reference, decimal
from metseg.io.dicom_values import quiet

SegType = Literal["binary", "labelmap"]
_SHORT: Final = 8


def tracking_id(uid: str) -> str:
    """A name to call a lesion by, short and the same wherever its UID is."""
    return f"lesion {int(uid.rpartition('.')[2]) % 16**_SHORT:0{_SHORT}X}"


def make_seg(
    instances: NDArray[Any],
    lesions: LesionTable,
    reference: Reference,
    model: tuple[str, str],
    now: datetime,
    kind: SegType = "binary",
) -> Dataset:
    """A segmentation, ready to be written.

    Args:
        instances: (columns, rows, slices) on the reference's grid, numbered as in ``lesions``.
        lesions: at least one, each with a tracking UID.
        reference: the series.
        model: name and version of what found them.
        now: when it is made.
        kind: a bit a voxel for each lesion, which all readers know, or one number a voxel (labelmap).
    """
    from highdicom.seg import Segmentation

    occupied = np.flatnonzero(instances.any(axis=(0, 1)))
    planes = range(int(occupied.min()), int(occupied.max()) + 1)
    pixels = np.ascontiguousarray(instances[:, :, planes.start : planes.stop].transpose(2, 1, 0))
    pixels = pixels.astype(np.uint8 if len(lesions) < 256 else np.uint16)
    tracks = repr([lesion.tracking_uid for lesion in lesions])
    uid = uid_of("seg", kind, reference.series_uid, repr(list(planes)), pixels.tobytes(), tracks, *model, VERSION)
    with quiet():
        made = Segmentation(
            source_images=[_stand_in(reference, k) for k in planes],
            pixel_array=pixels,
            segmentation_type=kind.upper(),
            segment_descriptions=list(_descriptions(lesions, model)),
            series_instance_uid=uid_of("seg series", uid),
            series_number=SERIES_NUMBERS["seg"],
            sop_instance_uid=uid,
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=VERSION,
            device_serial_number="none",
            content_description=NOT_DIAGNOSTIC,
            content_creator_name=f"{MAKER}^software",
            content_label=LABEL,
            series_description=series_description("lesions"),
            content_qualification="RESEARCH",
            content_date=now.date(),
            content_time=now.time(),
        )
        _refer(made, reference, planes)
    return made


def _descriptions(lesions: LesionTable, model: tuple[str, str]) -> Iterator[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    name, version = model
    for lesion in lesions:
        yield SegmentDescription(
            segment_number=lesion.id,
            segment_label=f"GTV_{lesion.id:02d}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.NeoplasmMetastatic,
            algorithm_type="AUTOMATIC",
            algorithm_identification=AlgorithmIdentificationSequence(
                name=f"{MAKER} {name}"[:64],
                family=codes.DCM.ArtificialIntelligence,
                version=f"{MAKER} {VERSION}, model {version}"[:64],
                source=MAKER,
            ),
            tracking_uid=tracked(lesion),
            tracking_id=tracking_id(tracked(lesion)),
            anatomic_regions=[codes.SCT.Brain],
        )


def tracked(lesion: Lesion) -> str:
    """The lesion's tracking UID.

    Raises:
        ValueError: it has none.
    """
    if lesion.tracking_uid is None:
        message = "a lesion in a DICOM result needs a tracking UID"
        raise ValueError(message)
    return lesion.tracking_uid


def _stand_in(reference: Reference, k: int) -> Dataset:
    """Slice ``k`` as an image of its own on the result's grid, so that nothing else in a header plays a part."""
    image = Dataset()
    image.update(reference.filing)
    image.SOPClassUID, image.Modality = CLASSES[reference.modality], reference.modality
    # Frames of one object would share its UID and be refused: `_refer` puts the true references in.
    image.SOPInstanceUID = _stand_in_uid(reference, k)
    image.SeriesInstanceUID = reference.series_uid
    image.Columns, image.Rows = reference.grid.shape[:2]
    columns_mm, rows_mm, slices_mm = reference.grid.spacing_mm
    image.PixelSpacing = [decimal(rows_mm), decimal(columns_mm)]
    image.SliceThickness = decimal(slices_mm)
    image.SpacingBetweenSlices = decimal(slices_mm)
    image.ImageOrientationPatient = [decimal(x) for x in reference.unit_axes.ravel()]
    image.ImagePositionPatient = [decimal(x) for x in reference.position(k)]
    return image


def _refer(made: Any, reference: Reference, planes: range) -> None:
    """Put references to the true slices in the place of those to the stand-ins."""
    stand_ins = {_stand_in_uid(reference, k): k for k in planes}
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", []):
            for source in derivation.SourceImageSequence:
                k = stand_ins.get(str(source.ReferencedSOPInstanceUID))
                if k is None:  # segments of one plane share the item
                    continue
                source.update(reference.slices[k].item())
                if reference.resampled:
                    source.SpatialLocationsPreserved = "NO"
    series = Dataset()
    series.SeriesInstanceUID = reference.series_uid
    firsts = [reference.slices[ks[0]] for ks in reference.by_instance().values() if set(ks) & set(planes)]
    series.ReferencedInstanceSequence = [_whole(piece.item()) for piece in firsts]
    made.ReferencedSeriesSequence = [series]


def _stand_in_uid(reference: Reference, k: int) -> str:
    return uid_of("stand-in", reference.slices[k].sop_instance, str(k))


def _whole(item: Dataset) -> Dataset:
    """A reference without frame numbers: to all of an object."""
    if "ReferencedFrameNumber" in item:
        del item.ReferencedFrameNumber
    return item
