"""Numbers by epoch in the files that TensorBoard reads.

They are records (TFRecord) of a few fields each (protocol buffers: ``Event`` and ``Summary`` of TensorFlow), written
here so that training needs no further package; whoever wants to look at them has TensorBoard.
"""

import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_NAME: Final = "events.out.tfevents"
_CASTAGNOLI: Final = 0x82F63B78  # the polynomial of CRC-32C, reversed


class EventFile:
    """A folder's event file, begun anew; what was there before is replaced, as rows of a run that goes on come again.

    Args:
        folder: where it lies.
        time_s: seconds since 1970, which is part of the name: TensorBoard reads files in the order of names.
    """

    def __init__(self, folder: Path, time_s: float) -> None:
        for old in folder.glob(f"{_NAME}.*"):
            old.unlink()
        self.path = folder / f"{_NAME}.{int(time_s):010d}.metseg"
        self._append(_double(1, time_s) + _text(3, b"brain.Event:2"))

    def add(self, step: int, time_s: float, values: Mapping[str, float]) -> None:
        """Add numbers of a step; they can be seen at once."""
        summary = b"".join(_text(1, _text(1, tag.encode()) + _single(2, value)) for tag, value in values.items())
        self._append(_double(1, time_s) + _number(2, step) + _text(5, summary))

    def _append(self, event: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(_record(event))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The checksum CRC-32C (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _table()[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        crc = row
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _text(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _single(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)
