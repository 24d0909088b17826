"""The glass brain: the brain as a faint shape and all lesions in it, seen through along three axes."""

from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from metseg.core.grid import Grid
from metseg.core.lesion import Lesion
from metseg.core.result import CaseResult
from metseg.report.contrast import head_mask
from metseg.report.style import BLACK, GROUND, MARK, TEXT, Colour, font, lesion_colour
from metseg.report.view import PLANES, Plane

_WIDTH: Final = 1132  # of a key image
_GAP: Final = 6
_MARGIN_MM: Final = 7.0
_CELL_MM: Final = 3.0  # of the brain's shape
_LESION_CELL_MM: Final = 1.0
_MOST_NUMBERED: Final = 12
_FAINTEST, _BRIGHTEST = 26, 92
# World axes along a picture's x and y: R, A and S lie at its left and top.
_ACROSS: Final[dict[Plane, tuple[int, int]]] = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
_LETTERS: Final = (("R", "L"), ("A", "P"), ("S", "I"))
_SEEN: Final[dict[Plane, str]] = {"axial": "from below", "coronal": "from the front", "sagittal": "from the left"}

Points = Float[np.ndarray, "_ 3"]


def draw_glass(result: CaseResult) -> tuple[Image.Image, bool]:
    """Projections along the world's three axes; where the model does not tell of the brain, of the whole head.

    Returns:
        The picture, and whether it is the brain that is shown.
    """
    points, is_brain = _shape_points(result)
    lesions = [(one, _lesion_points(result, one)) for one in result.lesions]
    every = np.concatenate([points, *(held for _, held in lesions)])
    low, high = every.min(axis=0) - _MARGIN_MM, every.max(axis=0) + _MARGIN_MM
    widths = [high[_ACROSS[plane][0]] - low[_ACROSS[plane][0]] for plane in PLANES]
    scale = (_WIDTH - _GAP * (len(PLANES) - 1)) / sum(widths)
    height = round(max(high[1] - low[1], high[2] - low[2]) * scale)
    picture = Image.new("RGB", (_WIDTH, height), GROUND)
    left = 0.0
    for plane, width in zip(PLANES, widths):
        box = (low, high, scale)
        size = (round(width * scale), height)
        picture.paste(_projection(plane, points, lesions, box, size), (round(left), 0))
        left += width * scale + _GAP
    return picture, is_brain


def _shape_points(result: CaseResult) -> tuple[Points, bool]:
    """World points of the brain, or of the head."""
    if result.brain is not None and np.any(result.brain.array):
        i, j, k = steps = [max(1, round(_CELL_MM / 2 / spacing)) for spacing in result.brain.grid.spacing_mm]
        return result.brain.grid.to_world(np.argwhere(result.brain.array[::i, ::j, ::k]) * steps), True
    mask, thinning = head_mask(result.study)
    held = np.argwhere(mask if mask.any() else np.ones_like(mask))
    return result.study.grid.to_world(held * thinning), False


def _lesion_points(result: CaseResult, lesion: Lesion) -> Points:
    """World points of a lesion, so dense that none of its voxels is full of holes."""
    box = tuple(slice(first, stop) for first, stop in zip(*lesion.bbox_ijk))
    grid: Grid = result.study.grid
    held = np.argwhere(result.instances.array[box] == lesion.id) + np.array(lesion.bbox_ijk[0])
    if not len(held):
        held = np.array([lesion.centre_ijk])
    parts = [np.arange(n) / n + 0.5 / n - 0.5 for n in (max(1, int(np.ceil(2 * s))) for s in grid.spacing_mm)]
    return np.concatenate([grid.to_world(held + np.array(offset)) for offset in product(*parts)])


def _projection(
    plane: Plane,
    points: Points,
    lesions: list[tuple[Lesion, Points]],
    box: tuple[NDArray[np.float64], NDArray[np.float64], float],
    size: tuple[int, int],
) -> Image.Image:
    low, high, scale = box
    x, y = _ACROSS[plane]
    size_mm = (size[0] / scale, size[1] / scale)
    panel = Image.fromarray(_shaded(_flat(points, high, (x, y)), size_mm, size)).convert("RGB")
    for one, held in lesions:
        _tint(panel, _flat(held, high, (x, y)), lesion_colour(one.id), scale)
    if len(lesions) <= _MOST_NUMBERED:
        for one, held in lesions:
            flat = _flat(held, high, (x, y)) * scale
            right, middle = float(flat[:, 0].max()), float(flat[:, 1].mean())
            _write(panel, (right + 4, middle), str(one.id), 12, anchor="lm")
    foot = round((high[y] - low[y]) * scale)
    _letters(panel, plane, foot)
    return panel


def _flat(points: Points, high: NDArray[np.float64], axes: tuple[int, int]) -> NDArray[np.float64]:
    """Millimetres to the right and down from the picture's top left corner."""
    return np.stack([high[axis] - points[:, axis] for axis in axes], axis=1)


def _counted(flat: NDArray[np.float64], size_mm: tuple[float, float], cell_mm: float) -> NDArray[np.float64]:
    """How many points fall into each cell, rows first."""
    columns, rows = (max(1, int(np.ceil(length / cell_mm))) for length in size_mm)
    counts, _, _ = np.histogram2d(
        flat[:, 1], flat[:, 0], bins=(rows, columns), range=((0, rows * cell_mm), (0, columns * cell_mm))
    )
    return np.asarray(counts)


def _shaded(flat: NDArray[np.float64], size_mm: tuple[float, float], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The shape as grey levels: the more of it lies behind a pixel, the brighter; a line round its edge."""
    depth = gaussian_filter(_counted(flat, size_mm, _CELL_MM), 1.0)
    depth = _resized(depth / max(float(depth.max()), 1e-9), size_mm, size, _CELL_MM)
    inside = np.clip((depth - 0.04) / 0.04, 0, 1)
    grey = GROUND[0] + inside * (_FAINTEST - GROUND[0] + (_BRIGHTEST - _FAINTEST) * np.sqrt(np.clip(depth, 0, 1)))
    rim = np.clip(1 - np.abs(depth - 0.08) / 0.035, 0, 1)
    return np.asarray(np.clip(np.maximum(grey, GROUND[0] + 110 * rim), 0, 255).astype(np.uint8))


def _tint(panel: Image.Image, flat: NDArray[np.float64], colour: Colour, scale: float) -> None:
    """Lay a lesion over the panel, as a smooth shape; only its surroundings are touched."""
    corner = np.floor(flat.min(axis=0)) - 2
    size_mm = np.ceil(flat.max(axis=0)) + 2 - corner
    held = (_counted(flat - corner, (size_mm[0], size_mm[1]), _LESION_CELL_MM) > 0).astype(np.float32)
    held = gaussian_filter(held, 0.6)  # the edges of voxels are no edges of lesions
    first = np.floor(corner * scale).astype(int)
    size = np.ceil((corner + size_mm) * scale).astype(int) - first
    shift = (first / scale - corner) / _LESION_CELL_MM
    left, top, right, bottom = (float(v) + 2 for v in (*shift, *(shift + size / scale / _LESION_CELL_MM)))
    padded = np.pad(held, 2)
    image = Image.fromarray(padded.astype(np.float32))
    soft = image.resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    mask = Image.fromarray((np.clip(4 * np.asarray(soft) - 1, 0, 1) * 235).astype(np.uint8))
    panel.paste(colour, (int(first[0]), int(first[1])), mask)


def _resized(
    cells: NDArray[np.float64], size_mm: tuple[float, float], size: tuple[int, int], cell_mm: float
) -> NDArray[np.float64]:
    box = (0, 0, size_mm[0] / cell_mm, size_mm[1] / cell_mm)
    image = Image.fromarray(cells.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float64)


def _letters(panel: Image.Image, plane: Plane, foot: int) -> None:
    """Which way the patient lies, and from where one looks."""
    x, y = _ACROSS[plane]
    middle = foot / 2
    _write(panel, (5, middle), _LETTERS[x][0], 12, anchor="lm")
    _write(panel, (panel.width - 5, middle), _LETTERS[x][1], 12, anchor="rm")
    _write(panel, (panel.width / 2, 3), _LETTERS[y][0], 12, anchor="mt")
    _write(panel, (6, panel.height - 6), f"seen {_SEEN[plane]}", 12, anchor="lb", bold=False)


def _write(
    panel: Image.Image, xy: tuple[float, float], text: str, size: int, *, anchor: str, bold: bool = True
) -> None:
    ImageDraw.Draw(panel).text(
        xy, text, fill=MARK if not bold else TEXT, font=font(size, bold=bold), anchor=anchor,
        stroke_width=2, stroke_fill=BLACK,
    )  # fmt: skip
