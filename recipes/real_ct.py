"""The real head CTs that mets-ct is measured on; neither holds a known metastasis, neither was trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metseg.core.volume import Volume
from metseg.io.nifti import read_nifti


def hounsfield_of(stretched: NDArray[np.float32]) -> NDArray[np.float32]:
    """Hounsfield units of the units of Rorden's clinical toolbox, which stretch -124 … 76 HU tenfold."""
    units = np.where(stretched <= 900, stretched, np.maximum(900 + (stretched - 900) / 10, stretched - 1800))
    return np.asarray(units - 1024, dtype=np.float32)


def mean_head(data: Path) -> Volume:
    """The mean of many head CTs without contrast agent (Rorden et al. 2012), 2 mm, in HU."""
    image = read_nifti(data / "templates/rorden_ct/scct.nii")[0]
    return Volume(hounsfield_of(np.asarray(image.array, dtype=np.float32)), image.grid)


def mean_brain(data: Path) -> NDArray[np.bool_]:
    """Where the mean head's brain is, by those who made it."""
    return np.asarray(read_nifti(data / "templates/rorden_ct/scct_stripped.nii")[0].array) > 0


def real_heads(data: Path) -> Iterator[tuple[str, Volume]]:
    """Name and image."""
    yield "invesalius cranium", read_nifti(data / "hosts_ct/invesalius_cranium/cranium_ct.nii.gz")[0]
    yield "mean head CT", mean_head(data)
