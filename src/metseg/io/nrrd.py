"""The NRRD header: a magic line, ``field: value`` lines, an empty line.

Source: http://teem.sourceforge.net/nrrd/format.html.
"""

import re
from typing import BinaryIO, Final

import numpy as np

from metseg.core.errors import InputError
from metseg.io.gzip_stream import Codec
from metseg.io.image_checks import Affine
from metseg.io.image_file import WARNING
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.text_header import LPS_TO_RAS, TextHeader

_NAMES: Final = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES: Final = {name: code for code, names in _NAMES.items() for name in names.split("|")}
_CODECS: Final[dict[str, Codec]] = {"raw": "plain", "gzip": "gzip", "gz": "gzip"}
_TO_RAS: Final = {
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1, 1, 1]), "las": np.diag([-1.0, 1, 1, 1]),
    "left-posterior-superior": LPS_TO_RAS, "lps": LPS_TO_RAS,
}  # fmt: skip
_SPATIAL_KINDS: Final = {"domain", "space", "???", "none"}
_REMEDY: Final = "Save the image again as a plain scalar volume, such as .nii.gz or .nrrd."


def read_nrrd_header(file: BinaryIO, name: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """The header's fields; ``file`` then stands at the first byte after its empty line, or at the end.

    Raises:
        InputError: the header does not end.
    """
    fields: dict[str, str] = {}
    file.readline(16)
    while file.tell() <= limits.max_header_bytes:
        line = file.readline(limits.max_header_bytes)
        text = line.decode("latin-1").strip()
        if not text and (line or "data file" in fields):
            return fields
        if not line:
            break
        key, colon, value = text.partition(": ")
        if colon and not text.startswith("#") and ":=" not in key:
            key = key.strip().lower()
            fields["data file" if key == "datafile" else key] = value.strip()
    raise InputError(f"{name} is not a whole NRRD file: its header does not end.", hint="Copy or export it again.")


def parse_nrrd(fields: dict[str, str], name: str) -> TextHeader:
    """Check the fields of a header.

    Raises:
        InputError: no single volume of real numbers, or a field that is missing or makes no sense.
    """
    if fields.get("dimension") != "3":
        raise InputError(f"{name} is an array of {fields.get('dimension', 'unknown')} dimensions, not 3.", hint=_REMEDY)
    kinds = set(fields.get("kinds", "domain").lower().split())
    if not kinds <= _SPATIAL_KINDS:
        raise InputError(
            f"{name} has an axis that is no direction in space ({', '.join(sorted(kinds))}).", hint=_REMEDY
        )
    kind, encoding = fields.get("type", "none").lower(), fields.get("encoding", "none").lower()
    if kind not in _TYPES:
        raise InputError(f"The voxels of {name} are of type {kind[:40]}, which is not read.", hint=_REMEDY)
    if encoding not in _CODECS:
        raise InputError(f"{name} is encoded as {encoding[:40]}; raw and gzip are read.", hint=_REMEDY)
    dtype = np.dtype(_TYPES[kind])
    if dtype.itemsize > 1 and fields.get("endian", "none").lower() not in {"little", "big"}:
        raise InputError(f"{name} does not state its byte order (endian).", hint=_REMEDY)
    i, j, k = (int(n) if n.is_integer() else 0 for n in _numbers(fields.get("sizes", ""), 3, "sizes", name))
    affine, notes = _affine(fields, name)
    return TextHeader(
        shape=(i, j, k),
        dtype=dtype.newbyteorder(">" if fields.get("endian", "").lower() == "big" else "<"),
        affine=affine,
        codec=_CODECS[encoding],
        data_file=fields.get("data file"),
        skip=_skip(fields, _CODECS[encoding], name),
        notes=notes,
    )


def _skip(fields: dict[str, str], codec: Codec, name: str) -> int:
    (lines,) = _numbers(fields.get("line skip", fields.get("lineskip", "0")), 1, "line skip", name)
    (skip,) = _numbers(fields.get("byte skip", fields.get("byteskip", "0")), 1, "byte skip", name)
    if lines or not skip.is_integer() or not (0 <= skip < 2**20 or (skip == -1 and codec == "plain")):
        raise InputError(f"{name} asks to skip lines or bytes in a way that is not read.", hint=_REMEDY)
    return int(skip)


def _numbers(text: str, count: int, field: str, name: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split()))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"The header of {name} lacks a usable field {field!r} ({count} numbers).", hint=_REMEDY)
    return numbers


def _vectors(text: str, count: int, field: str, name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    vectors = re.findall(r"\(([^()]*)\)", text)
    if len(vectors) != count:
        raise InputError(f"The header of {name} lacks a usable field {field!r} ({count} vectors).", hint=_REMEDY)
    return np.array([_numbers(vector.replace(",", " "), 3, field, name) for vector in vectors])


def _affine(fields: dict[str, str], name: str) -> tuple[Affine, tuple[str, ...]]:
    """RAS+; without a space only voxel sizes are known."""
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", "")))
    if units - {"mm", ""}:
        raise InputError(f"{name} gives its lengths in {', '.join(sorted(units))}, not in mm.", hint=_REMEDY)
    affine = np.eye(4)
    if "space" not in fields and "space directions" not in fields:
        spacing = _numbers(fields.get("spacings", ""), 3, "spacings", name)
        affine[:3, :3] = np.diag(spacing)
        note = (
            f"{WARNING}{name} does not say how its axes lie in the patient (no space): they were taken as left, "
            "posterior, superior; LEFT AND RIGHT CANNOT BE KNOWN from this file."
        )
        return LPS_TO_RAS @ affine, (note,)
    space = fields.get("space", "none").lower()
    if space not in _TO_RAS:
        raise InputError(f"{name} lies in the space {space[:40]!r}, which says nothing of the patient.", hint=_REMEDY)
    affine[:3, :3] = _vectors(fields.get("space directions", ""), 3, "space directions", name).T
    affine[:3, 3] = _vectors(fields.get("space origin", "(0,0,0)"), 1, "space origin", name)[0]
    return _TO_RAS[space] @ affine, ()
