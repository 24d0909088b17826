"""What MetaImage and NRRD headers have in common."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from metseg.io.gzip_stream import Codec
from metseg.io.image_checks import Affine

LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class TextHeader:
    """What a text header says of the voxels.

    Args:
        shape: voxels along i, j, k.
        dtype: as stored, byte order included.
        affine: voxel indices to RAS+ millimetres.
        codec: how the voxels are packed.
        data_file: name of the file that holds them; None: they follow the header.
        packed_bytes: length of the packed voxels, where the header states it.
        skip: bytes before the voxels; -1: the voxels are the last bytes of the file.
        notes: doubts, a sentence each.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine: Affine
    codec: Codec = "plain"
    data_file: str | None = None
    packed_bytes: int | None = None
    skip: int = 0
    notes: tuple[str, ...] = ()
