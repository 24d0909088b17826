"""Blood vessels: where two smooth random fields are both zero there are long, winding, branching tubes."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.fields import Field, Shape, smooth_field


def tube_fraction(rng: np.random.Generator, shape: Shape, correlation: float, radius: Field) -> Field:
    """How much of each voxel (i, j, k) lies inside a tube, 0 … 1.

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


def draw_vessels(
    rng: np.random.Generator, image: Field, fluid: NDArray[np.bool_], tissue: NDArray[np.bool_], level: float
) -> None:
    """Draw enhancing vessels into ``image`` (changed in place): wide ones in ``fluid``, thin ones in ``tissue``."""
    shape: Shape = image.shape
    trees = [
        (rng.uniform(10, 28), rng.uniform(0.5, 1.7), rng.uniform(0.1, 0.75)) for _ in range(int(rng.integers(1, 6)))
    ]
    for correlation, in_fluid, in_tissue in trees:
        calibre = np.clip(1 + 0.5 * smooth_field(rng, shape, 24), 0.2, 2)
        radius = calibre * (np.float32(in_fluid) * fluid + np.float32(in_tissue) * tissue)
        part = tube_fraction(rng, shape, correlation, radius)
        brightness = np.float32(level * rng.uniform(0.7, 1.15))
        image += part * (brightness - image)


def draw_sinuses(
    rng: np.random.Generator, image: Field, intracranial: NDArray[np.bool_], fluid: NDArray[np.bool_], level: float
) -> None:
    """Draw venous sinuses and large arteries into ``image`` (changed in place): under the skull, and in the cisterns.

    Skull stripping leaves pieces of them, and they are as bright as tumours: the model must have seen them.
    """
    shape: Shape = image.shape
    if rng.random() < 0.6:  # bands and patches along the inner side of the skull
        depth = int(rng.integers(1, 9))
        rim = intracranial & ~ndimage.binary_erosion(intracranial, iterations=depth, border_value=1)
        rim &= smooth_field(rng, shape, rng.uniform(8, 24)) > rng.uniform(0.2, 1.4)
        grain = 1 + rng.uniform(0, 0.2) * smooth_field(rng, shape, 3)
        image[rim] = (level * rng.uniform(0.6, 1.1) * grain)[rim]
    if rng.random() < 0.6:
        calibre = np.clip(rng.uniform(1.2, 3.2) * (1 + 0.3 * smooth_field(rng, shape, 30)), 0, 4) * fluid
        part = tube_fraction(rng, shape, rng.uniform(22, 45), calibre.astype(np.float32))
        image += part * (np.float32(level * rng.uniform(0.7, 1.1)) - image)
