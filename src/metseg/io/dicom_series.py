"""Group frames into candidate volumes: by series and orientation; pass over what is no scan."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float

from metseg.core.errors import InputError
from metseg.io.dicom_frames import Fault, Frame, frames_of
from metseg.io.dicom_headers import Header, name_of_class
from metseg.io.dicom_values import texts_of

SAME_POSITION_MM: Final = 0.01
SAME_DIRECTION: Final = 1e-3  # largest difference of a direction cosine within one volume
_MODALITIES: Final = {
    "1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.2.1": "CT", "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR", "1.2.840.10008.5.1.4.1.1.4.1": "MR", "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}  # fmt: skip
IMAGE_CLASSES: Final = frozenset(_MODALITIES)
# Values of ImageType that mark what no model was made for.
_KINDS: Final = {
    "localiser": {"LOCALIZER", "SCOUT", "TOPOGRAM"},
    "projection": {"MIP", "MINIP", "MIN IP", "MAX IP", "PROJECTION IMAGE", "VRT", "VOLREN", "VOLUME RENDERED"},
    "screenshot": {"SCREEN SAVE", "SCREENSHOT", "POSDISP", "CSA REPORT"},
    "mosaic": {"MOSAIC"},
    "parameter map": {"ADC", "FA", "TRACEW", "TENSOR", "COLFA", "CBV", "CBF", "MTT", "TTP", "RCBV", "RCBF", "TMAX"},
}
_LOCALISER: Final = re.compile(r"\b(locali[sz]\w*|scout|survey|topogram|scanogram)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Candidate:
    """Frames of one series that share an orientation, and all that is wrong with the series.

    Args:
        frames: in the order they were found; sizes and positions may still disagree.
        faults: frames of the same series that cannot be placed.
        siblings: numbers of frames of the series in each other orientation.
    """

    frames: tuple[Frame, ...]
    faults: tuple[Fault, ...]
    siblings: tuple[int, ...] = ()

    @property
    def header(self) -> Header:
        """Of the first file."""
        return self.frames[0].header if self.frames else self.faults[0].header

    @property
    def modality(self) -> str:
        """``"MR"`` or ``"CT"``."""
        return modality_of(self.header)

    @property
    def number(self) -> int | None:
        """SeriesNumber."""
        text = self.header.text("SeriesNumber")
        return int(text) if re.fullmatch(r"-?\d{1,10}", text) else None

    @property
    def name(self) -> str:
        """For messages: by number, as descriptions can hold anything."""
        return "the series without a number" if self.number is None else f"series {self.number}"

    @cached_property
    def positions_mm(self) -> Float[np.ndarray, " slices"]:
        """Distinct positions along the normal, ascending."""
        return distinct_positions(along_normal(self.frames))

    @property
    def spacing_mm(self) -> float:
        """Median distance between slices; infinite for a single one."""
        return float(np.median(np.diff(self.positions_mm))) if len(self.positions_mm) > 1 else float("inf")


def along_normal(frames: Sequence[Frame]) -> Float[np.ndarray, " frames"]:
    """Position of each frame along the normal of the first, in millimetres."""
    return np.array([frame.position @ frames[0].normal for frame in frames], dtype=np.float64)


def distinct_positions(positions: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " slices"]:
    """Ascending, those closer together than ``SAME_POSITION_MM`` counted once."""
    ordered = np.sort(positions)
    return ordered[np.concatenate([[True], np.diff(ordered) > SAME_POSITION_MM])] if len(ordered) else ordered


def modality_of(header: Header) -> str:
    """``"MR"``, ``"CT"``, or empty; by the kind of object, or by Modality where the kind is not told."""
    if header.sop_class:
        return _MODALITIES.get(header.sop_class, "")
    modality = header.text("Modality").upper()
    return modality if modality in {"MR", "CT"} else ""


def find_candidates(headers: Iterable[Header]) -> tuple[list[Candidate], Counter[str]]:
    """Candidate volumes among the files, and how many files of which kind were passed over.

    Raises:
        InputError: an image that does not tell its size, and so may belong to any series.
    """
    series: dict[str, list[Header]] = {}
    ignored: Counter[str] = Counter()
    for header in headers:
        kind = _kind_to_ignore(header)
        if kind:
            ignored[kind] += 1
        elif min(header.size) < 1:  # whichever series it was of
            raise InputError(
                f"{header.name} is an image without Rows or without Columns, or is cut short before them.",
                hint="Export the whole series again from the archive.",
            )
        else:
            series.setdefault(f"{header.text('SeriesInstanceUID')}|{modality_of(header)}", []).append(header)
    return [candidate for members in series.values() for candidate in _split_series(members)], ignored


def _kind_to_ignore(header: Header) -> str:
    """What kind of object this is, if it is none that can be segmented; else empty."""
    if not modality_of(header):
        return name_of_class(header.sop_class)
    image_type = set(texts_of([header.dataset], "ImageType"))
    for kind, words in _KINDS.items():
        if image_type & words:
            return kind
    if _LOCALISER.search(header.text("SeriesDescription").replace("_", " ")):
        return "localiser"
    return "colour image" if header.text("SamplesPerPixel") not in {"", "1"} else ""


def _split_series(headers: Sequence[Header]) -> list[Candidate]:
    """One candidate for each orientation in a series."""
    parts = [part for header in headers for part in frames_of(header)]
    faults = tuple(part for part in parts if isinstance(part, Fault))
    clusters: list[list[Frame]] = []
    for frame in (part for part in parts if isinstance(part, Frame)):
        for cluster in clusters:
            if _same_orientation(frame, cluster[0]):
                cluster.append(frame)
                break
        else:
            clusters.append([frame])
    if not clusters:
        return [Candidate((), faults)]
    sizes = [len(cluster) for cluster in clusters]
    return [
        Candidate(tuple(cluster), faults, tuple(sizes[:number] + sizes[number + 1 :]))
        for number, cluster in enumerate(clusters)
    ]


def _same_orientation(one: Frame, other: Frame) -> bool:
    differences = np.abs([one.row_axis - other.row_axis, one.column_axis - other.column_axis])
    return bool(differences.max() <= SAME_DIRECTION)
