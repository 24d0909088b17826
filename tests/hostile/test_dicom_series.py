"""Series that are sound, or broken in the way slices lie: one test for each kind."""

import random
import shutil
import subprocess

import nibabel
import numpy as np
import pytest

from hostile.make_dicom import CANARY, affine_of, geometry, phantom, save, slices
from metseg.core.errors import InputError
from metseg.io.dicom import read_dicom


def refusal(folder, **options):
    """The sentence and the hint of the refusal; neither names the patient."""
    with pytest.raises(InputError) as caught:
        read_dicom([folder], **options)
    assert CANARY not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_voxels_and_affine_come_back_exactly(tmp_path, plane, modality):
    array = phantom(low=-1000 if modality == "CT" else 0)
    save(tmp_path, slices(array, modality, plane=plane))
    image = read_dicom([tmp_path], modality=modality)
    np.testing.assert_array_equal(image.volume.array, array)
    np.testing.assert_allclose(image.volume.grid.affine, affine_of(geometry(plane)), atol=1e-6)
    assert image.volume.array.dtype == np.float32
    assert image.headers["Modality"] == modality
    assert image.headers["ContrastBolusAgent"] == "absent"
    assert CANARY not in repr(image.headers) + repr(image.notes)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique", "reversed"])
def test_dcm2niix_reads_the_same(tmp_path, plane, modality):
    dcm2niix = pytest.importorskip("dcm2niix")
    made = slices(
        phantom(low=-900 if modality == "CT" else 0), modality, plane=plane if plane != "reversed" else "oblique"
    )
    if plane == "reversed":
        for ds in made:
            ds.InstanceNumber = 99 - ds.InstanceNumber
    save(tmp_path / "in", made)
    (tmp_path / "out").mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "x", "-o", str(tmp_path / "out"), str(tmp_path / "in")]
    subprocess.run(command, check=True, capture_output=True)
    theirs = nibabel.as_closest_canonical(nibabel.load(tmp_path / "out" / "x.nii"))
    volume = read_dicom([tmp_path / "in"]).volume
    ours = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.array, volume.grid.affine))
    np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), atol=1e-3)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)


def test_order_of_files_and_instance_numbers_do_not_matter(tmp_path):
    made = slices(plane="oblique")
    save(tmp_path / "a", made)
    straight = read_dicom([tmp_path / "a"])
    for ds in made:
        ds.InstanceNumber = 99 - ds.InstanceNumber
    random.Random(1).shuffle(made)
    save(tmp_path / "b", made)
    shuffled = read_dicom([tmp_path / "b"])
    np.testing.assert_array_equal(straight.volume.array, shuffled.volume.array)
    np.testing.assert_array_equal(straight.volume.grid.affine, shuffled.volume.grid.affine)
    assert straight.sha256 != shuffled.sha256  # other bytes


def test_hash_depends_on_bytes_not_on_names(tmp_path):
    made = slices()
    save(tmp_path / "a", made)
    save(tmp_path / "b", made[::-1], prefix="umgekehrt ä ")
    assert read_dicom([tmp_path / "a"]).sha256 == read_dicom([tmp_path / "b"]).sha256
    made[3].PatientComments = "changed"
    save(tmp_path / "c", made)
    assert read_dicom([tmp_path / "a"]).sha256 != read_dicom([tmp_path / "c"]).sha256


@pytest.mark.parametrize(("gone", "count"), [([5], 1), ([3, 4, 8], 3)])
def test_missing_slices_are_counted_and_located(tmp_path, gone, count):
    made = [ds for k, ds in enumerate(slices()) if k not in gone]
    save(tmp_path, made)
    message = refusal(tmp_path)
    assert f"lacks {count} slice" in message
    start = -40.75 + (gone[0] - 1) * 2.5
    assert f"{start:.2f} and " in message


def test_uneven_spacing_is_refused_with_positions(tmp_path):
    made = slices()
    made[6].ImagePositionPatient = [-13.25, 21.5, -40.75 + 6 * 2.5 + 0.4]
    save(tmp_path, made)
    message = refusal(tmp_path)
    assert "unevenly spaced" in message
    assert f"{-40.75 + 5 * 2.5:.2f}" in message


def test_rounding_of_positions_is_tolerated(tmp_path):
    made = slices()
    made[6].ImagePositionPatient = [-13.25, 21.5, -40.75 + 6 * 2.5 + 0.009]
    save(tmp_path, made)
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, phantom())


def test_slice_shifted_sideways_is_refused(tmp_path):
    made = slices()
    made[0].ImagePositionPatient = [-13.25 + 3, 21.5, -40.75]
    save(tmp_path, made)
    message = refusal(tmp_path)
    assert "shifted sideways" in message
    assert "at -40.75 mm" in message


def test_exact_duplicates_are_dropped_with_a_note(tmp_path):
    made = slices()
    paths = save(tmp_path, made)
    shutil.copy(paths[4], tmp_path / "copy of one")
    made[7].SOPInstanceUID = made[7].file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    save(tmp_path, [made[7]], prefix="sent again ")
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom())
    assert "2 exact copies of slices were left out." in image.notes


def test_whole_series_twice_is_read_once(tmp_path):
    save(tmp_path / "a", slices())
    save(tmp_path / "b", slices())
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom())
    assert "12 exact copies of slices were left out." in image.notes


def test_different_slices_at_one_position_are_refused(tmp_path):
    made = slices()
    save(tmp_path, [*made, slices(phantom(seed=5))[4]])
    message = refusal(tmp_path)
    assert "different slices at the same position" in message
    assert f"{-40.75 + 4 * 2.5:.2f}" in message


def test_two_echoes_are_split_and_the_first_used(tmp_path):
    first, second = slices(), slices(phantom(seed=7))
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        one.EchoTime, two.EchoTime = 3, 10
        two.SOPInstanceUID = two.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number + 1}"
    save(tmp_path, [*second, *first])
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom())
    assert any("2 volumes at the same positions, told apart by EchoTime" in note for note in image.notes)


def repeated(modality, *values_by_volume):
    """Volumes of one series at the same positions, each with its own header values; their arrays and data sets."""
    arrays = [phantom(seed=number) for number in range(len(values_by_volume))]
    made = []
    for number, (array, values) in enumerate(zip(arrays, values_by_volume, strict=True)):
        for k, ds in enumerate(slices(array, modality)):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number + 1}.{k + 1}"
            for keyword, value in values.items():
                setattr(ds, keyword, value)
            made.append(ds)
    return arrays, made


@pytest.mark.parametrize(
    ("keyword", "times"),
    [
        ("TemporalPositionIdentifier", (2, 10, 1)),
        ("TriggerTime", (900.5, 12000.25, 0)),
        ("AcquisitionNumber", (2, 3, 1)),
        ("AcquisitionTime", ("093000", "101500.5", "092959")),
    ],
)
def test_last_volume_in_time_is_used_with_a_warning(tmp_path, keyword, times):
    arrays, made = repeated("MR", *({keyword: time} for time in times))
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, arrays[1])
    (note,) = [note for note in image.notes if note.startswith("WARNING: ")]
    assert f"holds 3 volumes at the same positions, told apart by {keyword}; the last whole one in time" in note


def test_last_volume_in_time_that_lacks_slices_is_not_used(tmp_path):
    arrays, made = repeated("MR", *({"TemporalPositionIdentifier": time} for time in (1, 2, 3)))
    save(tmp_path, made[:-2])
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, arrays[1])


def test_volume_without_a_time_is_not_the_last(tmp_path):
    arrays, made = repeated("MR", {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, {})
    save(tmp_path, made)
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, arrays[1])


def test_first_echo_of_the_last_time_is_used(tmp_path):
    headers = [{"EchoTime": echo, "TemporalPositionIdentifier": time} for time in (1, 2) for echo in (3, 10)]
    arrays, made = repeated("MR", *headers)
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, arrays[2])
    assert any("EchoTime and TemporalPositionIdentifier" in note for note in image.notes)


def test_b_values_are_no_times(tmp_path):
    """Each b-value has its own acquisition number, too; the first, without diffusion weighting, is used."""
    headers = [{"DiffusionBValue": b, "AcquisitionNumber": number} for number, b in enumerate((0.0, 1000.0))]
    arrays, made = repeated("MR", *headers)
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, arrays[0])
    assert any("told apart by DiffusionBValue; the first was used." in note for note in image.notes)
    assert not any(note.startswith("WARNING") for note in image.notes)


def test_first_volume_of_a_repeated_ct_is_used(tmp_path):
    arrays, made = repeated("CT", {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2})
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, arrays[0])
    assert not any(note.startswith("WARNING") for note in image.notes)


def test_magnitude_is_used_not_phase(tmp_path):
    magnitude, phase = slices(), slices(phantom(seed=7))
    for number, (one, two) in enumerate(zip(magnitude, phase, strict=True)):
        one.ImageType, two.ImageType = ["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "P"]
        two.SOPInstanceUID = two.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{number + 1}"
    save(tmp_path, [*phase, *magnitude])
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, phantom())


@pytest.mark.parametrize("angle", [15, -22])
def test_gantry_tilt_is_corrected(tmp_path, angle):
    """A ball stays a ball at its place: the slices of a tilted gantry sample it along sheared axes."""
    tilt = np.radians(angle)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    placed = (row, column, (1.5, 1.2), np.array([0.0, 0, 2.0]), np.array([-30.0, -35, -29 - 34.5 * np.sin(tilt)]))
    centre, radius = np.array([4.0, -3, 2]), 18.0
    index = np.indices((50, 46, 30)).reshape(3, -1)
    step = np.stack([row * 1.2, column * 1.5, placed[3]], axis=1)
    distance = np.linalg.norm((step @ index).T + placed[4] - centre, axis=1).reshape(50, 46, 30)
    # A soft edge, so that linear interpolation is nearly exact.
    ball = np.round(-1000 + 1100 / (1 + np.exp((distance - radius) / 2))).astype(int)
    save(tmp_path, slices(ball, "CT", geometry=placed))
    image = read_dicom([tmp_path])
    assert any(f"tilted by {abs(angle)}.0°" in note for note in image.notes)
    grid, array = image.volume.grid, image.volume.array
    cosines = grid.direction.T @ grid.direction
    np.testing.assert_allclose(cosines, np.eye(3), atol=1e-6)
    found = grid.to_world(np.argwhere(array > -450).astype(float)) @ np.diag([-1, -1, 1])  # back in LPS
    np.testing.assert_allclose(found.mean(axis=0), centre, atol=0.15)
    volume = len(found) * grid.voxel_volume_mm3
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    everywhere = np.linalg.norm(
        grid.to_world(np.indices(grid.shape).reshape(3, -1).T) @ np.diag([-1, -1, 1]) - centre, axis=1
    )
    expected = (-1000 + 1100 / (1 + np.exp((everywhere - radius) / 2))).reshape(grid.shape)
    covered = array > -1000.5
    assert np.abs(array - expected)[covered].max() < 30
    assert array.min() >= -1024


def test_mixed_matrix_size_is_refused_by_position(tmp_path):
    made = slices()
    made[5] = slices(phantom((21, 16, 12)))[5]
    save(tmp_path, made)
    message = refusal(tmp_path)
    assert "mixes matrix sizes: 21×18, 21×16" in message
    assert f"{-40.75 + 5 * 2.5:.2f} mm (IM006)" in message


def test_mixed_pixel_size_is_refused(tmp_path):
    made = slices()
    made[5].PixelSpacing = [0.9, 1.3]
    save(tmp_path, made)
    assert "mixes pixel sizes: 1.3×0.8 mm, 1.3×0.9 mm; the odd slices lie at -28.25 mm (IM006)" in refusal(tmp_path)


def test_mixed_frame_of_reference_is_refused(tmp_path):
    made = slices()
    made[5].FrameOfReferenceUID = "1.2.4.4"
    save(tmp_path, made)
    assert "mixes frames of reference" in refusal(tmp_path)


def test_stray_orientation_is_refused(tmp_path):
    made = slices()
    made[5].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    save(tmp_path, made)
    assert "mixes orientations: 11 slices lie one way, 1 another" in refusal(tmp_path)


@pytest.mark.parametrize("shape", [(21, 18, 1), (21, 18, 7), (15, 18, 12), (21, 12, 12)])
def test_too_few_slices_or_pixels(tmp_path, shape):
    save(tmp_path, slices(phantom(shape)))
    message = refusal(tmp_path)
    assert "at least 8 are needed" in message if shape[2] < 8 else "at least 16 each way" in message


def test_slices_thinner_than_their_distance_are_noted(tmp_path):
    made = slices()
    for ds in made:
        ds.SliceThickness = 1
    save(tmp_path, made)
    assert any("lie 2.5 mm apart: lesions between them are not seen" in note for note in read_dicom([tmp_path]).notes)


def test_spacing_out_of_bounds_is_refused(tmp_path):
    save(tmp_path, slices(step_mm=12))
    assert "12 mm" in refusal(tmp_path)
