"""Small heads, as label maps: studies made from them take a fraction of a second."""

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from metseg.synthesis.head import make_head
from metseg.synthesis.hosts import LabelHost

SHAPE = (60, 72, 64)


def small_head(shift: int = 0) -> np.ndarray:
    """FreeSurfer/SynthSeg numbers (i, j, k): scalp, bone, fluid, cortex, white matter, ventricles, cerebellum, stem."""
    i, j, k = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij", sparse=True)
    radius = np.sqrt((i / 26) ** 2 + (j / 32) ** 2 + ((k + shift) / 28) ** 2)
    labels = np.zeros(SHAPE, dtype=np.int32)
    for limit, number in ((1.0, 511), (0.93, 515), (0.82, 24), (0.76, 3), (0.62, 2)):
        labels[radius < limit] = number
    labels[(np.abs(i) < 6) & (np.abs(j) < 10) & (np.abs(k) < 4)] = 14
    labels[(np.abs(i) < 3) & (np.abs(j - 8) < 2) & (np.abs(k + 7) < 2)] = 85
    below = (radius < 0.74) & (k < -8) & (j < -4)
    labels[below] = 8
    labels[below & (radius < 0.55)] = 7
    labels[(np.hypot(i, j) < 4) & (k < -6) & (radius < 0.8)] = 16
    return labels


def write_small_hosts(folder: Path, count: int = 3) -> Path:
    """A folder that ``--hosts`` takes: ``count`` label maps under names that models may have been trained on."""
    maps = folder / "hosts_labels"
    maps.mkdir(parents=True)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])  # stored the other way round: readers must turn it
    for number in range(count):
        image = nib.Nifti1Image(small_head(number - 1)[::-1].astype(np.int16), affine)
        nib.save(image, maps / f"training_seg_{number + 1:02d}.nii.gz")
    return folder


@cache
def made_head() -> LabelHost:
    """A whole made head, once for all tests: that takes seconds."""
    return make_head(3)


@cache
def half_head() -> LabelHost:
    """Every other voxel of it, so half as wide."""
    whole = made_head()
    places = {name: (x / 2, y / 2, z / 2) for name, (x, y, z) in whole.landmarks.items()}
    return LabelHost("half", np.ascontiguousarray(whole.tissues[::2, ::2, ::2]), places)
