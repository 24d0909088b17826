"""What every DICOM result says of itself: who made it, that it is for research, and its UIDs."""

import hashlib
from typing import Final
from uuid import UUID

from metseg import __version__

MAKER: Final = "metseg"
VERSION: Final = __version__
NOT_DIAGNOSTIC: Final = "Research, not for primary diagnosis"
LABEL: Final = "RESEARCH"
# Series numbers far from those of scanners.
SERIES_NUMBERS: Final = {"derived": 9100, "seg": 9101, "sr": 9102, "rtstruct": 9103, "montage": 9104}


def series_description(what: str) -> str:
    """At most 64 characters (LO): what it is, and what it is not for."""
    return f"{MAKER} {what} - {NOT_DIAGNOSTIC}"


def uid_of(*parts: str | bytes) -> str:
    """A UID that the same parts give again: a UUID of theirs under the root 2.25 (PS3.5 B.2, RFC 9562 version 8)."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return f"2.25.{UUID(int=number).int}"
