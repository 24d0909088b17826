"""Mask to DICOM SEG and back: by highdicom's reader, and by dcmqi's where it is installed."""

import shutil
import subprocess
from dataclasses import replace

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from conftest import oblique_affine
from dicom_cases import GEOMETRIES, NOW, balls, drawn, findings, series
from hostile.make_dicom import enhanced, phantom, save
from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable, Location
from metseg.core.volume import LabelMap, Volume
from metseg.io.derived_series import derive_series
from metseg.io.dicom_reference import read_reference
from metseg.io.dicom_seg import make_seg
from metseg.io.dicom_sr import make_sr
from metseg.io.rt_regions import make_regions
from metseg.io.rtstruct import make_rtstruct
from metseg.lesions.measure import measure_lesions
from metseg.lesions.tracking import track_lesions
from metseg.testing.phantoms import Ellipsoid

MODEL = ("model", "1")


def written(folder, reference, instances, lesions, kind="binary"):
    lesions = track_lesions(lesions, instances, "0" * 64)
    path = folder / "seg.dcm"
    make_seg(reference.carry(instances.array), lesions, reference, MODEL, NOW, kind).save_as(path)
    return path, lesions


def voxels(path):
    """Where each segment's voxels lie, in LPS mm, as highdicom reads them."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    array = np.asarray(volume.array).squeeze()
    return {n: volume.map_indices_to_reference(np.argwhere(array == n)) for n in np.unique(array) if n}


def in_order(points):
    return points[np.lexsort(np.round(points, 2).T)]


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_voxel_lies_where_it_lay(tmp_path, name, kind):
    _, reference = series(tmp_path / "in", name)
    instances, lesions = drawn(reference.grid, balls(reference.grid, (16, 8, 4)))
    path, lesions = written(tmp_path, reference, instances, lesions, kind)
    found = voxels(path)
    assert len(found) == len(lesions)
    for lesion in lesions:
        expected = reference.grid.to_world(np.argwhere(instances.array == lesion.id)) * (-1, -1, 1)
        assert np.allclose(in_order(found[lesion.id]), in_order(expected), atol=1e-4)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_segments_refer_to_the_image_of_their_plane(tmp_path, name):
    made, reference = series(tmp_path / "in", name)
    images = {str(one.SOPInstanceUID): one for one in made}
    instances, lesions = drawn(reference.grid, balls(reference.grid, (12, 6)))
    path, _ = written(tmp_path, reference, instances, lesions)
    assert findings(path) == []
    normal = np.cross(*reference.unit_axes)
    for frame in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        image = images[str(source.ReferencedSOPInstanceUID)]
        apart = np.subtract(frame.PlanePositionSequence[0].ImagePositionPatient, image.ImagePositionPatient)
        assert abs(apart.astype(float) @ normal) < 1e-4
        assert source.SpatialLocationsPreserved == ("NO" if reference.resampled else "YES")
        assert reference.resampled == ("tilted" in name)


@pytest.mark.parametrize("name", ["axial, stored from the top", "oblique, stored from the end", "oblique and tilted"])
def test_dcmqi_reads_the_same_voxels(tmp_path, name):
    if shutil.which("segimage2itkimage") is None:
        pytest.skip("needs segimage2itkimage (dcmqi)")
    _, reference = series(tmp_path / "in", name)
    instances, lesions = drawn(reference.grid, balls(reference.grid, (16, 8, 4)))
    path, lesions = written(tmp_path, reference, instances, lesions)
    command = ["segimage2itkimage", "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    for lesion in lesions:
        image = nib.load(tmp_path / f"{lesion.id}.nii.gz")
        inside = np.argwhere(np.asanyarray(image.dataobj) == lesion.id)
        assert len(inside) == (instances.array == lesion.id).sum()
        assert nib.affines.apply_affine(image.affine, inside.mean(axis=0)) == pytest.approx(lesion.centre_mm, abs=1e-3)


def test_frames_of_one_object_are_referred_to_by_number(tmp_path):
    order = [3, 0, 7, 1, 9, 2, 11, 4, 8, 5, 10, 6]
    dataset = enhanced(phantom((40, 36, 12)), order=order, pixel_mm=(1.1, 0.9))
    reference = read_reference(save(tmp_path / "in", [dataset]), "MR")
    assert [piece.frame - 1 for piece in reference.slices] == [order.index(k) for k in range(12)]
    centre = tuple(reference.grid.to_world((20, 17, 6)).tolist())
    instances, lesions = drawn(reference.grid, [Ellipsoid.sphere(centre, 11)])
    path, lesions = written(tmp_path, reference, instances, lesions)
    assert findings(path) == []
    segmentation = pydicom.dcmread(path)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        item = dataset.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
        positions = [one.PlanePositionSequence[0].ImagePositionPatient for one in (frame, item)]
        assert np.allclose(*np.array(positions, dtype=float), atol=1e-6)
    array = reference.carry(instances.array)
    make_sr(segmentation, array, lesions, reference, MODEL, NOW).save_as(tmp_path / "sr.dcm")
    structures = make_rtstruct(make_regions(array, reference), reference, "model 1", NOW)
    structures.save_as(tmp_path / "rtstruct.dcm", enforce_file_format=True)
    assert findings(tmp_path / "sr.dcm") == findings(tmp_path / "rtstruct.dcm") == []
    touched = np.flatnonzero(array.any(axis=(0, 1)))
    contours = structures.ROIContourSequence[0].ContourSequence
    frames = [int(one.ContourImageSequence[0].ReferencedFrameNumber) for one in contours]
    assert frames == [order.index(k) + 1 for k in touched]


@pytest.mark.parametrize(
    ("side", "regions", "codes"),
    [
        ("left", ("frontal lobe",), ["83251001", "7771000"]), ("right", ("cerebellum",), ["113305005", "24028007"]),
        ("midline", ("thalamus",), ["42695009"]), (None, ("insula",), ["36169008"]),
        ("left", ("basal ganglia",), ["12738006"]), ("left", ("frontal lobe", "parietal lobe"), ["12738006"]),
        ("left", (), ["12738006"]),
    ],
)  # fmt: skip
def test_the_report_codes_the_place_it_is_sure_of_and_else_the_brain(tmp_path, side, regions, codes):
    _, reference = series(tmp_path / "in", next(iter(GEOMETRIES)))
    instances, lesions = drawn(reference.grid, balls(reference.grid, (16,)))
    path, lesions = written(tmp_path, reference, instances, lesions)
    place = Location(regions, 0.9) if regions else None
    lesions = LesionTable(tuple(replace(one, side=side, location=place) for one in lesions))
    array = reference.carry(instances.array)
    made = make_sr(pydicom.dcmread(path), array, lesions, reference, MODEL, NOW)
    made.save_as(tmp_path / "sr.dcm")
    assert findings(tmp_path / "sr.dcm") == []
    (site,) = [item for item in walked(made) if item.ConceptNameCodeSequence[0].CodeValue == "363698007"]
    modifiers = [item.ConceptCodeSequence[0].CodeValue for item in site.get("ContentSequence", [])]
    assert [site.ConceptCodeSequence[0].CodeValue, *modifiers] == codes


def walked(item):
    """Every coded item below one."""
    for each in item.get("ContentSequence", []):
        yield each
        yield from walked(each)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize(
    ("rotvec", "mirrored"), [((11, -17, 23), False), ((0, 0, 0), True), ((40, 30, -35), False), ((170, 10, 5), True)]
)
def test_derived_images_put_every_voxel_where_it_was(tmp_path, rotvec, mirrored, modality):
    affine = oblique_affine((0.7, 1.1, 2.9), rotvec)
    if mirrored:
        affine[:3, 1] *= -1
    grid = Grid((19, 17, 23), affine)
    values = np.random.default_rng(2).integers(-1000, 3000, grid.shape).astype(np.float32)
    derived = derive_series(Volume(values, grid), modality, "ab" * 32)
    save(tmp_path, derived.images)
    assert findings(tmp_path / "IM001") == []
    positions = []
    for image in derived.images:
        row, column = (np.array(image.ImageOrientationPatient[n : n + 3], dtype=float) for n in (0, 3))
        down, along = (float(x) for x in image.PixelSpacing)
        j, i = np.mgrid[: image.Rows, : image.Columns]
        lps = (
            np.array(image.ImagePositionPatient, dtype=float)
            + i[..., None] * along * row
            + j[..., None] * down * column
        )
        index = np.rint(grid.to_index(lps * (-1, -1, 1))).astype(int)
        assert np.allclose(grid.to_world(index), lps * (-1, -1, 1), atol=1e-4)
        stored = image.pixel_array.astype(float)
        if modality == "CT":
            stored = stored * float(image.RescaleSlope) + float(image.RescaleIntercept)
            assert np.array_equal(stored, values[tuple(np.moveaxis(index, -1, 0))])
        else:
            low, high = values.min(), values.max()
            stored = stored / 65535 * (high - low) + low
            assert np.allclose(stored, values[tuple(np.moveaxis(index, -1, 0))], atol=(high - low) / 65535)
        positions.append(lps[0, 0] @ np.cross(row, column))
    assert (np.diff(positions) > 0).all()
    first = derived.images[0]
    row, column = (np.array(first.ImageOrientationPatient[n : n + 3], dtype=float) for n in (0, 3))
    assert row @ (1, 0, 0) > 0
    assert column @ (0, 1, 0) > 0
    carried = derived.reference.carry(np.arange(grid.shape[0] * grid.shape[1] * grid.shape[2]).reshape(grid.shape))
    places = derived.reference.grid.to_world(np.argwhere(carried >= 0))
    back = np.rint(grid.to_index(places)).astype(int)
    assert np.array_equal(np.ravel_multi_index(back.T, grid.shape), carried.ravel())


def test_more_segments_than_a_byte_can_number(tmp_path):
    _, reference = series(tmp_path / "in", "axial")
    array = np.zeros(reference.grid.shape, dtype=np.uint32)
    places = array[1:-1:4, 1:-1:4, 2::30]
    places[:] = np.arange(1, places.size + 1).reshape(places.shape)
    instances, lesions = measure_lesions(LabelMap(array, reference.grid))
    assert len(lesions) > 256
    path, _ = written(tmp_path, reference, instances, lesions, "labelmap")
    assert {n: len(points) for n, points in voxels(path).items()} == {one.id: 1 for one in lesions}
