"""Slices as pictures, for browsers without WebGL2: image, lesions in colour, crosshair, letters for the directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from metseg.app.colours import Colour
from metseg.app.windows import Window

PLANES: Final = ("axial", "coronal", "sagittal")
THROUGH: Final = {"axial": 2, "coronal": 1, "sagittal": 0}
# Left, right, top and bottom of the picture: radiological convention, the nose to the left.
_LETTERS: Final = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
_LONGEST: Final = 480
_FAINT: Final = 0.55
_LEAST_PROBABILITY: Final = 0.05
_CROSS: Final = (255, 255, 255)
Index = tuple[int, int, int]


@dataclass(frozen=True)
class Stack:
    """A volume whose axes point, as nearly as they can, to the right, to the front, and up.

    Args:
        array: i j k.
        affine: indices to RAS+ mm.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres along each axis."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    def index_of(self, mm: Sequence[float]) -> Index:
        """The voxel at a place, or the nearest one to it."""
        found = np.rint(np.linalg.solve(self.affine, [*mm, 1.0])[:3]).astype(int)
        i, j, k = np.clip(found, 0, np.array(self.array.shape) - 1)
        return int(i), int(j), int(k)


@dataclass(frozen=True)
class Look:
    """How slices are drawn.

    Args:
        window: black and white.
        colours: of lesion 1, 2, …
        opacity: of the overlay, 0 … 1.
        selected: the lesion that stands out.
    """

    window: Window
    colours: Sequence[Colour]
    opacity: float
    selected: int | None = None


def canonical(image: Nifti1Image) -> Stack:
    """A volume, its axes swapped and turned to right, anterior, superior; nothing is interpolated."""
    turned: Nifti1Image = nib.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    return Stack(np.asarray(turned.dataobj), np.asarray(turned.affine, dtype=float))


def picture(
    image: Stack, plane: str, at: Index, look: Look, *, labels: Stack | None = None, probability: Stack | None = None
) -> bytes:
    """One slice as PNG.

    Args:
        image: what is shown in grey.
        plane: out of ``PLANES``.
        at: where the crosshair is; the slice goes through it.
        look: how it is drawn.
        labels: lesions' numbers, on the grid of the image.
        probability: 0 … 1, on the grid of the image.
    """
    low, high = look.window
    grey = np.clip((_cut(image.array, plane, at) - low) / (high - low), 0, 1) * 255
    colour = np.repeat(grey[..., None], 3, axis=2)
    if probability is not None:
        colour = _heat(colour, _cut(probability.array, plane, at), look.opacity)
    if labels is not None:
        colour = _paint(colour, _cut(labels.array, plane, at).astype(int), look)
    made = Image.fromarray(np.rint(colour).astype(np.uint8)).resize(_size(image, plane), Image.Resampling.NEAREST)
    _annotate(made, image, plane, at)
    out = BytesIO()
    made.save(out, "PNG")
    return out.getvalue()


def _cut(array: NDArray[Any], plane: str, at: Index) -> NDArray[Any]:
    """A slice as rows and columns of the picture: top is superior or anterior, left is right or anterior."""
    through = THROUGH[plane]
    cut: NDArray[Any] = np.take(array, at[through], axis=through)[::-1, ::-1].T
    return cut


def _paint(colour: NDArray[Any], labels: NDArray[Any], look: Look) -> NDArray[Any]:
    table = np.array([(0, 0, 0), *look.colours], dtype=float)
    share = np.array([0.0, *[look.opacity * _strength(n, look) for n in range(1, len(table))]])
    known = np.where(labels < len(table), labels, 0)
    mixed = share[known][..., None]
    painted: NDArray[Any] = colour * (1 - mixed) + table[known] * mixed
    return painted


def _strength(number: int, look: Look) -> float:
    return 1.0 if look.selected in {None, number} else _FAINT


def _heat(colour: NDArray[Any], probability: NDArray[Any], opacity: float) -> NDArray[Any]:
    """From blue over white to orange, growing more solid: told apart with any colour vision."""
    p = np.clip(probability.astype(float), 0, 1)[..., None]
    hot = np.array([230.0, 120.0, 0.0]) * p + np.array([60.0, 120.0, 230.0]) * (1 - p)
    mixed = np.where(p >= _LEAST_PROBABILITY, opacity * (0.4 + 0.6 * p), 0.0)
    heated: NDArray[Any] = colour * (1 - mixed) + hot * mixed
    return heated


def _size(image: Stack, plane: str) -> tuple[int, int]:
    """Width and height that keep millimetres square."""
    across, down = (axis for axis in range(3) if axis != THROUGH[plane])
    mm = [image.array.shape[axis] * image.spacing_mm[axis] for axis in (across, down)]
    scale = _LONGEST / max(mm)
    return max(1, round(mm[0] * scale)), max(1, round(mm[1] * scale))


def _annotate(made: Image.Image, image: Stack, plane: str, at: Index) -> None:
    across, down = (axis for axis in range(3) if axis != THROUGH[plane])
    width, height = made.size
    x = (image.array.shape[across] - at[across] - 0.5) / image.array.shape[across] * width
    y = (image.array.shape[down] - at[down] - 0.5) / image.array.shape[down] * height
    draw = ImageDraw.Draw(made)
    gap = 14
    for line in ((0, y, x - gap, y), (x + gap, y, width, y), (x, 0, x, y - gap), (x, y + gap, x, height)):
        if line[0] <= line[2] and line[1] <= line[3]:
            draw.line(line, fill=(150, 150, 150))
    left, right, top, bottom = tuple(_LETTERS[plane])
    places = {
        left: (4, height / 2),
        right: (width - 12, height / 2),
        top: (width / 2, 2),
        bottom: (width / 2, height - 14),
    }
    for letter, place in places.items():
        draw.text(place, letter, fill=_CROSS)
