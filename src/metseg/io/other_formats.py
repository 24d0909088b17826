"""Read MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr), or refuse them by name.

Both formats are a text header before, or beside, plain or deflated voxels. They are read by hand, because a library
that fills up what is missing, or follows a header's word to any file of the disk, would defeat the checks.
"""

import hashlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Final, Literal

import numpy as np

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.io.case_names import shown_name
from metseg.io.gzip_stream import VerifiedStream, open_regular
from metseg.io.image_checks import check_geometry, check_shape, checked_volume, read_voxels, scaled_float32
from metseg.io.image_file import ImageFile
from metseg.io.limits import DEFAULT_LIMITS, MIB, Limits
from metseg.io.metaimage import parse_metaimage
from metseg.io.nrrd import parse_nrrd, read_nrrd_header
from metseg.io.text_header import TextHeader

OTHER_SUFFIXES: Final = (".mha", ".mhd", ".nrrd", ".nhdr")


def read_other(path: Path, limits: Limits = DEFAULT_LIMITS, name: str = "") -> ImageFile:
    """Read a MetaImage or NRRD file; which one is told by its first bytes.

    Args:
        path: the file, or the header of a file beside it.
        limits: what it may claim and hold.
        name: what messages and notes call it; by default its file name.

    Raises:
        InputError: the file is no single, whole, three-dimensional image in a regular geometry.
    """
    name = name or shown_name(path)
    with open_regular(path) as file:
        header, kind = _parse(file, name, limits)
        check_shape(name, header.shape, limits)
        check_geometry(name, header.affine, limits)
        stored, sha256 = _read_stored(file, path, name, header, limits)
    grid = Grid(header.shape, header.affine)
    volume, repairs = checked_volume(name, scaled_float32(stored), grid, limits)
    return ImageFile(volume, {}, (*header.notes, *repairs), sha256, kind)


def data_file_of(path: Path, limits: Limits = DEFAULT_LIMITS) -> Path | None:
    """The file that holds the voxels of a header; None where they follow it, or where nothing usable is named."""
    try:
        with open_regular(path) as file:
            header, _ = _parse(file, shown_name(path), limits)
        named = None if header.data_file is None else path.with_name(_beside(header.data_file, shown_name(path)))
    except InputError:  # told when the image is read
        return None
    return named if named is not None and named.is_file() else None


def _parse(file: BinaryIO, name: str, limits: Limits) -> tuple[TextHeader, Literal["nrrd", "mha"]]:
    """The header and its format; ``file`` then stands at the header's end."""
    is_nrrd = file.read(4) == b"NRRD"
    file.seek(0)
    if is_nrrd:
        return parse_nrrd(read_nrrd_header(file, name, limits), name), "nrrd"
    return parse_metaimage(file, name, limits), "mha"


def _read_stored(
    file: BinaryIO, path: Path, name: str, header: TextHeader, limits: Limits
) -> tuple[np.ndarray[Any, np.dtype[Any]], str]:
    """Voxels as stored, and the hash over header and data."""
    start = file.tell()
    file.seek(0)
    digest = hashlib.sha256(file.read(start))
    if header.data_file is None:
        return _voxels(file, name, header, limits, digest), digest.hexdigest()
    while block := file.read(MIB):
        digest.update(block)
    data_path = path.with_name(_beside(header.data_file, name))
    data_name = shown_name(data_path) if name == shown_name(path) else f"the data file of {name}"
    with open_regular(data_path) as data:
        return _voxels(data, data_name, header, limits, digest), digest.hexdigest()


def _voxels(
    file: BinaryIO, name: str, header: TextHeader, limits: Limits, digest: "hashlib._Hash"
) -> np.ndarray[Any, np.dtype[Any]]:
    stream = VerifiedStream(file, name, header.codec, limits, digest)
    if header.packed_bytes is not None and header.packed_bytes != stream.stored_bytes:
        raise InputError(
            f"{name} declares {header.packed_bytes:,} bytes of compressed voxels, but holds {stream.stored_bytes:,}.",
            hint="Copy or export the file again.",
        )
    declared = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    skip = max(stream.stored_bytes - declared, 0) if header.skip < 0 else header.skip
    return read_voxels(stream, header.shape, header.dtype, skip=skip)


def _beside(data_file: str, name: str) -> str:
    """The name of a data file that lies in the header's own folder.

    Raises:
        InputError: the name leads anywhere else, or stands for several files.
    """
    plain = PurePosixPath(data_file).name == data_file and PureWindowsPath(data_file).name == data_file
    if not plain or data_file in {"", ".", ".."} or "\0" in data_file:
        raise InputError(
            f"The header {name} points to a data file outside its own folder.",
            hint="Put the data file beside the header and let the header name it without a path.",
        )
    if "%" in data_file or data_file.upper() == "LIST" or data_file.upper().startswith("LIST "):
        raise InputError(
            f"The header {name} spreads its voxels over several files.",
            hint="Save the image as one file, such as .nii.gz or .mha.",
        )
    return data_file
