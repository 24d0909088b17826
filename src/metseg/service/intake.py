"""From an upload to one case of metseg's own strict intake. The caller's names never become names on the disk."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import InputError
from metseg.core.study import SEQUENCES
from metseg.io.case_names import IMAGE_SUFFIXES, stem
from metseg.io.discover import FORMATS, CaseInput, find_sources, named_sources
from metseg.io.folder_walk import HEADER_SUFFIXES
from metseg.io.sequence_names import sequences_in, without_sequence
from metseg.io.zip_files import checked_entries, open_zip
from metseg.service.problems import Problem
from metseg.service.vault import CASE

FILES_FIELD: Final = "files"
FILE_FIELDS: Final = (FILES_FIELD, *SEQUENCES)
_CHANNEL: Final = re.compile(r"(.+)(_000\d)")
# What a name says about the sequence is kept, in words that metseg's reader knows.
_WORDS: Final = {
    ("t1c",): "t1c",
    ("t1n",): "t1n",
    ("t1c", "t1n"): "t1",
    ("t2f",): "flair",
    ("t2w",): "t2",
    ("ct",): "ct",
}


@dataclass(frozen=True)
class Received:
    """A file of an upload that has arrived.

    Args:
        field: of the form: ``files``, or a sequence.
        name: the caller's; for showing only.
        path: where it lies.
        size: in bytes.
        sha256: of its bytes.
    """

    field: str
    name: str
    path: Path
    size: int
    sha256: str


class Namer:
    """Gives each file of one upload a name of our own that keeps what metseg's intake must know."""

    def __init__(self) -> None:
        self._groups: dict[str, int] = {}
        self._count = 0

    def name(self, field: str, name: str) -> Path:
        """Path below the upload's folder.

        Raises:
            Problem: a header whose voxels lie in another file.
        """
        self._count += 1
        lower = name.lower()
        if lower.endswith((*HEADER_SUFFIXES, ".hdr", ".hdr.gz")):
            raise Problem(
                "input-refused",
                "A header without voxels was uploaded; both belong to one image.",
                "Put both files into a zip, or convert them to .nii.gz, .mha or .nrrd.",
            )
        suffix = next((end for end in (*IMAGE_SUFFIXES, ".zip") if lower.endswith(end)), "")
        if field != FILES_FIELD:
            return Path(field, f"{field}-{self._count:05d}{suffix}")
        bare = stem(name)
        if suffix in IMAGE_SUFFIXES and (match := _CHANNEL.fullmatch(bare)):
            common = without_sequence(match[1]) or match[1]
            group = self._groups.setdefault(common, len(self._groups) + 1)
            return Path(f"image-{group}{_word(match[1])}{match[2]}{suffix}")
        return Path(f"file-{self._count:05d}{_word(bare) if suffix in IMAGE_SUFFIXES else ''}{suffix}")


def _word(name: str) -> str:
    word = _WORDS.get(tuple(sorted(sequences_in(name))), "")
    return f"_{word}" if word else ""


def named_parts(received: Iterable[Received], upload: Path) -> dict[str, str]:
    """File or folder of each sequence that the caller named, below the upload's folder.

    Raises:
        Problem: files with and without a sequence, or no file at all.
    """
    by_field: dict[str, list[Received]] = {}
    for file in received:
        by_field.setdefault(file.field, []).append(file)
    if not by_field:
        raise Problem(
            "input-refused",
            "The upload holds no file.",
            "Send the images in the form field files, or t1c, ct and so on.",
        )
    if FILES_FIELD in by_field and len(by_field) > 1:
        raise Problem(
            "input-refused",
            "Some files come with their sequence and some without.",
            "Send all in the field files, or each in a field called after its sequence.",
        )
    if FILES_FIELD in by_field:
        return {}
    return {
        field: str(files[0].path.relative_to(upload)) if len(files) == 1 else field for field, files in by_field.items()
    }


def find_case(folder: Path, sequences: Mapping[str, str]) -> CaseInput:
    """The one study in a folder of uploaded files.

    Raises:
        InputError: none, or something that is no image where one is wanted.
        Problem: several studies.
    """
    if sequences:
        return named_sources({name: folder / part for name, part in sequences.items()}, CASE)
    try:
        cases = find_sources([folder])
    except InputError as error:
        if error.message.startswith("There is no image in"):
            raise InputError("There is no image in the upload.", hint=error.hint) from error
        raise
    if len(cases) > 1:
        raise Problem(
            "several-studies",
            f"The upload holds {len(cases)} studies, but one is wanted.",
            "Send each study by itself; send several sequences of one study as t1c, t1n, t2f, t2w, or numbered "
            "NAME_0000, NAME_0001 and so on.",
        )
    cases[0].check()
    if cases[0].kind == "zip":
        check_zip(cases[0].files[0])
    return replace(cases[0], case=CASE)


def check_zip(path: Path) -> None:
    """Look through a zip, as it will be before it is unpacked.

    Raises:
        InputError: it is broken, encrypted, empty, or holds what no zip of images holds.
    """
    with open_zip(path) as archive:
        if not checked_entries(archive, path.name):
            raise InputError(f"{path.name} is an empty zip.", hint=f"Give {FORMATS}.")


def content_hash(received: Iterable[Received], sequences: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """One hash over the contents of all files, the parts they play, and the options; the files' order plays no part."""
    parts = sorted((file.field, _role(file), file.sha256) for file in received)
    facts = json.dumps([parts, sorted(sequences), dict(options)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _role(file: Received) -> str:
    """The number of a sequence, where the name has one."""
    match = _CHANNEL.fullmatch(stem(file.path.name))
    return match[2] if match else ""
