"""Structured report of measurements (TID 1500): one group a lesion, referring to its segment and images.

Where no lesion was found, one group says so.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.ndimage import find_objects

from metseg.core.lesion import Lesion, LesionTable
from metseg.core.uid import uid_of
from metseg.io.dicom_marks import MAKER, NOT_DIAGNOSTIC, SERIES_NUMBERS, VERSION, series_description
from metseg.io.dicom_reference import Reference
from metseg.io.dicom_seg import tracked, tracking_id
from metseg.io.dicom_values import quiet

_DIGITS: Final = 4
# By pydicom's names. Basal ganglia has none, and the brainstem's (119238007) means a part of it.
_SITES: Final = {
    "frontal lobe": "FrontalLobe", "parietal lobe": "ParietalLobe", "temporal lobe": "TemporalLobe",
    "occipital lobe": "OccipitalLobe", "insula": "Insula", "thalamus": "Thalamus", "cerebellum": "Cerebellum",
}  # fmt: skip
_FOUND: Final = "Found and measured by software."
_NONE_FOUND: Final = "Software found no lesion, which does not exclude one."
_NOT_SEEN: Final = ("47492008", "SCT", "Not seen")


def make_sr(
    segmentation: Dataset | None,
    instances: NDArray[Any],
    lesions: LesionTable,
    reference: Reference,
    model: tuple[str, str],
    now: datetime,
) -> Dataset:
    """A Comprehensive 3D SR, ready to be written.

    Args:
        segmentation: what ``make_seg`` made of the same lesions; None where there is none. The report then says that
            the algorithm ran on the images and saw no lesion, which an archive can tell from one that never ran.
        instances: (columns, rows, slices) on the reference's grid, numbered as in ``lesions``.
        lesions: with their measures.
        reference: the series that both refer to.
        model: name and version of what found them.
        now: when it is made.
    """
    from highdicom.sr import Comprehensive3DSR

    judged = reference.series_uid if segmentation is None else str(segmentation.SOPInstanceUID)
    told = [(judged, *_numbers(lesion), lesion.side, lesion.location) for lesion in lesions]
    measures = repr(told or judged)
    uid = uid_of("sr", measures, *model, VERSION)
    with quiet():
        if segmentation is None:
            groups, said = [_nothing_seen(reference, model, uid)], _NONE_FOUND
        else:
            groups, said = _groups(segmentation, instances, lesions, reference, model), _FOUND
        return Comprehensive3DSR(
            evidence=[*([] if segmentation is None else [segmentation]), *_evidence(reference)],
            content=_report(groups, said, reference, model),
            series_instance_uid=uid_of("sr series", uid),
            series_number=SERIES_NUMBERS["sr"],
            sop_instance_uid=uid,
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=VERSION,
            device_serial_number="none",
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description=series_description("measurements"),
            content_date=now.date(),
            content_time=now.time(),
            specific_character_set="ISO_IR 192",
        )


def _report(groups: list[Any], said: str, reference: Reference, model: tuple[str, str]) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_of(MAKER, VERSION, *model),
        name=f"{MAKER} (research software)",
        manufacturer_name=MAKER,
        model_name=f"{MAKER} {VERSION}",
    )
    device = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=observer)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.BrainMRI if reference.modality == "MR" else codes.SCT.ComputedTomographyOfHead,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    comment = sr.TextContentItem(
        name=codes.DCM.Comment,
        value=f"{NOT_DIAGNOSTIC}. {said} To be checked.",
        relationship_type="CONTAINS",
    )
    report[0].ContentSequence.append(comment)
    return report


def _groups(
    segmentation: Dataset,
    instances: NDArray[Any],
    lesions: LesionTable,
    reference: Reference,
    model: tuple[str, str],
) -> list[Any]:
    boxes = find_objects(instances)
    touched = []
    for lesion in lesions:
        box = boxes[lesion.id - 1]
        planes = np.flatnonzero((instances[box] == lesion.id).any(axis=(0, 1)))
        touched.append(set((planes + box[2].start).tolist()))
    return [_group(segmentation, one, planes, reference, model) for one, planes in zip(lesions, touched)]


def _group(
    segmentation: Dataset, lesion: Lesion, touched: set[int], reference: Reference, model: tuple[str, str]
) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    uid = tracked(lesion)
    images = [
        sr.SourceImageForSegmentation(
            reference.slices[ks[0]].sop_class,
            instance,
            [k_frame for k in ks if k in touched and (k_frame := reference.slices[k].frame) is not None] or None,
        )
        for instance, ks in reference.by_instance().items()
        if touched & set(ks)
    ]
    segment = sr.ReferencedSegment(
        segmentation.SOPClassUID, segmentation.SOPInstanceUID, segment_number=lesion.id, source_images=images
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier=tracking_id(uid)),
        referenced_segment=segment,
        finding_type=codes.SCT.NeoplasmMetastatic,
        finding_sites=[_site(lesion)],
        algorithm_id=_algorithm(model),
        measurements=list(_measurements(lesion)),
    )


def _site(lesion: Lesion) -> Any:
    """The part of the brain where it is one that pydicom has a SNOMED code for, with its side; else the brain."""
    from highdicom.sr import FindingSite
    from pydicom.sr.codedict import codes

    regions = lesion.location.regions if lesion.location else ()
    name = _SITES.get(regions[0]) if len(regions) == 1 else None
    if name is None:
        return FindingSite(anatomic_location=codes.SCT.Brain)
    laterality = {"left": codes.SCT.Left, "right": codes.SCT.Right}.get(lesion.side or "")
    return FindingSite(anatomic_location=getattr(codes.SCT, name), laterality=laterality)


def _nothing_seen(reference: Reference, model: tuple[str, str], uid: str) -> Any:
    """A group without a region (TID 1501): metastases in the brain were looked for on these images, and none was seen.

    "Not seen" is what software can say; whether one is absent it cannot.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    tracked_uid = uid_of("nothing seen", uid)
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=tracked_uid, identifier="no lesion"),
        finding_type=codes.SCT.NeoplasmMetastatic,
        finding_sites=[sr.FindingSite(anatomic_location=codes.SCT.Brain)],
        algorithm_id=_algorithm(model),
        measurements=[sr.Measurement(name=codes.SCT.NumberOfLesions, value=0, unit=codes.UCUM.NoUnits)],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=codes.DCM.PresenceOfProperty, value=sr.CodedConcept(*_NOT_SEEN))
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(reference.slices[ks[0]].sop_class, instance)
            for instance, ks in reference.by_instance().items()
        ],
    )


def _algorithm(model: tuple[str, str]) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    return sr.AlgorithmIdentification(
        name=f"{MAKER} {model[0]}",
        version=f"{MAKER} {VERSION}, model {model[1]}",
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MAKER,
    )


def _measurements(lesion: Lesion) -> Iterator[Any]:
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    volume, longest, across, confidence = _numbers(lesion)
    yield Measurement(name=codes.SCT.Volume, value=volume, unit=codes.UCUM.CubicMillimeter)
    yield Measurement(name=codes.SCT.LongAxis, value=longest, unit=codes.UCUM.Millimeter)
    yield Measurement(name=codes.SCT.PerpendicularAxis, value=across, unit=codes.UCUM.Millimeter)
    if confidence is not None:
        yield Measurement(name=codes.DCM.CertaintyOfFinding, value=confidence, unit=codes.UCUM.Percent)


def _numbers(lesion: Lesion) -> tuple[float, float, float, float | None]:
    """Volume in mm³, longest axial diameter and its perpendicular in mm, confidence in percent."""
    lengths = (round(x, _DIGITS) for x in (lesion.volume_mm3, lesion.diameter_mm, lesion.perpendicular_mm))
    volume, longest, across = lengths
    return volume, longest, across, None if lesion.confidence is None else round(100 * lesion.confidence, 2)


def _evidence(reference: Reference) -> list[Dataset]:
    """Each image object of the series, as far as evidence needs it."""
    found = []
    for uid, ks in reference.by_instance().items():
        image = Dataset()
        image.update(reference.filing)
        image.SOPClassUID, image.SOPInstanceUID = reference.slices[ks[0]].sop_class, uid
        image.SeriesInstanceUID, image.Modality = reference.series_uid, reference.modality
        found.append(image)
    return found
