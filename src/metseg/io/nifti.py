"""Read one NIfTI file, or refuse it by name: see docs/reference/intake.md for each kind."""

from pathlib import Path

import numpy as np

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.volume import Volume
from metseg.io.case_names import shown_name
from metseg.io.gzip_stream import GZIP_MAGIC, VerifiedStream, open_regular
from metseg.io.image_checks import check_geometry, checked_volume, read_voxels, scaled_float32
from metseg.io.image_file import ImageFile
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.nifti_geometry import choose_geometry
from metseg.io.nifti_header import HEADER_BYTES, NiftiHeader, header_version, pair_refused, parse_header
from metseg.io.nifti_write import write_nifti

__all__ = ["read_nifti", "read_nifti_image", "write_nifti"]


def read_nifti(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Volume, tuple[str, ...], str]:
    """Read a ``.nii`` or ``.nii.gz`` file.

    Returns:
        The volume (float32, exact affine), notes on what was repaired or doubted, SHA-256 of the file's bytes.

    Raises:
        InputError: the file is no single, whole, three-dimensional image in a regular geometry.
    """
    image = read_nifti_image(path, limits)
    return image.volume, image.notes, image.sha256


def read_nifti_image(path: Path, limits: Limits = DEFAULT_LIMITS, name: str = "") -> ImageFile:
    """Read a ``.nii`` or ``.nii.gz`` file, with the geometry codes that a result needs to match it.

    Args:
        path: the file.
        limits: what it may claim and hold.
        name: what messages and notes call it; by default its file name.

    Raises:
        InputError: as ``read_nifti``.
    """
    name = name or shown_name(path)
    if path.name.lower().endswith((".hdr", ".img", ".hdr.gz", ".img.gz")):
        raise pair_refused(name)
    with open_regular(path) as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        stream = VerifiedStream(file, name, "gzip" if packed else "plain", limits)
        header = _read_header(stream, limits)
        chosen = choose_geometry(header.codes, header.shape, name, limits)
        check_geometry(name, chosen.affine, limits)
        read = HEADER_BYTES[header.codes.version]
        stored = read_voxels(stream, header.shape, header.dtype, skip=header.vox_offset - read)
    array = scaled_float32(stored, header.slope, header.intercept)
    grid = Grid(header.shape, chosen.affine)
    volume, repairs = checked_volume(name, array, grid, limits)
    notes = (
        *_name_notes(path, name, packed=packed),
        *header.notes,
        *chosen.notes,
        *_size_notes(name, header, grid),
        *repairs,
    )
    return ImageFile(volume, header.codes.to_headers(), notes, stream.sha256, "nifti")


def _read_header(stream: VerifiedStream, limits: Limits) -> NiftiHeader:
    start = stream.read(4)
    if len(start) < 4:
        raise InputError(f"{stream.name} is too short for a NIfTI header.", hint="Copy or export the file again.")
    version, _ = header_version(start, stream.name)
    return parse_header(start + stream.read(HEADER_BYTES[version] - 4), stream.name, limits)


def _name_notes(path: Path, name: str, *, packed: bool) -> tuple[str, ...]:
    named_so = path.name.lower().endswith(".gz")
    if packed and not named_so:
        return (f"{name} is compressed though its name does not end in .gz; it was read as what it is.",)
    if not packed and named_so:
        return (f"{name} is not compressed though its name ends in .gz; it was read as what it is.",)
    return ()


def _size_notes(name: str, header: NiftiHeader, grid: Grid) -> tuple[str, ...]:
    """Without a qform, pixdim and sform each state the voxel sizes: say so where they differ."""
    pixdim = np.abs(header.codes.pixdim[1:])
    if header.codes.qform_code > 0 or np.allclose(pixdim, grid.spacing_mm, rtol=0.01, atol=0):
        return ()
    sizes = "×".join(f"{s:.4g}" for s in pixdim)
    used = "×".join(f"{s:.4g}" for s in grid.spacing_mm)
    return (f"{name}: its voxel sizes (pixdim, {sizes} mm) differ from its sform ({used} mm); the sform was used.",)
