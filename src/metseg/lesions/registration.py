"""An affine map from a patient's world into that of a template, found from the brain and its tissues."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid

# Three shifts in mm, three turns in radians, three shears, three logarithms of zooms.
_MEAN: Final = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.1, 0.1])  # the template is larger than most brains
_SPREAD: Final = np.array([60, 60, 60, 0.5, 0.5, 0.5, 0.04, 0.04, 0.04, 0.1, 0.1, 0.1])
_SMALL: Final = 1e-4  # step of the derivatives of the map's matrix
_ROUGH_MM: Final = 9.0  # standard deviations of the blur
_FINE_MM: Final = 4.5
_ROUNDS: Final = 30
_SETTLED: Final = 1e-3  # of the spreads
# Turns in radians, shifts upwards in mm. A head that fits better back to front or upside down had better be known.
_STARTS: Final = (
    *product(((-0.35, 0, 0), (0, 0, 0), (0.35, 0, 0)), (-25.0, 0.0, 25.0)),
    *product(((np.pi, 0, 0), (0, np.pi, 0), (0, 0, np.pi)), (0.0,)),
)
_REFINED: Final = 3  # of the starts
_APART: Final = 0.02  # of the spreads: closer starts came to the same
_AS_GOOD: Final = 1.02  # residuals no larger than this, relative to the best
_NEAR_MM: Final = 20.0  # so far around the brain, the template must be empty too
_LOWEST_MM: Final = -68.0  # below, the template is cut off
_FAR: Final = 2.0  # times the scale: larger differences (a tumour) weigh less
_LEAST_MM3: Final = 100e3
_APART_BLURS: Final = 1.4  # between the points looked at, in standard deviations of the blur
_FWHM: Final = 2.355


@dataclass(frozen=True, eq=False)
class Template:
    """A brain of many brains.

    Args:
        tissues: (tissue, i, j, k): shares of grey matter, white matter and fluid; their sum is the brain.
        grid: where; its world is that of the template, left-right symmetrical about x = 0.
    """

    tissues: Float[np.ndarray, "tissue i j k"]
    grid: Grid


@dataclass(frozen=True, eq=False)
class Sample:
    """A patient's brain on a lattice of some millimetres.

    Args:
        brain: (i, j, k): share of brain, 0 to 1.
        image: (i, j, k): intensity there, any unit; outside the brain it does not matter.
        seen: (i, j, k): lies in the field of view.
        grid: of all three.
    """

    brain: Float[np.ndarray, "i j k"]
    image: Float[np.ndarray, "i j k"]
    seen: Bool[np.ndarray, "i j k"]
    grid: Grid


@dataclass(frozen=True, eq=False)
class Fit:
    """A map into the template and how well it fits.

    Args:
        matrix: 4 × 4, the patient's RAS+ millimetres to the template's.
        overlap: Dice's coefficient of the brain and the template's, in the field of view.
        explained: share of the variance of the image within the brain that the template's tissues explain, 0 to 1.
        seen: share of the template's brain that lies in the field of view.
        spread_mm: how far the maps from other starts that fit as well move the brain elsewhere, at most.
    """

    matrix: Float[np.ndarray, "4 4"]
    overlap: float
    explained: float
    seen: float
    spread_mm: float

    def to_template(self, points_mm: Float[np.ndarray, "*batch 3"]) -> NDArray[np.float64]:
        """Points (…, 3) of the patient's world in the template's, both RAS+ millimetres."""
        return np.asarray(points_mm @ self.matrix[:3, :3].T + self.matrix[:3, 3])


@dataclass(frozen=True, eq=False)
class _Level:
    """Both brains, blurred alike: what the search looks at.

    Args:
        fields: (tissue, i, j, k) of the template.
        slopes: (tissue, axis, i, j, k), per millimetre.
        grid: of both.
        middle: of the template's brain, millimetres.
        points: (n, 3) of the patient's, millimetres from its brain's centre.
        shown: (2, n): share of brain, and intensity times that, there.
        told: points that say something new, of all: blurred neighbours say the same.
    """

    fields: NDArray[np.float64]
    slopes: NDArray[np.float64]
    grid: Grid
    middle: NDArray[np.float64]
    points: NDArray[np.float64]
    shown: NDArray[np.float64]
    told: float


@dataclass(frozen=True, eq=False)
class _State:
    """A map as twelve numbers, what it misses, and the normal equations of the next step."""

    values: NDArray[np.float64]
    cost: float
    residual: float
    normal: NDArray[np.float64]
    right: NDArray[np.float64]


def register(sample: Sample, template: Template) -> Fit | None:
    """Find the affine map that lays a brain onto the template.

    The brain's mask must cover the template's, and its intensities be a mixture of the template's tissues, a value
    for each tissue being found along with the map: so any sequence will do, and CT. Gauss and Newton's steps on the
    squares of both differences, with shears and zooms held near those of other brains: Friston et al., Hum Brain Mapp
    1995;3:165, and Ashburner et al., NeuroImage 1997;6:344. Twelve starts, turned and shifted, blurred and then finer.

    Returns:
        None where there is less than 100 mL of brain or it is all alike.
    """
    inside = sample.brain > 0.5
    if np.count_nonzero(inside) * sample.grid.voxel_volume_mm3 < _LEAST_MM3:
        return None
    low, high = np.percentile(sample.image[inside], (2, 98))
    if not high > low:
        return None
    image = (np.clip(sample.image, low, high) - low) / (high - low) + 0.5
    sample = Sample(sample.brain, image, sample.seen, sample.grid)
    centre = sample.grid.to_world(np.argwhere(inside)).mean(axis=0)
    rough, fine = (_level(sample, template, centre, blur_mm) for blur_mm in (_ROUGH_MM, _FINE_MM))
    first = sorted((_search(rough, _start(*each)) for each in _STARTS), key=lambda state: state.cost)
    best = sorted((_search(fine, values) for values in _distinct(first)), key=lambda state: state.cost)
    maps = [_map(state.values, centre, fine.middle) for state in best if state.residual < _AS_GOOD * best[0].residual]
    return _judged(maps, _explained(best[0], fine), sample, template)


def matrix_of(values: Float[np.ndarray, " 12"]) -> NDArray[np.float64]:
    """The 3 × 3 part of a map: zooms first, then shears, then turns."""
    xy, xz, yz = values[6:9]
    shear = np.array([[1, xy, xz], [0, 1, yz], [0, 0, 1]])
    return np.asarray(Rotation.from_rotvec(values[3:6]).as_matrix() @ shear @ np.diag(np.exp(values[9:12])))


def _start(turn: tuple[float, float, float], up_mm: float) -> NDArray[np.float64]:
    values = _MEAN.copy()
    values[2], values[3:6] = up_mm, turn
    return values


def _distinct(states: list[_State]) -> list[NDArray[np.float64]]:
    """The best few that are not nearly the same."""
    kept: list[NDArray[np.float64]] = []
    for state in states:
        if all(np.abs((state.values - other) / _SPREAD).max() > _APART for other in kept):
            kept.append(state.values)
    return kept[:_REFINED]


def _level(sample: Sample, template: Template, centre: NDArray[np.float64], blur_mm: float) -> _Level:
    grid, lattice = template.grid, sample.grid
    fields, slopes = _blurred_template(template, blur_mm)
    weight = np.maximum(_blurred(sample.seen, lattice, blur_mm), 1e-6)
    brain = sample.brain * sample.seen
    near = distance_transform_edt(brain < 0.5, sampling=lattice.spacing_mm) < _NEAR_MM
    steps = [max(1, round(_APART_BLURS * blur_mm / spacing)) for spacing in lattice.spacing_mm]
    chosen = np.zeros(brain.shape, dtype=bool)
    chosen[tuple(slice(None, None, step) for step in steps)] = True
    where = np.nonzero(near & sample.seen & chosen)
    shown = np.stack([(_blurred(each, lattice, blur_mm) / weight)[where] for each in (brain, brain * sample.image)])
    middle = grid.to_world(np.argwhere(template.tissues.sum(axis=0) > 0.5)).mean(axis=0)
    told = min(1.0, lattice.voxel_volume_mm3 * float(np.prod(steps)) / (_FWHM * blur_mm) ** 3)
    return _Level(fields, slopes, grid, middle, lattice.to_world(np.transpose(where)) - centre, shown, told)


@lru_cache(maxsize=4)
def _blurred_template(template: Template, blur_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Its tissues and their slopes: the same for all patients."""
    fields = np.stack([_blurred(tissue, template.grid, blur_mm) for tissue in template.tissues])
    # The template's voxel axes are those of its world, so that slopes along them are slopes in millimetres.
    return fields, np.stack([np.gradient(field, *template.grid.spacing_mm) for field in fields])


def _blurred(array: Shaped[np.ndarray, "i j k"], grid: Grid, blur_mm: float) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter(array.astype(np.float64), [blur_mm / spacing for spacing in grid.spacing_mm]))


def _search(level: _Level, values: NDArray[np.float64]) -> _State:
    """Steps downhill from a start, Levenberg's and Marquardt's way."""
    state, damping = _state(level, values), 1e-3
    for _ in range(_ROUNDS):
        step = np.linalg.solve(state.normal + damping * np.diag(np.diag(state.normal)), state.right)
        tried = _state(level, state.values + step)
        if tried.cost > state.cost:
            damping *= 10
            continue
        state, damping = tried, damping / 5
        if np.abs(step / _SPREAD).max() < _SETTLED:
            break
    return state


def _state(level: _Level, values: NDArray[np.float64]) -> _State:
    linear = matrix_of(values)
    places = level.points @ linear.T + level.middle + values[:3]
    known = places[:, 2] > _LOWEST_MM
    points, shown = level.points[known], level.shown[:, known]
    tissues, slopes = _sampled(level, places[known])
    means = np.linalg.solve(tissues @ tissues.T + 1e-9 * np.eye(3), tissues @ shown[1])
    turns = [points @ _derivative(values, linear, n).T for n in range(3, 12)]
    off = (values - _MEAN) / _SPREAD
    cost, residual = 0.5 * float(off @ off), 1.0
    normal, right = np.diag(1 / _SPREAD**2), -off / _SPREAD
    for truth, share in ((shown[0], np.ones(3)), (shown[1], means)):
        lost = truth - share @ tissues
        slope = np.tensordot(share, slopes, 1)  # (axis, n)
        jacobian = np.stack([*slope, *[(slope.T * turn).sum(axis=1) for turn in turns]])
        if share is means:  # what other means of the tissues could take up is no slope (variable projection)
            inner = np.linalg.solve(tissues @ tissues.T + 1e-9 * np.eye(3), tissues @ jacobian.T)
            jacobian -= inner.T @ tissues
        scale = float(np.sqrt(np.mean(lost**2))) + 1e-6
        weight = np.minimum(1.0, _FAR * scale / np.maximum(np.abs(lost), 1e-12))
        scale = float(np.sqrt(np.mean(weight * lost**2))) + 1e-6
        cost += level.told * len(lost) * float(np.log(scale))
        residual *= scale
        normal = normal + level.told / scale**2 * (jacobian * weight) @ jacobian.T
        right = right + level.told / scale**2 * jacobian @ (weight * lost)
    return _State(values, cost, residual, normal, right)


def _sampled(level: _Level, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The template's tissues (tissue, n) and their slopes (tissue, axis, n) at points of its world."""
    index = level.grid.to_index(places).T
    tissues = np.stack([map_coordinates(field, index, order=1, mode="constant") for field in level.fields])
    limits = np.array(level.grid.shape)[:, None] - 1
    i, j, k = np.clip(np.rint(index).astype(np.intp), 0, limits)
    return tissues, level.slopes[:, :, i, j, k]


def _derivative(values: NDArray[np.float64], linear: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    other = values.copy()
    other[n] += _SMALL
    return (matrix_of(other) - linear) / _SMALL


def _map(values: NDArray[np.float64], centre: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = np.eye(4)
    whole[:3, :3] = matrix_of(values)
    whole[:3, 3] = middle + values[:3] - whole[:3, :3] @ centre
    return whole


def _explained(state: _State, level: _Level) -> float:
    """Share of the variance of the image, deep in the brain, that is a mixture of the template's tissues there."""
    places = level.points @ matrix_of(state.values).T + level.middle + state.values[:3]
    brain, image = level.shown
    deep = brain > 0.9
    if np.count_nonzero(deep) < 100:
        return 0.0
    tissues, _ = _sampled(level, places[deep])
    mixture = (tissues / np.maximum(tissues.sum(axis=0), 1e-3)).T
    seen = image[deep] / brain[deep]
    means, *_ = np.linalg.lstsq(mixture, seen, rcond=None)
    return 1 - float(np.var(seen - mixture @ means) / max(np.var(seen), 1e-12))


def _judged(maps: list[NDArray[np.float64]], explained: float, sample: Sample, template: Template) -> Fit:
    inside = sample.brain[sample.seen] > 0.5
    points = sample.grid.to_world(np.argwhere(sample.seen))
    best, *others = [points @ each[:3, :3].T + each[:3, 3] for each in maps]
    spread = max((float(np.linalg.norm(best - other, axis=1)[inside].max()) for other in others), default=0.0)
    whole = template.tissues.sum(axis=0)
    there = map_coordinates(whole, template.grid.to_index(best).T, order=1, mode="constant") > 0.5
    common = best[:, 2] > _LOWEST_MM
    both = int(np.count_nonzero(there & inside & common))
    overlap = 2 * both / max(int(np.count_nonzero(there & common)) + int(np.count_nonzero(inside & common)), 1)
    voxel_mm3 = sample.grid.voxel_volume_mm3 * float(np.linalg.det(maps[0][:3, :3]))
    seen = int(np.count_nonzero(there)) * voxel_mm3
    seen /= int(np.count_nonzero(whole > 0.5)) * template.grid.voxel_volume_mm3
    return Fit(maps[0], overlap, explained, seen, spread)
