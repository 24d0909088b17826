"""A data set in nnU-Net raw layout as it lies on the disk: what ``dataset.json`` says, and which files are there."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metseg.core.errors import InputError
from metseg.io.case_names import shown_name
from metseg.io.folder_walk import is_hidden

DESCRIPTION: Final = "dataset.json"
# (folder of images, folder of labels)
TRAINING: Final = ("imagesTr", "labelsTr")
TEST: Final = ("imagesTs", "labelsTs")


@dataclass(frozen=True)
class RawPart:
    """The training cases, or the test cases.

    Args:
        images: by case, then by channel.
        labels: by case.
        others: files that are neither.
    """

    images: Mapping[str, Mapping[int, Path]]
    labels: Mapping[str, Path]
    others: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RawSet:
    """A data set in nnU-Net raw layout.

    Args:
        folder: holds ``dataset.json``.
        channels: their names in order.
        labels: name of each whole number that a mask may hold, 0 left out.
        declared: ``numTraining``; None where it is missing.
        ending: of all images.
        training: cases with labels.
        test: cases without, or held out.
    """

    folder: Path
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    declared: int | None
    ending: str
    training: RawPart
    test: RawPart


def read_raw_set(folder: Path) -> RawSet:
    """Look at a data set; no image is opened.

    Raises:
        InputError: there is no usable ``dataset.json``.
    """
    plain = _description(folder)
    try:
        names = {int(number): str(name) for number, name in plain["channel_names"].items()}
        labels = _labels(plain["labels"])
        ending = str(plain["file_ending"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{DESCRIPTION} in {shown_name(folder)} lacks channel_names, labels or file_ending, or says them oddly.",
            hint="Write it as nnU-Net v2 wants it; an import by metseg does.",
        ) from error
    if sorted(names) != list(range(len(names))) or not names:
        raise InputError(f"{DESCRIPTION} in {shown_name(folder)} numbers its channels {sorted(names)}, not from 0 on.")
    declared = plain.get("numTraining")
    return RawSet(
        folder=folder,
        channels=tuple(names[number] for number in sorted(names)),
        labels=labels,
        declared=declared if isinstance(declared, int) else None,
        ending=ending,
        training=read_part(folder, TRAINING, ending),
        test=read_part(folder, TEST, ending),
    )


def _description(folder: Path) -> dict[str, Any]:
    try:
        plain = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"There is no readable {DESCRIPTION} in {shown_name(folder)}: it is no data set in nnU-Net raw layout.",
            hint="Give the folder DatasetNNN_Name itself.",
        ) from error
    if not isinstance(plain, dict):
        raise InputError(f"{DESCRIPTION} in {shown_name(folder)} is no JSON object.", hint="Write it again.")
    return plain


def _labels(declared: Mapping[str, Any]) -> dict[int, str]:
    """Name of each number; a number that only regions name gets a plain one."""
    named = {int(value): name for name, value in declared.items() if not isinstance(value, list)}
    for value in (number for region in declared.values() if isinstance(region, list) for number in region):
        named.setdefault(int(value), f"label {int(value)}")
    return {number: name for number, name in sorted(named.items()) if number != 0 and name != "ignore"}


def read_part(folder: Path, part: tuple[str, str], ending: str) -> RawPart:
    """The files of one part: ``TRAINING`` or ``TEST``."""
    images, labels = part
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    by_case: dict[str, dict[int, Path]] = {}
    others = []
    for path in _files(folder / images):
        if match := pattern.fullmatch(path.name):
            by_case.setdefault(match[1], {})[int(match[2])] = path
        else:
            others.append(path)
    masks = {}
    for path in _files(folder / labels):
        if path.name.endswith(ending):
            masks[path.name.removesuffix(ending)] = path
        else:
            others.append(path)
    return RawPart(by_case, masks, tuple(others))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))
