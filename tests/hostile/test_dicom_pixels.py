"""Pixels: scales, signs, compression, multi-frame objects, and what is broken in them."""

import contextlib
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from hostile.make_dicom import CANARY, affine_of, enhanced, geometry, phantom, save, set_pixels, slices
from metseg.core.errors import InputError
from metseg.io.dicom import read_dicom
from metseg.io.dicom_values import quiet

UIDS = {"JPEGLosslessProcess14": "JPEGLossless", "JPEGLosslessProcess14_1": "JPEGLosslessSV1"}
FOREIGN_KINDS = ["", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless"]
LARGE = (40, 36, 8)  # the smallest that the JPEG 2000 encoder takes


def refusal(folder):
    with pytest.raises(InputError) as caught:
        read_dicom([folder])
    assert CANARY not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


def test_each_slice_is_rescaled_by_its_own(tmp_path):
    made = slices()
    for k, ds in enumerate(made):
        ds.RescaleSlope, ds.RescaleIntercept = k + 1, 10 - k
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    k = np.arange(12)
    np.testing.assert_allclose(image.volume.array, phantom() * (k + 1) + 10 - k)
    assert any("different scales" in note for note in image.notes)


@pytest.mark.parametrize(("signed", "bits"), [(True, 16), (True, 12), (False, 12)])
def test_signed_and_narrow_pixels(tmp_path, signed, bits):
    array = phantom(low=-900 if signed else 0)
    made = slices(array, "CT", intercept=0)
    for k, ds in enumerate(made):
        set_pixels(ds, array[:, :, k].T, signed=signed, bits=bits)
    if bits == 12:  # what the unused bits hold must not matter
        for ds in made:
            pixels = np.frombuffer(ds.PixelData, "<u2") & 0x0FFF
            ds.PixelData = (pixels | 0x5000).tobytes()
    save(tmp_path, made)
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, array)


def test_monochrome1_mr_is_inverted(tmp_path):
    made = slices()
    for k, ds in enumerate(made):
        set_pixels(ds, 4095 - phantom()[:, :, k].T, bits=12)
        ds.PhotometricInterpretation = "MONOCHROME1"
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom())
    assert any("MONOCHROME1" in note for note in image.notes)


def test_monochrome1_ct_keeps_its_hounsfield_units(tmp_path):
    """The interpretation tells how to display; Hounsfield units stay what they are."""
    made = slices(phantom(low=-900), "CT")
    for ds in made:
        ds.PhotometricInterpretation = "MONOCHROME1"
    save(tmp_path, made)
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, phantom(low=-900))


@pytest.mark.parametrize(("padding", "told"), [(-2000, True), (-3024, True), (-2000, False), (63536, True)])
def test_ct_padding_becomes_air(tmp_path, padding, told):
    array = phantom(low=-900)
    padded = array.copy()
    padded[:4] = padding if padding < 0 else -2000
    made = slices(padded, "CT", intercept=0)
    for k, ds in enumerate(made):
        set_pixels(ds, padded[:, :, k].T, signed=True)
        if told:
            ds.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
    save(tmp_path, made)
    image = read_dicom([tmp_path])
    array[:4] = -1024
    np.testing.assert_array_equal(image.volume.array, array)
    assert any(f"{4 * 18 * 12:,} voxels of padding" in note for note in image.notes)


def test_ct_without_rescaling_is_noted(tmp_path):
    made = slices(phantom(), "CT", intercept=0)
    for ds in made:
        del ds.RescaleSlope, ds.RescaleIntercept
    save(tmp_path, made)
    assert any("no RescaleIntercept" in note for note in read_dicom([tmp_path]).notes)


@pytest.mark.parametrize(
    ("syntax", "plugin"), [(RLELossless, "pydicom"), (JPEG2000Lossless, "pylibjpeg"), (JPEGLSLossless, "pyjpegls")]
)
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_series(tmp_path, syntax, plugin, signed):
    array = phantom(LARGE, low=-900 if signed else 0)
    made = slices(array, "CT", intercept=0)
    for k, ds in enumerate(made):
        set_pixels(ds, array[:, :, k].T, signed=signed)
        # JPEG-LS knows no sign: the bits are compressed as they are.
        options = {"jls_error": 0} if syntax == JPEGLSLossless else {}
        ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **options)
    save(tmp_path, made)
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, array)


@pytest.mark.parametrize("kind", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
def test_lossless_jpeg_series(tmp_path, kind):
    gdcm = pytest.importorskip("gdcm")
    for path in save(tmp_path, slices()):
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom())
    assert pydicom.dcmread(image.paths[0]).file_meta.TransferSyntaxUID == getattr(pydicom.uid, UIDS[kind])


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("lost", [12, 40, 300])
def test_truncated_pixels_are_refused_by_name(tmp_path, syntax, lost):
    made = slices(phantom(LARGE))
    if syntax:
        for ds in made:
            ds.compress(syntax, generate_instance_uid=False)
    paths = save(tmp_path, made)
    paths[6].write_bytes(paths[6].read_bytes()[:-lost])
    assert "IM007" in refusal(tmp_path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_codestream_of_another_size_is_refused(tmp_path, syntax):
    made, other = slices(phantom(LARGE)), slices(phantom((40, 38, 8)))
    for ds in (*made, *other):
        ds.compress(syntax, generate_instance_uid=False)
    made[4].PixelData = other[4].PixelData
    save(tmp_path, made)
    assert "IM005" in refusal(tmp_path)


def test_pixels_longer_than_declared_are_refused(tmp_path):
    made = slices()
    made[2].PixelData += bytes([1]) * 42
    save(tmp_path, made)
    assert "IM003 holds 798 bytes of pixels, but its header declares 756" in refusal(tmp_path)


def test_no_pixels_are_refused(tmp_path):
    made = slices()
    del made[2].PixelData
    save(tmp_path, made)
    assert "IM003 holds no pixels" in refusal(tmp_path)


def test_constant_image_is_refused(tmp_path):
    save(tmp_path, slices(np.full((21, 18, 12), 7)))
    assert "constant" in refusal(tmp_path)


def write_value(ds, path, keyword, value):
    """Write ``ds`` with the bytes ``value`` as ``keyword``, whatever they are; None leaves the attribute out."""
    if value is None:
        del ds[keyword]
    else:
        ds.add_new(keyword, "DS", "9" * len(value))
    ds.save_as(path)
    if value is not None:
        path.write_bytes(path.read_bytes().replace(b"9" * len(value), value))


@pytest.mark.parametrize(
    ("keyword", "value", "finding"),
    [
        ("ImagePositionPatient", None, "it has no ImagePositionPatient"),
        ("ImageOrientationPatient", None, "it has no ImageOrientationPatient"),
        ("PixelSpacing", None, "it has no PixelSpacing"),
        ("ImagePositionPatient", b"1.0\\2.0 ", "has 2 values instead of 3"),
        ("PixelSpacing", b"0\\0 ", "PixelSpacing is not above zero"),
        ("PixelSpacing", b"0,8\\1,3 ", "PixelSpacing"),
        ("ImagePositionPatient", b"1\\2,5\\ZEBRAFINK ", "ImagePositionPatient"),
        ("ImagePositionPatient", b"NaN\\0\\0 ", "ImagePositionPatient is not finite"),
        ("ImagePositionPatient", b"1e999\\0\\0 ", "ImagePositionPatient is not finite"),
        ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 ", "not two unit vectors"),
        ("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0 ", "not two unit vectors"),
        ("RescaleSlope", b"0 ", "RescaleSlope is zero"),
        ("RescaleSlope", b"inf ", "RescaleSlope is not finite"),
    ],
)
def test_unusable_header_values_are_refused_by_name(tmp_path, keyword, value, finding):
    made = slices()
    paths = save(tmp_path, made)
    write_value(made[4], paths[4], keyword, value)
    message = refusal(tmp_path)
    assert finding in message
    assert "IM005" in message


def test_geometry_missing_everywhere_is_refused(tmp_path):
    made = slices()
    for ds in made:
        del ds.ImagePositionPatient
    save(tmp_path, made)
    assert "it has no ImagePositionPatient (and 11 more like it)" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"Rows": 17}, "mixes matrix sizes"),
        ({"Rows": 0}, "without Rows"),
        ({"HighBit": 11}, "bits"),
        ({"BitsStored": 17}, "bits"),
        ({"BitsAllocated": 12}, "bits"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "grey-scale"),
    ],
)
def test_contradictions_about_pixels_are_refused(tmp_path, changes, finding):
    made = slices()
    for keyword, value in changes.items():
        setattr(made[4], keyword, value)
    save(tmp_path, made, enforce_file_format=True)
    message = refusal(tmp_path)
    assert finding in message
    assert "IM005" in message


def test_size_declared_for_all_slices_must_be_that_of_the_pixels(tmp_path):
    made = slices()
    for ds in made:
        ds.Rows, ds.Columns = 2000, 2000
    save(tmp_path, made)
    assert "header declares 8,000,000 bytes" in refusal(tmp_path)
    for ds in made:
        ds.Rows, ds.Columns = 65535, 65535
    save(tmp_path, made)
    assert "declares 65535×65535×12 voxels" in refusal(tmp_path)


@pytest.mark.parametrize("modality", ["enhanced MR", "enhanced CT"])
@pytest.mark.parametrize("plane", ["coronal", "oblique"])
def test_enhanced_multiframe(tmp_path, modality, plane):
    order = [int(k) for k in np.random.default_rng(3).permutation(12)]
    slopes = [1.0 + (k % 3) for k in range(12)]
    array = phantom() // 6 * 6
    save(tmp_path, [enhanced(array, modality, order=order, slopes=slopes, plane=plane)])
    image = read_dicom([tmp_path])
    np.testing.assert_allclose(image.volume.array, array, atol=1e-4)
    np.testing.assert_allclose(image.volume.grid.affine, affine_of(geometry(plane)), atol=1e-6)


def test_enhanced_with_two_times_gives_the_last(tmp_path):
    save(tmp_path, [enhanced(volumes=2)])
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, phantom() + 1000)
    assert any(
        note.startswith("WARNING: ") and "2 volumes" in note and "TemporalPositionIndex" in note for note in image.notes
    )


def test_enhanced_compressed(tmp_path):
    ds = enhanced(phantom(LARGE), order=[3, 1, 0, 2, 7, 6, 5, 4])
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    save(tmp_path, [ds])
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, phantom(LARGE))


@pytest.mark.parametrize("frames", [11, 13, 2000000000])
def test_number_of_frames_that_lies_is_refused(tmp_path, frames):
    ds = enhanced()
    ds.NumberOfFrames = frames
    save(tmp_path, [ds])
    assert "IM001" in refusal(tmp_path)


def test_multiframe_without_geometry_is_refused(tmp_path):
    ds = enhanced()
    del ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence
    save(tmp_path, [ds])
    assert "several frames but does not say where each lies" in refusal(tmp_path)


def test_missing_slice_of_a_multiframe_is_refused(tmp_path):
    save(tmp_path, [enhanced(order=[k for k in range(12) if k != 5])])
    assert "lacks 1 slice" in refusal(tmp_path)


def read_or_refused(files):
    """The files of which an image could be read; anything but a typed refusal of the others is an error."""
    read = []
    for file in files:
        with contextlib.suppress(InputError):
            read.append((file.name, read_dicom([file])))
    return dict(read)


def test_foreign_files_are_read_or_refused_never_anything_else():
    """pydicom's own test files: odd, damaged, of every kind and transfer syntax."""
    files = [file for file in sorted((Path(pydicom.data.__file__).parent / "test_files").rglob("*")) if file.is_file()]
    assert len(files) > 70
    assert read_or_refused(files) == {}  # single slices, or no scans


def test_foreign_multiframe_files(tmp_path):
    """pydicom-data: none has a sound geometry; the multi-frame MR in five encodings gets one here."""
    data_store = pytest.importorskip("data_store")
    files = [file for folder in data_store.__path__ for file in sorted(Path(folder).rglob("*.dcm"))]
    assert len(files) > 30
    assert read_or_refused(files) == {}
    groups = enhanced(phantom((64, 64, 10)))
    arrays = {}
    for file in files:
        if file.name.startswith("emri_small"):
            with quiet():
                ds = pydicom.dcmread(file)
            ds.SharedFunctionalGroupsSequence = groups.SharedFunctionalGroupsSequence
            ds.PerFrameFunctionalGroupsSequence = groups.PerFrameFunctionalGroupsSequence
            ds.save_as(tmp_path / file.name)
            arrays |= {name: image.volume.array for name, image in read_or_refused([tmp_path / file.name]).items()}
    assert sorted(arrays) == [f"emri_small{kind}.dcm" for kind in FOREIGN_KINDS]
    for array in arrays.values():
        np.testing.assert_array_equal(array, arrays["emri_small.dcm"])
