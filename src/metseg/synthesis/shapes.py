"""Shapes and insides of metastases: a level set in millimetres, lumpy at several scales."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field, Shape, log_uniform, smooth_field

Kind = Literal["solid", "ring", "cyst"]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class LesionShape:
    """A lesion in a box of the scene.

    Args:
        box: where its arrays lie in the scene.
        depth: (i, j, k), millimetres below the surface, negative outside.
        rim: (i, j, k), thickness of the enhancing rim in millimetres; the core is what lies deeper.
        radius: of the sphere of about the same volume, in millimetres.
        kind: what is inside.
    """

    box: Box
    depth: Field
    rim: Field
    radius: float
    kind: Kind


def draw_diameter(rng: np.random.Generator, largest: float) -> float:
    """A diameter in millimetres: many small ones, but enough large ones to learn their insides."""
    low, high = ((2.0, 6.0), (6.0, 14.0), (14.0, 28.0), (28.0, 62.0))[rng.choice(4, p=(0.30, 0.30, 0.22, 0.18))]
    return min(log_uniform(rng, low, high), largest)


def draw_kind(rng: np.random.Generator, diameter: float) -> Kind:
    """Small ones are mostly solid; from 5 mm up rings and cysts are as common."""
    solid, ring = (0.9, 0.08) if diameter < 5 else ((0.55, 0.33) if diameter < 14 else (0.28, 0.52))
    return ("solid", "ring", "cyst")[rng.choice(3, p=(solid, ring, 1 - solid - ring))]


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


def draw_shape(rng: np.random.Generator, shape: Shape, centre: tuple[int, int, int], diameter: float) -> LesionShape:
    """A lesion of about ``diameter`` mm around voxel ``centre`` of a 1 mm scene; it may stick out of the scene."""
    radius = diameter / 2
    reach = int(np.ceil(radius * 1.9 + 4))
    spans = [slice(max(c - reach, 0), min(c + reach + 1, n)) for c, n in zip(centre, shape, strict=True)]
    box: Box = (spans[0], spans[1], spans[2])
    offsets = np.meshgrid(
        *(np.arange(s.start, s.stop, dtype=np.float32) - c for s, c in zip(box, centre, strict=True)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    start = rng.uniform(-0.5, 0.5, 3)
    depth = _ball(rng, list(offsets), start, radius)
    if diameter > 8 and rng.random() < 0.4:  # two or three lobes that have grown together
        for _ in range(int(rng.integers(1, 3))):
            away = rng.standard_normal(3)
            away *= radius * rng.uniform(0.5, 0.9) / np.linalg.norm(away)
            depth = np.maximum(depth, _ball(rng, list(offsets), start + away, radius * rng.uniform(0.35, 0.7)))
    local: Shape = depth.shape
    roughness = rng.uniform(0.02, 0.24)
    depth += radius * roughness * smooth_field(rng, local, max(radius * 0.7, 1.5))
    if radius > 4:
        depth += radius * roughness * 0.5 * smooth_field(rng, local, max(radius * 0.25, 1.5))
    thickness = log_uniform(rng, 0.8, max(0.55 * radius, 1.0))
    uneven = 1 + rng.uniform(0.1, 0.8) * smooth_field(rng, local, max(radius * 0.6, 2.0))
    return LesionShape(box, depth, np.clip(thickness * uneven, 0, None), radius, draw_kind(rng, diameter))
