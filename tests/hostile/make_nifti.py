"""Makes one NIfTI file of each hostile kind, with nibabel's header as the pen: metseg's own layout stays unused."""

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import nibabel
import numpy as np

SHAPE = (17, 19, 23)
_CLASSES = {1: nibabel.Nifti1Header, 2: nibabel.Nifti2Header}
# Oblique and anisotropic, 0.9×1.2×2.5 mm, turned 20° about z.
AFFINE = np.array(
    [
        [0.9 * np.cos(0.35), -1.2 * np.sin(0.35), 0.0, -31.5],
        [0.9 * np.sin(0.35), 1.2 * np.cos(0.35), 0.0, 22.25],
        [0.0, 0.0, 2.5, -17.75],
        [0, 0, 0, 1],
    ]
)


def voxels(shape=SHAPE, dtype="i2"):
    """Noise that does not pack well, so that a cut falls into voxels."""
    return np.random.default_rng(7).integers(0, 120, shape).astype(dtype)


def header(shape=SHAPE, dtype="i2", *, version=1, order="<", sform=AFFINE, qform=AFFINE, **fields):
    """A header of nibabel; ``fields`` are then set raw, whatever they say."""
    made = _CLASSES[version](endianness=order)
    made.set_data_shape(shape)
    made.set_data_dtype(np.dtype(dtype))
    made.set_qform(qform, code=0 if qform is None else 1, strip_shears=True)
    made.set_sform(sform, code=0 if sform is None else 1)
    made["vox_offset"] = {1: 352, 2: 544}[version]
    made["magic"] = {1: b"n+1", 2: b"n+2\0\r\n\x1a\n"}[version]
    made["scl_slope"], made["scl_inter"] = 1, 0
    for name, value in fields.items():
        made[name] = value
    return made


def nifti(array=None, **kwargs):
    """A whole uncompressed file."""
    dtype = kwargs.pop("dtype", "i2")
    array = voxels(dtype=dtype) if array is None else array
    made = header(kwargs.pop("shape", array.shape), array.dtype, **kwargs)
    stored = array.astype(array.dtype.newbyteorder(made.endianness))
    return made.binaryblock + bytes(4) + stored.tobytes(order="F")


def packed(content):
    """Gzip without a time in it."""
    return gzip.compress(content, mtime=0)


def flipped(content, where):
    """``content`` with all bits of one byte turned."""
    content = bytearray(content)
    content[where] ^= 0xFF
    return bytes(content)


def bomb(head, mebibytes):
    """One gzip member of ``head`` and that many MiB of zeros: about 1 kB for each, and no end to unpack to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\x03" + start + block * (mebibytes // 16)


def with_nan(share):
    """A float volume of which ``share`` is NaN and one voxel infinite."""
    array = voxels(dtype="f4").copy()
    array.ravel()[: int(share * array.size)] = np.nan
    array[-1, -1, -1] = np.inf
    return array


def sheared(cosine):
    """``AFFINE`` with its i axis leaning towards k by that cosine."""
    affine = AFFINE.copy()
    affine[:3, 0] = 0.9 * (np.sqrt(1 - cosine**2) * affine[:3, 0] / 0.9 + cosine * np.array([0, 0, 1]))
    return affine


def sized(i, j, k):
    """Axis-aligned voxels of that size."""
    return np.diag([i, j, k, 1.0])


def _dim(*values):
    return {"dim": [*values, *[1] * (8 - len(values))]}


def _analyze():
    content = bytearray(nifti())
    content[344:348] = bytes(4)
    return bytes(content)


def _pair_magic():
    content = bytearray(nifti())
    content[344:348] = b"ni1\0"
    return bytes(content)


@dataclass(frozen=True)
class Kind:
    """A hostile file: its name, how it is made, and what the refusal must say."""

    name: str
    make: Callable[[], bytes]
    says: str


GZ, NII = "scan.nii.gz", "scan.nii"
_PACKED_SIZE = len(packed(nifti()))
REFUSED = {
    "gzip cut at 60 %": Kind(GZ, lambda: packed(nifti())[: int(0.6 * _PACKED_SIZE)], "is cut off"),
    "last 4 bytes cut": Kind(GZ, lambda: packed(nifti())[:-4], "is cut off"),
    "last byte cut": Kind(GZ, lambda: packed(nifti())[:-1], "is cut off"),
    "byte flipped": Kind(GZ, lambda: flipped(packed(nifti()), _PACKED_SIZE // 2), "is damaged"),
    "CRC wrong": Kind(GZ, lambda: flipped(packed(nifti()), -8), "checksum (CRC-32) of its contents is wrong"),
    "length in trailer wrong": Kind(GZ, lambda: flipped(packed(nifti()), -1), "length in its trailer is wrong"),
    "garbage after the end": Kind(GZ, lambda: packed(nifti()) + b"garbage", "goes on after the end"),
    "one byte after the end": Kind(GZ, lambda: packed(nifti()) + b"\x1f", "goes on after the end"),
    "second member damaged": Kind(GZ, lambda: packed(nifti()[:5000]) + packed(nifti()[5000:])[:-3], "is cut off"),
    "packed voxels missing": Kind(GZ, lambda: packed(nifti()[:-2]), "is cut off: its header declares"),
    "packed voxels too many": Kind(GZ, lambda: packed(nifti() + b"\0"), "more data than its header declares"),
    "voxels missing": Kind(NII, lambda: nifti()[:-1], "is cut off: its header declares"),
    "voxels too many": Kind(NII, lambda: nifti() + b"\0\0", "more data than its header declares"),
    "header cut": Kind(NII, lambda: nifti()[:200], "is cut off within its header"),
    "header cut at its size": Kind(NII, lambda: nifti()[:3], "is too short"),
    "small bomb behind a small header": Kind(GZ, lambda: bomb(nifti(), 32), "more data than its header declares"),
    "sizes no file could hold": Kind(GZ, lambda: packed(nifti(shape=(1000, 1000, 900))), "cannot hold that"),
    "sizes of 32767": Kind(GZ, lambda: packed(nifti(**_dim(3, 32767, 32767, 32767))), "more than 2048"),
    "zero size": Kind(NII, lambda: nifti(**_dim(3, 17, 0, 23)), "must be positive"),
    "negative size": Kind(NII, lambda: nifti(**_dim(3, 17, -19, 23)), "must be positive"),
    "9 dimensions": Kind(NII, lambda: nifti(**_dim(9, 17, 19, 23)), "declares 9 dimensions"),
    "0 dimensions": Kind(NII, lambda: nifti(**_dim(0, 17, 19, 23)), "declares 0 dimensions"),
    "2D": Kind(NII, lambda: nifti(**_dim(2, 17, 19)), "image of 2 dimensions"),
    "one slice": Kind(NII, lambda: nifti(voxels((64, 64, 1))), "at least 16 along each axis"),
    "five volumes": Kind(NII, lambda: nifti(voxels((*SHAPE, 5))), "holds 5 volumes"),
    "voxels start at 1e9": Kind(NII, lambda: nifti(vox_offset=1e9), "voxels start at byte 1e+09"),
    "voxels start at NaN": Kind(NII, lambda: nifti(vox_offset=np.nan), "voxels start at byte nan"),
    "voxels start in the header": Kind(NII, lambda: nifti(vox_offset=0), "voxels start at byte 0"),
    "voxels start between bytes": Kind(NII, lambda: nifti(vox_offset=352.5), "voxels start at byte 352.5"),
    "datatype 999": Kind(NII, lambda: nifti(datatype=999), "type that NIfTI does not know (datatype 999)"),
    "datatype unknown": Kind(NII, lambda: nifti(datatype=0), "of unknown type"),
    "complex": Kind(NII, lambda: nifti(dtype="c8"), "are complex64"),
    "RGB": Kind(NII, lambda: nifti(datatype=128), "are RGB colours"),
    "float128": Kind(NII, lambda: nifti(datatype=1536), "are float128"),
    "bits": Kind(NII, lambda: nifti(datatype=1), "of single bits"),
    "infinite scale": Kind(NII, lambda: nifti(scl_slope=np.inf), "scales its values by inf"),
    "scale with NaN added": Kind(NII, lambda: nifti(scl_slope=2, scl_inter=np.nan), "adds nan"),
    "singular affine": Kind(NII, lambda: nifti(sform=np.diag([1.0, 1, 0, 1]), qform=None), "is singular"),
    "parallel axes": Kind(NII, lambda: nifti(sform=AFFINE[:, [0, 0, 2, 3]], qform=None), "is singular"),
    "sheared affine": Kind(NII, lambda: nifti(sform=sheared(0.05), qform=None), "is sheared"),
    "NaN affine": Kind(NII, lambda: nifti(sform=AFFINE * np.nan, qform=None), "is not a finite number"),
    "kilometres away": Kind(NII, lambda: nifti(sform=AFFINE * 1e30, qform=None), "of over a kilometre"),
    "quaternion too long": Kind(NII, lambda: nifti(sform=None, quatern_b=0.9, quatern_c=0.9), "not a finite number"),
    "spacing 0.01 mm": Kind(NII, lambda: nifti(sform=sized(0.01, 1, 1), qform=None), "measure 0.01×1×1 mm"),
    "spacing 20 mm": Kind(NII, lambda: nifti(sform=sized(1, 1, 20), qform=None), "measure 1×1×20 mm"),
    "lengths in metres": Kind(NII, lambda: nifti(xyzt_units=1), "lengths in metres"),
    "lengths in micrometres": Kind(NII, lambda: nifti(xyzt_units=3), "lengths in micrometres"),
    "much NaN": Kind(NII, lambda: nifti(with_nan(0.02)), "NaN or infinite"),
    "overflow of float32": Kind(NII, lambda: nifti(voxels(dtype="f8") * 1e300), "NaN or infinite"),
    "constant": Kind(NII, lambda: nifti(np.full(SHAPE, 7, "i2")), "is constant: every voxel has the value 7"),
    "empty": Kind(GZ, lambda: b"", "is empty"),
    "text": Kind(NII, lambda: b"This is a letter and no image.\n" * 30, "is not a NIfTI file"),
    "zip in disguise": Kind(GZ, lambda: b"PK\x03\x04" + bytes(500), "is not a NIfTI file"),
    "ANALYZE": Kind(NII, _analyze, "it is ANALYZE 7.5 or damaged"),
    "header of a pair": Kind(NII, _pair_magic, "belongs to a pair"),
    "pair by name": Kind("scan.hdr", lambda: nifti()[:348], "belongs to a pair"),
    "gzip header only": Kind(GZ, lambda: struct.pack("<4B", 0x1F, 0x8B, 8, 0), "is cut off"),
}
