"""Left or right of the brain: its plane of symmetry, found from a mask alone."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize

from metseg.core.grid import Grid
from metseg.core.lesion import LesionTable, Point, Side

_STEP_MM: Final = 3.0  # of the lattice on which symmetry is judged
_BLUR: Final = 1.0  # of that lattice's steps: a smooth overlap can be climbed
NEAR_MIDLINE_MM: Final = 5.0
LEAST_OVERLAP: Final = 0.9
_LEAST_POINTS: Final = 2000  # 54 mL
_SEARCHED_POINTS: Final = 6000  # so many are enough while the plane is looked for


@dataclass(frozen=True)
class Midline:
    """A plane of symmetry.

    Args:
        normal: unit vector that points to the patient's right, RAS+.
        offset_mm: of the plane along it: a point p lies on the plane where ``p @ normal == offset_mm``.
        overlap: share of the mask that falls onto the mask when mirrored, 0 to 1.
    """

    normal: Point
    offset_mm: float
    overlap: float

    def distance_mm(self, points_mm: Float[np.ndarray, "*batch 3"]) -> NDArray[np.float64]:
        """How far points (…, 3) lie to the patient's right of the plane; negative: to the left."""
        return np.asarray(points_mm @ np.asarray(self.normal) - self.offset_mm)


def find_midline(mask: Bool[np.ndarray, "i j k"], grid: Grid) -> Midline | None:
    """The plane in which a mask is most nearly its own mirror image.

    The mask is thinned to about 3 mm and mirrored in planes near the world's x = 0 through its centroid; the plane's
    place and its two angles are those of the greatest overlap (Nelder and Mead's search).

    Returns:
        None where there is too little mask (below about 54 mL) to tell.
    """
    thinned, lattice = thin(mask, grid)
    points = lattice.to_world(np.argwhere(thinned))
    if len(points) < _LEAST_POINTS:
        return None
    centre = points.mean(axis=0)
    field = gaussian_filter(thinned.astype(np.float32), _BLUR)
    some = points[:: max(1, len(points) // _SEARCHED_POINTS)] - centre

    def lost(plane: NDArray[np.float64]) -> float:
        normal, offset = _normal(plane[0], plane[1]), plane[2]
        return -float(_mirrored(field, lattice, some, normal, offset, centre).mean())

    start = np.array([[0, 0, 0], [0.15, 0, 0], [0, 0.15, 0], [0, 0, 5.0]])
    found = minimize(
        lost, start[0], method="Nelder-Mead", options={"initial_simplex": start, "xatol": 0.002, "fatol": 1e-5}
    )
    normal = _normal(found.x[0], found.x[1])
    sharp = _mirrored(thinned.astype(np.float32), lattice, points - centre, normal, found.x[2], centre)
    x, y, z = normal.tolist()
    return Midline((x, y, z), float(normal @ centre + found.x[2]), float(sharp.mean()))


def with_sides(lesions: LesionTable, midline: Midline | None) -> LesionTable:
    """Say of each lesion on which side of the plane its centre lies; of none where the plane is missing or fits badly.

    No side is told within ``NEAR_MIDLINE_MM`` of the plane, nor of any lesion where less than ``LEAST_OVERLAP`` of the
    mask falls onto itself: docs/reference/report.md has how often sides are wrong beyond that.
    """
    if midline is None or midline.overlap < LEAST_OVERLAP:
        return lesions
    return LesionTable(tuple(replace(one, side=_side(midline, one.centre_mm)) for one in lesions))


def _side(midline: Midline, centre_mm: Point) -> Side:
    rightwards = float(midline.distance_mm(np.array(centre_mm)))
    if abs(rightwards) < NEAR_MIDLINE_MM:
        return "midline"
    return "right" if rightwards > 0 else "left"


def thin(array: Shaped[np.ndarray, "i j k"], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """Every n-th voxel along each axis, so that they lie about 3 mm apart: enough to see symmetry by."""
    steps = [max(1, round(_STEP_MM / spacing)) for spacing in grid.spacing_mm]
    i, j, k = steps
    thinned = array[::i, ::j, ::k]
    affine = grid.affine.copy()
    affine[:3, :3] *= steps
    a, b, c = thinned.shape
    return thinned, Grid((a, b, c), affine)


def _normal(yaw: float, roll: float) -> NDArray[np.float64]:
    """The x axis turned about z by ``yaw`` and towards z by ``roll``, radians."""
    return np.array([np.cos(yaw) * np.cos(roll), np.sin(yaw) * np.cos(roll), np.sin(roll)])


def _mirrored(
    field: NDArray[np.float32], lattice: Grid, points: NDArray[np.float64], normal: NDArray[np.float64],
    offset: float, centre: NDArray[np.float64],
) -> NDArray[np.float32]:  # fmt: skip
    """The field where points, given from ``centre``, lie after they are mirrored."""
    images = points - 2 * (points @ normal - offset)[:, None] * normal + centre
    return np.asarray(map_coordinates(field, lattice.to_index(images).T, order=1, mode="constant"))
