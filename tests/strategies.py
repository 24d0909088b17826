"""Hypothesis strategies for what metseg is about: oblique, anisotropic, non-cubic grids and what lies on them."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume

spacings_mm = st.floats(0.3, 6.0).map(lambda value: round(value, 3))
origins_mm = st.tuples(*[st.floats(-300, 300).map(lambda value: round(value, 2))] * 3)
axis_orders = st.permutations(range(3)).map(tuple)
signs = st.tuples(*[st.sampled_from((-1, 1))] * 3)


def shapes(largest: int = 9) -> st.SearchStrategy[tuple[int, int, int]]:
    """Three sizes from 1 to ``largest``, mostly different."""
    return st.tuples(*[st.integers(1, largest)] * 3)


@st.composite
def directions(draw: st.DrawFn, tilt_degrees: float = 180.0) -> np.ndarray:
    """3×3 with orthonormal columns, either handedness, turned by up to ``tilt_degrees`` from the world's axes."""
    order, sign = draw(axis_orders), draw(signs)
    axes = np.eye(3)[:, order] * sign
    turn = [draw(st.floats(-1, 1)) for _ in range(3)]
    angle = np.deg2rad(draw(st.floats(0, tilt_degrees)))
    norm = np.linalg.norm(turn)
    return axes if norm < 1e-3 else Rotation.from_rotvec(np.multiply(turn, angle / norm)).as_matrix() @ axes


@st.composite
def grids(draw: st.DrawFn, largest: int = 9, tilt_degrees: float = 180.0) -> Grid:
    """Oblique, anisotropic, flipped, permuted, left- or right-handed grids away from the origin."""
    affine = np.eye(4)
    affine[:3, :3] = draw(directions(tilt_degrees)) * [draw(spacings_mm) for _ in range(3)]
    affine[:3, 3] = draw(origins_mm)
    return Grid(draw(shapes(largest)), affine)


@st.composite
def aligned_grids(draw: st.DrawFn, largest: int = 9) -> Grid:
    """Grids whose axes lie along the world's, in any order and sense."""
    return draw(grids(largest, tilt_degrees=0.0))


@st.composite
def volumes(draw: st.DrawFn, over: st.SearchStrategy[Grid] | None = None, dtype: str = "float32") -> Volume:
    """Images whose every voxel differs from its neighbours: a wrong flip cannot go unseen."""
    grid = draw(over if over is not None else grids())
    values = np.random.default_rng(draw(st.integers(0, 2**16))).permutation(int(np.prod(grid.shape)))
    return Volume(values.reshape(grid.shape).astype(dtype), grid)


@st.composite
def masks(draw: st.DrawFn, over: st.SearchStrategy[Grid] | None = None) -> tuple[np.ndarray, Grid]:
    """Any mask, on any grid."""
    grid = draw(over if over is not None else grids())
    return draw(hnp.arrays(np.bool_, grid.shape)), grid


@st.composite
def label_maps(draw: st.DrawFn, over: st.SearchStrategy[Grid] | None = None, largest: int = 4) -> LabelMap:
    """Label maps with values 0 … ``largest``."""
    grid = draw(over if over is not None else grids())
    return LabelMap(draw(hnp.arrays(np.uint8, grid.shape, elements=st.integers(0, largest))), grid)
