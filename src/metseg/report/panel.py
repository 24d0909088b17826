"""A part of one slice on pixels, and what is drawn on it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Real
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw
from scipy.ndimage import find_objects

from metseg.lesions.outline import outlines
from metseg.report.contrast import Window
from metseg.report.style import BLACK, MARK, Colour, font, lesion_colour
from metseg.report.view import View

_FINER = 4  # outlines are drawn so many times larger, then shrunk: smooth lines
_REACH = 4  # pixels around a crop that bicubic interpolation may look at


@dataclass(frozen=True)
class Field:
    """A rectangle of a picture, in millimetres from the picture's top left corner; x to the right, y down."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, centre_mm: tuple[float, float], width: float, height: float) -> "Field":
        """A rectangle with this centre."""
        return cls(centre_mm[0] - width / 2, centre_mm[1] - height / 2, width, height)

    @property
    def centre_mm(self) -> tuple[float, float]:
        """Its middle."""
        return self.left + self.width / 2, self.top + self.height / 2

    def fitted(self, size: tuple[int, int]) -> "Field":
        """Grown about its centre until it has the shape of a panel of ``size`` pixels (width, height)."""
        scale = min(size[0] / self.width, size[1] / self.height)
        return Field.around(self.centre_mm, size[0] / scale, size[1] / scale)


@dataclass(frozen=True, eq=False)
class Panel:
    """A field of one slice on pixels; drawing on it changes its image.

    Args:
        image: RGB.
        view: which plane of which grid.
        field: what part of the plane; it has the image's shape.
    """

    image: Image.Image
    view: View
    field: Field

    @property
    def pixels_per_mm(self) -> float:
        """The scale, the same in both directions."""
        return self.image.width / self.field.width

    def to_pixels(self, xy: ArrayLike) -> Float[np.ndarray, "*batch 2"]:
        """Picture coordinates (…, 2) of the view to the panel's pixels, from its top left corner."""
        in_mm = np.asarray(xy, dtype=np.float64) * self.view.pixel_mm
        return np.asarray((in_mm - (self.field.left, self.field.top)) * self.pixels_per_mm)

    def outline(self, labels: Integer[np.ndarray, "rows columns"], width: float = 1.5) -> None:
        """Outline each label of a slice in its colour, ``width`` pixels wide, along the edges of its voxels."""
        for number, box in enumerate(find_objects(labels.astype(np.intp)), start=1):
            if not box or not self._shows(box):  # no voxel of this number, or none in sight
                continue
            for loop in outlines(labels[box] == number):
                corner = np.array((box[1].start, box[0].start))
                self._draw_loop(self.to_pixels(loop + corner), lesion_colour(number), width)

    def number(self, labels: Integer[np.ndarray, "rows columns"], number: int, size: int = 13) -> None:
        """Write a label's number beside it, on the side where there is room."""
        held = labels == number
        if not held.any():
            return
        (top, _), (left, right) = (_extent(held.any(axis=axis)) for axis in (1, 0))
        (x0, y), (x1, _) = self.to_pixels([(left, top), (right, top)])
        text, typeface = str(number), font(size, bold=True)
        x = x1 + 3 if x1 + 3 + typeface.getlength(text) < self.image.width - 16 else x0 - 3 - typeface.getlength(text)
        y = min(max(y - size, 2), self.image.height - size - 4)
        self.write((x, y), text, lesion_colour(number), size, bold=True)

    def frame(self, field: Field, colour: Colour = MARK) -> None:
        """Mark a field by its corners and by short strokes that point at its middle, as a sight."""
        draw = ImageDraw.Draw(self.image)
        (left, top), (right, bottom) = self._corners(field)
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        left, right = (min(max(x, 1), self.image.width - 2) for x in (left, right))
        top, bottom = (min(max(y, 1), self.image.height - 2) for y in (top, bottom))
        arm, stroke = max(4.0, (right - left) / 5), 7
        for x, inwards_x in ((left, arm), (right, -arm)):
            for y, inwards_y in ((top, arm), (bottom, -arm)):
                draw.line([(x + inwards_x, y), (x, y), (x, y + inwards_y)], fill=colour)
        for x, outwards in ((left, -stroke), (right, stroke)):
            draw.line([(x, middle_y), (x + outwards, middle_y)], fill=colour)
        for y, outwards in ((top, -stroke), (bottom, stroke)):
            draw.line([(middle_x, y), (middle_x, y + outwards)], fill=colour)

    def crosshair(self, xy: tuple[float, float], gap_mm: float, colour: Colour = MARK) -> None:
        """Two thin lines that cross at a point of the picture, left out within ``gap_mm`` of it."""
        draw = ImageDraw.Draw(self.image)
        x, y = self.to_pixels(xy).tolist()
        gap = max(gap_mm * self.pixels_per_mm, 5.0)
        far_x, far_y = self.image.width, self.image.height
        faint: Colour = (colour[0] // 2, colour[1] // 2, colour[2] // 2)
        for ends in (
            [(0, y), (x - gap, y)],
            [(x + gap, y), (far_x, y)],
            [(x, 0), (x, y - gap)],
            [(x, y + gap), (x, far_y)],
        ):
            draw.line(ends, fill=faint)

    def sides(self, size: int = 12) -> None:
        """Write which side of the patient lies at the left, the right and the top edge."""
        left, right, top, _ = self.view.sides
        middle = self.image.height / 2 - size / 2 - 1
        typeface = font(size, bold=True)
        self.write((4, middle), left, MARK, size, bold=True)
        self.write((self.image.width - 4 - typeface.getlength(right), middle), right, MARK, size, bold=True)
        self.write((self.image.width / 2 - typeface.getlength(top) / 2, 2), top, MARK, size, bold=True)

    def scale_bar(self, length_mm: int = 10, size: int = 12) -> None:
        """A bar of ``length_mm`` at the bottom right."""
        draw = ImageDraw.Draw(self.image)
        right, bottom = self.image.width - 8, self.image.height - 8
        left = right - length_mm * self.pixels_per_mm
        draw.rectangle([left - 1, bottom - 3, right + 1, bottom + 1], fill=BLACK)
        draw.rectangle([left, bottom - 2, right, bottom], fill=MARK)
        text = f"{length_mm} mm"
        x = (left + right) / 2 - font(size).getlength(text) / 2
        self.write((min(x, right - font(size).getlength(text)), bottom - size - 8), text, MARK, size)

    def caption(self, text: str, size: int = 12) -> None:
        """A line at the bottom left, on a dark ground."""
        top, width = self.image.height - size - 8, font(size).getlength(text) + 12
        ImageDraw.Draw(self.image).rectangle([0, top, width, self.image.height], fill=BLACK)
        self.write((6, top + 1), text, MARK, size)

    def write(self, xy: tuple[float, float], text: str, colour: Colour, size: int, *, bold: bool = False) -> None:
        """Text with a dark rim, legible on any tissue; ``xy`` is its top left corner."""
        draw = ImageDraw.Draw(self.image)
        draw.text(xy, text, fill=colour, font=font(size, bold=bold), stroke_width=2, stroke_fill=BLACK)

    def _corners(self, field: Field) -> tuple[tuple[float, float], tuple[float, float]]:
        left = (field.left - self.field.left) * self.pixels_per_mm
        top = (field.top - self.field.top) * self.pixels_per_mm
        return (left, top), (left + field.width * self.pixels_per_mm, top + field.height * self.pixels_per_mm)

    def _shows(self, box: tuple[slice, ...]) -> bool:
        """Does a part of the picture, (rows, columns), reach into the panel?"""
        rows, columns = box
        (left, top), (right, bottom) = self.to_pixels([(columns.start, rows.start), (columns.stop, rows.stop)]).tolist()
        return bool(left < self.image.width and right > 0 and top < self.image.height and bottom > 0)

    def _draw_loop(self, points: Float[np.ndarray, "points 2"], colour: Colour, width: float) -> None:
        """Draw a closed line smoothly: large, on a mask that is then shrunk."""
        margin = width + 2
        low = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(points.max(axis=0) + margin), self.image.size).astype(int)
        if (high <= low).any():
            return
        size = high - low
        mask = Image.new("L", (int(size[0]) * _FINER, int(size[1]) * _FINER))
        closed = np.concatenate([points, points[:2]])
        path = [(float(x), float(y)) for x, y in (closed - low) * _FINER]
        ImageDraw.Draw(mask).line(path, fill=255, width=max(round(width * _FINER), 1), joint="curve")
        self.image.paste(colour, (int(low[0]), int(low[1]), int(high[0]), int(high[1])), mask.reduce(_FINER))


def paint(
    view: View, array: Real[np.ndarray, "i j k"], index: int, window: Window, field: Field, size: tuple[int, int]
) -> Panel:
    """Show ``field`` of slice ``index`` on ``size`` pixels (width, height); beyond the scan is black.

    The field is grown to the shape of the panel first. Voxels are shown with their true proportions.
    """
    field = field.fitted(size)
    picture = view.slice(array, index)
    (width_mm, height_mm), (rows, columns) = view.pixel_mm, view.shape
    x = (field.left / width_mm, (field.left + field.width) / width_mm)
    y = (field.top / height_mm, (field.top + field.height) / height_mm)
    left, right = (int(np.floor(x[0])) - _REACH, int(np.ceil(x[1])) + _REACH)
    top, bottom = (int(np.floor(y[0])) - _REACH, int(np.ceil(y[1])) + _REACH)
    crop = np.zeros((bottom - top, right - left), dtype=np.uint8)
    r0, r1, c0, c1 = max(top, 0), min(bottom, rows), max(left, 0), min(right, columns)
    if r0 < r1 and c0 < c1:
        crop[r0 - top : r1 - top, c0 - left : c1 - left] = window.apply(picture[r0:r1, c0:c1])
    box = (x[0] - left, y[0] - top, x[1] - left, y[1] - top)
    image = Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC, box=box)
    return Panel(image.convert("RGB"), view, field)


def _extent(held: np.ndarray) -> tuple[int, int]:
    """First index that holds something, and one past the last."""
    where = np.flatnonzero(held)
    return int(where[0]), int(where[-1]) + 1
