"""Padding of MR slices: never darker or brighter than what was measured."""

import numpy as np
import pytest

from hostile.make_dicom import phantom, save, set_pixels, slices
from metseg.io.dicom import read_dicom


def padded_mr(array, padding, *, signed=True, limit=None, photometric="MONOCHROME2"):
    """MR slices whose first four columns hold ``padding``, and ``limit`` in one of them."""
    padded = array.copy()
    padded[:4] = padding
    padded[2] = padding if limit is None else limit
    made = slices(array)
    kind = "SS" if signed else "US"
    for k, ds in enumerate(made):
        set_pixels(ds, padded[:, :, k].T, signed=signed)
        ds.PhotometricInterpretation = photometric
        ds.add_new("PixelPaddingValue", kind, padding)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", kind, limit)
    return made


@pytest.mark.parametrize(("low", "limit"), [(0, None), (-300, None), (0, -32000), (-300, -32000)])
def test_mr_padding_becomes_the_darkest_real_value_or_zero(tmp_path, low, limit):
    array = phantom(low=low) if low else phantom() + 5
    save(tmp_path, padded_mr(array, -32768, limit=limit))
    image = read_dicom([tmp_path])
    fill = min(0, int(array[4:].min()))
    assert (fill < 0) == (low < 0)
    array[:4] = fill
    np.testing.assert_array_equal(image.volume.array, array)
    assert f"{4 * 18 * 12} voxels of padding (PixelPaddingValue) were set to {fill}." in image.notes


def test_bright_mr_padding_does_not_stay_bright(tmp_path):
    array = phantom()
    save(tmp_path, padded_mr(array, 65535, signed=False))
    array[:4] = 0
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, array)


def test_mr_padding_of_each_slice_gets_the_value_of_the_whole_volume(tmp_path):
    array = phantom()
    array[4:, :, 11] -= 2500
    made = padded_mr(array, -32768)
    for ds in made:
        ds.RescaleSlope, ds.RescaleIntercept = 2, 7
    save(tmp_path, made)
    expected = array * 2 + 7
    expected[:4] = expected[4:].min()
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, expected)


def test_padding_of_an_inverted_mr_is_dark(tmp_path):
    array = phantom()
    save(tmp_path, padded_mr(65535 - array, 0, signed=False, photometric="MONOCHROME1"))
    array[:4] = 0
    np.testing.assert_array_equal(read_dicom([tmp_path]).volume.array, array)


def test_mr_padding_that_is_zero_already_needs_no_note(tmp_path):
    array = phantom()
    save(tmp_path, padded_mr(array, 0))
    array[:4] = 0
    image = read_dicom([tmp_path])
    np.testing.assert_array_equal(image.volume.array, array)
    assert not any("padding" in note for note in image.notes)


def test_copies_of_padded_mr_slices_are_left_out(tmp_path):
    made = padded_mr(phantom(), -32768)
    save(tmp_path, made)
    save(tmp_path, made[3:5], prefix="again")
    notes = read_dicom([tmp_path]).notes
    assert "2 exact copies of slices were left out." in notes
    assert f"{4 * 18 * 12} voxels of padding (PixelPaddingValue) were set to 0." in notes
