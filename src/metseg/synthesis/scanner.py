"""What happens between the patient and the file: coils, slices, blur, noise, skull stripping."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from metseg.synthesis.fields import Field, Shape, log_uniform, smooth_field


def _resample_axis(image: Field, axis: int, thickness: float, phase: float) -> Field:
    """Average into slices ``thickness`` voxels thick and interpolate back between their centres."""
    size = image.shape[axis]
    centres = np.arange(phase, size + thickness, thickness)
    inside = np.clip((thickness + 1) / 2 - np.abs(np.arange(size)[None, :] - centres[:, None]), 0, 1)
    keep = inside.sum(axis=1) > 0.5 * thickness
    average = inside[keep] / inside[keep].sum(axis=1, keepdims=True)
    back = np.empty((size, int(keep.sum())))
    for column in range(back.shape[1]):
        back[:, column] = np.interp(np.arange(size), centres[keep], np.eye(back.shape[1])[column])
    matrix = (back @ average).astype(np.float32)
    return np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)


def scan(rng: np.random.Generator, image: Field, thick_slices: float = 0.3) -> Field:
    """A scanner's picture (i, j, k) of ``image`` (white matter = 1, 1 mm): bias, blur, slices, Rician noise, gamma.

    Args:
        rng: source of chance.
        image: what is there.
        thick_slices: chance of slices 2–6 mm thick along one axis.
    """
    shape: Shape = image.shape
    seen = image * np.exp(rng.uniform(0, 0.25) * smooth_field(rng, shape, rng.uniform(45, 90)))
    seen = ndimage.gaussian_filter(seen, rng.uniform(0.35, 0.85), truncate=2.5)
    if rng.random() < thick_slices:
        seen = _resample_axis(seen, int(rng.choice(3, p=(0.15, 0.15, 0.7))), rng.uniform(2, 6), rng.uniform(0, 2))
    sigma = log_uniform(rng, 0.004, 0.05)
    grain = rng.standard_normal((2, *shape), dtype=np.float32) * np.float32(sigma)
    if rng.random() < 0.5:  # images are often interpolated: their noise is not white
        grain = np.stack([ndimage.gaussian_filter(g, rng.uniform(0.4, 0.8)) * np.float32(1.6) for g in grain])
    seen = np.hypot(seen + grain[0], grain[1])
    return np.asarray(np.power(seen, rng.uniform(0.85, 1.2)), dtype=np.float32)


def stripped_brain(rng: np.random.Generator, intracranial: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What a skull-stripping program might leave of the inside of the skull: a little more here, less there."""
    shape: Shape = intracranial.shape
    soft = ndimage.gaussian_filter(intracranial.astype(np.float32), rng.uniform(1.0, 3.0), truncate=2.5)
    edge = rng.uniform(0.3, 0.8) + rng.uniform(0.0, 0.12) * smooth_field(rng, shape, rng.uniform(6, 20))
    return np.asarray(soft > edge)
