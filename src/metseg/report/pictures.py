"""The pictures of a case, drawn once for the preview and the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from metseg.core.lesion import Lesion, Point
from metseg.core.result import CaseResult
from metseg.report.contrast import Window, display_sequence, display_window, head_box
from metseg.report.glass import draw_glass
from metseg.report.montage import Box, draw_montage, head_field
from metseg.report.panel import Field, Panel, paint
from metseg.report.style import GROUND
from metseg.report.view import Plane, View

MOST_KEY_IMAGES: Final = 20
ZOOM_FIELD_MM: Final = 30.0
_AXIAL: Final = (270, 320)
_ZOOM: Final = (320, 320)
_THUMBNAIL: Final = (204, 157)
_GAP: Final = 6


@dataclass(frozen=True, eq=False)
class CasePictures:
    """What is drawn of a case.

    Args:
        overview: the montage of axial slices.
        slices: numbers of its slices, in the order shown.
        unseen: numbers of the lesions that none of these slices cuts.
        lesions: a key image for each of the first ``MOST_KEY_IMAGES`` lesions.
        middle_mm: the middle of the head as imaged, RAS+ millimetres.
        glass: the brain, or the head, seen through along three axes.
        glass_is_brain: whether it is the brain.
    """

    overview: Image.Image
    slices: tuple[int, ...]
    unseen: tuple[int, ...]
    lesions: tuple[Image.Image, ...]
    middle_mm: Point
    glass: Image.Image
    glass_is_brain: bool


def draw_pictures(result: CaseResult) -> CasePictures:
    """Draw the overview and the key images of a case."""
    window = display_window(result.study)
    head_alone = head_box(result.study)
    head = _with_lesions(head_alone, result)
    overview, slices = draw_montage(result, window, head)
    shown = result.lesions.lesions[:MOST_KEY_IMAGES]
    key_images = tuple(draw_lesion(result, each, window, head) for each in shown)
    x, y, z = result.study.grid.to_world([(first + stop - 1) / 2 for first, stop in head_alone]).tolist()
    glass, is_brain = draw_glass(result)
    return CasePictures(overview, tuple(slices), _unseen(result, slices), key_images, (x, y, z), glass, is_brain)


def _unseen(result: CaseResult, slices: Sequence[int]) -> tuple[int, ...]:
    axial = View(result.study.grid, "axial")
    seen = {number for index in slices for number in np.unique(axial.slice(result.instances.array, index)).tolist()}
    return tuple(lesion.id for lesion in result.lesions if lesion.id not in seen)


def draw_lesion(result: CaseResult, lesion: Lesion, window: Window, head: Box) -> Image.Image:
    """A lesion's key image: axial slice of its longest diameter, zoom without and with outlines, other two planes."""
    axial = View(result.study.grid, "axial")
    index = lesion.slice_number
    zoom_field = _zoom_field(axial, lesion)
    whole = _paint(result, axial, index, window, head_field(axial, head), _AXIAL)
    whole.outline(axial.slice(result.instances.array, index))
    whole.frame(zoom_field)
    whole.sides()
    whole.caption(f"axial {index}")
    plain = _paint(result, axial, index, window, zoom_field, _ZOOM)
    plain.scale_bar()
    outlined = _paint(result, axial, index, window, zoom_field, _ZOOM)
    labels = axial.slice(result.instances.array, index)
    outlined.outline(labels, width=2.0)
    outlined.number(labels, lesion.id, size=15)
    coronal, sagittal = (_thumbnail(result, lesion, plane, window, head) for plane in ("coronal", "sagittal"))
    return _strip(whole, plain, outlined, coronal, sagittal)


def _paint(result: CaseResult, view: View, index: int, window: Window, field: Field, size: tuple[int, int]) -> Panel:
    volume = result.study.images[display_sequence(result.study)]
    return paint(view, volume.array, index, window, field, size)


def _zoom_field(view: View, lesion: Lesion) -> Field:
    """A square around a lesion: 3 cm, or twice what the lesion measures."""
    centre = _box_centre(view, lesion)
    side = max(ZOOM_FIELD_MM, 2 * lesion.diameter_mm)
    return Field.around(centre, side, side)


def _box_centre(view: View, lesion: Lesion) -> tuple[float, float]:
    """Middle of a lesion's bounding box, in the view's millimetres."""
    middle = (np.array(lesion.bbox_ijk[0]) + np.array(lesion.bbox_ijk[1]) - 1) / 2
    x, y = (view.to_picture(middle) * view.pixel_mm).tolist()
    return x, y


def _thumbnail(result: CaseResult, lesion: Lesion, plane: Plane, window: Window, head: Box) -> Panel:
    view = View(result.study.grid, plane)
    index = _slice_through(result, lesion, view.axes[2])
    panel = _paint(result, view, index, window, head_field(view, head), _THUMBNAIL)
    panel.outline(view.slice(result.instances.array, index))
    middle = view.to_picture((np.array(lesion.bbox_ijk[0]) + np.array(lesion.bbox_ijk[1]) - 1) / 2)
    panel.crosshair((float(middle[0]), float(middle[1])), gap_mm=lesion.diameter_3d_mm / 2 + 4)
    panel.sides(size=11)
    panel.caption(f"{plane} {index}", size=11)
    return panel


def _slice_through(result: CaseResult, lesion: Lesion, axis: int) -> int:
    """The slice across a voxel axis that holds some of the lesion and lies nearest to its centre."""
    box = tuple(slice(first, stop) for first, stop in zip(*lesion.bbox_ijk, strict=True))
    held = (result.instances.array[box] == lesion.id).any(axis=tuple(a for a in range(3) if a != axis))
    candidates = np.flatnonzero(held) + lesion.bbox_ijk[0][axis]
    if not candidates.size:
        return int(np.clip(round(lesion.centre_ijk[axis]), 0, result.study.grid.shape[axis] - 1))
    return int(candidates[np.argmin(np.abs(candidates - lesion.centre_ijk[axis]))])


def _strip(whole: Panel, plain: Panel, outlined: Panel, coronal: Panel, sagittal: Panel) -> Image.Image:
    """Panels side by side; the two small ones above each other at the end."""
    width = _AXIAL[0] + 2 * _ZOOM[0] + _THUMBNAIL[0] + 3 * _GAP
    strip = Image.new("RGB", (width, _AXIAL[1]), GROUND)
    x = 0
    for panel in (whole, plain, outlined):
        strip.paste(panel.image, (x, 0))
        x += panel.image.width + _GAP
    strip.paste(coronal.image, (x, 0))
    strip.paste(sagittal.image, (x, _AXIAL[1] - _THUMBNAIL[1]))
    return strip


def _with_lesions(head: Box, result: CaseResult) -> Box:
    """A box that holds the head and every lesion."""
    boxes = [lesion.bbox_ijk for lesion in result.lesions]
    return tuple(
        (min([first, *(box[0][axis] for box in boxes)]), max([stop, *(box[1][axis] for box in boxes)]))
        for axis, (first, stop) in enumerate(head)
    )
