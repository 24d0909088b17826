"""UIDs made of content: the same content has the same one, on any machine."""

import hashlib
from uuid import UUID


def uid_of(*parts: str | bytes) -> str:
    """A DICOM UID: a UUID of the parts under the root 2.25 (PS3.5 B.2; RFC 9562, version 8).

    >>> uid_of("a", "b") == uid_of("a", b"b") != uid_of("ab")
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return f"2.25.{UUID(int=number).int}"
