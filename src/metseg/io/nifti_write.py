"""Write one NIfTI file: atomically, the same bytes each time, in exactly the geometry that was read."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.volume import LabelMap, Volume
from metseg.io.atomic import atomic_writer
from metseg.io.nifti_geometry import choose_geometry, codes_of
from metseg.io.nifti_header import DATATYPES, HEADER_BYTES, LAYOUTS, MAGICS, NiftiCodes

_TYPE_CODES: Final = {np.dtype(text): code for code, text in DATATYPES.items()}
_MILLIMETRES: Final = 2
_LEVEL: Final = 6


def write_nifti(path: Path, volume: Volume | LabelMap, codes: NiftiCodes | None = None) -> None:
    """Write a single-file NIfTI; compressed if ``path`` ends in ``.gz``.

    Voxels are stored as they are, without scaling: a volume in its own type (float16 as float32), a label map in the
    smallest unsigned type that holds its values. The same content gives the same bytes.

    Args:
        path: where to; its folder exists.
        volume: what to write.
        codes: geometry of the image that was read (``NiftiCodes.from_headers(source.headers)``). Where it describes
            exactly the volume's grid, its codes and numbers are written unchanged, so that every viewer puts the
            result where it puts the image. Otherwise the affine is written as scanner space (code 1).

    Raises:
        InputError: a grid that NIfTI-1 cannot hold.
        MetsegError: the folder is missing, not writable, or full.
    """
    array = _stored(volume)
    header = _header(array, volume.grid, _codes_for(volume.grid, codes))
    with atomic_writer(path) as file:
        if not path.name.endswith(".gz"):
            file.write(header)
            file.writelines(_slabs(array))
            return
        # zlib writes no time and no name into the gzip header, so equal content gives equal bytes.
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        file.write(packer.compress(header))
        for slab in _slabs(array):
            file.write(packer.compress(slab))
        file.write(packer.flush())


def _stored(volume: Volume | LabelMap) -> NDArray[Any]:
    array = volume.array
    if isinstance(volume, LabelMap):
        return array.astype(np.min_scalar_type(int(array.max())), copy=False)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _slabs(array: NDArray[Any]) -> Iterator[bytes]:
    """Slices across k as little-endian bytes, i fastest."""
    little = array.dtype.newbyteorder("<")
    for k in range(array.shape[2]):
        yield np.asarray(array[:, :, k], dtype=little).tobytes(order="F")


def _codes_for(grid: Grid, codes: NiftiCodes | None) -> NiftiCodes:
    if codes is not None and np.array_equal(choose_geometry(codes, grid.shape, "image").affine, grid.affine):
        return codes
    return codes_of(grid)


def _header(array: NDArray[Any], grid: Grid, codes: NiftiCodes) -> bytes:
    """Header of ``codes.version`` and the four bytes that say that no extension follows."""
    if max(array.shape) > np.iinfo(np.int16).max:
        raise InputError(f"A NIfTI file holds at most 32767 voxels along an axis, not {grid.shape}.")
    code = _TYPE_CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise InputError(f"A NIfTI file cannot hold an array of type {array.dtype}.")
    size = HEADER_BYTES[codes.version]
    header = np.zeros(1, dtype=LAYOUTS[codes.version].newbyteorder("<"))
    header["sizeof_hdr"], header["magic"] = size, MAGICS[codes.version]
    header["dim"] = [3, *grid.shape, 1, 1, 1, 1]
    header["datatype"], header["bitpix"] = code, 8 * array.dtype.itemsize
    header["pixdim"] = [*codes.pixdim, 0, 0, 0, 0]
    header["vox_offset"], header["scl_slope"] = size + 4, 1
    header["xyzt_units"], header["descrip"] = _MILLIMETRES, b"metseg"
    header["sform_code"], header["qform_code"] = codes.sform_code, codes.qform_code
    header["srow"], header["quatern"], header["qoffset"] = np.reshape(codes.srow, (3, 4)), codes.quatern, codes.qoffset
    return header.tobytes() + bytes(4)
