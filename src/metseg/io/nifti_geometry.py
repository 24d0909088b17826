"""Which of a NIfTI file's geometries counts, and how to write one.

The rule, in order:

1. The sform counts where its code is set and it is usable: finite, not singular, not sheared.
2. But where the qform is the scanner's (code 1) and usable, the sform leads to another space (code 2 or higher) and
   the two differ in voxel size by over 1 %, the qform counts: lesions are measured in the patient, not in a template.
3. Otherwise the qform counts where its code is set and it is usable.
4. If a code is set but nothing is usable, the file is refused.
5. If no code is set, the voxel sizes alone count (NIfTI's method 1: axes taken as right, anterior, superior) and a
   warning says that left and right cannot be known.

A disagreement of sform and qform by over 0.5 mm anywhere in the image is told in a note; in a warning where the two
mirror each other.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.io.image_checks import Affine, geometry_finding
from metseg.io.image_file import WARNING
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.nifti_header import NiftiCodes

_AGREE_MM: Final = 0.5
_EXACT_MM: Final = 0.1
_SCANNER: Final = 1


@dataclass(frozen=True, eq=False)
class Chosen:
    """A geometry and what there is to say about the choice."""

    affine: Affine
    notes: tuple[str, ...] = ()


def sform_affine(codes: NiftiCodes) -> Affine:
    """The sform: exactly the stored numbers."""
    return np.vstack([np.reshape(codes.srow, (3, 4)), (0.0, 0.0, 0.0, 1.0)])


_HALF_TURN: Final = 3 * 2.0**-23


def qform_affine(codes: NiftiCodes) -> Affine:
    """The qform from its quaternion (nifti1.h, method 2); full of NaN if the quaternion is longer than 1."""
    b, c, d = codes.quatern
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -1e-5:  # NaN as well; float32 rounding leaves about 1e-7
        return np.full((4, 4), np.nan)
    # A half turn stored in float32 leaves up to a few 1e-7, whose root would be a tilt of its own.
    a = math.sqrt(rest) if rest > _HALF_TURN else 0.0
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    qfac = -1.0 if codes.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.abs(codes.pixdim[1:]) * (1.0, 1.0, qfac)
    affine[:3, 3] = codes.qoffset
    return affine


def choose_geometry(
    codes: NiftiCodes, shape: tuple[int, int, int], name: str, limits: Limits = DEFAULT_LIMITS
) -> Chosen:
    """The affine that counts, by the rule above; voxel sizes are checked elsewhere.

    Raises:
        InputError: a code is set, but what it names is unusable.
    """
    if codes.sform_code <= 0 and codes.qform_code <= 0:
        note = (
            f"{WARNING}{name} does not say how its axes lie in the patient (sform and qform codes are 0): they were "
            "taken as right, anterior, superior; LEFT AND RIGHT CANNOT BE KNOWN from this file."
        )
        return Chosen(np.diag([*np.abs(codes.pixdim[1:]), 1.0]), (note,))
    forms = {"sform": sform_affine(codes)} if codes.sform_code > 0 else {}
    forms |= {"qform": qform_affine(codes)} if codes.qform_code > 0 else {}
    findings = {form: geometry_finding(affine, limits) for form, affine in forms.items()}
    usable = {form: affine for form, affine in forms.items() if not findings[form]}
    if not usable:
        form, finding = next(iter(findings.items()))
        raise InputError(
            f"The geometry of {name} is unusable: its {form} {finding}.",
            hint="Convert the image again from DICOM, or resample it to a grid with right angles.",
        )
    if len(usable) == 2:
        return _of_two(codes, shape, name, usable["sform"], usable["qform"])
    (used,) = usable
    notes = tuple(
        f"{name}: its {form} {finding}; the {used} was used instead." for form, finding in findings.items() if finding
    )
    return Chosen(usable[used], notes)


def _of_two(codes: NiftiCodes, shape: tuple[int, int, int], name: str, sform: Affine, qform: Affine) -> Chosen:
    apart_mm = Grid(shape, sform).distance_mm(Grid(shape, qform))
    if apart_mm <= _AGREE_MM:
        return Chosen(sform)
    sizes_s, sizes_q = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform))
    resized = bool(np.abs(sizes_s / sizes_q - 1).max() > 0.01)
    finding = f"{name}: its sform and qform disagree by up to {apart_mm:.1f} mm"
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        finding = f"{WARNING}{finding} AND MIRROR EACH OTHER (left and right may be swapped)"
    if codes.qform_code == _SCANNER and codes.sform_code > _SCANNER and resized:
        return Chosen(qform, (f"{finding}; the qform was used, because the sform leads to a space of other size.",))
    return Chosen(sform, (f"{finding}; the sform was used.",))


def codes_of(grid: Grid) -> NiftiCodes:
    """Codes for a grid that came from no NIfTI file: scanner space, both forms (the qform only where it can say it)."""
    affine = grid.affine
    left, _, right = np.linalg.svd(grid.direction)
    rotation = left @ right  # the nearest orthogonal matrix
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    codes = NiftiCodes(
        sform_code=_SCANNER,
        qform_code=_SCANNER,
        srow=tuple(map(float, affine[:3].ravel())),
        quatern=_quaternion(rotation * (1.0, 1.0, qfac)),
        qoffset=tuple(map(float, affine[:3, 3])),
        pixdim=(qfac, *grid.spacing_mm),
    )
    if Grid(grid.shape, qform_affine(codes)).distance_mm(grid) <= _EXACT_MM:
        return codes
    return NiftiCodes(_SCANNER, 0, codes.srow, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), codes.pixdim)


def _quaternion(rotation: Float[np.ndarray, "3 3"]) -> tuple[float, float, float]:
    """b, c, d of a proper rotation, with a >= 0: the eigenvector of Bar-Itzhack's symmetric matrix (2000)."""
    xx, yx, zx, xy, yy, zy, xz, yz, zz = rotation.T.ravel()
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, yz - zy],
            [yx + xy, yy - xx - zz, zy + yz, zx - xz],
            [zx + xz, zy + yz, zz - xx - yy, xy - yx],
            [yz - zy, zx - xz, xy - yx, xx + yy + zz],
        ]
    )
    # The matrix is built from the transpose, hence the conjugate: a positive w asks for the opposite sign.
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, -1] + 0.0
    sign = -1.0 if w > 0 else 1.0
    return sign * float(x) + 0.0, sign * float(y) + 0.0, sign * float(z) + 0.0
