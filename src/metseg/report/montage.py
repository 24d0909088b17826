"""The whole head at a glance: axial slices from bottom to top, with the lesions outlined."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from metseg.core.lesion import Lesion
from metseg.core.result import CaseResult
from metseg.report.contrast import Window, display_sequence
from metseg.report.panel import Field, Panel, paint
from metseg.report.style import GROUND
from metseg.report.view import View

MOST_TILES = 24
MOST_NUMBERED = 40
_COLUMNS = 6
_TILE_WIDTH = 236
_GAP = 4
_TALLEST, _FLATTEST = 1.4, 0.75
_MARGIN_MM = 4.0

Box = tuple[tuple[int, int], ...]


def choose_slices(extent: tuple[int, int], lesions: Sequence[Lesion], axis: int, most: int = MOST_TILES) -> list[int]:
    """Slices that cover ``extent`` evenly and still show the lesions.

    The extent is cut into at most ``most`` bands of one height. Each band gives one slice: the one in which most
    lesions have their longest diameter, then the one that crosses most lesions, then the middle one.

    Args:
        extent: first slice, and one past the last.
        lesions: of the study.
        axis: the voxel axis that slices are counted along.
        most: how many slices at most.

    Returns:
        Slice numbers, ascending.
    """
    start, stop = extent
    edges = np.linspace(start, stop, min(most, stop - start) + 1)
    widest = np.array([lesion.slice_number for lesion in lesions], dtype=int)
    first = np.array([lesion.bbox_ijk[0][axis] for lesion in lesions], dtype=int)
    last = np.array([lesion.bbox_ijk[1][axis] for lesion in lesions], dtype=int)
    chosen = []
    for low, high in pairwise(edges):
        middle = (low + high - 1) / 2
        band = range(int(np.ceil(low - 1e-9)), int(np.ceil(high - 1e-9)))
        chosen.append(
            max(
                band,
                key=lambda s: ((widest == s).sum(), ((first <= s) & (s < last)).sum(), -abs(s - middle)),
            )
        )
    return chosen


def draw_montage(result: CaseResult, window: Window, head: Box) -> tuple[Image.Image, list[int]]:
    """Axial slices in rows, from the lowest to the highest.

    Args:
        result: the case.
        window: how bright.
        head: where the head lies: first voxel, and one past the last, along each voxel axis.

    Returns:
        The picture, and the numbers of its slices in the order shown.
    """
    view = View(result.study.grid, "axial")
    slices = choose_slices(head[view.axes[2]], result.lesions.lesions, view.axes[2])
    if not view.ascending:
        slices.reverse()
    field = head_field(view, head)
    height = round(_TILE_WIDTH * min(max(field.height / field.width, _FLATTEST), _TALLEST))
    columns = min(_COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    size = (columns * (_TILE_WIDTH + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    montage = Image.new("RGB", size, GROUND)
    for place, index in enumerate(slices):
        tile = _tile(result, view, index, window, field, (_TILE_WIDTH, height))
        for lesion in _numbered_on(result.lesions.lesions, index, slices, view.axes[2]):
            tile.number(view.slice(result.instances.array, index), lesion.id)
        row, column = divmod(place, columns)
        montage.paste(tile.image, (column * (_TILE_WIDTH + _GAP), row * (height + _GAP)))
    return montage, slices


def head_field(view: View, head: Box) -> Field:
    """The part of a view that holds the head, with a little air around."""
    across, down, _ = view.axes
    corners = np.zeros((2, 3))
    for axis in (across, down):
        corners[:, axis] = (head[axis][0] - 0.5, head[axis][1] - 0.5)
    ends = view.to_picture(corners) * view.pixel_mm
    low, high = ends.min(axis=0) - _MARGIN_MM, ends.max(axis=0) + _MARGIN_MM
    return Field(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def _tile(result: CaseResult, view: View, index: int, window: Window, field: Field, size: tuple[int, int]) -> Panel:
    image = result.study.images[display_sequence(result.study)]
    tile = paint(view, image.array, index, window, field, size)
    tile.outline(view.slice(result.instances.array, index))
    tile.sides(size=11)
    tile.caption(str(index), size=11)
    return tile


def _numbered_on(lesions: Sequence[Lesion], index: int, slices: Sequence[int], axis: int) -> list[Lesion]:
    """Lesions whose number stands on slice ``index``: each on the shown slice nearest to its largest extent."""
    named = []
    for lesion in lesions[:MOST_NUMBERED]:
        (first, last) = (lesion.bbox_ijk[0][axis], lesion.bbox_ijk[1][axis])
        crossing = [s for s in slices if first <= s < last]
        if crossing and index == min(crossing, key=lambda s: abs(s - lesion.slice_number)):
            named.append(lesion)
    return named
