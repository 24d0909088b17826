"""What happens between the patient and the CT image: beam hardening, blur, slices, quantum noise."""

import numpy as np

from metseg.synthesis.fields import Field, Shape, blurred, log_uniform, smooth_field
from metseg.synthesis.scanner import through_slices

AIR_HU = -1024.0
_BONE_HU = 300.0
_DENSEST_HU = 3071.0


def streaks(rng: np.random.Generator, hounsfield: Field) -> Field:
    """Dark bands (HU, to be added) between dense bones of one slice: rays through both are hardened most.

    Along each ray the error is taken as the product of the bone on either side, in a few directions of the slice.
    """
    bone = np.clip(hounsfield - _BONE_HU, 0, 1500) / 1000
    dark = np.zeros_like(hounsfield)
    strength = rng.uniform(0.0, 10.0)
    for axis in (0, 1):
        before = np.cumsum(bone, axis=axis)
        after = before.max(axis=axis, keepdims=True) - before
        pair = np.sqrt(np.clip(before * after, 0, None)) * (bone == 0)
        uneven = 1 + 0.8 * np.sin(np.float32(rng.uniform(0.5, 1.5)) * pair)
        dark -= np.float32(strength * rng.uniform(0.3, 1.0)) * np.minimum(pair / 12, 1.5) * uneven
    return np.asarray(blurred(dark, (0.7, 0.7, 0.4)))


def quantum_noise(rng: np.random.Generator, hounsfield: Field, sigma: float) -> Field:
    """Noise (HU) of about ``sigma`` in the brain: correlated in the slice, more where bone stops the rays."""
    shape: Shape = hounsfield.shape
    grain = rng.standard_normal(shape, dtype=np.float32)
    fine = rng.uniform(0.5, 1.1)
    grain = blurred(grain, (fine, fine, rng.uniform(0.2, 0.5)))
    dense = blurred(np.clip(hounsfield - np.float32(_BONE_HU), 0, 1500) / 1000, 8.0)
    return np.asarray(np.float32(sigma) * grain / grain.std() * (1 + 2.0 * dense), dtype=np.float32)


def scan_ct(
    rng: np.random.Generator, hounsfield: Field, thick_slices: float = 0.6, largest_slice_mm: float = 5.5
) -> Field:
    """A CT scanner's picture (i, j, k; HU) of ``hounsfield`` (1 mm, k along the table), interpolated back to 1 mm.

    Args:
        rng: source of chance.
        hounsfield: what is there.
        thick_slices: chance of slices thicker than 1 mm.
        largest_slice_mm: of those.
    """
    seen = hounsfield + streaks(rng, hounsfield)
    seen = blurred(seen, rng.uniform(0.4, 0.8))
    thickness = 1.0
    if rng.random() < thick_slices:
        thickness = rng.uniform(1.5, largest_slice_mm)
        seen = through_slices(seen, 2, thickness, rng.uniform(0, min(thickness, 3)))
    # Thick slices have less noise: the radiographer chooses the dose for a noise that can be read.
    sigma = log_uniform(rng, 3.5, 10.0) / np.sqrt(min(thickness, 3.0))
    seen = seen + quantum_noise(rng, hounsfield, float(sigma))
    drift = rng.uniform(-4, 4) + rng.uniform(0, 2.5) * smooth_field(rng, hounsfield.shape, 60)  # cupping, calibration
    return np.asarray(np.clip(seen + drift, AIR_HU, _DENSEST_HU), dtype=np.float32)
