"""What the series of a study say of themselves, for rules that choose among them. Free text goes no further."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metseg.io.dicom_frames import contrast_given
from metseg.io.dicom_headers import Header, scan_headers
from metseg.io.dicom_series import modality_of
from metseg.io.dicom_values import number_of, quiet


@dataclass
class SeriesFacts:
    """A series.

    Args:
        name: for messages: by its number.
        modality: ``"MR"`` or ``"CT"``; empty for other kinds.
        description: SeriesDescription and ProtocolName of its first image; may name people.
        sequence: SequenceName, PulseSequenceName and ScanningSequence.
        contrast: whether a contrast agent is recorded.
        slices: images, and frames of multi-frame images.
        files: of the series, in the order they were given.
    """

    name: str
    modality: str
    description: str = field(repr=False)
    sequence: str = field(repr=False)
    contrast: bool
    slices: int = 0
    files: list[Path] = field(default_factory=list)


def read_series(paths: Sequence[Path]) -> list[SeriesFacts]:
    """The series among the DICOM files of a study, in the order of their first files.

    Raises:
        InputError: a file that cannot be parsed; files of more than one patient.
    """
    found: dict[str, SeriesFacts] = {}
    with quiet():
        for header in scan_headers(paths).headers:
            series = header.text("SeriesInstanceUID")
            if series not in found:
                found[series] = _facts(header)
            found[series].files.append(header.path)
            found[series].slices += max(1, int(number_of([header.dataset], "NumberOfFrames") or 1))
    return list(found.values())


def _facts(header: Header) -> SeriesFacts:
    number = header.text("SeriesNumber")
    return SeriesFacts(
        name=f"series {number}" if number.lstrip("-").isdecimal() else "the series without a number",
        modality=modality_of(header),
        description=_joined(header, "SeriesDescription", "ProtocolName"),
        sequence=_joined(header, "SequenceName", "PulseSequenceName", "ScanningSequence"),
        contrast=contrast_given([header.dataset]),
    )


def _joined(header: Header, *keywords: str) -> str:
    return " ".join(text for text in map(header.text, keywords) if text)
