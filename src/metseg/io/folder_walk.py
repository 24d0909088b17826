"""Walk folders as people leave them: links, hidden files, things that are no image, results of earlier runs."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final, Literal

from metseg.core.errors import InputError
from metseg.io.case_names import IMAGE_SUFFIXES, shown_name

Kind = Literal["image", "zip", "dicom", "silent", "unknown"]
HEADER_SUFFIXES: Final = (".mhd", ".nhdr")
DETACHED_SUFFIXES: Final = (".raw", ".zraw", ".gz", ".bin", ".img", ".dat")
_PAIR_SUFFIXES: Final = (".hdr", ".hdr.gz")
# Belong to images or to systems, and say nothing on their own.
_SILENT_SUFFIXES: Final = (".json", ".bval", ".bvec", ".raw", ".zraw")
_SILENT_NAMES: Final = {"dicomdir", "thumbs.db", "desktop.ini", "lockfile", "__macosx"}
_DEEPEST: Final = 64


def is_hidden(name: str) -> bool:
    """Names that systems leave behind: dot files, AppleDouble, thumbnails, DICOMDIR."""
    return name.startswith(".") or name.lower() in _SILENT_NAMES


def kind_of_name(name: str) -> Kind:
    """What a name says; ``"unknown"`` where only the content can tell."""
    lower = name.lower()
    if is_hidden(name) or lower.endswith(_SILENT_SUFFIXES):
        return "silent"
    if lower.endswith((*IMAGE_SUFFIXES, *_PAIR_SUFFIXES)):
        return "image"
    return "zip" if lower.endswith(".zip") else "unknown"


def kind_of_file(path: Path) -> Kind:
    """What a file is: by its name, and where that says nothing by its first bytes."""
    kind = kind_of_name(path.name)
    return "dicom" if kind == "unknown" and is_dicom(path) else kind


def there(path: Path) -> bool:
    """Does the path lead to something, links followed? No where it cannot even be asked for."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Is it a folder, or a link to one? No where it cannot even be asked for."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_dicom(path: Path) -> bool:
    """Has the DICM mark, or starts like a DICOM file that lacks it: group 0002 or 0008, then a value type or length."""
    try:
        if not path.is_file():  # a pipe would never end
            return False
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    if start[128:132] == b"DICM":
        return True
    return len(start) == 132 and start[:2] in {b"\x02\x00", b"\x08\x00"} and start[3] == 0 and start[2] <= 0x18


@dataclass(frozen=True)
class FolderContent:
    """What lies in one folder, subfolders left out, each sorted by name."""

    folder: Path
    images: tuple[Path, ...] = ()
    zips: tuple[Path, ...] = ()
    dicom: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = field(default=())


def walk(top: Path, exclude: Collection[Path] = ()) -> Iterator[FolderContent]:
    """Contents of ``top`` and of every folder below it, parents first; each real folder once, links followed.

    Left out: hidden folders, excluded folders (unless ``top`` itself is one), and folders that metseg wrote.

    Raises:
        InputError: ``top`` cannot be listed.
    """
    outside = {path.resolve() for path in exclude} - {top.resolve()}
    seen: set[tuple[int, int]] = set()
    stack = [(top, 0)]
    while stack:
        folder, depth = stack.pop()
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == top:
                raise InputError(
                    f"The folder {shown_name(top)} cannot be listed: {error.strerror}.", hint="Check its rights."
                ) from error
            yield FolderContent(folder, ignored=(folder,))
            continue
        names = {entry.name for entry in entries}
        if (status.st_dev, status.st_ino) in seen or (folder != top and {"run.json", "segmentation.nii.gz"} <= names):
            continue
        seen.add((status.st_dev, status.st_ino))
        paths = [Path(entry.path) for entry in entries if not is_hidden(entry.name)]
        folders = [path for path in paths if is_folder(path)]
        yield _content(folder, [path for path in paths if path not in folders])
        if depth < _DEEPEST:
            stack += [(path, depth + 1) for path in reversed(folders) if path.resolve() not in outside]


def _content(folder: Path, files: list[Path]) -> FolderContent:
    kinds = {path: kind_of_file(path) if there(path) else "unknown" for path in files}

    def of(kind: Kind) -> tuple[Path, ...]:
        return tuple(path for path in files if kinds[path] == kind)

    images = of("image")
    headers = {PurePath(path.name).stem.lower() for path in images if path.name.lower().endswith(_PAIR_SUFFIXES)}
    # The .img of a pair is told with its .hdr.
    ignored = tuple(p for p in of("unknown") if not (p.suffix.lower() == ".img" and p.stem.lower() in headers))
    return FolderContent(folder, images, of("zip"), of("dicom"), ignored)
