"""Makes MetaImage and NRRD files by hand, good and hostile."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hostile.make_nifti import voxels

BYTES = voxels().tobytes(order="F")
_META = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-10 -20 30",
    "ElementSpacing": "0.9 1.2 2.5", "DimSize": "17 19 23", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
}  # fmt: skip
_NRRD = {
    "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "17 19 23",
    "space directions": "(0.9,0,0) (0,1.2,0) (0,0,2.5)", "kinds": "domain domain domain", "endian": "little",
    "encoding": "raw", "space origin": "(-10,-20,30)",
}  # fmt: skip


def meta(data=BYTES, **changes):
    """A MetaImage file; a change to None leaves a key out."""
    fields = {key: value for key, value in (_META | changes).items() if value is not None}
    place = fields.pop("ElementDataFile")
    lines = [f"{key} = {value}\n" for key, value in fields.items()] + [f"ElementDataFile = {place}\n"]
    return "".join(lines).encode() + data


def nrrd(data=BYTES, **changes):
    """An NRRD file; underscores in the names of changes stand for blanks."""
    fields = _NRRD | {key.replace("_", " "): value for key, value in changes.items()}
    lines = ["NRRD0004\n", "# a comment\n", *(f"{k}: {v}\n" for k, v in fields.items() if v is not None), "\n"]
    return "".join(lines).encode() + data


def deflated_meta(data=None, **changes):
    """A compressed MetaImage file."""
    data = zlib.compress(BYTES) if data is None else data
    return meta(data, **({"CompressedData": "True", "CompressedDataSize": str(len(data))} | changes))


def packed_nrrd(data=None):
    """A compressed NRRD file."""
    return nrrd(gzip.compress(BYTES, mtime=0) if data is None else data, encoding="gzip")


@dataclass(frozen=True)
class Kind:
    """A hostile file: its name, how it is made, and what the refusal must say."""

    name: str
    make: Callable[[], bytes]
    says: str


REFUSED = {
    "mha: voxels missing": Kind("a.mha", lambda: meta(BYTES[:-1]), "is cut off: its header declares"),
    "mha: voxels too many": Kind("a.mha", lambda: meta(BYTES + b"\0"), "more data than its header declares"),
    "mha: packed data cut": Kind("a.mha", lambda: deflated_meta(zlib.compress(BYTES)[:-2]), "is cut off"),
    "mha: packed data damaged": Kind(
        "a.mha", lambda: deflated_meta(zlib.compress(BYTES)[:-1] + b"\xaa"), "contents is wrong"
    ),
    "mha: packed size wrong": Kind("a.mha", lambda: deflated_meta(CompressedDataSize="77"), "declares 77 bytes"),
    "mha: garbage after the end": Kind("a.mha", lambda: deflated_meta(zlib.compress(BYTES) + b"x"), "goes on after"),
    "mha: packed bomb": Kind("a.mha", lambda: deflated_meta(zlib.compress(bytes(2**24))), "more data than its header"),
    "mha: header cut": Kind("a.mha", lambda: meta()[:120], "does not lead to ElementDataFile"),
    "mha: text": Kind("a.mha", lambda: b"a letter\n" * 9, "does not lead to ElementDataFile"),
    "mha: 4D": Kind("a.mha", lambda: meta(NDims="4", DimSize="17 19 23 2"), "4 dimensions"),
    "mha: several values a voxel": Kind("a.mha", lambda: meta(ElementNumberOfChannels="3"), "3 values a voxel"),
    "mha: type": Kind("a.mha", lambda: meta(ElementType="MET_ASCII_CHAR"), "of type MET_ASCII_CHAR"),
    "mha: voxels as text": Kind("a.mha", lambda: meta(BinaryData="False"), "voxels as text"),
    "mha: sizes": Kind("a.mha", lambda: meta(DimSize="17 19 -23"), "must be positive"),
    "mha: huge sizes": Kind("a.mha", lambda: meta(DimSize="2048 2048 2048"), "more than 2048"),
    "mha: spacing missing": Kind("a.mha", lambda: meta(ElementSpacing=None), "lacks a usable ElementSpacing"),
    "mha: NaN spacing": Kind("a.mha", lambda: meta(ElementSpacing="nan 1 1"), "lacks a usable ElementSpacing"),
    "mha: singular": Kind("a.mha", lambda: meta(TransformMatrix="1 0 0 1 0 0 0 0 1"), "is singular"),
    "mhd: data file elsewhere": Kind("a.mhd", lambda: meta(b"", ElementDataFile="../b.raw"), "outside its own folder"),
    "mhd: absolute data file": Kind(
        "a.mhd", lambda: meta(b"", ElementDataFile="/etc/passwd"), "outside its own folder"
    ),
    "mhd: data file of a drive": Kind("a.mhd", lambda: meta(b"", ElementDataFile="C:b.raw"), "outside its own folder"),
    "mhd: data in many files": Kind("a.mhd", lambda: meta(b"b.raw\n", ElementDataFile="LIST"), "over several files"),
    "mhd: data file missing": Kind("a.mhd", lambda: meta(b"", ElementDataFile="gone.raw"), "gone.raw cannot be read"),
    "nrrd: voxels missing": Kind("a.nrrd", lambda: nrrd(BYTES[:-2]), "is cut off: its header declares"),
    "nrrd: voxels too many": Kind("a.nrrd", lambda: nrrd(BYTES + b"\0"), "more data than its header declares"),
    "nrrd: packed data cut": Kind("a.nrrd", lambda: packed_nrrd(gzip.compress(BYTES)[:-4]), "is cut off"),
    "nrrd: header cut": Kind("a.nrrd", lambda: nrrd()[:60], "its header does not end"),
    "nrrd: 4D": Kind("a.nrrd", lambda: nrrd(dimension="4"), "4 dimensions"),
    "nrrd: colours": Kind("a.nrrd", lambda: nrrd(kinds="RGB-color domain domain"), "no direction in space"),
    "nrrd: type": Kind("a.nrrd", lambda: nrrd(type="block"), "of type block"),
    "nrrd: encoding": Kind("a.nrrd", lambda: nrrd(encoding="bzip2"), "encoded as bzip2"),
    "nrrd: byte order missing": Kind("a.nrrd", lambda: nrrd(endian=None), "does not state its byte order"),
    "nrrd: space": Kind("a.nrrd", lambda: nrrd(space="scanner-xyz"), "says nothing of the patient"),
    "nrrd: directions": Kind("a.nrrd", lambda: nrrd(space_directions="none (0,1,0) (0,0,1)"), "'space directions'"),
    "nrrd: lengths in metres": Kind("a.nrrd", lambda: nrrd(space_units='"m" "m" "m"'), "lengths in m, not in mm"),
    "nrrd: bytes to skip": Kind("a.nrrd", lambda: nrrd(byte_skip="-2"), "skip lines or bytes"),
    "nhdr: data file elsewhere": Kind("a.nhdr", lambda: nrrd(b"", data_file="../../b.raw"), "outside its own folder"),
    "nhdr: data in many files": Kind("a.nhdr", lambda: nrrd(b"", data_file="b%03d.raw 1 9 1"), "over several files"),
}
