"""A head made from nothing: ellipsoids, folded by noise. Ships with metseg, so that a demonstration needs no data."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.fields import Field, smooth_field
from metseg.synthesis.hosts import LabelHost
from metseg.synthesis.tissues import Tissue

_SHAPE = (184, 216, 200)
_RAISED_MM = 14  # the brain's middle lies above the head's
_LANDMARKS_MM = {"third ventricle": (0, -6, -2), "pineal": (0, -28, 2), "pituitary": (0, 12, -38)}
Mask = NDArray[np.bool_]


def _ellipsoid(axes: tuple[Field, Field, Field], centre: tuple[float, ...], radii: tuple[float, ...]) -> Field:
    """Below 1 inside; ``axes`` are open grids of x, y, z in millimetres from the middle of the head."""
    x, y, z = ((axis - c) / r for axis, c, r in zip(axes, centre, radii, strict=True))
    return np.asarray(np.sqrt(x * x + y * y + z * z), dtype=np.float32)


def make_head(seed: int) -> LabelHost:
    """One whole head (184×216×200, RAS+, 1 mm), the same for the same seed.

    It has scalp, skull, subarachnoid space, a folded cortex, white matter, ventricles with choroid plexus, deep grey
    matter, cerebellum, brainstem, sagittal sinus, eyes and a neck: enough for the model to find its way, no anatomy.
    """
    rng = np.random.default_rng([seed, 1])
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) - n / 2 for n in _SHAPE), indexing="ij", sparse=True)
    x, y, z = axes[0], axes[1], axes[2] - _RAISED_MM
    space = (x, y, z)
    wobble = smooth_field(rng, _SHAPE, 40)
    size = rng.uniform(0.94, 1.06, 3)
    brain_radii = (66 * size[0], 84 * size[1], 62 * size[2])
    cranium = _ellipsoid(space, (0, 0, 0), brain_radii) + 0.025 * wobble
    depth = (1 - cranium) * 68  # millimetres below the inner table, roughly

    tissues = np.zeros(_SHAPE, dtype=np.uint8)
    neck = (np.hypot(x, y + 14) < 58 + 3 * wobble) & (z < -20)
    face = _ellipsoid(space, (0, 52, -52), (52, 44, 52)) < 1
    tissues[neck | face] = Tissue.MUSCLE
    for edge, tissue in ((-15, Tissue.SKIN), (-12, Tissue.MUSCLE), (-9, Tissue.BONE), (-6, Tissue.MARROW)):
        tissues[depth > edge] = tissue
    tissues[depth > -3] = Tissue.BONE
    tissues[depth > 0] = Tissue.FLUID
    _fill_cranium(rng, tissues, space, depth)
    for side in (-1, 1):
        tissues[_ellipsoid(space, (32 * side, 92 * size[1], -30), (13, 13, 13)) < 1] = Tissue.EYE
    rim = ndimage.binary_erosion(tissues > 0, iterations=2)
    tissues[(tissues > 0) & ~rim] = Tissue.SKIN
    landmarks = {name: _voxel(place) for name, place in _LANDMARKS_MM.items()}
    return LabelHost(f"made-{seed}", tissues, landmarks)


def _voxel(place_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (mm + n / 2 for mm, n in zip(place_mm, _SHAPE, strict=True))
    return x, y, z + _RAISED_MM


def _fill_cranium(rng: np.random.Generator, tissues: NDArray[np.uint8], space: tuple[Field, ...], depth: Field) -> None:
    """Draw the brain into ``tissues`` (changed in place) where ``depth`` is above 0."""
    x, y, z = space
    bend = 6 * smooth_field(rng, _SHAPE, 22)
    cerebellum = (_ellipsoid((x, y, z), (0, -46, -44), (46, 34, 24)) < 1) & (depth > -14)
    cerebrum = (depth > 2) & (z > -34 + 0.1 * bend) & ~cerebellum
    folds = np.abs(smooth_field(rng, _SHAPE, 9))
    sulcus = (folds < np.clip(0.30 - 0.014 * depth, 0, None)) | (np.abs(x + 0.15 * bend) < 1.2)
    tissue = cerebrum & ~(sulcus & (depth < 34))
    inner = ndimage.distance_transform_edt(tissue, sampling=1.0)
    tissues[tissue] = Tissue.CORTEX
    tissues[tissue & (inner > 2.6)] = Tissue.WHITE
    for side in (-1, 1):
        put = [
            (Tissue.DEEP_GREY, (15, -6, -2), (10, 15, 10)),
            (Tissue.DEEP_GREY, (25, 6, -2), (6, 16, 9)),
            (Tissue.VENTRICLE, (10, 2, 8), (6, 34, 8)),
            (Tissue.VENTRICLE, (22, -34, -4), (5, 14, 8)),
            (Tissue.CHOROID, (20, -26, -4), (2.2, 5, 3)),
        ]
        for kind, (cx, cy, cz), radii in put:
            shape = _ellipsoid((x + 0.3 * bend, y, z), (cx * side, cy, cz), radii)
            tissues[(shape < 1) & cerebrum] = kind
    leaves = np.abs(np.sin((z + 0.8 * y + bend) / 2.2))
    tissues[cerebellum] = np.where(leaves > 0.35, Tissue.CEREBELLAR_CORTEX, Tissue.FLUID)[cerebellum]
    tissues[_ellipsoid((x + bend, y, z), (0, -42, -44), (26, 16, 11)) < 1] = Tissue.CEREBELLAR_WHITE
    stem = (np.hypot(x, (y + 14) * 0.9) < 12 + 0.2 * bend) & (z < -14)
    tissues[stem & (depth > -40)] = Tissue.BRAINSTEM
    sinus = (np.hypot(x, depth - 2) < 3.5) & (y < 50) & (z > -20) & (depth > -3)
    tissues[sinus] = Tissue.SINUS
