"""Decode frames and turn stored values into what they measure; put them into one array, slice by slice."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from metseg.core.errors import InputError
from metseg.io.dicom_frames import Frame
from metseg.io.dicom_geometry import Layout
from metseg.io.dicom_slices import RESEND
from metseg.io.dicom_values import number_of, numbers_of, text_of, value_of

AIR_HU: Final = -1024.0
# One decoder for each syntax, so that results do not depend on what else is installed. All are permissively licensed.
_DECODERS: Final = {
    **dict.fromkeys((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian), ""),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(JPEGTransferSyntaxes, "gdcm"),
    RLELossless: "pydicom",
}


class PixelReader:
    """Reads frames as float32, one file in memory at a time, and counts what it had to repair."""

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self.padded = 0
        self._padding_values: set[float] = set()
        self._fill = AIR_HU
        self.inverted = False
        self._path: Path | None = None
        self._dataset = Dataset()

    def read(self, frame: Frame) -> NDArray[np.float32]:
        """Values (rows, columns) after rescaling: Hounsfield units for CT; padding of MR is minus infinity.

        Raises:
            InputError: pixels that are missing, cut short, longer than declared, or cannot be decoded.
        """
        dataset = self._open(frame)
        stored = self._decode(frame, dataset)
        padding = self._padding(dataset, stored)
        values = stored.astype(np.float64)
        if text_of([dataset], "PhotometricInterpretation") == "MONOCHROME1" and self.modality == "MR":
            values = _mirror(dataset, values)
            self.inverted = True
        values = values * frame.slope + frame.intercept
        if self.modality == "CT":
            padding |= values < AIR_HU
        else:
            self._padding_values.update(np.unique(values[padding]).tolist())
        # The darkest real value of an MR is known only when all slices are read: see fill_padding.
        values[padding] = AIR_HU if self.modality == "CT" else -np.inf
        self.padded += int(np.count_nonzero(padding))
        return values.astype(np.float32)

    def fill_padding(self, array: Float[np.ndarray, "..."]) -> None:
        """Set the padding of an MR volume, in place, to its darkest real value, or to 0 where none is below 0."""
        if self.modality == "CT" or not self.padded:
            return
        padding = np.isneginf(array)
        self._fill = float(np.min(array, where=~padding, initial=0.0))
        array[padding] = self._fill

    def _open(self, frame: Frame) -> Dataset:
        """The data set of the frame's file, kept until a frame of another file is read."""
        path = frame.header.path
        if path != self._path:
            self._path = None
            try:
                dataset = dcmread(path, force=True)
                _check_pixels(frame, dataset)
            except InputError:
                raise
            except Exception:  # noqa: BLE001 - pydicom raises whatever broken bytes provoke
                raise InputError(f"{frame.header.name} is cut short or damaged.", hint=RESEND) from None
            self._path, self._dataset = path, dataset
        return self._dataset

    def _decode(self, frame: Frame, dataset: Dataset) -> NDArray[np.integer[Any]]:
        syntax = dataset.file_meta.TransferSyntaxUID
        try:
            with warnings.catch_warnings():
                if syntax == RLELossless:  # pydicom trims frames that decode to more than declared, with a warning
                    # Filters hold for all threads: no neighbour's warning may become an error.
                    warnings.filterwarnings("error", module=r"pydicom\.")
                stored = pixel_array(dataset, index=frame.index, raw=True, decoding_plugin=_DECODERS[syntax])
        except Exception as error:
            raise InputError(f"The pixels of {frame.name} cannot be decoded ({syntax.name}).", hint=RESEND) from error
        if stored.shape != frame.size:
            rows, columns = frame.size
            raise InputError(
                f"The pixels of {frame.name} are of shape {stored.shape}, but its header declares {rows} rows and "
                f"{columns} columns.",
                hint=RESEND,
            )
        return stored

    def _padding(self, dataset: Dataset, stored: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Which pixels lie outside the reconstruction (PixelPaddingValue, PS3.3 C.7.5.1.1.2)."""
        ends = [number_of([dataset], name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
        if ends[0] is None:
            return np.zeros(stored.shape, dtype=bool)
        known = [end for end in ends if end is not None]
        bits = 8 * stored.dtype.itemsize
        if stored.dtype.kind == "i":  # often written as if unsigned
            known = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in known]
        return np.asarray((stored >= min(known)) & (stored <= max(known)))

    def notes(self) -> tuple[str, ...]:
        """What was repaired, a sentence each."""
        found = []
        if self.inverted:
            found.append("Pixels are stored with white as the lowest value (MONOCHROME1); they were inverted.")
        if self.padded and self.modality == "CT":
            found.append(f"{self.padded:,} voxels of padding, or below -1024 HU, were set to -1024 HU.")
        elif self._padding_values - {self._fill}:  # padding that was as dark already is nothing to tell
            found.append(f"{self.padded:,} voxels of padding (PixelPaddingValue) were set to {self._fill:g}.")
        return tuple(found)


def _check_pixels(frame: Frame, dataset: Dataset) -> None:
    """Refuse pixels that are missing, of an unknown kind, or not as long as declared."""
    name = frame.header.name
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in _DECODERS:
        raise InputError(
            f"{name} has the transfer syntax {syntax.name}, which metseg cannot decode.",
            hint="Export the series uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
        )
    if "PixelData" not in dataset:
        raise InputError(f"{name} holds no pixels, or is cut short before them.", hint=RESEND)
    if value_of([dataset], "ModalityLUTSequence") is not None:
        raise InputError(
            f"{name} gives its values by a lookup table (ModalityLUTSequence), which metseg does not apply.",
            hint="Export the series with RescaleSlope and RescaleIntercept.",
        )
    _check_bits(name, dataset)
    if not syntax.is_encapsulated:
        _check_length(name, dataset)


def _check_bits(name: str, dataset: Dataset) -> None:
    if text_of([dataset], "PhotometricInterpretation") not in {"MONOCHROME1", "MONOCHROME2"}:
        raise InputError(f"{name} is no grey-scale image.", hint="Give the original series, not coloured copies.")
    allocated, stored, high = (number_of([dataset], key) for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in {8, 16, 32} or not stored or not 1 < stored <= allocated or high not in {None, stored - 1}:
        raise InputError(
            f"{name} lays out its bits in a way that the standard forbids (BitsAllocated, BitsStored, HighBit).",
            hint=RESEND,
        )


def _check_length(name: str, dataset: Dataset) -> None:
    """Native pixels have exactly the declared length; one byte, or zeros, may pad them."""
    frames = int(number_of([dataset], "NumberOfFrames") or 1)
    declared = int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.BitsAllocated) // 8
    found = len(dataset.PixelData)
    if found < declared:
        raise InputError(
            f"{name} is cut short: its header declares {declared:,} bytes of pixels, {found:,} are there.", hint=RESEND
        )
    if found > declared + 1 and any(dataset.PixelData[declared:]):
        raise InputError(
            f"{name} holds {found:,} bytes of pixels, but its header declares {declared:,} (Rows, Columns).",
            hint=RESEND,
        )


def _mirror(dataset: Dataset, values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Stored values with dark and bright exchanged; the range is that of the bits, so that slices stay alike."""
    bits = int(number_of([dataset], "BitsStored") or 16)
    signed = (numbers_of([dataset], "PixelRepresentation", 1) or (0.0,))[0] == 1
    return -1 - values if signed else 2**bits - 1 - values


def read_array(frames: Sequence[Frame], layout: Layout, reader: PixelReader) -> Float[np.ndarray, "i j k"]:
    """Voxels (columns, rows, slices), float32; what lies beyond a shifted slice is air (CT) or zero.

    Raises:
        InputError: as ``PixelReader.read``.
    """
    columns, rows, slices = layout.grid.shape
    outside = AIR_HU if reader.modality == "CT" else 0.0
    values = reader.read(frames[0])  # before memory is asked for: headers may declare what is not there
    array = np.full((slices, rows, columns), outside, dtype=np.float32)
    for k, (target, shift) in enumerate(zip(array, layout.shifts, strict=True)):
        _place(target, reader.read(frames[k]) if k else values, shift, outside)
    reader.fill_padding(array)
    return array.transpose(2, 1, 0)


def _place(
    target: NDArray[np.float32], values: NDArray[np.float32], shift: NDArray[np.float64], outside: float
) -> None:
    """Write a slice into ``target``, shifted by fractions of a pixel with linear interpolation."""
    if not shift.any():
        target[: values.shape[0], : values.shape[1]] = values
        return
    whole = np.floor(shift).astype(int)
    fraction = shift - whole
    contrast = values - np.float32(outside)
    for column in (0, 1):
        for row in (0, 1):
            weight = np.prod([part if step else 1 - part for part, step in zip(fraction, (column, row), strict=True)])
            if weight > 0:
                top, left = whole[1] + row, whole[0] + column
                target[top : top + values.shape[0], left : left + values.shape[1]] += np.float32(weight) * contrast
