"""Files appear whole or not at all: written aside, synced, then renamed into place."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from metseg.core.errors import MetsegError
from metseg.io.case_names import shown_name


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` when the block ends well, and vanishes when it does not.

    The file is written beside ``path`` under a hidden name, so that the rename stays within one file system.

    Raises:
        MetsegError: the folder is missing, not writable, or full.
    """
    aside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise MetsegError(
            f"{shown_name(path)} could not be written: {error.strerror or type(error).__name__}.",
            hint="Check that the output folder exists, may be written to and has room.",
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically.

    Raises:
        MetsegError: the folder is missing, not writable, or full.
    """
    with atomic_writer(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8 atomically, newlines as they stand.

    Raises:
        MetsegError: the folder is missing, not writable, or full.
    """
    write_bytes(path, content.encode("utf-8"))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system lets a folder be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make a folder, and all files and folders in it, survive a power cut.

    Raises:
        OSError: a file could not be brought to the disk: it is full or broken.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with Path(place, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))
