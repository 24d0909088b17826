"""Read one volume out of DICOM files, or refuse with the reason.

The order of slices comes from their positions alone; geometry and values are either exactly what the headers say, or
are repaired in a way that a note tells, or the series is refused.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from metseg.core.errors import InputError
from metseg.core.volume import Volume
from metseg.io.dicom_choice import choose_modality, choose_series, description_of
from metseg.io.dicom_frames import Frame, contrast_given
from metseg.io.dicom_geometry import Layout, lay_out
from metseg.io.dicom_headers import scan_headers
from metseg.io.dicom_pixels import PixelReader, read_array
from metseg.io.dicom_series import Candidate, find_candidates
from metseg.io.dicom_slices import one_frame_a_position
from metseg.io.dicom_values import number_of, quiet, texts_of, value_of
from metseg.io.image_checks import checked_volume
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.sequence_names import sequences_in

_CODES: Final = (
    "ImageType", "MRAcquisitionType", "ScanningSequence", "SequenceVariant", "EchoPulseSequence", "RescaleType",
    "PhotometricInterpretation", "BurnedInAnnotation",
)  # fmt: skip
_NUMBERS: Final = (
    "SeriesNumber", "SliceThickness", "SpacingBetweenSlices", "GantryDetectorTilt", "EchoTime", "RepetitionTime",
    "InversionTime", "FlipAngle", "MagneticFieldStrength", "KVP",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DicomImage:
    """A volume out of DICOM files.

    Args:
        volume: float32, axes are columns, rows, slices; RAS+. CT in Hounsfield units.
        headers: technical facts by DICOM keyword; ``ContrastBolusAgent`` is ``"present"`` or ``"absent"``. Only coded
            terms and numbers: nothing that can hold free text, identity or dates.
        notes: what was chosen, left out or repaired, a sentence each.
        sha256: one hash over the bytes of the files used, in the order of their first slice along the normal: file
            names do not matter.
        paths: those files, in the same order.
        described: the sequences that the description of an MR series leaves possible; empty: it says nothing.
        slices: what each slice is called: its InstanceNumber, or its frame in a multi-frame file; see ``Source``.
    """

    volume: Volume
    headers: Mapping[str, str]
    notes: tuple[str, ...]
    sha256: str
    paths: tuple[Path, ...]
    described: frozenset[str] = frozenset()
    slices: tuple[str, ...] = ()


def read_dicom(
    paths: Sequence[Path], *, modality: Literal["MR", "CT"] | None = None, limits: Limits = DEFAULT_LIMITS
) -> DicomImage:
    """Read the series of a study that is best suited for finding brain metastases.

    Args:
        paths: files, or folders that stand for all files in them; other files among them are passed over.
        modality: what the model is made for; None takes either.
        limits: bounds on size and spacing.

    Raises:
        InputError: no image, several patients, or a series that has no sound geometry or pixels; see
            ``docs/reference/dicom-intake.md`` for each finding.
    """
    with quiet():
        series = find_series(paths, modality=modality, limits=limits)
        frames, chosen, layout = series.frames, series.chosen, series.layout
        reader = PixelReader(chosen.modality)
        array = read_array(frames, layout, reader)
        volume, value_notes = checked_volume(series.name, array, layout.grid, limits)
        used = tuple(dict.fromkeys(frame.header.path for frame in frames))
        notes = (*series.notes, *reader.notes(), *_scale_notes(frames), *value_notes)
        described = sequences_in(description_of(chosen)) if chosen.modality == "MR" else frozenset()
        slices = tuple(map(_slice_name, frames))
        return DicomImage(volume, _technical(frames[0], chosen.modality), notes, _sha256(used), used, described, slices)


@dataclass(frozen=True, eq=False)
class Series:
    """The frames of the volume that is used, and where they lie; pixels unread.

    Args:
        chosen: the series they are of.
        frames: one a position, sorted along the normal.
        layout: the grid.
        notes: what was chosen, left out or repaired, a sentence each.
    """

    chosen: Candidate
    frames: Sequence[Frame]
    layout: Layout
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """For the start of a message."""
        return self.chosen.name[0].upper() + self.chosen.name[1:]


def find_series(
    paths: Sequence[Path], *, modality: Literal["MR", "CT"] | None = None, limits: Limits = DEFAULT_LIMITS
) -> Series:
    """The series that ``read_dicom`` reads, and how it lies; pixels are looked at only where two slices share a place.

    Raises:
        InputError: as ``read_dicom``, but for what only pixels tell.
    """
    candidates, ignored = _candidates(paths)
    chosen, choice_notes = choose_series(candidates, modality)
    reader = PixelReader(chosen.modality)
    frames, slice_notes = one_frame_a_position(chosen, reader.read)
    layout = lay_out(frames, chosen.name[0].upper() + chosen.name[1:], limits)
    passed_over = (f"Passed over: {_listed(ignored)}.",) if ignored else ()
    return Series(chosen, frames, layout, (*choice_notes, *passed_over, *slice_notes, *layout.notes))


def modality_of_files(paths: Sequence[Path]) -> Literal["MR", "CT"]:
    """The modality to segment out of the files of a study: ``choose_modality``.

    Raises:
        InputError: no image, or several patients.
    """
    with quiet():
        return choose_modality(_candidates(paths)[0])


def _candidates(paths: Sequence[Path]) -> tuple[list[Candidate], Counter[str]]:
    """The image series, at least one, and how many files of which kind were passed over."""
    scan = scan_headers(paths)
    candidates, not_images = find_candidates(scan.headers)
    ignored = scan.ignored + not_images
    if not candidates:
        raise InputError(
            f"There is no MR or CT image among the {sum(ignored.values())} files{_listed(ignored, ': ')}.",
            hint="Give the folder that holds the DICOM files of one study.",
        )
    return candidates, ignored


def _listed(ignored: Counter[str], start: str = "") -> str:
    """``"3 files that are not DICOM, 1 localiser"``."""
    parts = [f"{count} × {kind}" for kind, count in sorted(ignored.items())]
    return start + ", ".join(parts) if parts else ""


def _technical(frame: Frame, modality: str) -> dict[str, str]:
    """Coded terms and numbers that are safe to write down; whatever does not look like one is left out."""
    facts = {"Modality": modality, "ContrastBolusAgent": "present" if contrast_given(frame.layers) else "absent"}
    for keyword in _CODES:
        code = "\\".join(texts_of(frame.layers, keyword))
        if code and re.fullmatch(r"[A-Z0-9 \\]{1,128}", code):
            facts[keyword] = code
    for keyword in _NUMBERS:
        number = number_of(frame.layers, keyword)
        if number is not None:
            facts[keyword] = f"{number:g}"
    return facts


def _slice_name(frame: Frame) -> str:
    """By which a viewer finds the slice; empty where the file has no number."""
    if frame.index is not None:
        return f"frame {frame.index + 1}"
    number = number_of(frame.layers, "InstanceNumber")
    return "" if number is None else f"{number:.0f}"


def _scale_notes(frames: Sequence[Frame]) -> tuple[str, ...]:
    layers = frames[0].layers
    if frames[0].header.text("Modality") == "CT" and value_of(layers, "RescaleIntercept") is None:
        return ("The CT has no RescaleIntercept: its values were taken as Hounsfield units as they are.",)
    if len({(frame.slope, frame.intercept) for frame in frames}) > 1:
        return ("Slices are stored with different scales; each was rescaled by its own.",)
    return ()


def _sha256(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
