"""What happens between the patient and the MR image: coils, motion, slices, blur, noise, skull stripping."""

import numpy as np
from numpy.typing import NDArray

from metseg.synthesis.fields import Field, Shape, blurred, grown, log_uniform, shrunk, smooth_field


def slice_weights(size: int, thickness: float, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(slice, voxel): how much each voxel of 1 mm counts in slices of ``thickness`` voxels at ``centres``.

    A slice's profile is a box; a voxel at its edge counts by the part of it that lies inside. Rows sum to 1.
    """
    distance = np.abs(np.arange(size)[None, :] - centres[:, None])
    inside = np.clip((thickness + 1) / 2 - distance, 0, min(thickness, 1))
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-9))


def along(matrix: Field, image: Field, axis: int) -> Field:
    """``matrix`` (new, old) applied along one axis of ``image``."""
    return np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)


def through_slices(image: Field, axis: int, thickness: float, phase: float) -> Field:
    """Average into slices ``thickness`` voxels thick and interpolate back between their centres."""
    size = image.shape[axis]
    centres = np.arange(phase, size, thickness)
    average = slice_weights(size, thickness, centres)
    back = np.empty((size, len(centres)))
    for column in range(back.shape[1]):
        back[:, column] = np.interp(np.arange(size), centres, np.eye(back.shape[1])[column])
    return along((back @ average).astype(np.float32), image, axis)


def ghosts(rng: np.random.Generator, image: Field, axis: int) -> Field:
    """Motion during the scan: the lines of k-space along the phase-encoding ``axis`` see a head that has moved.

    A head that breathes, pulsates or nods gives copies of its edges along that axis.
    """
    lines = image.shape[axis]
    order = np.arange(lines)
    moved = rng.uniform(0.1, 1.0) * np.sin(2 * np.pi * (order * rng.uniform(0.03, 0.3) + rng.random()))
    if rng.random() < 0.4:  # one nod
        moved = moved + rng.normal(0, 1.0) * (order > rng.uniform(0.1, 0.9) * lines)
    frequency = np.fft.fftfreq(lines)
    phase = np.exp(-2j * np.pi * frequency * np.fft.ifftshift(moved - moved[lines // 2])).astype(np.complex64)
    spread = [1, 1, 1]
    spread[axis] = lines
    seen = np.fft.ifft(np.fft.fft(image, axis=axis).astype(np.complex64) * phase.reshape(spread), axis=axis)
    return np.asarray(np.abs(seen), dtype=np.float32)


def wrapped(rng: np.random.Generator, image: Field, axis: int) -> Field:
    """A field of view too small for the head: what lies beyond one edge appears at the other; the shape stays."""
    size = image.shape[axis]
    cut = int(rng.uniform(0.05, 0.2) * size)
    low, high = cut // 2, size - (cut - cut // 2)
    turned = np.moveaxis(image, axis, 0)
    fold = np.zeros_like(turned)
    fold[low:high] = turned[low:high]
    fold[high - low : high] += turned[:low]
    fold[low : low + size - high] += turned[high:]
    return np.moveaxis(fold, 0, axis)


def uneven(rng: np.random.Generator, image: Field) -> Field:
    """As coils of uneven sensitivity show it, and a blur of its own."""
    shape: Shape = image.shape
    seen = image * np.exp(rng.uniform(0, 0.25) * smooth_field(rng, shape, rng.uniform(45, 90)))
    return np.asarray(blurred(seen, rng.uniform(0.35, 0.85)))


def noisy(rng: np.random.Generator, image: Field) -> Field:
    """Rician noise, and the scanner's own idea of grey values (a gamma)."""
    sigma = log_uniform(rng, 0.012, 0.07)
    grain = rng.standard_normal((2, *image.shape), dtype=np.float32)
    if rng.random() < 0.5:  # images are often interpolated: their noise is not white
        width = rng.uniform(0.4, 0.8)
        grain = np.stack([blurred(g, width) for g in grain])
    grain *= np.float32(sigma / grain.std())
    seen = np.hypot(image + grain[0], grain[1])
    return np.asarray(np.power(seen, rng.uniform(0.85, 1.2)), dtype=np.float32)


def scan(rng: np.random.Generator, image: Field, thick_slices: float = 0.3, motion: float = 0.1) -> Field:
    """A scanner's picture (i, j, k) of ``image`` (white matter = 1, 1 mm), interpolated back to 1 mm.

    Args:
        rng: source of chance.
        image: what is there.
        thick_slices: chance of slices 2–6 mm thick along one axis.
        motion: chance of a head that moved.
    """
    seen = uneven(rng, image)
    if rng.random() < motion:
        seen = ghosts(rng, seen, int(rng.integers(2)))
    if rng.random() < thick_slices:
        thickness = rng.uniform(2, 6)
        axis = int(rng.choice(3, p=(0.15, 0.15, 0.7)))
        seen = through_slices(seen, axis, thickness, rng.uniform(0, min(thickness, 3)))
    return noisy(rng, seen)


def stripped_brain(rng: np.random.Generator, intracranial: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What a skull-stripping program might leave of the inside of the skull: a little more here, less there."""
    shape: Shape = intracranial.shape
    soft = blurred(intracranial.astype(np.float32), rng.uniform(1.0, 3.0))
    edge = rng.uniform(0.3, 0.8) + rng.uniform(0.0, 0.12) * smooth_field(rng, shape, rng.uniform(6, 20))
    return np.asarray(soft > edge)


def badly_stripped(rng: np.random.Generator, kept: NDArray[np.bool_], head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A stripping gone wrong: pieces of what lies around the brain left on it, or bites taken out of its surface."""
    shape: Shape = kept.shape
    patches = smooth_field(rng, shape, rng.uniform(10, 25)) > rng.uniform(1.0, 2.0)
    if rng.random() < 0.6:
        near = grown(kept, int(rng.integers(3, 12)))
        return np.asarray(kept | (near & head & patches))
    deep = shrunk(kept, int(rng.integers(2, 8)))
    return np.asarray(kept & (deep | ~patches))
