"""Makes one zip of each hostile kind."""

import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

from hostile.make_nifti import nifti, packed


def zipped(*entries, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def image():
    """A whole compressed NIfTI."""
    return packed(nifti())


def _entry(name, mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def _named(name):
    """A zip whose entry has a name that zipfile itself would not write."""
    placeholder = "n" * len(name)
    return zipped((placeholder, image())).replace(placeholder.encode(), name.encode())


def _encrypted():
    content = bytearray(zipped(("a.nii.gz", image())))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    return bytes(content)


def _lying_size(size):
    """A zip whose central directory and local header declare ``size`` bytes for their entry."""
    content = bytearray(zipped(("a.nii", nifti())))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    content[22:26] = struct.pack("<I", size)
    return bytes(content)


def _flipped():
    content = bytearray(zipped(("a.nii.gz", image()), method=zipfile.ZIP_STORED))
    content[500] ^= 0xFF
    return bytes(content)


@dataclass(frozen=True)
class Kind:
    """A hostile zip: how it is made, and what the refusal must say."""

    make: Callable[[], bytes]
    says: str


REFUSED = {
    "zip: name with ..": Kind(lambda: _named("../../evil.nii.gz"), "leads out of the zip"),
    "zip: absolute name": Kind(lambda: _named("/etc/evil.nii.gz"), "leads out of the zip"),
    "zip: drive letter": Kind(lambda: _named("C:evil.nii.gz"), "leads out of the zip"),
    "zip: backslashes": Kind(lambda: _named("..\\..\\evil.nii.gz"), "leads out of the zip"),
    "zip: NUL in a name": Kind(lambda: _named("a.nii.gz\0.txt"), "control characters"),
    "zip: symbolic link": Kind(lambda: zipped((_entry("a.nii.gz", 0o120777), "/etc/passwd")), "is a link or a device"),
    "zip: device": Kind(lambda: zipped((_entry("a.nii.gz", 0o020666), "")), "is a link or a device"),
    "zip: encrypted": Kind(_encrypted, "is encrypted"),
    "zip: packed by bzip2": Kind(
        lambda: zipped(("a.nii", nifti()), method=zipfile.ZIP_BZIP2), "only store and deflate"
    ),
    "zip: same name twice": Kind(lambda: zipped(("a.nii.gz", image()), ("A.nii.gz", image())), "same name as another"),
    "zip: size too large for the cap": Kind(lambda: _lying_size(0xF0000000), "would unpack"),
    "zip: less declared than packed": Kind(lambda: _lying_size(5000), "damaged"),
    "zip: more declared than packed": Kind(lambda: _lying_size(90_000), "damaged"),
    "zip: byte flipped": Kind(_flipped, "damaged"),
    "zip: cut off": Kind(lambda: zipped(("a.nii.gz", image()))[:-30], "no whole zip"),
    "zip: text": Kind(lambda: b"no zip at all " * 50, "no whole zip"),
    "zip: empty file": Kind(lambda: b"", "is empty"),
    "zip: nothing inside": Kind(zipped, "There is no image"),
    "zip: no image inside": Kind(lambda: zipped(("letter.pdf", b"%PDF")), "There is no image"),
    "zip: zip in a zip": Kind(lambda: zipped(("inner.zip", zipped(("a.nii.gz", image())))), "There is no image"),
    "zip: hostile image inside": Kind(lambda: zipped(("a.nii.gz", image()[:-4])), "is cut off"),
}
