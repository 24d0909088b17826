"""The slice viewer: what lies where in the picture, on an oblique and anisotropic volume."""

from io import BytesIO

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from conftest import oblique_affine
from metseg.app.colours import colours
from metseg.app.slices import Look, canonical, picture
from metseg.app.windows import presets, window

SHAPE = (13, 11, 7)
LOOK = Look((0.0, 1.0), colours(2), 1.0)


@pytest.fixture
def black():
    return np.zeros(SHAPE, dtype=np.float32)


def stack_of(array):
    return canonical(Nifti1Image(array, oblique_affine()))


def decoded(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def centre_of(picture_, colour):
    rows, columns = np.nonzero((np.abs(picture_ - np.array(colour)) <= 2).all(axis=2))
    return columns.mean() / picture_.shape[1], rows.mean() / picture_.shape[0]


def test_a_place_in_millimetres_is_found_whatever_the_axes(black):
    affine = oblique_affine()
    for voxel in [(0, 0, 0), (12, 10, 6), (3, 9, 2)]:
        marked = black.copy()
        marked[voxel] = 1
        stack = stack_of(marked)
        mm = (affine @ [*voxel, 1])[:3].tolist()
        assert stack.array[stack.index_of(mm)] == 1


def test_axes_point_right_front_and_up(black):
    directions = np.diag(stack_of(black).affine[:3, :3])
    assert (directions > 0).all()


@pytest.mark.parametrize(
    ("plane", "axis_across", "axis_down"), [("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)]
)
def test_pictures_follow_the_radiological_convention(black, plane, axis_across, axis_down):
    """A lesion at the patient's right (or front) is left in the picture, one above (or in front) at its top."""
    image = stack_of(black)
    through = ({0, 1, 2} - {axis_across, axis_down}).pop()
    at = [n // 2 for n in image.array.shape]
    at[axis_across], at[axis_down] = image.array.shape[axis_across] - 1, image.array.shape[axis_down] - 1
    labels = np.zeros(image.array.shape, dtype=np.uint8)
    labels[tuple(at)] = 2
    middle = tuple(n // 2 for n in image.array.shape)
    made = decoded(picture(image, plane, middle, LOOK, labels=type(image)(labels, image.affine)))
    across, down = centre_of(made, colours(2)[1])
    assert across < 0.2
    assert down < 0.25
    spacing = image.spacing_mm
    mm = [image.array.shape[axis] * spacing[axis] for axis in (axis_across, axis_down)]
    assert made.shape[1] / made.shape[0] == pytest.approx(mm[0] / mm[1], rel=0.01)
    assert image.array.shape[through] > 0


def test_a_selected_lesion_stands_out(black):
    image = stack_of(black)
    i, j, k = (n // 2 for n in image.array.shape)
    labels = np.zeros(image.array.shape, dtype=np.uint8)
    labels[: i // 2], labels[-i // 2 :] = 1, 2
    chosen = Look((0.0, 1.0), colours(2), 0.8, selected=2)
    made = decoded(picture(image, "axial", (i, j, k), chosen, labels=type(image)(labels, image.affine)))
    # The first lies at the patient's left: right in the picture.
    assert made[20, -40].tolist() == pytest.approx([0.8 * 0.55 * part for part in colours(2)[0]], abs=1)
    assert made[20, 40].tolist() == pytest.approx([0.8 * part for part in colours(2)[1]], abs=1)


def test_probability_below_a_twentieth_is_not_shown(black):
    image = stack_of(black)
    low = type(image)(np.full(image.array.shape, 0.04), image.affine)
    high = type(image)(np.full(image.array.shape, 1.0), image.affine)
    middle = tuple(n // 2 for n in image.array.shape)
    assert decoded(picture(image, "axial", middle, LOOK, probability=low))[5, 5].tolist() == [0, 0, 0]
    assert decoded(picture(image, "axial", middle, LOOK, probability=high))[5, 5].tolist() == [230, 120, 0]


def test_ct_windows_are_the_usual_ones():
    nothing = np.zeros((2, 3, 4))
    assert {name: window(nothing, name) for name in presets("ct")} == {
        "brain": (0, 80),
        "stroke": (28, 36),
        "subdural": (-32.5, 182.5),
        "bone": (-800, 2000),
    }


def test_mr_windows_leave_the_background_out():
    values = np.concatenate([np.zeros(10_000), np.linspace(100, 200, 1001)])
    assert window(values, "auto") == pytest.approx((102, 199))
    assert window(np.full((3, 4, 5), 7.0), "auto") == (7.0, 8.0)
