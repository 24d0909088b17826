"""Frames: one image plane each, from a single-frame file or from a multi-frame one alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from metseg.io.dicom_enhanced import layers_of_frames
from metseg.io.dicom_headers import Header
from metseg.io.dicom_values import FaultyValueError, number_of, numbers_of, text_of

# What can tell apart several volumes that one series holds at the same positions, most telling first: what was
# measured, then when.
TIME_KEYS: Final = (
    "TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime", "AcquisitionNumber",
    "FrameAcquisitionNumber", "AcquisitionTime",
)  # fmt: skip
VOLUME_KEYS: Final = (
    "ImageType", "FrameType", "ComplexImageComponent", "StackID", "EchoTime", "EffectiveEchoTime", "EchoNumbers",
    "InversionTime", "DiffusionBValue", *TIME_KEYS,
)  # fmt: skip

Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One image plane and where it lies, in DICOM's LPS millimetres.

    Args:
        header: the file it is in.
        index: its number in a multi-frame file, from 0; None for a single-frame file.
        layers: data sets in which its attributes are looked up, innermost first.
        size: rows and columns.
        position: ImagePositionPatient, the centre of the first pixel.
        row_axis: unit vector along a row, towards higher column numbers.
        column_axis: unit vector down a column, towards higher row numbers; at a right angle to ``row_axis``.
        pixel_mm: PixelSpacing: distance between rows, distance between columns.
        slope: of the rescaling to output values.
        intercept: of the same.
    """

    header: Header
    index: int | None
    layers: Sequence[Dataset] = field(repr=False)
    size: tuple[int, int]
    position: Vector
    row_axis: Vector
    column_axis: Vector
    pixel_mm: tuple[float, float]
    slope: float
    intercept: float

    @property
    def name(self) -> str:
        """File name, and frame number from 1 within a multi-frame file, for messages."""
        return self.header.name if self.index is None else f"frame {self.index + 1} of {self.header.name}"

    @property
    def normal(self) -> Vector:
        """Unit vector across the plane."""
        return np.cross(self.row_axis, self.column_axis)

    def volume_key(self, keyword: str) -> str:
        """Value of one of ``VOLUME_KEYS``, for comparing only."""
        return text_of(self.layers, keyword)


@dataclass(frozen=True)
class Fault:
    """A file, or a frame of one, that cannot be placed or scaled, and why."""

    header: Header
    finding: str


def frames_of(header: Header) -> list[Frame | Fault]:
    """All frames of a file; a fault in place of each that cannot be used."""
    try:
        layers = layers_of_frames(header.dataset)
    except FaultyValueError as error:
        return [Fault(header, str(error))]
    if layers is None:
        return [_frame_or_fault(header, None, [header.dataset])]
    return [_frame_or_fault(header, index, frame_layers) for index, frame_layers in enumerate(layers)]


def _frame_or_fault(header: Header, index: int | None, layers: Sequence[Dataset]) -> Frame | Fault:
    try:
        return _frame(header, index, layers)
    except FaultyValueError as error:
        where = "" if index is None else f"in frame {index + 1} "
        return Fault(header, f"{where}{error}")


def _frame(header: Header, index: int | None, layers: Sequence[Dataset]) -> Frame:
    position = np.array(_required(layers, "ImagePositionPatient", 3))
    row_axis, column_axis = _axes(_required(layers, "ImageOrientationPatient", 6))
    pixel_mm = _required(layers, "PixelSpacing", 2)
    if min(pixel_mm) <= 0:
        raise FaultyValueError("its PixelSpacing is not above zero")
    slope = numbers_of(layers, "RescaleSlope", 1) or (1.0,)
    intercept = numbers_of(layers, "RescaleIntercept", 1) or (0.0,)
    if slope[0] == 0:
        raise FaultyValueError("its RescaleSlope is zero")
    return Frame(
        header, index, layers, header.size, position, row_axis, column_axis, (pixel_mm[0], pixel_mm[1]),
        slope[0], intercept[0],
    )  # fmt: skip


def _required(layers: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...]:
    numbers = numbers_of(layers, keyword, count)
    if numbers is None:
        raise FaultyValueError(f"it has no {keyword}")
    return numbers


def _axes(cosines: tuple[float, ...]) -> tuple[Vector, Vector]:
    """Unit vectors along rows and columns; rounding in the header is taken out, more than that is a fault."""
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 1e-2 or abs(row @ column) > 1e-3:
        raise FaultyValueError("its ImageOrientationPatient is not two unit vectors at a right angle")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def contrast_given(layers: Sequence[Dataset]) -> bool:
    """Does the header record a contrast agent? Words that say "none" count as none."""
    agent = text_of(layers, "ContrastBolusAgent").casefold().strip(" .-")
    if agent and agent not in {"no", "none", "nein", "ohne", "keine", "n", "0", "not given", "no contrast", "without"}:
        return True
    try:
        return any(layer.get("ContrastBolusAgentSequence") for layer in layers)
    except Exception:  # noqa: BLE001 - a sequence that cannot be parsed tells nothing
        return False


def thickness_mm(frame: Frame) -> float | None:
    """SliceThickness, None where it is missing or makes no sense."""
    value = number_of(frame.layers, "SliceThickness")
    return value if value and value > 0 else None
