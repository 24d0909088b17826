"""The MetaImage header: ``Key = value`` lines, the last of which is ElementDataFile.

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation; what ITK's own reader does where that is silent.
"""

from typing import BinaryIO, Final

import numpy as np

from metseg.core.errors import InputError
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.text_header import LPS_TO_RAS, TextHeader

_TYPES: Final = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_REMEDY: Final = "Save the image again as a plain scalar volume, such as .nii.gz or .mha."


def parse_metaimage(file: BinaryIO, name: str, limits: Limits = DEFAULT_LIMITS) -> TextHeader:
    """Read the header; ``file`` then stands at its end.

    Raises:
        InputError: no MetaImage, no single volume of real numbers, or a key that is missing or makes no sense.
    """
    fields = _read_fields(file, name, limits)
    if fields.get("NDims") != "3":
        raise InputError(f"{name} is an image of {fields.get('NDims', 'unknown')} dimensions, not 3.", hint=_REMEDY)
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise InputError(f"{name} holds {fields['ElementNumberOfChannels']} values a voxel, not one.", hint=_REMEDY)
    if fields.get("BinaryData", "True").lower() != "true":
        raise InputError(f"{name} holds its voxels as text, which is not read.", hint=_REMEDY)
    element = fields.get("ElementType", "none")
    if element not in _TYPES:
        raise InputError(f"The voxels of {name} are of type {element[:40]}, which is not read.", hint=_REMEDY)
    big = _is_true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    i, j, k = (int(n) if n.is_integer() else 0 for n in _numbers(fields, ("DimSize",), 3, name))
    data_file: str | None = fields["ElementDataFile"]
    data_file = None if data_file == "LOCAL" else data_file
    compressed = _is_true(fields, "CompressedData")
    (packed,) = _numbers(fields, ("CompressedDataSize",), 1, name, default=(-1.0,))
    (skip,) = _numbers(fields, ("HeaderSize",), 1, name, default=(0.0,))
    if skip > 0 and data_file is None:
        raise InputError(f"{name} has voxels at a place of its own (HeaderSize), which is not read.", hint=_REMEDY)
    return TextHeader(
        shape=(i, j, k),
        dtype=np.dtype(_TYPES[element]).newbyteorder(">" if big else "<"),
        affine=_affine(fields, name),
        codec="zlib" if compressed else "plain",
        data_file=data_file,
        packed_bytes=int(packed) if compressed and packed > 0 else None,
        skip=max(int(skip), -1),
    )


def _read_fields(file: BinaryIO, name: str, limits: Limits) -> dict[str, str]:
    fields: dict[str, str] = {}
    while file.tell() <= limits.max_header_bytes:
        line = file.readline(limits.max_header_bytes)
        key, equals, value = line.decode("latin-1").partition("=")
        if not line or not equals:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields
    raise InputError(
        f"{name} is not a whole MetaImage file: its header does not lead to ElementDataFile.",
        hint="Copy or export the file again.",
    )


def _is_true(fields: dict[str, str], *keys: str) -> bool:
    return any(fields.get(key, "False").lower() == "true" for key in keys)


def _numbers(
    fields: dict[str, str], keys: tuple[str, ...], count: int, name: str, default: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    """The first of ``keys`` that is there, as exactly ``count`` finite numbers."""
    key = next((key for key in keys if key in fields), None)
    if key is None and default is not None:
        return default
    try:
        numbers = tuple(map(float, fields[key].split())) if key else ()
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"The header of {name} lacks a usable {keys[0]} ({count} numbers).", hint=_REMEDY)
    return numbers


def _affine(fields: dict[str, str], name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """RAS+; in the file each three numbers of TransformMatrix are the direction of one voxel axis, in LPS."""
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    directions = _numbers(fields, ("TransformMatrix", "Orientation", "Rotation"), 9, name, default=identity)
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), 3, name)
    affine = np.eye(4)
    with np.errstate(over="ignore"):  # what overflows is refused with the geometry
        affine[:3, :3] = np.reshape(directions, (3, 3)).T * spacing
    affine[:3, 3] = _numbers(fields, ("Offset", "Position", "Origin"), 3, name, default=(0.0, 0.0, 0.0))
    return LPS_TO_RAS @ affine
