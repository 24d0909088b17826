"""Multipart bodies, streamed to the disk: counted, hashed and timed while they come, never held in memory."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from metseg.io.limits import KIB, MIB
from metseg.service.intake import FILE_FIELDS, Received
from metseg.service.problems import Problem

_TEXT_BYTES: Final = 4 * KIB
_TEXT_FIELDS: Final = 64
_GRACE_S: Final = 60.0
_MALFORMED: Final = "Send multipart/form-data, as curl -F does."


@dataclass(frozen=True)
class Caps:
    """What an upload may take; see ``Settings``."""

    bytes: int
    files: int
    stall_seconds: float
    bytes_per_second: int


@dataclass
class Form:
    """What has come: files, and text by field."""

    files: list[Received] = field(default_factory=list)
    text: dict[str, str] = field(default_factory=dict)


@dataclass
class _Part:
    """The part that is coming in."""

    name: str = ""
    filename: str | None = None
    header: bytes = b""
    value: bytes = b""
    headers: dict[str, bytes] = field(default_factory=dict)
    file: BinaryIO | None = None
    path: Path = Path()
    size: int = 0
    text: bytes = b""


class Receiver:
    """Takes the parts of a multipart body as they come and writes files below ``folder``.

    Args:
        boundary: of the body.
        folder: of the upload.
        name: gives a file's path below the folder, from its field and the caller's name.
        caps: what it may take.
        related: take every part as a file of the field ``files``, as multipart/related means it.
    """

    def __init__(
        self, boundary: bytes, folder: Path, name: Callable[[str, str], Path], caps: Caps, *, related: bool = False
    ) -> None:
        self.form = Form()
        self._folder, self._name, self._caps, self._related = folder, name, caps, related
        self._part, self._hash, self._ended = _Part(), hashlib.sha256(), False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            Problem: they are no multipart body, or more than is allowed.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Problem("malformed-request", "The body is not well-formed multipart.", _MALFORMED) from error

    def close(self) -> None:
        """The body is over.

        Raises:
            Problem: its end is missing.
        """
        self.abandon()
        if not self._ended:
            raise Problem("upload-incomplete", "The upload ended before its end mark.", "Send it again.")

    def abandon(self) -> None:
        """Close what is open."""
        if self._part.file is not None:
            self._part.file.close()

    def _begin(self) -> None:
        self._part, self._hash = _Part(), hashlib.sha256()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _on_header_end(self) -> None:
        self._part.headers[self._part.header.decode("latin-1").lower()] = self._part.value
        self._part.header = self._part.value = b""

    def _on_headers_finished(self) -> None:
        part = self._part
        if {"content-encoding", "content-transfer-encoding"} & set(part.headers):
            value = part.headers.get("content-transfer-encoding", b"binary").lower()
            if "content-encoding" in part.headers or value not in {b"binary", b"8bit", b"7bit"}:
                raise Problem("encoding-refused", "A part of the body is encoded.", "Send files as they are.")
        if self._related:
            part.name, part.filename = "files", ""
        else:
            _, options = parse_options_header(part.headers.get("content-disposition", b""))
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            part.filename = None if filename is None else filename.decode("utf-8", "replace")
        if part.filename is not None:
            self._open()
        elif len(self.form.text) >= _TEXT_FIELDS:
            raise Problem("malformed-request", "The form has too many fields.", _MALFORMED)

    def _open(self) -> None:
        part = self._part
        if part.name not in FILE_FIELDS:
            raise Problem(
                "malformed-request",
                "A file came in a field that takes none.",
                f"Files go into the fields {', '.join(FILE_FIELDS)}.",
            )
        if len(self.form.files) >= self._caps.files:
            raise Problem("too-many-files", f"The upload holds more than {self._caps.files} files.", "Send a zip.")
        part.path = self._folder / self._name(part.name, part.filename or "")
        part.path.parent.mkdir(exist_ok=True, mode=0o700)
        part.file = part.path.open("xb")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        part, piece = self._part, data[start:end]
        if part.file is None:
            part.text += piece
            if len(part.text) > _TEXT_BYTES:
                raise Problem("malformed-request", "A field of the form is too long.", _MALFORMED)
            return
        part.file.write(piece)
        self._hash.update(piece)
        part.size += len(piece)

    def _end_part(self) -> None:
        part = self._part
        if part.file is None:
            self.form.text[part.name] = part.text.decode("utf-8", "replace")
            return
        part.file.close()
        name = (part.filename or "").replace("\\", "/").rpartition("/")[2]
        self.form.files.append(Received(part.name, name, part.path, part.size, self._hash.hexdigest()))

    def _end(self) -> None:
        self._ended = True


async def receive(chunks: AsyncIterator[bytes], receiver: Receiver, caps: Caps) -> Form:
    """Take a whole body.

    Raises:
        Problem: it is too large, too slow, cut off, or no multipart body.
    """
    total, begun, waiting = 0, time.monotonic(), bytearray()
    try:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), caps.stall_seconds)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise _too_slow() from None
            total += len(chunk)
            if total > caps.bytes:
                raise too_large(caps)
            elapsed = time.monotonic() - begun
            if elapsed > _GRACE_S and total < caps.bytes_per_second * elapsed:
                raise _too_slow()
            waiting += chunk
            if len(waiting) >= MIB:
                await asyncio.to_thread(receiver.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(receiver.write, bytes(waiting))
        receiver.close()
    finally:
        receiver.abandon()
    return receiver.form


def too_large(caps: Caps) -> Problem:
    """The body is larger than is allowed."""
    return Problem(
        "body-too-large",
        f"The upload is larger than {caps.bytes / MIB:.0f} MiB.",
        "Send the study alone, compressed losslessly (.nii.gz, or a zip of DICOM).",
    )


def _too_slow() -> Problem:
    return Problem("upload-too-slow", "The upload came to a halt or is too slow.", "Send it again over a better line.")
