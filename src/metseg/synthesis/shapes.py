"""Shapes of metastases: a level set in millimetres, lumpy at several scales, and how much of each voxel it fills."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.cohort import Kind, draw_kind
from metseg.synthesis.fields import Field, Shape, log_uniform, raise_lattice, smooth_field
from metseg.synthesis.substances import Box

_FINE_BELOW_MM = 5.0
_FINE = 3


@dataclass(frozen=True, eq=False)
class LesionShape:
    """A lesion in a box of the scene.

    Args:
        box: where its arrays lie in the scene.
        depth: (i, j, k), millimetres below the surface at the voxels' centres, negative outside.
        filled: (i, j, k), how much of each voxel the lesion fills, 0 … 1.
        hollow: (i, j, k), how much of each voxel its core fills, what lies deeper than the rim; never above ``filled``.
        radius: of the sphere of about the same volume, in millimetres.
        kind: what is inside.
        fine: (i·n, j·n, k·n), the lesion on a grid ``refined`` (n) times finer, for its diameters.
        refined: see there.
    """

    box: Box
    depth: Field
    filled: Field
    hollow: Field
    radius: float
    kind: Kind
    fine: NDArray[np.bool_]
    refined: int


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def _ball(rng: np.random.Generator, offsets: list[Field], centre: NDArray[np.float64], radius: float) -> Field:
    """Depth (mm) below the surface of a randomly turned ellipsoid of the given mean radius."""
    stretch = np.exp(rng.normal(0, 0.18, 3))
    turn = _rotation(rng) / (radius * stretch / np.cbrt(stretch.prod()))[:, None]
    moved = [axis - c for axis, c in zip(offsets, centre, strict=True)]
    squared = sum((row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2]) ** 2 for row in turn.astype(np.float32))
    return np.asarray(radius * (1 - np.sqrt(squared)), dtype=np.float32)


def _depth(rng: np.random.Generator, offsets: list[Field], radius: float, fine: int) -> Field:
    """Depth below a lumpy surface, for voxels at ``offsets`` (mm, open grids) from the middle, 1/``fine`` mm apart."""
    start = rng.uniform(-0.5, 0.5, 3)
    depth = _ball(rng, offsets, start, radius)
    if radius > 4 and rng.random() < 0.4:  # two or three lobes that have grown together
        for _ in range(int(rng.integers(1, 3))):
            away = rng.standard_normal(3)
            away *= radius * rng.uniform(0.5, 0.9) / np.linalg.norm(away)
            depth = np.maximum(depth, _ball(rng, offsets, start + away, radius * rng.uniform(0.35, 0.7)))
    shape: Shape = depth.shape
    roughness = rng.uniform(0.02, 0.24)
    depth += radius * roughness * smooth_field(rng, shape, fine * max(radius * 0.7, 1.5))
    if radius > 4:
        depth += radius * roughness * 0.5 * smooth_field(rng, shape, fine * max(radius * 0.25, 1.5))
    return depth


def _averaged(values: Field, fine: int) -> Field:
    """Means of blocks of ``fine``³ voxels."""
    if fine == 1:
        return values
    i, j, k = (np.repeat(np.eye(n // fine, dtype=np.float32), fine, axis=1) / fine for n in values.shape)
    return raise_lattice(values, (i.astype(np.float32), j.astype(np.float32), k.astype(np.float32)))


def draw_shape(
    rng: np.random.Generator, shape: Shape, centre: tuple[int, int, int], diameter: float, margin: float = 0.0
) -> LesionShape:
    """A lesion of about ``diameter`` mm around voxel ``centre`` of a 1 mm scene; it may stick out of the scene.

    Lesions of up to 10 mm are drawn three times finer than the scene, so that one of 2 mm has its volume, too.

    Args:
        rng: source of chance.
        shape: of the scene.
        centre: voxel.
        diameter: in millimetres.
        margin: millimetres of room around the lesion in the box, besides what its lumps may need.
    """
    radius = diameter / 2
    reach = int(np.ceil(radius * 1.9 + 4 + margin))
    spans = [slice(max(c - reach, 0), min(c + reach + 1, n)) for c, n in zip(centre, shape, strict=True)]
    fine = _FINE if radius <= _FINE_BELOW_MM else 1
    positions = [
        (np.arange(fine * (s.stop - s.start), dtype=np.float32) + 0.5) / fine - 0.5 + (s.start - c)
        for s, c in zip(spans, centre, strict=True)
    ]
    depth = _depth(rng, list(np.meshgrid(*positions, indexing="ij", sparse=True)), radius, fine)
    local: Shape = depth.shape
    kind = draw_kind(rng, diameter)
    thickness = log_uniform(rng, 0.8, max(0.55 * radius, 1.0))
    uneven = 1 + rng.uniform(0.1, 0.8) * smooth_field(rng, local, fine * max(radius * 0.6, 2.0))
    rim = np.clip(thickness * uneven, 0, None) if kind != "cyst" else np.clip(thickness * uneven, 0, 2.5)
    filled = np.clip(fine * depth + 0.5, 0, 1)
    soft = rng.uniform(0.8, 2.0)
    hollow = np.zeros_like(filled) if kind == "solid" else np.clip((depth - rim) / soft + 0.5, 0, 1) * filled
    return LesionShape(
        (spans[0], spans[1], spans[2]),
        _averaged(depth, fine),
        _averaged(filled, fine),
        _averaged(hollow.astype(np.float32), fine),
        radius,
        kind,
        depth > 0,
        fine,
    )
