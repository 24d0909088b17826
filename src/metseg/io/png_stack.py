"""A folder of PNG slices as one image. PNG knows no millimetres and no patient: the caller says both."""

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metseg.core.errors import ConfigError, InputError
from metseg.core.grid import Grid
from metseg.io.case_names import shown_name
from metseg.io.folder_walk import is_hidden
from metseg.io.gzip_stream import RESEND, open_regular
from metseg.io.image_checks import check_geometry, check_shape, checked_volume
from metseg.io.image_file import ImageFile
from metseg.io.limits import DEFAULT_LIMITS, Limits

# To where an axis runs, in RAS+.
_DIRECTIONS: Final = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1),
}  # fmt: skip
_BOMBS: Final = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_GREY_MODES: Final = {"1", "L", "I", "I;16", "I;16B", "I;16L"}


def read_png_stack(
    folder: Path, spacing_mm: tuple[float, float, float], axes: str, limits: Limits = DEFAULT_LIMITS
) -> ImageFile:
    """Read ``1.png`` … ``N.png``, sorted by number.

    Args:
        folder: holds the slices.
        spacing_mm: between columns, rows and slices.
        axes: where columns, rows and slices run to, three letters out of RLAPSI.
        limits: what they may claim and hold.

    Returns:
        Voxels (column, row, slice); the first voxel of the first slice lies at the origin. Hash over the slices' bytes
        in order.

    Raises:
        InputError: no slice, one without a number, a gap, slices of different sizes, colours, or no PNG.
        ConfigError: axes that are no three directions across each other.
    """
    affine = _affine(spacing_mm, axes)
    digest = hashlib.sha256()
    slices: list[NDArray[Any]] = []
    paths = numbered_slices(folder)
    for path in paths:
        array = _read_slice(path, digest, limits, len(paths))
        if slices and array.shape != slices[0].shape:
            raise InputError(f"The slices in {shown_name(folder)} differ in size, first {path.name}.", hint=RESEND)
        slices.append(array)
    volume = np.stack(slices, axis=-1).astype(np.float32)
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    name = f"The stack {shown_name(folder)}"
    check_shape(name, shape, limits)
    check_geometry(name, affine, limits)
    image, notes = checked_volume(name, volume, Grid(shape, affine), limits)
    return ImageFile(image, {}, notes, digest.hexdigest(), "png")


def numbered_slices(folder: Path) -> list[Path]:
    """The PNG files of a folder by the number in their names, none missing.

    Raises:
        InputError: there is none, one without a number, or a gap.
    """
    try:
        paths = [p for p in folder.iterdir() if p.suffix.lower() == ".png" and not is_hidden(p.name)]
    except OSError as error:
        raise InputError(f"The folder {shown_name(folder)} cannot be listed.", hint="Check its rights.") from error
    by_number: dict[int, Path] = {}
    for path in sorted(paths):
        if not re.fullmatch(r"\d+", path.stem) or int(path.stem) in by_number:
            raise InputError(f"The slice {shown_name(path)} has no number of its own as name.", hint=RESEND)
        by_number[int(path.stem)] = path
    numbers = sorted(by_number)
    if not numbers:
        raise InputError(f"There is no PNG in {shown_name(folder)}.", hint=RESEND)
    if missing := set(range(numbers[0], numbers[-1] + 1)) - set(numbers):
        raise InputError(f"Slice {min(missing)} is missing in {shown_name(folder)}.", hint=RESEND)
    return [by_number[number] for number in numbers]


def _affine(spacing_mm: tuple[float, float, float], axes: str) -> NDArray[np.float64]:
    if len(axes) != 3 or set(axes) - set(_DIRECTIONS):
        raise ConfigError(f"{axes!r} are no three directions.", hint="Give three letters out of RLAPSI, such as LPS.")
    affine = np.eye(4)
    affine[:3, :3] = np.array([_DIRECTIONS[letter] for letter in axes]).T * spacing_mm
    if abs(np.linalg.det(affine[:3, :3])) <= 0:
        raise ConfigError(f"The directions {axes} lie along each other.", hint="Name one of RL, one of AP, one of SI.")
    return affine


def _read_slice(path: Path, digest: "hashlib._Hash", limits: Limits, count: int) -> NDArray[Any]:
    """(column, row) of one slice."""
    with open_regular(path) as file:
        content = file.read(limits.max_bytes)
    digest.update(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                check_shape(f"The slice {shown_name(path)}", (*picture.size, max(count, limits.min_size)), limits)
                if picture.mode not in _GREY_MODES:
                    raise InputError(
                        f"The slice {shown_name(path)} is no grey picture (mode {picture.mode}).",
                        hint="Save slices with one value a pixel.",
                    )
                return np.asarray(picture).T
    except (OSError, SyntaxError, ValueError, *_BOMBS) as error:
        raise InputError(f"The slice {shown_name(path)} is no whole PNG.", hint=RESEND) from error
