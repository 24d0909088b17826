"""From what people name on the command line to cases: one study each, with a name of its own."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from metseg.core.errors import InputError
from metseg.io.case_names import safe_name, shown_name, stem, unique_names
from metseg.io.dicom_folders import dicom_studies
from metseg.io.folder_walk import FolderContent, is_folder, is_hidden, kind_of_file, kind_of_name, there, walk
from metseg.io.zip_files import checked_entries, open_zip

FORMATS: Final = ".nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr, DICOM, or a zip of these"
_CHANNEL: Final = re.compile(r"(.+)_(\d{4})")
_NAMED_AT_MOST: Final = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseInput:
    """One study to read.

    Args:
        case: its name: unique within a run, safe as the name of a folder.
        files: what to read: one image, the channels of one study, the files of one DICOM study, or one zip.
        kind: ``"image"``, ``"dicom"`` or ``"zip"``.
        channels: for images named ``NAME_0000`` …, the number in each file's name; else empty.
        members: for a zip of images, the names in it, in the order of ``channels``; empty for a zip of DICOM.
        sequences: path of each sequence, where the user named them; each a file, a folder of DICOM, or a zip.
        notes: what was left aside, a sentence each.
    """

    case: str
    files: tuple[Path, ...]
    kind: str = "image"
    channels: tuple[int, ...] = ()
    members: tuple[str, ...] = ()
    sequences: Mapping[str, Path] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Group:
    """Files of one study in one folder, real or in a zip."""

    name: str
    files: tuple[PurePath, ...]
    channels: tuple[int, ...] = ()


def find_sources(inputs: Sequence[Path], exclude: Collection[Path] = ()) -> list[CaseInput]:
    """Find every study in files, folders and zips.

    In a folder, at any depth: each image file is a case; ``NAME_0000`` with its ``NAME_0001`` … is one case; the DICOM
    files of one study are one case; a zip is one case of DICOM, or one case for each image in it. Nothing is read but
    names, the first bytes of files without a telling name, and study identifiers of DICOM where folders must be told
    apart; whether a file is sound shows when it is read, so that one bad file does not stop the others.

    Args:
        inputs: in the order in which the cases shall come.
        exclude: folders not to enter, such as the output folder.

    Raises:
        InputError: a path that does not exist, a file of no known format, or no study at all.
    """
    found: list[tuple[CaseInput, PurePath]] = []
    loose: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(inputs):
        if not there(path):
            raise InputError(f"{shown_name(path)} does not exist.", hint="Check the path, and that no link is broken.")
        if is_folder(path):
            found += _from_folder(path, exclude)
        elif (kind := kind_of_file(path)) == "zip":
            found += _from_zip(path)
        elif kind in {"image", "dicom"}:
            loose.setdefault(path.parent, []).append(path)
        else:
            raise InputError(f"{shown_name(path)} is of no format that metseg reads.", hint=f"Give {FORMATS}.")
    for folder, files in loose.items():
        found += _from_files(folder, files)
    if not found:
        raise InputError(
            f"There is no image in {', '.join(map(shown_name, inputs)) or 'the input'}.",
            hint=f"Give {FORMATS}.",
        )
    names = unique_names([(case.case, where) for case, where in found])
    return [replace(case, case=name) for name, (case, _) in zip(names, found)]


def named_sources(sequences: Mapping[str, Path], case: str | None = None) -> CaseInput:
    """One case of files whose sequences the user named.

    Args:
        sequences: ``{"t1c": path, …}``; each a file, a folder of DICOM, or a zip that holds one image.
        case: name of the case; by default that of the first file.

    Raises:
        InputError: nothing named, or a path that does not exist.
    """
    if not sequences:
        raise InputError("No sequence was given.", hint="Name at least one file, for example with --t1c.")
    for sequence, path in sequences.items():
        if not there(path):
            raise InputError(f"{shown_name(path)} ({sequence}) does not exist.", hint="Check the path.")
    first = next(iter(sequences.values()))
    name = safe_name(case or stem(first.name or first.resolve().name))
    return CaseInput(name, tuple(sequences.values()), "image", sequences=dict(sequences))


def group_channels(files: Sequence[PurePath]) -> list[_Group]:
    """Files of one folder as studies: ``NAME_0000``, ``NAME_0001`` … together where ``_0000`` is there."""
    numbered: dict[str, dict[int, PurePath]] = {}
    twice: set[str] = set()
    for file in files:
        if match := _CHANNEL.fullmatch(stem(file.name)):
            channels = numbered.setdefault(match[1], {})
            if int(match[2]) in channels:  # a_0000.nii beside a_0000.nii.gz: no way to tell which belongs
                twice.add(match[1])
            channels[int(match[2])] = file
    numbered = {name: channels for name, channels in numbered.items() if 0 in channels and name not in twice}
    taken = {file for channels in numbered.values() for file in channels.values()}
    groups = [
        _Group(name, tuple(channels[n] for n in sorted(channels)), tuple(sorted(channels)))
        for name, channels in numbered.items()
    ]
    groups += [_Group(stem(file.name), (file,)) for file in files if file not in taken]
    return sorted(groups, key=lambda group: group.files[0].name)


def _from_folder(top: Path, exclude: Collection[Path]) -> list[tuple[CaseInput, PurePath]]:
    contents = list(walk(top, exclude))
    found: list[tuple[CaseInput, PurePath]] = []
    for content in contents:
        found += [_image_case(group) for group in group_channels(content.images)]
        for path in content.zips:
            found += _from_zip(path)
        if content.ignored:
            _log.info(_ignored_note(content))
    notes = {content.folder: (_ignored_note(content),) for content in contents if content.ignored}
    for name, files in dicom_studies(top, {content.folder: content.dicom for content in contents if content.dicom}):
        folder_notes = tuple(n for folder in dict.fromkeys(f.parent for f in files) for n in notes.get(folder, ()))
        found.append((CaseInput(name, files, "dicom", notes=folder_notes), files[0].parent))
    return found


def _from_files(folder: Path, files: Sequence[Path]) -> list[tuple[CaseInput, PurePath]]:
    """Files that were named one by one; DICOM files of one folder are one study."""
    dicom = tuple(path for path in files if kind_of_file(path) == "dicom")
    found = [_image_case(group) for group in group_channels([path for path in files if path not in dicom])]
    if dicom:
        name = stem(dicom[0].name) if len(dicom) == 1 else folder.resolve().name
        found.append((CaseInput(name, dicom, "dicom"), dicom[0]))
    return found


def _from_zip(path: Path) -> list[tuple[CaseInput, PurePath]]:
    """Cases in a zip; a zip that cannot be listed is a case whose reading will say why."""
    try:
        with open_zip(path) as archive:
            inside = [PurePosixPath(entry.filename) for entry in checked_entries(archive, shown_name(path))]
    except InputError:
        inside = []
    folders: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in inside:
        if kind_of_name(file.name) == "image" and not any(map(is_hidden, file.parts)):
            folders.setdefault(file.parent, []).append(file)
    groups = [group for files in folders.values() for group in group_channels(files)]
    if not groups:
        return [(CaseInput(stem(path.name), (path,), "zip"), path)]
    return [
        (
            CaseInput(
                case=group.name if len(groups) > 1 else stem(path.name),
                files=(path,),
                kind="zip",
                channels=group.channels,
                members=tuple(str(file) for file in group.files),
            ),
            path.with_suffix("") / group.files[0] if len(groups) > 1 else path,
        )
        for group in groups
    ]


def _image_case(group: _Group) -> tuple[CaseInput, PurePath]:
    files = tuple(Path(file) for file in group.files)
    return CaseInput(group.name, files, channels=group.channels), files[0]


def _ignored_note(content: FolderContent) -> str:
    names = [shown_name(path) for path in content.ignored]
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"Ignored in {shown_name(content.folder)}, as no image: {', '.join(names[:_NAMED_AT_MOST])}{more}."
