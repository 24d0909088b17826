"""The DICOM files of one result. What one of them cannot be made of costs none of the others."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metseg.config.options import Format, SegmentOptions
from metseg.core.errors import InputError, MetsegError
from metseg.core.result import CaseResult
from metseg.core.study import Identity
from metseg.io.atomic import write_bytes
from metseg.io.discover import CaseInput
from metseg.pipeline.deidentified import faces, nameless, pseudonyms_for
from metseg.pipeline.dicom_objects import ObjectMaker, Pictures, drawn_once

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from metseg.io.dicom_reference import Reference

_LOG = logging.getLogger(__name__)

DICOM_FILES: Final[dict[Format, str]] = {
    "dicom-seg": "seg.dcm",
    "sr": "sr.dcm",
    "rtstruct": "rtstruct.dcm",
    "secondary-capture": "montage.dcm",
    "encapsulated-pdf": "report.dcm",
}
# Why a study without a lesion gets none of these (PS3.3 C.8.20.2, C.8.8.5); its SR says that nothing was found.
_NONE: Final[dict[Format, str]] = {
    "dicom-seg": "no lesion was found, and a DICOM segmentation needs a segment.",
    "rtstruct": "no lesion was found, and an RT structure set needs a region.",
}
_IMAGE: Final = "image_{:04d}.dcm"


@dataclass
class DicomWritten:
    """What was written, and what there is to say about the rest, a sentence or two each."""

    names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def write_dicom(
    result: CaseResult,
    case_input: CaseInput,
    folder: Path,
    options: SegmentOptions,
    *,
    pictures: Pictures | None = None,
    identity: Identity | None = None,
) -> DicomWritten:
    """Write the DICOM formats that are asked for.

    They refer to the DICOM series that was segmented. Where the image was no DICOM, or nobody shall be named, they
    refer to a series made of it, which is written beside them.

    Args:
        result: the case.
        case_input: its files.
        folder: where they go.
        options: what is asked for.
        pictures: gives those of the case, where they are drawn for other formats too.
        identity: whose it is, for the head of a report; None where nobody asked.

    Raises:
        MetsegError: a file cannot be written.
    """
    written = DicomWritten()
    if not len(result.lesions):
        written.warnings += [
            f"{DICOM_FILES[name]} was not written: {why}" for name, why in _NONE.items() if name in options.formats
        ]
    if not _possible(result, options):
        return written
    from metseg.io.dicom_values import quiet

    encoded: dict[str, bytes] = {}
    with quiet(), _told(written, "The DICOM results"):
        encoded = _encode_all(result, case_input, options, written, pictures, identity)
    for name, content in encoded.items():
        write_bytes(folder / name, content)
    written.names += encoded
    return written


def _possible(result: CaseResult, options: SegmentOptions) -> list[Format]:
    """The DICOM formats that are asked for and that the result can give."""
    return [name for name in DICOM_FILES if name in options.formats and (len(result.lesions) or name not in _NONE)]


def _reference(
    result: CaseResult, case_input: CaseInput, options: SegmentOptions
) -> "tuple[Reference, tuple[Dataset, ...]]":
    """What results refer to, and the images that have to be written for that."""
    from metseg.io.derived_series import derive_series
    from metseg.io.read import read_dicom_reference

    study = result.study
    if study.source.format != "dicom" or options.deidentify:
        image = next(iter(study.images.values()))
        derived = derive_series(image, study.modality, study.source.sha256)
        return derived.reference, derived.images
    reference = read_dicom_reference(case_input, next(iter(study.images)), study.modality)
    if not reference.grid.matches(study.grid):
        raise InputError("The DICOM files changed while they were worked on.", hint="Run again.")
    return reference, ()


def _encode_all(
    result: CaseResult,
    case_input: CaseInput,
    options: SegmentOptions,
    written: DicomWritten,
    pictures: Pictures | None,
    identity: Identity | None,
) -> dict[str, bytes]:
    """The files by name: the objects, and the images that they refer to where these are none of the user's."""
    reference, images = _reference(result, case_input, options)
    names = pseudonyms_for(result, case_input, options) if options.deidentify else None
    if names is not None:
        result = nameless(result, case_input, names)
    now = datetime.now()  # noqa: DTZ005 - DICOM's dates and times are local
    maker = ObjectMaker(result, reference, options, pictures or drawn_once(result), identity, now, written.warnings)
    made = _make(maker, _possible(result, options), written)
    if not made:
        return {}
    made |= {_IMAGE.format(number): image for number, image in enumerate(images, 1)}
    if names is not None:
        written.warnings += faces(result)
        made = {name: names.cleaned(dataset) for name, dataset in made.items()}
    return {name: _encoded(dataset) for name, dataset in made.items()}


def _make(maker: ObjectMaker, wanted: list[Format], written: DicomWritten) -> "dict[str, Dataset]":
    """The objects by file name; those that could not be made are told of in ``written``."""
    made: dict[str, Dataset] = {}
    for name in wanted:
        if name == "sr" and len(maker.result.lesions) and maker.segmentation is None:
            written.warnings.append("sr.dcm was not made, as there is no segmentation that it could refer to.")
            continue
        with _told(written, DICOM_FILES[name]):
            made[DICOM_FILES[name]] = maker.make(name)
    return made


@contextmanager
def _told(written: DicomWritten, what: str) -> Iterator[None]:
    """An error becomes a sentence; what foreign ones say is kept out, as it may quote a header."""
    try:
        yield
    except MetsegError as error:
        written.warnings.append(f"{what} could not be made: {error.message} {error.hint}".strip())
    except Exception as error:  # noqa: BLE001  # whatever goes wrong here, the masks must not be lost with it
        _LOG.warning("%s could not be made (%s)", what, type(error).__name__)
        written.warnings.append(f"{what} could not be made ({type(error).__name__}); the other files are whole.")


def _encoded(dataset: "Dataset") -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
