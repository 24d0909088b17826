"""Checks that every image passes, whatever its format: size, geometry, values."""

from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.core.volume import Volume
from metseg.io.gzip_stream import RESEND, VerifiedStream
from metseg.io.limits import DEFAULT_LIMITS, Limits

Affine = Float[np.ndarray, "4 4"]
_BLOCK: Final = 64
_KILOMETRE: Final = 1e6


def check_shape(name: str, shape: tuple[int, int, int], limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse sizes that are no head scan.

    Raises:
        InputError: fewer than ``min_size`` or more than ``max_size`` voxels along an axis, or too many in all.
    """
    sizes = "×".join(map(str, shape))
    if min(shape) < 1:
        raise InputError(f"{name} declares {sizes} voxels, but each size must be positive.", hint=RESEND)
    if min(shape) < limits.min_size:
        raise InputError(
            f"{name} has {sizes} voxels; at least {limits.min_size} along each axis are needed.",
            hint="Give the whole three-dimensional series, not a slice, a localiser or a thin slab.",
        )
    if max(shape) > limits.max_size or 4 * int(np.prod(shape, dtype=object)) > limits.max_bytes:
        raise InputError(
            f"{name} declares {sizes} voxels, more than {limits.max_size} along an axis or "
            f"{limits.max_bytes // 4:,} in all.",
            hint="Crop or downsample the image; if it should be smaller, its header is damaged.",
        )


def geometry_finding(affine: Affine, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """What makes ``affine`` unusable, as the end of a sentence about it; None if nothing does."""
    if not np.isfinite(affine).all():
        return "holds a value that is not a finite number"
    if np.abs(affine).max() > _KILOMETRE:
        return "holds a length of over a kilometre"
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(axes / lengths)) < 1e-3:
        return "is singular (a voxel axis has no length, or two point the same way)"
    cosines = (axes / lengths).T @ (axes / lengths)
    i, j = max(((0, 1), (0, 2), (1, 2)), key=lambda pair: abs(cosines[pair]))
    if abs(cosines[i, j]) > limits.max_shear:
        angle = np.degrees(np.arccos(np.clip(cosines[i, j], -1, 1)))
        return f"is sheared (voxel axes {'ijk'[i]} and {'ijk'[j]} meet at {angle:.2f}°, not 90°)"
    return None


def check_geometry(name: str, affine: Affine, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a geometry in which lengths cannot be measured.

    Raises:
        InputError: an affine that is not finite, singular or sheared, or voxel sizes outside the limits.
    """
    finding = geometry_finding(affine, limits)
    if finding:
        raise InputError(
            f"The geometry of {name} {finding}.",
            hint="Resample the image to a grid with right angles, or convert it again from DICOM.",
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < limits.min_spacing_mm * (1 - 1e-6) or spacing.max() > limits.max_spacing_mm * (1 + 1e-6):
        raise InputError(
            f"The voxels of {name} measure {'×'.join(f'{s:.4g}' for s in spacing)} mm; between "
            f"{limits.min_spacing_mm:g} and {limits.max_spacing_mm:g} mm are expected.",
            hint="Check the voxel size (unit, lost header) and convert the image again, or resample it.",
        )


def read_voxels(
    stream: VerifiedStream, shape: tuple[int, int, int], dtype: np.dtype[np.generic], *, skip: int = 0
) -> NDArray[np.generic]:
    """Read exactly the voxels that the header declares, i fastest, and check that the stream ends there.

    Args:
        stream: stands at the end of the header.
        shape: voxels along i, j, k.
        dtype: as stored, byte order included.
        skip: bytes between header and voxels.

    Returns:
        Array (i, j, k) as stored.

    Raises:
        InputError: fewer or more bytes than declared, packed data that fails its checks, or sizes beyond the limits.
    """
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    stream.check_size(declared + skip)
    if stream.codec == "plain" and stream.stored_bytes < declared:  # before memory is asked for
        raise _short(stream, declared, stream.stored_bytes)
    stream.skip(skip)
    payload = np.empty(declared, dtype=np.uint8)
    found = stream.read_into(payload.data)
    if found < declared:
        raise _short(stream, declared, found)
    stream.finish()
    return payload.view(dtype).reshape(shape, order="F")


def _short(stream: VerifiedStream, declared: int, found: int) -> InputError:
    return InputError(
        f"{stream.name} is cut off: its header declares {declared:,} bytes of voxels, {found:,} are there.", hint=RESEND
    )


def scaled_float32(stored: NDArray[np.generic], slope: float = 1.0, intercept: float = 0.0) -> NDArray[np.float32]:
    """``slope * stored + intercept`` in float64, rounded once to float32; (i, j, k) in C order."""
    scaled = np.empty(stored.shape, dtype=np.float32)
    plain = (slope, intercept) == (1.0, 0.0)
    # Columns of a block stay in the cache while files' i-fastest order is turned to k-fastest: three times as fast.
    blocks = product(*(range(0, n, _BLOCK) for n in stored.shape[:2]))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is counted with the infinite voxels
        for i, j in blocks:
            block = stored[i : i + _BLOCK, j : j + _BLOCK]
            scaled[i : i + _BLOCK, j : j + _BLOCK] = block if plain else block.astype(np.float64) * slope + intercept
    return scaled


def checked_volume(
    name: str, array: NDArray[np.float32], grid: Grid, limits: Limits = DEFAULT_LIMITS
) -> tuple[Volume, tuple[str, ...]]:
    """A volume whose values are finite and, unless the limits allow it, not all the same; and what was repaired.

    Args:
        name: file name, for messages.
        array: (i, j, k); voxels that are NaN or infinite are set to 0 in place.
        grid: where the voxels lie.
        limits: how many such voxels may be repaired, and whether all voxels may be alike.

    Raises:
        InputError: too many such voxels, or a constant image.
    """
    notes: tuple[str, ...] = ()
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count > limits.max_nonfinite * array.size:
        raise InputError(
            f"{name} holds {count:,} voxels ({count / array.size:.1%}) that are NaN or infinite.",
            hint="If they mark the background, set them to 0 first; otherwise export the image again.",
        )
    if count:
        array[bad] = 0
        notes = (f"{name}: {count:,} voxels that were NaN or infinite were set to 0.",)
    if not limits.constant_allowed and array.min() == array.max():
        raise InputError(
            f"{name} is constant: every voxel has the value {float(array.flat[0]):g}.",
            hint="This is no scan; check that the right file was exported.",
        )
    return Volume(array, grid), notes
