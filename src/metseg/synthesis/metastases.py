"""Metastases: where they lie, what they are made of, and what they do to the tissue around them."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.fields import Field, Shape, blurred, log_uniform, shape_of, smooth_field
from metseg.synthesis.shapes import LesionShape, draw_shape
from metseg.synthesis.substances import Layer, Substance

Mask = NDArray[np.bool_]
Nature = Literal["metastasis", "cavity"]
_LARGEST_OEDEMA_MM = 30.0


@dataclass(frozen=True)
class Primary:
    """What the metastases of one patient have in common.

    Args:
        uptake: of contrast agent, a vein's being 1.
        haemorrhagic: chance that a lesion has bled.
        calcified: chance that a lesion holds calcium.
    """

    uptake: float
    haemorrhagic: float
    calcified: float


@dataclass(frozen=True, eq=False)
class Metastasis:
    """One lesion of a scene, or the cavity that its removal left.

    Args:
        number: from 1.
        nature: which of the two.
        shape: its surface; what it fills is cut by ``fraction``.
        fraction: (i, j, k) of the shape's box, how much of each voxel is tumour, core included (or cavity).
        dark: (i, j, k), how much of each voxel is core, blood or calcium; never above ``fraction``.
        oedema: (i, j, k), how much of each voxel around it is swollen.
        uptake: of contrast agent, a vein's being 1.
        layers: what to paint, in order.
    """

    number: int
    nature: Nature
    shape: LesionShape
    fraction: Field
    dark: Field
    oedema: Field | None
    uptake: float
    layers: tuple[Layer, ...]


def draw_primary(rng: np.random.Generator) -> Primary:
    """One patient's tumour: how much it enhances, and whether it bleeds (melanoma, kidney) or calcifies."""
    bleeds, calcifies = rng.random() < 0.12, rng.random() < 0.1
    return Primary(_uptake(rng), 0.4 if bleeds else 0.04, 0.3 if calcifies else 0.01)


def _uptake(rng: np.random.Generator) -> float:
    """Like a vessel's, or barely any."""
    return log_uniform(rng, 0.08, 0.25) if rng.random() < 0.15 else log_uniform(rng, 0.2, 1.2)


def oedema_reach(rng: np.random.Generator, radius: float) -> float:
    """Millimetres that oedema spreads: rare around small lesions, wide around large ones; 0 for none."""
    if rng.random() > np.clip((radius - 1) / 4, 0.05, 0.85):
        return 0.0
    return min(log_uniform(rng, 3 + radius * 0.5, 8 + radius * 2), _LARGEST_OEDEMA_MM)


def _oedema(rng: np.random.Generator, shape: LesionShape, reach: float, white: Mask) -> Field:
    """White matter (i, j, k of the box) within ``reach`` of the lesion along white matter; cortex stops it."""
    coarse = (slice(None, None, 2),) * 3  # every other voxel: the way along white matter is long to walk
    lesion = shape.depth[coarse] > 0
    path = (white[coarse] | lesion) & (shape.depth[coarse] > -reach)
    reached = ndimage.binary_dilation(lesion, iterations=max(round(reach / 2), 1), mask=path)
    fine = np.repeat(np.repeat(np.repeat(reached, 2, 0), 2, 1), 2, 2)[tuple(slice(0, n) for n in white.shape)]
    ragged = shape.depth + np.float32(reach) * (1 + 0.35 * smooth_field(rng, shape_of(white), max(reach * 0.8, 3.0)))
    spread = blurred((fine & white).astype(np.float32), 0.8)
    return np.asarray(spread * np.clip(ragged / 1.5, 0, 1), dtype=np.float32)


def _insides(rng: np.random.Generator, shape: LesionShape, part: Field, primary: Primary) -> tuple[Field, list[Layer]]:
    """How much of each voxel (of which ``part`` is lesion) does not enhance, and the layers that fill it."""
    local, hollow = shape_of(part), np.minimum(shape.hollow, part)
    layers = []
    if shape.kind == "ring" and shape.radius > 6 and rng.random() < 0.5:  # strands of tumour across the necrosis
        hollow = hollow * (smooth_field(rng, local, max(shape.radius * 0.35, 2.0)) < 0.7)
    if shape.kind != "solid":
        water = rng.uniform(0.7, 1.0) if shape.kind == "cyst" else rng.uniform(0.0, 0.9)
        grain = np.float32(rng.uniform(0, 0.3)) * smooth_field(rng, local, max(shape.radius * 0.4, 2.0))
        bright = rng.random() < 0.08  # blood or protein
        kind, strength = (Substance.BLOOD, rng.uniform(0.4, 1)) if bright else (Substance.WATER, water)
        layers.append(Layer(shape.box, kind, hollow, float(strength), grain))
    dark = hollow
    if rng.random() < primary.haemorrhagic:
        clot = part * (smooth_field(rng, local, max(shape.radius * 0.7, 1.5)) > rng.uniform(-0.5, 1.0))
        layers.append(Layer(shape.box, Substance.BLOOD, np.asarray(clot, np.float32), float(rng.random())))
        dark = np.maximum(dark, clot)
    if rng.random() < primary.calcified:
        specks = part * (smooth_field(rng, local, max(shape.radius * 0.25, 1.5)) > rng.uniform(1.0, 2.0))
        layers.append(Layer(shape.box, Substance.CALCIUM, np.asarray(specks, np.float32), float(rng.random())))
        dark = np.maximum(dark, specks)
    return np.asarray(dark, dtype=np.float32), layers


def draw_metastasis(
    rng: np.random.Generator, number: int, shape: LesionShape, allowed: Field, white: Mask, primary: Primary,
    oedema_mm: float,
) -> Metastasis:  # fmt: skip
    """What a lesion of ``shape`` is made of.

    Args:
        rng: source of chance.
        number: of the lesion.
        shape: its surface.
        allowed: (i, j, k) of the scene, how much of each voxel tumour may take.
        white: (i, j, k) of the scene, where oedema spreads.
        primary: what the patient's lesions have in common.
        oedema_mm: how far oedema spreads; 0: nowhere.
    """
    part = np.minimum(shape.filled, allowed[shape.box])
    uptake = primary.uptake * float(np.exp(rng.normal(0, 0.2))) if rng.random() < 0.7 else _uptake(rng)
    if shape.kind == "solid" and shape.radius > 7:  # a wide, faint, even brightness is a coil's, not a tumour's
        uptake = max(uptake, 0.25)
    grain = smooth_field(rng, shape_of(part), max(shape.radius * rng.uniform(0.15, 0.6), 1.5))
    layers = []
    oedema = _oedema(rng, shape, oedema_mm, white[shape.box]) if oedema_mm else None
    if oedema is not None:
        layers.append(Layer(shape.box, Substance.OEDEMA, oedema, float(rng.uniform(0.3, 1.0))))
    layers.append(Layer(shape.box, Substance.ENHANCING, part, uptake, np.float32(rng.uniform(0.02, 0.28)) * grain))
    dark, inner = _insides(rng, shape, part, primary)
    return Metastasis(number, "metastasis", shape, part, dark, oedema, uptake, (*layers, *inner))


def draw_cavity(rng: np.random.Generator, number: int, shape: LesionShape, allowed: Field, white: Mask) -> Metastasis:
    """What surgery left: fluid, a thin rim that enhances here and there, blood now and then, oedema."""
    part = np.minimum(shape.filled, allowed[shape.box])
    local = shape_of(part)
    patchy = np.clip(0.5 + smooth_field(rng, local, max(shape.radius * 0.5, 3.0)), 0, 1)
    rim = part * np.clip(1 - (shape.depth - rng.uniform(0.6, 2.0)), 0, 1) * patchy
    oedema = _oedema(rng, shape, rng.uniform(3, 12), white[shape.box])
    layers = [
        Layer(shape.box, Substance.OEDEMA, oedema, float(rng.uniform(0.2, 0.8))),
        Layer(shape.box, Substance.WATER, part, float(rng.uniform(0.75, 1.0))),
        Layer(shape.box, Substance.ENHANCING, np.asarray(rim, np.float32), float(rng.uniform(0.1, 0.8))),
    ]
    if rng.random() < 0.4:
        blood = part * (smooth_field(rng, local, max(shape.radius * 0.5, 2.0)) > rng.uniform(0.8, 1.8))
        layers.append(Layer(shape.box, Substance.BLOOD, np.asarray(blood, np.float32), float(rng.random())))
    return Metastasis(number, "cavity", shape, part, np.zeros_like(part), oedema, 0.0, tuple(layers))


def cavity_shape(rng: np.random.Generator, scene: Shape, voxel: tuple[int, int, int]) -> LesionShape:
    """A surgeon's hole: 12 to 45 mm wide, with room for oedema in its box."""
    return replace(draw_shape(rng, scene, voxel, log_uniform(rng, 12, 45), margin=12), kind="solid")
