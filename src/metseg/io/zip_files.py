"""Zips from outside: looked through before anything is unpacked, and unpacked to names of our own."""

import itertools
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from metseg.core.errors import InputError
from metseg.io.case_names import IMAGE_SUFFIXES, safe_name, shown_name
from metseg.io.gzip_stream import RESEND, open_regular
from metseg.io.limits import DEFAULT_LIMITS, MIB, Limits
from metseg.io.whole_folder import passing_folder

_PACKED_AS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_REPACK: Final = "Unpack the zip where you trust it, and give the folder."


def checked_entries(archive: zipfile.ZipFile, name: str, limits: Limits = DEFAULT_LIMITS) -> list[zipfile.ZipInfo]:
    """The files of a zip, folders left out, if the zip does nothing that an honest one does not.

    Entries are told by number, not by name: names in exports tend to hold the patient's.

    Raises:
        InputError: too many files or bytes, a ratio no image has, encryption, links or devices, names that lead out
            of the zip or come twice, or a packing other than store and deflate.
    """
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(archive.infolist()) > limits.max_members:
        raise InputError(f"{name} holds over {limits.max_members:,} files.", hint=_REPACK)
    unpacked, packed = sum(e.file_size for e in entries), Path(archive.filename or name).stat().st_size
    if unpacked > limits.max_bytes:
        raise InputError(f"{name} would unpack to {unpacked:,} bytes; the limit is {limits.max_bytes:,}.", hint=_REPACK)
    if unpacked > limits.ratio_free_bytes and unpacked > limits.max_ratio * packed:
        raise InputError(
            f"{name} would unpack {packed:,} bytes to {unpacked:,}: no honest zip shrinks over "
            f"{limits.max_ratio:g} to 1.",
            hint=_REPACK,
        )
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        finding = _finding(entry)
        if entry.filename.casefold() in seen:
            finding = "has the same name as another"
        seen.add(entry.filename.casefold())
        if finding:
            raise InputError(f"File {number} in {name} {finding}.", hint=_REPACK)
    return entries


def _finding(entry: zipfile.ZipInfo) -> str:
    """What is wrong with an entry, as the end of a sentence about it; empty if nothing is."""
    raw = entry.orig_filename
    parts = PurePosixPath(raw.replace("\\", "/")).parts
    mode = entry.external_attr >> 16
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if "\0" in raw or any(ord(c) < 32 for c in raw):
        return "has a name with control characters"
    if raw.startswith(("/", "\\")) or ".." in parts or (len(raw) > 1 and raw[1] == ":"):
        return "has a name that leads out of the zip"
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return "is a link or a device, not a file"
    if entry.compress_type not in _PACKED_AS:
        return "is packed in a way that is not read (only store and deflate are)"
    return ""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip.

    Raises:
        InputError: it is none, or it is damaged; or damage shows while it is read.
    """
    with open_regular(path):  # the plain refusals: missing, folder, empty
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise InputError(f"{shown_name(path)} is no whole zip, or a file in it is damaged.", hint=RESEND) from error


@contextmanager
def unpacked(
    path: Path,
    wanted: Callable[[PurePosixPath], bool],
    limits: Limits = DEFAULT_LIMITS,
    *,
    keep_names: bool = False,
) -> Iterator[dict[str, Path]]:
    """Unpack the wanted files of a zip into a temporary folder, which is gone when the block ends.

    Folders and files of the zip become numbered ones that keep the ending of an image: no name of the zip is followed.

    Args:
        path: the zip.
        wanted: asked for each name in the zip.
        limits: caps on the whole zip.
        keep_names: keep file names, made safe: for headers that name the file of their voxels.

    Yields:
        Name in the zip -> where it was unpacked, sorted by name.

    Raises:
        InputError: the zip is none, does what no honest one does, is damaged, or there is no room to unpack it.
    """
    folders: dict[PurePosixPath, str] = {}
    numbers = itertools.count(1)

    def place(inside: PurePosixPath) -> PurePosixPath | None:
        if not wanted(inside):
            return None
        folder = folders.setdefault(inside.parent, f"{len(folders):06d}")
        name = safe_name(inside.name) if keep_names else f"{next(numbers):06d}{_suffix(inside.name)}"
        return PurePosixPath(folder, name)

    with passing_folder() as temporary:
        yield unpack(path, temporary, place, limits)


def unpack(
    path: Path,
    folder: Path,
    place: Callable[[PurePosixPath], PurePosixPath | None],
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Path]:
    """Unpack files of a zip below ``folder``, which is there.

    Args:
        path: the zip.
        folder: where to.
        place: where below ``folder`` the file of a name in the zip goes; None: it is left out. It is asked in the order
            of the names, and must not give names that lead out of ``folder``.
        limits: caps on the whole zip.

    Returns:
        Name in the zip -> where it was unpacked, sorted by name.

    Raises:
        InputError: the zip is none, does what no honest one does, is damaged, or there is no room to unpack it.
    """
    files: dict[str, Path] = {}
    with open_zip(path) as archive:
        for entry in sorted(checked_entries(archive, shown_name(path), limits), key=lambda e: e.filename):
            below = place(PurePosixPath(entry.filename))
            if below is not None:
                files[entry.filename] = target = folder / below
                _unpack(archive, entry, target, shown_name(path))
    return files


def _suffix(name: str) -> str:
    """The ending that tells how an image is read; empty for all else."""
    return next((suffix for suffix in (*IMAGE_SUFFIXES, ".hdr.gz", ".hdr") if name.lower().endswith(suffix)), "")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, name: str) -> None:
    """Copy one entry; zipfile stops at the declared size and compares the CRC-32 there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as out:
            while block := source.read(MIB):
                out.write(block)
            if out.tell() != entry.file_size:  # zipfile lets this pass
                raise InputError(f"A file in {name} is damaged: it is shorter than declared.", hint=RESEND)
    except FileExistsError as error:
        raise InputError(f"Two files in {name} have names that differ too little.", hint=_REPACK) from error
    except RuntimeError as error:  # zipfile's answer where a password is needed
        raise InputError(f"A file in {name} is encrypted.", hint=_REPACK) from error
    except OSError as error:
        raise InputError(
            f"{name} could not be unpacked: {error.strerror or type(error).__name__}.",
            hint="Check the room in the temporary folder.",
        ) from error
