"""Make the template that ships with metseg of the ICBM 152 average that nilearn's wheel carries.

``pip download --no-deps nilearn==0.14.1``, unzip the wheel, then
``python recipes/template.py nilearn/datasets/data src/metseg/io/atlas/icbm152-2009a-sym-3mm.npz``
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_BLUR = 1.2  # voxels of 1 mm: what a lattice of 3 mm can hold
_BELOW = 10  # slices that continue the cut brainstem while blurring
_FIRST = (17, 17, 1)  # voxels of the lattice's first point; the middle, x = 0, is voxel 98
_LAST = (182, 219, 167)
_STEP = 3


def main() -> None:
    """Read, blur, sample, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="nilearn's folder datasets/data")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    t1, grey, white = (nib.load(args.data / _NAME.format(name)) for name in ("t1", "gm", "wm"))
    brain = (np.asarray(t1.dataobj) > 0).astype(np.float32)
    parts = [np.asarray(image.dataobj, dtype=np.float32) / 255 * brain for image in (grey, white)]
    fluid = np.clip(brain - parts[0] - parts[1], 0, 1)
    tissues = np.stack([_sampled(each) for each in (*parts, fluid)])
    affine = np.diag([_STEP, _STEP, _STEP, 1.0])
    affine[:3, 3] = t1.affine[:3, 3] + np.array(_FIRST) - (0, 0, _BELOW)
    np.savez_compressed(args.out, tissues=tissues, affine=affine)


def _sampled(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    longer = np.pad(share, ((0, 0), (0, 0), (_BELOW, 0)), mode="edge")
    places = tuple(slice(first, last, _STEP) for first, last in zip(_FIRST, _LAST))
    return np.rint(gaussian_filter(longer, _BLUR)[places] * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
