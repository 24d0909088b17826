"""BIDS: ``sub-X[/ses-Y]/anat/…_{ce-…_T1w,T1w,FLAIR,T2w}``, masks in ``derivatives``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field

from metseg.core.errors import InputError
from metseg.datasets.adapters.folders import all_folders, images_in, told
from metseg.datasets.source import (
    LESION,
    SAME,
    SUBREGIONS,
    Adapter,
    FoundSet,
    LayoutOptions,
    SourceCase,
    SourceFile,
    SourceMask,
    case_name,
)
from metseg.io.case_names import stem

_SUFFIXES: Final = {"T1w": "t1n", "FLAIR": "t2f", "T2w": "t2w", "ct": "ct", "CT": "ct"}


class BidsOptions(LayoutOptions):
    """Where the masks are."""

    derivative: str = Field(default="", description="folder below derivatives/ that holds the masks; empty: the only")
    mask: str = Field(default="dseg", description="suffix of the masks' files, such as dseg or mask")
    desc: str = Field(default="", description="the desc- of the masks; empty: masks that have none")


def _find(src: Path, options: BidsOptions) -> FoundSet:
    root = _derivative(src, options)
    masks = _masks(root, options)
    cases: dict[tuple[str, str], list[Path]] = {}
    for folder in all_folders(src):
        if folder.name in {"anat", "ct"} and "derivatives" not in folder.relative_to(src).parts:
            for path in images_in(folder):
                entities = _entities(path)
                if "sub" in entities:
                    cases.setdefault((entities["sub"], entities.get("ses", "")), []).append(path)
    scheme, labels = _scheme(root, src)
    found = [_case(key, paths, masks.get(key, []), labels) for key, paths in sorted(cases.items())]
    return FoundSet(tuple(found), scheme, _sequences(found))


def _case(key: tuple[str, str], paths: list[Path], masks: list[Path], labels: Mapping[int, int]) -> SourceCase:
    by_sequence: dict[str, list[Path]] = {}
    for path in paths:
        if sequence := _sequence(path):
            by_sequence.setdefault(sequence, []).append(path)
    twice = [path.name for same in (*by_sequence.values(), masks) if len(same) > 1 for path in same]
    return SourceCase(
        name=case_name(*key),
        patient=key[0],
        time_point=key[1],
        images={sequence: SourceFile(same[0]) for sequence, same in by_sequence.items()},
        masks=(SourceMask(SourceFile(masks[0]), labels),) if masks else (),
        problem=f"Several files are one sequence or mask: {told(twice)}." if twice else "",
    )


def _entities(path: Path) -> dict[str, str]:
    pairs = (part.partition("-") for part in stem(path.name).split("_")[:-1])
    return {key: value for key, dash, value in pairs if dash}


def _sequence(path: Path) -> str | None:
    sequence = _SUFFIXES.get(stem(path.name).rpartition("_")[2])
    return "t1c" if sequence == "t1n" and "ce" in _entities(path) else sequence


def _sequences(cases: list[SourceCase]) -> tuple[str, ...]:
    """All that some case has, contrast first."""
    there = {sequence for case in cases for sequence in case.images}
    return tuple(sequence for sequence in ("t1c", "t1n", "t2f", "t2w", "ct") if sequence in there)


def _derivative(src: Path, options: BidsOptions) -> Path | None:
    if options.derivative:
        root = src / "derivatives" / options.derivative
        if not root.is_dir():
            raise InputError(f"There is no folder derivatives/{options.derivative}.", hint="Check --set derivative.")
        return root
    folders = sorted(p for p in (src / "derivatives").glob("*") if p.is_dir()) if (src / "derivatives").is_dir() else []
    if len(folders) > 1:
        raise InputError(
            f"derivatives/ holds {told([p.name for p in folders])}.", hint="Say which with --set derivative=NAME."
        )
    return folders[0] if folders else None


def _masks(root: Path | None, options: BidsOptions) -> dict[tuple[str, str], list[Path]]:
    masks: dict[tuple[str, str], list[Path]] = {}
    for path in (p for folder in all_folders(root) for p in images_in(folder)) if root else ():
        entities = _entities(path)
        if stem(path.name).endswith(f"_{options.mask}") and entities.get("desc", "") == options.desc:
            masks.setdefault((entities.get("sub", ""), entities.get("ses", "")), []).append(path)
    return masks


def _scheme(root: Path | None, src: Path) -> tuple[Mapping[int, str], Mapping[int, int]]:
    """Labels by ``dseg.tsv``, where there is one: they are taken as they are numbered; else 1 is a lesion."""
    path = next((p for p in ((root or src) / "dseg.tsv", src / "dseg.tsv") if p.is_file()), None)
    if path is None:
        return LESION, {1: 1}
    try:
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
        named = {int(line[0]): re.sub(r"\s+", " ", line[1].strip()) for line in lines}
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path.name} cannot be read.", hint="It needs the columns index and name.") from error
    named.pop(0, None)
    if named == dict(SUBREGIONS):
        return SUBREGIONS, SAME
    return named, {number: number for number in named}


BIDS: Final = Adapter(
    name="bids",
    title="BIDS",
    expects="sub-X[/ses-Y]/anat/ (or ct/), masks as derivatives/NAME/sub-X[/ses-Y]/anat/…_dseg.nii.gz",
    licence="yours",
    access="your own data",
    find=_find,
    options=BidsOptions,
    uncertain=(
        "A T1w with the entity ce- is taken for T1 after contrast, whatever its value.",
        "What masks mean is read from dseg.tsv (index, name); without it 1 is a lesion.",
    ),
)
