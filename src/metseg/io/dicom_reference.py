"""The image series that DICOM results refer to: its slices by UID, where they lie, whose they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from metseg.core.errors import InputError
from metseg.core.grid import Grid
from metseg.io.dicom import find_series
from metseg.io.dicom_frames import Frame
from metseg.io.dicom_patient import read_filing
from metseg.io.dicom_values import quiet
from metseg.io.limits import DEFAULT_LIMITS, Limits

LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS+, and back
CLASSES: Final = {"MR": "1.2.840.10008.5.1.4.1.1.4", "CT": "1.2.840.10008.5.1.4.1.1.2"}


@dataclass(frozen=True)
class ReferenceSlice:
    """One image that results refer to.

    Args:
        sop_class: UID of its kind.
        sop_instance: its own.
        frame: its number, from 1, in a multi-frame object; None where it is an object of its own.
    """

    sop_class: str
    sop_instance: str
    frame: int | None = None

    def item(self) -> Dataset:
        """As an item of a sequence of references."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class
        item.ReferencedSOPInstanceUID = self.sop_instance
        if self.frame is not None:
            item.ReferencedFrameNumber = self.frame
        return item


@dataclass(frozen=True, eq=False)
class Reference:
    """An image series as results see it.

    Args:
        grid: axes are columns, rows, slices; RAS+. Slice k lies in the plane of ``slices[k]``; its pixels are those of
            the image, but where ``resampled``.
        slices: one for each k, ascending along the normal of rows and columns.
        modality: of the series.
        series_uid: of the series.
        filing: patient, study and frame of reference, clean; see ``metseg.io.dicom_patient``.
        resampled: whether slices were shifted in their planes (gantry tilt).
        axes: for each axis of ``grid``, the axis of the study's arrays.
        flipped: whether it runs the other way.
    """

    grid: Grid
    slices: tuple[ReferenceSlice, ...]
    modality: Literal["MR", "CT"]
    series_uid: str
    filing: Dataset = field(repr=False)
    resampled: bool = False
    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def carry(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array on the study's grid, with its axes as columns, rows, slices; no voxel changes."""
        turned = array.transpose(self.axes)
        return np.asarray(turned[tuple(slice(None, None, -1 if turn else 1) for turn in self.flipped)])

    @cached_property
    def to_lps(self) -> Float[np.ndarray, "4 4"]:
        """From (column, row, slice) to DICOM's millimetres."""
        return np.asarray(LPS @ self.grid.affine)

    @property
    def unit_axes(self) -> Float[np.ndarray, "2 3"]:
        """Directions of rows (towards higher columns) and of columns, at a right angle."""
        row, column = (self.to_lps[:3, axis] for axis in (0, 1))
        row = row / np.linalg.norm(row)
        column = column - (column @ row) * row
        return np.stack([row, column / np.linalg.norm(column)])

    def position(self, k: int) -> Float[np.ndarray, "3"]:
        """The middle of the first pixel of slice ``k``, in DICOM's millimetres."""
        return np.asarray(self.to_lps[:3] @ (0, 0, k, 1))

    def by_instance(self) -> dict[str, list[int]]:
        """The slices of each object, by its UID, in order."""
        found: dict[str, list[int]] = {}
        for k, one in enumerate(self.slices):
            found.setdefault(one.sop_instance, []).append(k)
        return found


def decimal(value: float) -> float:
    """A number that takes at most 16 characters as a decimal string, to a billionth of a millimetre or the like."""
    return round(float(value), 9 if abs(value) < 1000 else 6) + 0.0


def read_reference(paths: Sequence[Path], modality: Literal["MR", "CT"], limits: Limits = DEFAULT_LIMITS) -> Reference:
    """The series that ``read_dicom`` reads out of ``paths``.

    Raises:
        InputError: as ``read_dicom``; a series without UIDs, or whose slices share one.
    """
    with quiet():
        series = find_series(paths, modality=modality, limits=limits)
        slices = tuple(_slice(frame, modality) for frame in series.frames)
        header = series.frames[0].header
        series_uid = header.text("SeriesInstanceUID")
        uids = [series_uid, *(uid for one in slices for uid in (one.sop_class, one.sop_instance))]
        if len(set(slices)) < len(slices) or not all(UID(uid).is_valid for uid in uids if uid) or "" in uids:
            raise InputError(
                f"{series.name} has slices without a UID of their own, which DICOM results must refer to.",
                hint="Export it again from the archive, or leave the DICOM formats out.",
            )
        filing = read_filing(header.path)
    chosen: Literal["MR", "CT"] = "CT" if series.chosen.modality == "CT" else "MR"
    shifted = bool(series.layout.shifts.any())
    return Reference(series.layout.grid, slices, chosen, series_uid, filing, shifted)


def _slice(frame: Frame, modality: str) -> ReferenceSlice:
    header = frame.header
    sop_class = header.sop_class or CLASSES[modality]
    return ReferenceSlice(sop_class, header.text("SOPInstanceUID"), None if frame.index is None else frame.index + 1)
