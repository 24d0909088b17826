"""Mask to RTSTRUCT and back, on awkward series, with a reader that shares nothing with the writer."""

import numpy as np
import pydicom
import pytest

from dicom_cases import GEOMETRIES, NOW, balls, drawn, findings, series
from metseg.core.volume import LabelMap
from metseg.io.rt_regions import make_regions
from metseg.io.rtstruct import make_rtstruct
from metseg.lesions.measure import measure_lesions
from metseg.testing.phantoms import Ellipsoid
from rt_reader import area_mm2, fill, read_rois

DIAMETERS = (18, 12, 8, 6, 5, 4, 3.5, 3, 2.5)


def exported(folder, reference, instances, margins=()):
    regions = make_regions(reference.carry(instances.array), reference, margins)
    path = folder / "rtstruct.dcm"
    make_rtstruct(regions, reference, "model 1", NOW).save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path), path


@pytest.mark.parametrize("name", GEOMETRIES)
def test_volumes_come_back(tmp_path, name):
    made, reference = series(tmp_path / "in", name)
    instances, lesions = drawn(reference.grid, balls(reference.grid, DIAMETERS))
    structures, path = exported(tmp_path, reference, instances)
    assert findings(path) == []
    rois = read_rois(structures)
    assert [(roi.name, roi.kind) for roi in rois] == [(f"GTV_{n:02d}", "GTV") for n in range(1, len(lesions) + 1)]
    pixel_mm2 = float(np.prod(reference.grid.spacing_mm[:2]))
    for roi, lesion in zip(rois, lesions, strict=True):
        by_area = sum(map(area_mm2, roi.contours)) * reference.grid.spacing_mm[2]
        by_pixels = fill(roi, made).sum() * pixel_mm2 * reference.grid.spacing_mm[2]
        assert by_area == pytest.approx(lesion.volume_mm3, rel=2e-3)
        assert by_pixels == pytest.approx(lesion.volume_mm3, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in GEOMETRIES if "tilted" not in name])
def test_the_very_voxels_come_back(tmp_path, name):
    """Where slices were not shifted, the pixels of the source are the voxels of the result."""
    made, reference = series(tmp_path / "in", name)
    ordered = [{str(one.SOPInstanceUID): one for one in made}[piece.sop_instance] for piece in reference.slices]
    instances, _ = drawn(reference.grid, balls(reference.grid, DIAMETERS))
    structures, _ = exported(tmp_path, reference, instances)
    for roi in read_rois(structures):
        assert np.array_equal(fill(roi, ordered) > 0.5, reference.carry(instances.array) == roi.number)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_lesion_on_the_left_stays_on_the_left(tmp_path, name):
    _, reference = series(tmp_path / "in", name)
    centre = reference.grid.to_world((np.array(reference.grid.shape) - 1) / 2)
    for offset in ((-9, 0, 0), (9, 0, 0), (0, 8, 0), (0, 0, 7)):  # RAS+: left, right, front, head
        place = centre + offset
        instances, _ = drawn(reference.grid, [Ellipsoid.sphere(tuple(place.tolist()), 8)])
        (roi,) = read_rois(exported(tmp_path, reference, instances)[0])
        points = np.concatenate(roi.contours)
        lps = (points.min(axis=0) + points.max(axis=0)) / 2
        assert lps == pytest.approx(place * (-1, -1, 1), abs=1.6)


def hard_mask(reference):
    """One voxel; one slice; a ring over two slices; a shell; voxels that touch at corners."""
    array = np.zeros(reference.grid.shape, dtype=np.uint32)
    array[15, 16, 4] = 1
    array[12:15, 30, 8] = 2
    array[20:29, 20:29, 10:12] = 3
    array[23:26, 23:26, 10:12] = 0
    array[40:51, 30:41, 15:24] = 4
    array[43:48, 33:38, 17:22] = 0
    array[45, 35, 19] = 4  # an island in the hollow
    for n in range(4):
        array[15 + n, 40 + n, 28 + n % 2] = 5
    return measure_lesions(LabelMap(array, reference.grid))


@pytest.mark.parametrize("name", ["axial", "oblique", "oblique and tilted"])
def test_small_hollow_and_broken_lesions(tmp_path, name):
    made, reference = series(tmp_path / "in", name)
    instances, lesions = hard_mask(reference)
    structures, path = exported(tmp_path, reference, instances)
    assert findings(path) == []
    voxel_mm3 = reference.grid.voxel_volume_mm3
    for roi, lesion in zip(read_rois(structures), lesions, strict=True):
        assert all(len(points) >= 4 for points in roi.contours)
        touched = np.flatnonzero((reference.carry(instances.array) == lesion.id).any(axis=(0, 1)))
        assert {reference.slices[k].sop_instance for k in touched} == set(roi.images)
        assert fill(roi, made).sum() == round(lesion.volume_mm3 / voxel_mm3)


def test_what_planning_systems_look_at(tmp_path):
    _, reference = series(tmp_path / "in", "oblique")
    instances, _ = drawn(reference.grid, balls(reference.grid, (12, 6)))
    structures, _ = exported(tmp_path, reference, instances, margins=(1.0, 2.5))
    names = [str(roi.ROIName) for roi in structures.StructureSetROISequence]
    assert names == ["GTV_01", "GTV_02", "PTV_01_1mm", "PTV_02_1mm", "PTV_01_2.5mm", "PTV_02_2.5mm"]
    frames = {str(roi.ReferencedFrameOfReferenceUID) for roi in structures.StructureSetROISequence}
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    assert frames == {str(frame.FrameOfReferenceUID)} == {"1.2.3.9"}
    (referenced,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert len(referenced.ContourImageSequence) == len(reference.slices)
    assert structures.StudyInstanceUID == "1.2.3"
    assert "not for primary diagnosis" in structures.SeriesDescription
    assert structures.ApprovalStatus == "UNAPPROVED"
    for roi in structures.ROIContourSequence:
        assert {str(contour.ContourGeometricType) for contour in roi.ContourSequence} == {"CLOSED_PLANAR"}
        assert max(len(x) for contour in roi.ContourSequence for x in map(str, contour.ContourData)) <= 16


def test_the_same_content_has_the_same_uids(tmp_path):
    _, reference = series(tmp_path / "in", "axial")
    instances, _ = drawn(reference.grid, balls(reference.grid, (12, 6)))
    first, _ = exported(tmp_path, reference, instances)
    again, _ = exported(tmp_path, reference, instances)
    other, _ = exported(tmp_path, reference, instances, margins=(1.0,))
    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.")
