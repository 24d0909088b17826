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
from metseg.io.folder_walk import is_folder, is_hidden, kind_of_file, kind_of_name, there, walk
from metseg.io.sequence_names import without_sequence
from metseg.io.zip_files import checked_entries, open_zip

FORMATS: Final = ".nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr, DICOM, or a zip of these"
# Ten sequences at most, so that a year or a long count at the end of a name ("scan_2023") is no channel.
_CHANNEL: Final = re.compile(r"(.+)_(000\d)")
_CHANNEL_HINT: Final = (
    "Give each sequence of a study once, numbered from _0000, or name it, for example with --t1c; give other names to "
    "images that are studies of their own."
)
# What may be told of a file's ending: any other could be a part of a name.
_TOLD_SUFFIXES: Final = frozenset(
    {
        ".7z", ".avi", ".bmp", ".csv", ".dcm", ".doc", ".docx", ".exe", ".gif", ".htm", ".html", ".img",
        ".inf", ".ini", ".jpeg", ".jpg", ".log", ".md", ".mp4", ".pdf", ".png", ".rar", ".rtf", ".tif",
        ".tiff", ".txt", ".xls", ".xlsx", ".xml",
    }
)  # fmt: skip
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
        numbers: for a zip of images, the place of each member among the zip's images, from 1.
        sequences: path of each sequence, where the user named them; each a file, a folder of DICOM, or a zip.
        notes: what was left aside, a sentence each.
        refusal: why the case cannot be read as it stands; empty if nothing is against it.
        prior: mask of the lesions known from an earlier visit; None where there is none.
    """

    case: str
    files: tuple[Path, ...]
    kind: str = "image"
    channels: tuple[int, ...] = ()
    members: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    sequences: Mapping[str, Path] | None = None
    notes: tuple[str, ...] = ()
    refusal: str = ""
    prior: Path | None = None

    def check(self) -> None:
        """Refuse a case whose files leave open which sequence is which.

        Raises:
            InputError: a sequence twice, or numbered files without the first.
        """
        if self.refusal:
            raise InputError(self.refusal, hint=_CHANNEL_HINT)


@dataclass(frozen=True)
class _Group:
    """Files of one study in one folder, real or in a zip."""

    name: str
    files: tuple[PurePath, ...]
    channels: tuple[int, ...] = ()
    refusal: str = ""


def find_sources(inputs: Sequence[Path], exclude: Collection[Path] = ()) -> list[CaseInput]:
    """Find every study in files, folders and zips.

    In a folder, at any depth: each image file is a case; ``NAME_0000`` with its ``NAME_0001`` … ``NAME_0009`` is one
    case (refused when it is read, if ``_0000`` is missing or a number comes twice); the DICOM files of one study are
    one case; a zip is one case of DICOM, or one case for each image in it. Nothing is read but names, the first bytes
    of files without a telling name, and study identifiers of DICOM where folders must be told apart; whether a file is
    sound shows when it is read, so that one bad file does not stop the others.

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
    """Files of one folder as studies: ``NAME_0000`` … ``NAME_0009`` are one, refused where that leaves doubt.

    So are ``NAME_t1c_0000``, ``NAME_flair_0001`` …, where each has a number of its own.
    """
    numbered: dict[str, list[tuple[int, PurePath]]] = {}
    groups = []
    for file in files:
        if match := _CHANNEL.fullmatch(stem(file.name)):
            numbered.setdefault(match[1], []).append((int(match[2]), file))
        else:
            groups.append(_Group(stem(file.name), (file,)))
    for name, pairs in _joined(numbered).items():
        channels, members = zip(*sorted(pairs, key=lambda pair: pair[0]))
        groups.append(_Group(name, members, channels, _channel_finding(channels)))
    return sorted(groups, key=lambda group: group.files[0].name)


def _joined(numbered: Mapping[str, list[tuple[int, PurePath]]]) -> dict[str, list[tuple[int, PurePath]]]:
    """Numbered files by study: those whose names differ only in their sequences are one, if no number comes twice."""
    alike: dict[str, list[str]] = {}
    for name in numbered:
        alike.setdefault(without_sequence(name) or name, []).append(name)
    joined = {}
    for common, names in alike.items():
        pairs = [pair for name in names for pair in numbered[name]]
        numbers = [number for number, _ in pairs]
        if len(names) > 1 and 0 in numbers and len(set(numbers)) == len(numbers):
            joined[common] = pairs
        else:
            joined.update({name: numbered[name] for name in names})
    return joined


def _channel_finding(channels: Sequence[int]) -> str:
    """What keeps numbered files from being the sequences of one study; no names, as these may come from a zip."""
    twice = [n for n in channels if channels.count(n) > 1]
    if twice:
        return f"Two images are numbered _{twice[0]:04d}: which of them counts cannot be told."
    if 0 not in channels:
        return f"An image is numbered _{channels[0]:04d}, but none is numbered _0000, the first sequence."
    return ""


def _from_folder(top: Path, exclude: Collection[Path]) -> list[tuple[CaseInput, PurePath]]:
    contents = list(walk(top, exclude))
    found: list[tuple[CaseInput, PurePath]] = []
    for content in contents:
        found += [_image_case(group) for group in group_channels(content.images)]
        for path in content.zips:
            found += _from_zip(path)
        if content.ignored:
            _log.info(_ignored_note(content.ignored))
    ignored = {content.folder: content.ignored for content in contents}
    for name, files in dicom_studies(top, {content.folder: content.dicom for content in contents if content.dicom}):
        beside = [path for folder in dict.fromkeys(file.parent for file in files) for path in ignored[folder]]
        notes = (_ignored_note(beside),) if beside else ()
        found.append((CaseInput(name, files, "dicom", notes=notes), files[0].parent))
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
    images = [f for f in inside if kind_of_name(f.name) == "image" and not any(map(is_hidden, f.parts))]
    folders: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in images:
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
                numbers=tuple(images.index(PurePosixPath(file)) + 1 for file in group.files),
                refusal=group.refusal,
            ),
            path.with_suffix("") / group.files[0] if len(groups) > 1 else path,
        )
        for group in groups
    ]


def _image_case(group: _Group) -> tuple[CaseInput, PurePath]:
    files = tuple(Path(file) for file in group.files)
    return CaseInput(group.name, files, channels=group.channels, refusal=group.refusal), files[0]


def _ignored_note(paths: Sequence[PurePath]) -> str:
    """Counts and endings only: names of letters and the like tend to be the patient's."""
    suffixes = {path.suffix.lower() for path in paths}
    told = [*sorted(suffixes & _TOLD_SUFFIXES), *(["others"] if suffixes - _TOLD_SUFFIXES else [])]
    what = "1 file that is" if len(paths) == 1 else f"{len(paths)} files that are"
    kinds = "" if told == ["others"] else f" ({', '.join(told)})"
    return f"Ignored {what} no image{kinds}."
