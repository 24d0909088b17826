"""What looks like a metastasis and is none: vessels, sinuses, dura, plexus, glands, plaques, infarcts, calcifications.

All of it is background in the truth. Vessels and tumours draw their uptake from one range: only shape and place tell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field, Shape, grown, log_uniform, shrunk, smooth_field
from metseg.synthesis.shapes import draw_shape
from metseg.synthesis.substances import Box, Layer, Substance, whole
from metseg.synthesis.tissues import BRAIN, INTRACRANIAL, Tissue

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Inside:
    """A scene's tissues, sorted once.

    Args:
        tissues: (i, j, k).
        intracranial: what lies inside the skull.
        solid: brain, ventricles included.
        white: white matter.
    """

    tissues: NDArray[np.uint8]
    intracranial: Mask
    solid: Mask
    white: Mask

    @classmethod
    def of(cls, tissues: NDArray[np.uint8]) -> "Inside":
        """Sort ``tissues``."""
        white = (tissues == Tissue.WHITE) | (tissues == Tissue.CEREBELLAR_WHITE)
        return cls(tissues, np.isin(tissues, INTRACRANIAL), np.isin(tissues, BRAIN), white)

    @property
    def fluid(self) -> Mask:
        """Around the brain."""
        return np.asarray(self.intracranial & ~self.solid)

    @property
    def shape(self) -> Shape:
        """Of the scene."""
        shape: Shape = self.tissues.shape
        return shape


def tube_fraction(rng: np.random.Generator, shape: Shape, correlation: float, radius: Field) -> Field:
    """How much of each voxel (i, j, k) lies inside a tube, 0 … 1.

    Where two smooth random fields are both zero there are long, winding, branching tubes.

    Args:
        rng: source of chance.
        shape: voxels along i, j, k.
        correlation: size of the windings, in voxels.
        radius: (i, j, k) or a scalar array: radius of a tube that passes there, in voxels; 0 forbids tubes.
    """
    # A field divided by its typical slope is, near its zeros, about the distance to them.
    slope = np.float32(1.05 / correlation)
    squared = np.zeros(shape, dtype=np.float32)
    for _ in range(2):
        distance = smooth_field(rng, shape, correlation) / slope
        squared += distance * distance
    return np.asarray(np.clip(radius - np.sqrt(squared) + 0.5, 0, 1) * (radius > 0), dtype=np.float32)


def draw_vessels(rng: np.random.Generator, it: Inside) -> list[Layer]:
    """Trees of vessels: wide ones around the brain, thin ones in it."""
    layers = []
    for _ in range(int(rng.integers(1, 6))):
        correlation, in_fluid, in_tissue = rng.uniform(10, 28), rng.uniform(0.5, 1.7), rng.uniform(0.1, 0.75)
        calibre = np.clip(1 + 0.5 * smooth_field(rng, it.shape, 24), 0.2, 2)
        radius = calibre * (np.float32(in_fluid) * it.fluid + np.float32(in_tissue) * it.solid)
        part = tube_fraction(rng, it.shape, correlation, radius)
        layers.append(Layer(whole(it.shape), Substance.VESSEL, part, float(rng.uniform(0.35, 1.25))))
    return layers


def draw_sinuses(rng: np.random.Generator, it: Inside) -> list[Layer]:
    """Venous sinuses and large arteries: under the skull, and in the cisterns.

    Skull stripping leaves pieces of them, and they are as bright as tumours: the model must have seen them.
    """
    layers, box = [], whole(it.shape)
    if rng.random() < 0.6:  # bands and patches along the inner side of the skull
        depth = int(rng.integers(1, 9))
        rim = it.intracranial & ~shrunk(it.intracranial, depth)
        rim &= smooth_field(rng, it.shape, rng.uniform(8, 24)) > rng.uniform(0.2, 1.4)
        grain = np.float32(rng.uniform(0, 0.2)) * smooth_field(rng, it.shape, 3)
        layers.append(Layer(box, Substance.VESSEL, rim.astype(np.float32), float(rng.uniform(0.2, 1.15)), grain))
    if rng.random() < 0.6:
        calibre = np.clip(rng.uniform(1.2, 3.2) * (1 + 0.3 * smooth_field(rng, it.shape, 30)), 0, 4) * it.fluid
        part = tube_fraction(rng, it.shape, rng.uniform(22, 45), calibre.astype(np.float32))
        layers.append(Layer(box, Substance.VESSEL, part, float(rng.uniform(0.3, 1.15))))
    return layers


def draw_dura_and_plexus(rng: np.random.Generator, it: Inside) -> list[Layer]:
    """Enhancing dura, in patches; choroid plexus in the ventricles, now and then calcified."""
    layers, box = [], whole(it.shape)
    if rng.random() < 0.6:
        dura = grown(it.tissues == Tissue.BONE) & (it.tissues == Tissue.FLUID)
        dura &= smooth_field(rng, it.shape, 14) > rng.uniform(-1, 1.2)
        layers.append(Layer(box, Substance.ENHANCING, dura.astype(np.float32), float(rng.uniform(0.0, 0.8))))
    ventricle = it.tissues == Tissue.VENTRICLE
    plexus = ventricle & (smooth_field(rng, it.shape, rng.uniform(3, 7)) > rng.uniform(1.2, 2.2))
    plexus |= it.tissues == Tissue.CHOROID
    layers.append(Layer(box, Substance.ENHANCING, plexus.astype(np.float32), float(rng.uniform(0.1, 1.0))))
    if rng.random() < 0.5:
        specks = plexus & (smooth_field(rng, it.shape, 2.5) > rng.uniform(0.6, 1.8))
        layers.append(Layer(box, Substance.CALCIUM, specks.astype(np.float32), float(rng.uniform(0.1, 0.9))))
    return layers


def draw_plaques_and_infarcts(rng: np.random.Generator, it: Inside) -> list[Layer]:
    """Demyelinated plaques of the white matter, small infarcts of cortex and below, lacunes: none takes up contrast."""
    layers, box = [], whole(it.shape)
    if rng.random() < 0.4:
        plaque = it.white & (smooth_field(rng, it.shape, rng.uniform(3, 9)) > rng.uniform(1.8, 2.6))
        layers.append(Layer(box, Substance.OEDEMA, plaque.astype(np.float32), float(rng.uniform(0.3, 1.0))))
    for _ in range(int(rng.choice((0, 1, 2), p=(0.75, 0.15, 0.1)))):
        where = np.flatnonzero(it.solid.ravel())
        if not len(where):
            break
        i, j, k = (int(n) for n in np.unravel_index(int(rng.choice(where)), it.shape))
        lacune = rng.random() < 0.5
        shape = draw_shape(rng, it.shape, (i, j, k), log_uniform(rng, 3, 8) if lacune else log_uniform(rng, 8, 35))
        part = shape.filled * it.solid[shape.box]
        kind, strength = (Substance.WATER, rng.uniform(0.6, 1)) if lacune else (Substance.OEDEMA, rng.uniform(0.4, 1))
        layers.append(Layer(shape.box, kind, np.asarray(part, dtype=np.float32), float(strength)))
    return layers


def draw_gland(
    rng: np.random.Generator, it: Inside, voxel: NDArray[np.float64], size_mm: float, calcified: float
) -> list[Layer]:
    """A gland that enhances, at ``voxel``: pituitary or pineal; and, with a chance of ``calcified``, its calcium."""
    i, j, k = (round(float(n)) for n in voxel)
    if not all(0 <= n < size for n, size in zip((i, j, k), it.shape, strict=True)):
        return []
    shape = draw_shape(rng, it.shape, (i, j, k), size_mm * rng.uniform(0.8, 1.2))
    layers = [Layer(shape.box, Substance.ENHANCING, shape.filled, float(rng.uniform(0.25, 1.0)))]
    if rng.random() < calcified:
        specks = draw_shape(rng, it.shape, (i, j, k), size_mm * rng.uniform(0.3, 0.8))
        layers.append(Layer(specks.box, Substance.CALCIUM, specks.filled, float(rng.uniform(0.1, 0.9))))
    return layers


def draw_falx(rng: np.random.Generator, it: Inside, from_midline: Field) -> list[Layer]:
    """The falx: a sheet in the midline's fluid, a little bright after contrast agent, calcified here and there.

    Args:
        rng: source of chance.
        it: the scene.
        from_midline: (i, j, k), millimetres from the middle plane of the head.
    """
    box: Box = whole(it.shape)
    sheet = np.clip(rng.uniform(0.7, 1.3) + 0.5 - np.abs(from_midline), 0, 1) * it.fluid
    if not sheet.any():
        return []
    part = np.asarray(sheet, dtype=np.float32)
    layers = [Layer(box, Substance.ENHANCING, part, float(rng.uniform(0.0, 0.6)))]
    if rng.random() < 0.3:
        patches = smooth_field(rng, it.shape, rng.uniform(4, 10)) > rng.uniform(1.2, 2.2)
        calcified = np.asarray(part * patches, dtype=np.float32)
        layers.append(Layer(box, Substance.CALCIUM, calcified, float(rng.uniform(0.1, 1.0))))
    return layers
