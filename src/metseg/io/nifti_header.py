"""The NIfTI header by hand: versions 1 and 2, both byte orders, nothing taken on trust.

Layouts: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and nifti2.h.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from metseg.core.errors import InputError
from metseg.io.gzip_stream import RESEND
from metseg.io.image_checks import check_shape
from metseg.io.limits import DEFAULT_LIMITS, Limits

_LAYOUT_1: Final = [
    ("sizeof_hdr", "i4"), ("data_type", "S10"), ("db_name", "S18"), ("extents", "i4"), ("session_error", "i2"),
    ("regular", "S1"), ("dim_info", "u1"), ("dim", "i2", (8,)), ("intent_p", "f4", (3,)), ("intent_code", "i2"),
    ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", (8,)), ("vox_offset", "f4"),
    ("scl_slope", "f4"), ("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"), ("xyzt_units", "u1"),
    ("cal_max", "f4"), ("cal_min", "f4"), ("slice_duration", "f4"), ("toffset", "f4"), ("glmax", "i4"),
    ("glmin", "i4"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2"), ("sform_code", "i2"),
    ("quatern", "f4", (3,)), ("qoffset", "f4", (3,)), ("srow", "f4", (3, 4)), ("intent_name", "S16"), ("magic", "S4"),
]  # fmt: skip
_LAYOUT_2: Final = [
    ("sizeof_hdr", "i4"), ("magic", "S8"), ("datatype", "i2"), ("bitpix", "i2"), ("dim", "i8", (8,)),
    ("intent_p", "f8", (3,)), ("pixdim", "f8", (8,)), ("vox_offset", "i8"), ("scl_slope", "f8"), ("scl_inter", "f8"),
    ("cal_max", "f8"), ("cal_min", "f8"), ("slice_duration", "f8"), ("toffset", "f8"), ("slice_start", "i8"),
    ("slice_end", "i8"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i4"), ("sform_code", "i4"),
    ("quatern", "f8", (3,)), ("qoffset", "f8", (3,)), ("srow", "f8", (3, 4)), ("slice_code", "i4"),
    ("xyzt_units", "i4"), ("intent_code", "i4"), ("intent_name", "S16"), ("dim_info", "u1"), ("unused", "S15"),
]  # fmt: skip
LAYOUTS: Final = {1: np.dtype(_LAYOUT_1), 2: np.dtype(_LAYOUT_2)}
HEADER_BYTES: Final = {1: 348, 2: 540}
MAGICS: Final = {1: b"n+1\0", 2: b"n+2\0\r\n\x1a\n"}
_PAIR_MAGICS: Final = (b"ni1\0", b"ni2\0\r\n\x1a\n")
DATATYPES: Final = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_REFUSED_DATATYPES: Final = {
    0: "of unknown type", 1: "of single bits", 32: "complex64", 128: "RGB colours", 1536: "float128",
    1792: "complex128", 2048: "complex256", 2304: "RGBA colours",
}  # fmt: skip
_REFUSED_UNITS: Final = {1: "metres", 3: "micrometres"}
ByteOrder = Literal["<", ">"]
GEOMETRY_KEY: Final = "NiftiGeometry"


@dataclass(frozen=True)
class NiftiCodes:
    """Everything a NIfTI header says on geometry, kept so that a result can say exactly the same.

    Args:
        sform_code: what the sform maps to; 0: there is none.
        qform_code: what the qform maps to; 0: there is none.
        srow: rows of the sform, 12 numbers.
        quatern: b, c, d of the qform's quaternion.
        qoffset: x, y, z of the qform's first voxel, in millimetres.
        pixdim: qfac, then the voxel sizes in millimetres.
        version: of NIfTI, 1 or 2: how precisely the numbers are stored.
    """

    sform_code: int
    qform_code: int
    srow: tuple[float, ...]
    quatern: tuple[float, ...]
    qoffset: tuple[float, ...]
    pixdim: tuple[float, ...]
    version: int = 1

    def to_headers(self) -> dict[str, str]:
        """As an entry of ``Source.headers``."""
        return {GEOMETRY_KEY: json.dumps(asdict(self))}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "NiftiCodes | None":
        """Out of ``Source.headers``; None where the source was no NIfTI file."""
        if GEOMETRY_KEY not in headers:
            return None
        fields: dict[str, Any] = json.loads(headers[GEOMETRY_KEY])
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        return cls(**(fields | lists))


@dataclass(frozen=True)
class NiftiHeader:
    """A header that passed: three sizes, a real type, finite scaling.

    Args:
        shape: voxels along i, j, k.
        dtype: as stored, byte order included.
        vox_offset: where the voxels start in the (unpacked) file.
        slope: factor of the stored values; 1 where the header sets none.
        intercept: added after it.
        codes: the geometry.
        notes: doubts, a sentence each.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    vox_offset: int
    slope: float
    intercept: float
    codes: NiftiCodes
    notes: tuple[str, ...] = ()


def header_version(start: bytes, name: str) -> tuple[int, ByteOrder]:
    """NIfTI version and byte order (``"<"`` or ``">"``) from the first four bytes.

    Raises:
        InputError: this is no NIfTI file; the hint names what it seems to be.
    """
    orders: tuple[tuple[ByteOrder, Literal["little", "big"]], ...] = (("<", "little"), (">", "big"))
    for order, ending in orders:
        size = int.from_bytes(start[:4], ending)
        for version, expected in HEADER_BYTES.items():
            if size == expected:
                return version, order
    hints = {b"PK\x03\x04": "It is a zip: name it .zip.", b"NRRD": "It is NRRD: name it .nrrd.", b"BZh": "It is bzip2."}
    hint = next((text for magic, text in hints.items() if start.startswith(magic)), "")
    raise InputError(f"{name} is not a NIfTI file: it does not start with a NIfTI header.", hint=hint or RESEND)


def parse_header(raw: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> NiftiHeader:
    """Read and check a header of 348 or 540 bytes.

    Raises:
        InputError: whatever makes the file no single three-dimensional image of real numbers.
    """
    version, order = header_version(raw, name)
    if len(raw) < HEADER_BYTES[version]:
        raise InputError(f"{name} is cut off within its header.", hint=RESEND)
    fields = np.frombuffer(raw[: HEADER_BYTES[version]], dtype=LAYOUTS[version].newbyteorder(order))[0]
    _check_magic(raw, version, name)
    shape = _shape(fields, name, limits)
    dtype = _dtype(int(fields["datatype"]), name).newbyteorder(order)
    slope, intercept, notes = _scaling(float(fields["scl_slope"]), float(fields["scl_inter"]), name)
    unit = int(fields["xyzt_units"]) & 7
    if unit in _REFUSED_UNITS:
        raise InputError(
            f"{name} gives its lengths in {_REFUSED_UNITS[unit]}; a head scan is expected in millimetres.",
            hint="Convert the geometry to millimetres, or correct xyzt_units if the numbers are millimetres already.",
        )
    return NiftiHeader(
        shape, dtype, _vox_offset(fields, version, name, limits), slope, intercept, _codes(fields, version), notes
    )


def _check_magic(raw: bytes, version: int, name: str) -> None:
    magic = raw[344:348] if version == 1 else raw[4:12]
    if magic in _PAIR_MAGICS:
        raise pair_refused(name)
    if magic != MAGICS[version]:
        raise InputError(
            f"{name} has no NIfTI mark (magic) in its header: it is ANALYZE 7.5 or damaged.",
            hint="ANALYZE files do not tell left from right: convert the image again from DICOM.",
        )


def pair_refused(name: str) -> InputError:
    """The refusal of a header and image pair, which can be torn apart or swapped unnoticed."""
    return InputError(
        f"{name} belongs to a pair of files (.hdr and .img), which is not read.",
        hint="Convert the pair to one .nii.gz file, for example with nibabel or FSL's fslchfiletype.",
    )


def _shape(fields: np.void, name: str, limits: Limits) -> tuple[int, int, int]:
    dim = [int(n) for n in fields["dim"]]
    ndim = dim[0]
    if not 1 <= ndim <= 7:
        raise InputError(f"{name} declares {ndim} dimensions, which NIfTI does not know.", hint=RESEND)
    sizes = dim[1 : ndim + 1]
    if min(sizes) < 1:
        raise InputError(
            f"{name} declares sizes of {'×'.join(map(str, sizes))}, but each must be positive.", hint=RESEND
        )
    if ndim < 3:
        raise InputError(f"{name} is an image of {ndim} dimensions, not a volume.", hint="Give the whole series.")
    volumes = math.prod(sizes[3:])
    if volumes != 1:
        raise InputError(
            f"{name} holds {volumes} volumes ({'×'.join(map(str, sizes))}); one is expected.",
            hint="Take out the volume to segment, and give each sequence as a file of its own.",
        )
    shape = (sizes[0], sizes[1], sizes[2])
    check_shape(name, shape, limits)
    return shape


def _dtype(code: int, name: str) -> np.dtype[Any]:
    if code not in DATATYPES:
        kind = _REFUSED_DATATYPES.get(code, "of a type that NIfTI does not know")
        raise InputError(
            f"The voxels of {name} are {kind} (datatype {code}).",
            hint="Convert the image to one real number a voxel, such as int16 or float32.",
        )
    return np.dtype(DATATYPES[code])


def _vox_offset(fields: np.void, version: int, name: str, limits: Limits) -> int:
    offset, least = float(fields["vox_offset"]), HEADER_BYTES[version] + 4
    if not (math.isfinite(offset) and offset.is_integer() and least <= offset <= least + limits.max_extension_bytes):
        raise InputError(
            f"{name} declares that its voxels start at byte {offset:g}; between {least} and "
            f"{least + limits.max_extension_bytes:,} is possible.",
            hint=RESEND,
        )
    return int(offset)


def _scaling(slope: float, intercept: float, name: str) -> tuple[float, float, tuple[str, ...]]:
    """Slope 0 and slope NaN both mean none: every reader takes them so, and some writers leave NaN behind."""
    if slope == 0:
        return 1.0, 0.0, ()
    if math.isnan(slope) and (math.isnan(intercept) or intercept == 0):
        return 1.0, 0.0, (f"{name}: the scaling in the header is not a number; the stored values were taken.",)
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError(f"{name} scales its values by {slope:g} and adds {intercept:g}.", hint=RESEND)
    return slope, intercept, ()


def _codes(fields: np.void, version: int) -> NiftiCodes:
    return NiftiCodes(
        sform_code=int(fields["sform_code"]),
        qform_code=int(fields["qform_code"]),
        srow=tuple(map(float, fields["srow"].ravel())),
        quatern=tuple(map(float, fields["quatern"])),
        qoffset=tuple(map(float, fields["qoffset"])),
        pixdim=tuple(map(float, fields["pixdim"][:4])),
        version=version,
    )
