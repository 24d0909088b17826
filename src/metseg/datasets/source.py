"""A data set as others publish it: its cases, where their files lie, and what the numbers in its masks mean.

An adapter says these things and does nothing else. Reading, checking, bringing to one grid, hashing and writing are
written once, in ``metseg.datasets.source_files``, ``ready_case`` and ``metseg.pipeline.dataset_import``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metseg.core.options import Options
from metseg.synthesis.truth import LABELS

LESION: Final[Mapping[int, str]] = {1: "lesion"}
SUBREGIONS: Final[Mapping[int, str]] = LABELS
PRE_TREATMENT: Final[Mapping[int, str]] = {number: name for number, name in LABELS.items() if number != 4}
# What masks with sub-regions call theirs is what metseg calls them.
SAME: Final[Mapping[int, int]] = {number: number for number in LABELS}
NOT_RECORDED: Final = "not recorded here: read the terms where you get the set"


@dataclass(frozen=True)
class PngSlices:
    """What a folder of PNG slices does not say of itself.

    Args:
        spacing_mm: between columns, rows and slices.
        axes: where columns, rows and slices run to, three letters such as ``"LPS"``.
    """

    spacing_mm: tuple[float, float, float]
    axes: str


@dataclass(frozen=True)
class SourceFile:
    """One image of the source.

    Args:
        path: a file, a zip, or a folder of slices.
        member: name in the zip; empty: ``path`` is the image itself.
        slices: of a folder of PNG slices; None for all else.
    """

    path: Path
    member: str = ""
    slices: PngSlices | None = None

    def told(self, src: Path) -> str:
        """Where it lies, from the folder of the data set on; a file in a zip after ``!``."""
        inside = self.path.relative_to(src) if self.path.is_relative_to(src) else Path(self.path.name)
        return f"{inside.as_posix()}!{self.member}" if self.member else inside.as_posix()


@dataclass(frozen=True)
class SourceMask:
    """A mask, and what its values are in metseg's terms.

    Args:
        file: where it is.
        labels: label of each value but 0; label 0 is background.
        repairs: label of values that should not be there; they win over ``labels``.
        other: label of every value above 0 that neither names; None: such a value is refused.
    """

    file: SourceFile
    labels: Mapping[int, int]
    repairs: Mapping[int, int] = field(default_factory=dict)
    other: int | None = None


@dataclass(frozen=True)
class SourceCase:
    """One visit of one patient.

    Args:
        name: of the case in the data set to be written; safe as a file name.
        patient: whose it is: cases of one patient are never divided.
        time_point: which visit; empty where there is one only.
        images: by sequence.
        masks: laid over each other in order, where a later one's labels win; none: see ``unlabelled``.
        unlabelled: it belongs to a part of the set that has no masks; otherwise a case without one is a failure.
        problem: why it cannot be taken, as a sentence; empty: it can.
        notes: what the adapter decided about it, a sentence each.
        geometry_of_mask: images with as many and as large voxels as the mask lie where the mask lies, whatever their
            headers say.
    """

    name: str
    patient: str
    time_point: str = ""
    images: Mapping[str, SourceFile] = field(default_factory=dict)
    masks: tuple[SourceMask, ...] = ()
    unlabelled: bool = False
    problem: str = ""
    notes: tuple[str, ...] = ()
    geometry_of_mask: bool = False

    def files(self) -> list[SourceFile]:
        """All its files."""
        return [*self.images.values(), *(mask.file for mask in self.masks)]


@dataclass(frozen=True)
class FoundSet:
    """What an adapter found.

    Args:
        cases: all, those with a problem included.
        scheme: name of each label of the data set to be written; None: the adapter's.
        sequences: what a case should have; None: the adapter's.
        notes: on the set as a whole, a sentence each.
    """

    cases: tuple[SourceCase, ...]
    scheme: Mapping[int, str] | None = None
    sequences: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


class LayoutOptions(Options):
    """What is uncertain about a layout, or for the user to choose; most layouts add to it."""


@dataclass(frozen=True)
class Adapter:
    """A public layout.

    Args:
        name: as the user names it.
        title: of the data set.
        expects: what ``SRC`` is, in one line.
        licence: as far as it is known.
        access: where the set is got.
        find: the cases below a folder, with options of the type ``options``.
        sequences: taken unless the user chooses.
        optional: further sequences that may be chosen.
        scheme: name of each label.
        options: their type.
        uncertain: what nobody could check against the set itself, a sentence each.
        overlaps: sets that share patients with this one, and what is known of that.
        counts: how many patients or cases the whole set has, by ``"patients"`` or ``"cases"``.
    """

    name: str
    title: str
    expects: str
    licence: str
    access: str
    find: Callable[[Path, Any], FoundSet]
    sequences: tuple[str, ...] = ("t1c", "t1n", "t2f", "t2w")
    optional: tuple[str, ...] = ()
    scheme: Mapping[int, str] = field(default_factory=lambda: dict(LESION))
    options: type[LayoutOptions] = LayoutOptions
    uncertain: tuple[str, ...] = ()
    overlaps: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def case_name(*parts: str) -> str:
    """A case's name of its parts, joined by ``_``; empty parts left out, odd characters replaced.

    >>> case_name("ucsf-bmsr", "100101", "A"), case_name("", "Mets_005", "")
    ('ucsf-bmsr_100101_A', 'Mets-005')
    """
    clean = (re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-.") for part in parts)
    return "_".join(part for part in clean if part) or "case"


def kept_name(name: str) -> str:
    """A case's name as its owner chose it, but for odd characters.

    >>> kept_name("anna_1"), kept_name("../anna 1")
    ('anna_1', 'anna-1')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "case"
