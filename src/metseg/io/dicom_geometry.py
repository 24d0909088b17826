"""Where slices lie: equal distances or none at all; the affine to RAS+; gantry tilt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.io.dicom_frames import Frame, thickness_mm
from metseg.io.dicom_slices import RESEND, listed_mm
from metseg.io.dicom_values import number_of
from metseg.io.image_checks import check_geometry
from metseg.io.limits import DEFAULT_LIMITS, Limits

_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0])
_TOLERANCE: Final = 0.01  # of the distance between slices
_TOLERANCE_MM: Final = 0.01
_STRAY_PIXELS: Final = 0.1  # how far a slice may lie beside the line through the others
_GAP: Final = 1.1  # slices further apart than this many thicknesses leave tissue unseen

Matrix = Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the voxels of a series lie, and where each slice goes.

    Args:
        grid: axes are columns, rows, slices.
        shifts: for each slice, how many pixels it is to be shifted along columns and rows; zeros without tilt.
        notes: what was found, a sentence each.
    """

    grid: Grid
    shifts: Float[np.ndarray, "slices 2"]
    notes: tuple[str, ...]


def lay_out(frames: Sequence[Frame], name: str, limits: Limits = DEFAULT_LIMITS) -> Layout:
    """The grid of slices that are sorted along their normal, one a position.

    The distance between neighbours may differ from the median one by 1 % or 0.01 mm. Slices that drift sideways by
    more than ``limits.max_shear`` (gantry tilt) get an orthogonal grid and the shifts that bring them onto it.

    Raises:
        InputError: missing slices, unequal distances, slices beside the line of the others, sizes out of bounds.
    """
    first = frames[0]
    offsets = np.array([frame.position - first.position for frame in frames])
    along = offsets @ first.normal
    _check_distances(along, float(first.position @ first.normal), name)
    step = offsets[-1] / (len(frames) - 1)
    sideways = offsets @ np.stack([first.row_axis, first.column_axis], axis=1)  # mm along columns' and rows' axes
    pixel = np.array([first.pixel_mm[1], first.pixel_mm[0]])
    _check_line(frames, sideways, pixel, name)
    notes = [*_thickness_notes(first, along)]
    shear = float(np.linalg.norm(sideways[-1]) / np.linalg.norm(offsets[-1]))
    tilted = shear > limits.max_shear
    shifts, corner, extra = np.zeros((len(frames), 2)), first.position, np.zeros(2, dtype=int)
    if tilted:
        shifts, corner, extra = _untilt(first, sideways / pixel)
        step = first.normal * (along[-1] / (len(frames) - 1))
        notes.append(
            f"The gantry was tilted by {np.degrees(np.arcsin(shear)):.1f}°: the slices were shifted onto an orthogonal "
            "grid by linear interpolation."
        )
    elif abs(number_of(first.layers, "GantryDetectorTilt") or 0) > 1 and abs(first.normal[2]) > 1 - 1e-6:
        notes.append("The header tells of a gantry tilt that the slice positions do not show; the positions were used.")
    affine = _affine(first, step, corner)
    check_geometry(name, affine, limits)
    shape = (first.size[1] + int(extra[0]), first.size[0] + int(extra[1]), len(frames))
    _check_size(first, shape, name, limits)
    return Layout(Grid(shape, affine), shifts, tuple(notes))


def _affine(first: Frame, step: Float[np.ndarray, "3"], corner: Float[np.ndarray, "3"]) -> Matrix:
    """From (column, row, slice) to RAS+ (PS3.3 C.7.6.2.1.1, with the x and y axes turned round)."""
    columns, rows = first.row_axis * first.pixel_mm[1], first.column_axis * first.pixel_mm[0]
    affine = np.eye(4)
    affine[:3] = _LPS_TO_RAS @ np.stack([columns, rows, step, corner], axis=1)
    return affine


def _check_distances(along: Float[np.ndarray, " slices"], start: float, name: str) -> None:
    """Refuse slices that are missing or not equally far apart."""
    distances = np.diff(along)
    median = float(np.median(distances))
    odd = np.flatnonzero(np.abs(distances - median) > max(_TOLERANCE * median, _TOLERANCE_MM))
    if not len(odd):
        return
    ratios = distances[odd] / median
    gaps = [f"{start + along[k]:.2f} and {start + along[k + 1]:.2f} mm" for k in odd[:5]]
    where = f"between {', '.join(gaps)}{' …' if len(odd) > 5 else ''}"
    whole = np.abs(ratios - np.round(ratios)) <= max(_TOLERANCE, _TOLERANCE_MM / median) * np.round(ratios)
    if (whole & (ratios > 1.5)).all():
        missing = int(np.sum(np.round(ratios) - 1))
        raise InputError(
            f"{name} lacks {missing} slice{'s' * (missing != 1)}: neighbours lie {median:.3f} mm apart, but none lies "
            f"{where} (along the slice normal).",
            hint=RESEND,
        )
    raise InputError(
        f"{name} is unevenly spaced: slices lie {distances.min():.3f} to {distances.max():.3f} mm apart, mostly "
        f"{median:.3f} mm, with exceptions {where} (along the slice normal).",
        hint=f"{RESEND} If it was scanned so, have it reconstructed with equal distances.",
    )


def _check_line(
    frames: Sequence[Frame], sideways: Float[np.ndarray, "slices 2"], pixel: Float[np.ndarray, "2"], name: str
) -> None:
    """Refuse slices that lie beside the straight line through the others."""
    # Medians, of slopes over half the stack (Theil and Sen) and of what is left, so that a slice that is off stands out
    # alone, be it the first.
    half = len(sideways) // 2
    slope = np.median((sideways[half:] - sideways[:-half]) / half, axis=0)
    deviations = sideways - np.arange(len(sideways))[:, None] * slope
    stray = np.abs(deviations - np.median(deviations, axis=0)).max(axis=1)
    odd = (stray > max(_STRAY_PIXELS * pixel.min(), _TOLERANCE_MM)).nonzero()[0].tolist()
    if odd:
        positions = [float(frames[k].position @ frames[0].normal) for k in odd]
        raise InputError(
            f"{name} has slices that are shifted sideways by up to {stray.max():.2f} mm against the others, at "
            f"{listed_mm(positions)} along the slice normal.",
            hint="Give only the files that belong together, or export the series again.",
        )


def _check_size(first: Frame, shape: tuple[int, int, int], name: str, limits: Limits) -> None:
    rows, columns = first.size
    if min(rows, columns) < limits.min_size:
        raise InputError(
            f"{name} has slices of {columns}×{rows} pixels; at least {limits.min_size} each way are needed.",
            hint="Give the series of the whole head.",
        )
    if max(shape) > limits.max_size or 4 * shape[0] * shape[1] * shape[2] > limits.max_bytes:
        raise InputError(
            f"{name} declares {'×'.join(map(str, shape))} voxels, more than {limits.max_size} along an axis or "
            f"{limits.max_bytes // 4:,} in all.",
            hint="Crop or downsample the series; if it should be smaller, its headers are damaged.",
        )


def _untilt(
    first: Frame, drift: Float[np.ndarray, "slices 2"]
) -> tuple[Float[np.ndarray, "slices 2"], Float[np.ndarray, "3"], Int[np.ndarray, "2"]]:
    """Shifts in pixels onto an orthogonal grid that holds every slice, its first voxel, and its growth in pixels."""
    low = np.floor(drift.min(axis=0))
    extra = np.ceil(drift.max(axis=0)) - low
    corner = (
        first.position + first.row_axis * low[0] * first.pixel_mm[1] + first.column_axis * low[1] * first.pixel_mm[0]
    )
    return drift - low, corner, extra.astype(int)


def _thickness_notes(first: Frame, along: Float[np.ndarray, " slices"]) -> list[str]:
    distance, thickness = float(np.median(np.diff(along))), thickness_mm(first)
    if thickness and distance > _GAP * thickness:
        return [
            f"Slices are {thickness:.3g} mm thick but lie {distance:.3g} mm apart: lesions between them are not seen."
        ]
    return []
