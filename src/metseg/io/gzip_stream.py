"""Bytes of a file in order, plain or compressed: hashed while read, and checked to the very end.

Readers in use today stop once they have the voxels they want, and so never see that a gzip trailer is wrong or
missing. Here the end counts as much as the start: ``finish`` passes only if the stream ended where it should,
checksum and length agreed (zlib compares both, RFC 1952), and nothing follows.
"""

import hashlib
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Literal

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name
from metseg.io.limits import DEFAULT_LIMITS, MIB, Limits

Codec = Literal["plain", "gzip", "zlib"]
GZIP_MAGIC: Final = b"\x1f\x8b"
RESEND: Final = "Copy, download or export the file again."
_WINDOW_BITS: Final = {"gzip": 31, "zlib": 15}
_CHECKSUM: Final = {"gzip": "CRC-32", "zlib": "Adler-32"}
_HIGHEST_DEFLATE_RATIO: Final = 1032


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises:
        InputError: it is missing, a folder, a device or pipe, empty, or cannot be read.
    """
    try:
        mode = path.stat()
        if stat.S_ISDIR(mode.st_mode):
            raise InputError(f"{shown_name(path)} is a folder, not an image file.", hint="Give the file inside it.")
        if not stat.S_ISREG(mode.st_mode):
            raise InputError(f"{shown_name(path)} is a pipe or a device, not a file.", hint="Give a regular file.")
        if mode.st_size == 0:
            raise InputError(f"{shown_name(path)} is empty (0 bytes).", hint=RESEND)
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{shown_name(path)} cannot be read: {error.strerror or type(error).__name__}.",
            hint="Check the path, the rights and the disk.",
        ) from error


class VerifiedStream:
    """Sequential reader of one open file.

    Args:
        file: where to read from, from its current position.
        name: what messages call the file.
        codec: how the bytes are packed; ``"zlib"`` allows one member only.
        limits: ratio and member caps.
        sha256: a running hash to go on with, for images of two files.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        codec: Codec,
        limits: Limits = DEFAULT_LIMITS,
        sha256: "hashlib._Hash | None" = None,
    ) -> None:
        self.name, self.codec = name, codec
        self._file, self._limits = file, limits
        self._hash = sha256 or hashlib.sha256()
        start = file.tell()
        self.stored_bytes = file.seek(0, 2) - start
        file.seek(start)
        self._input = b""
        self._members = 1
        self._inflater = None if codec == "plain" else zlib.decompressobj(_WINDOW_BITS[codec])

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored bytes read so far; after ``finish`` of the whole file."""
        return self._hash.hexdigest()

    def check_size(self, declared: int) -> None:
        """Refuse, before anything is unpacked, a size that the header declares but this file cannot or may not hold.

        Raises:
            InputError: more than the cap; more than the stored bytes can unpack to; or a ratio no honest image has.
        """
        limits, name = self._limits, self.name
        if declared > limits.max_bytes:
            raise InputError(
                f"{name} declares {declared:,} bytes of image; the limit is {limits.max_bytes:,}.",
                hint="Crop the image, or store it with fewer bits a voxel.",
            )
        if self.codec == "plain":
            return
        if declared > _HIGHEST_DEFLATE_RATIO * self.stored_bytes:
            raise InputError(
                f"{name} declares {declared:,} bytes of image, but its {self.stored_bytes:,} bytes cannot hold that.",
                hint=RESEND,
            )
        if declared > limits.ratio_free_bytes and declared > limits.max_ratio * self.stored_bytes:
            raise InputError(
                f"{name} would unpack {self.stored_bytes:,} bytes to {declared:,}: no image of that size shrinks over "
                f"{limits.max_ratio:g} to 1.",
                hint="If the image is real, give it uncompressed.",
            )

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end."""
        buffer = bytearray(count)
        return bytes(buffer[: self.read_into(memoryview(buffer))])

    def read_into(self, view: memoryview) -> int:
        """Fill ``view``; returns how many bytes there were, fewer than asked for only at the end.

        Raises:
            InputError: the packed data is cut off or damaged, or garbage follows it.
        """
        done = 0
        while done < len(view):
            block = self._next(min(len(view) - done, MIB))
            if not block:
                break
            view[done : done + len(block)] = block
            done += len(block)
        return done

    def skip(self, count: int) -> int:
        """Pass over ``count`` bytes; returns how many there were."""
        done = 0
        while done < count and (block := self._next(min(count - done, MIB))):
            done += len(block)
        return done

    def finish(self) -> None:
        """Check that this is the end.

        Raises:
            InputError: there is more data than the header declares, or the end fails its checks.
        """
        if self._next(1):
            raise InputError(
                f"{self.name} holds more data than its header declares.",
                hint=f"Its header or its data is damaged. {RESEND}",
            )

    def _stored(self, count: int) -> bytes:
        block = self._file.read(count)
        self._hash.update(block)
        return block

    def _next(self, most: int) -> bytes:
        """At least one and at most ``most`` bytes; none only at the checked end."""
        if self._inflater is None:
            return self._stored(most)
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            self._input = self._input or self._stored(MIB)
            at_end = not self._input
            try:
                block = self._inflater.decompress(self._input, most)
            except zlib.error as error:
                raise self._damaged(error) from error
            self._input = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if block:
                return block
            if at_end and not self._inflater.eof:
                raise InputError(
                    f"{self.name} is cut off: its compressed data stops after {self.stored_bytes:,} bytes, before "
                    "its end mark and checksum.",
                    hint=RESEND,
                )

    def _next_member(self) -> bool:
        """Start the next gzip member; False at the end of the file."""
        if len(self._input) < 2:
            self._input += self._stored(MIB)
        if not self._input:
            return False
        if self.codec == "zlib" or not self._input.startswith(GZIP_MAGIC):
            raise InputError(
                f"{self.name} goes on after the end of its compressed data, with bytes that do not belong to it.",
                hint=RESEND,
            )
        self._members += 1
        if self._members > self._limits.max_members:
            raise InputError(f"{self.name} consists of over {self._limits.max_members:,} gzip members.", hint=RESEND)
        self._inflater = zlib.decompressobj(_WINDOW_BITS[self.codec])
        return True

    def _damaged(self, error: zlib.error) -> InputError:
        text = str(error)
        if "data check" in text:
            finding = f"the checksum ({_CHECKSUM[self.codec]}) of its contents is wrong"
        elif "length check" in text:
            finding = "the length in its trailer is wrong"
        else:
            finding = "its compressed data cannot be unpacked"
        return InputError(f"{self.name} is damaged: {finding}.", hint=RESEND)
